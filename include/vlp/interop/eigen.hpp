/// \file
/// Eigen's matrices as views and views as Eigen maps, without a copy.
///
///     vlp::MatrixXf image(32, 128);               // Eigen::Matrix<float, Dynamic, Dynamic, RowMajor>
///     inputs.image = vlp::view(image);            // reads, and writes, the matrix itself
///     auto mean = vlp::as_eigen(inputs.image).colwise().mean();
#pragma once

#include <Eigen/Core>

#include <vlp/core/matmul.hpp>
#include <vlp/core/view.hpp>

#include <array>
#include <concepts>
#include <type_traits>

namespace vlp {

/// Row-major Eigen matrices, the kind that `view` takes.
template <class T>
using RowMajorMatrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using MatrixXf = RowMajorMatrix<float>;
using MatrixXd = RowMajorMatrix<double>;

namespace detail {

/// An Eigen expression whose elements lie in memory: a matrix, array, map, ref, block, row.
template <class X>
concept EigenInMemory = std::derived_from<X, Eigen::DenseBase<X>> &&
                        (Eigen::internal::traits<X>::Flags& Eigen::DirectAccessBit) != 0;

/// A plain matrix owns its elements, and so may a `Ref<const ...>`: a view of a temporary one would dangle.
template <class X>
inline constexpr bool owns_elements = std::derived_from<X, Eigen::PlainObjectBase<X>>;
template <class M, int Options, class Stride>
inline constexpr bool owns_elements<Eigen::Ref<const M, Options, Stride>> = true;

}  // namespace detail

/// A view of the elements of an Eigen matrix, array, map, ref or block: a VectorView if its type is a
/// vector's, otherwise a MatrixView. It is a view of const elements when `x` is const or cannot be written
/// to. Matrices must be row-major (a compile-time error otherwise) and elements of a row, or of a vector,
/// adjacent (checked at run time where the type leaves it open). The view is valid as long as the elements of
/// `x` stay where they are.
template <class X>
requires detail::EigenInMemory<std::remove_cvref_t<X>>
[[nodiscard]] auto view(X&& x) {
  using Expression = std::remove_cvref_t<X>;
  static_assert(
      std::is_lvalue_reference_v<X> || !detail::owns_elements<Expression>,
      "vlp::view: a view of this temporary matrix would outlive its elements; give it a name first");
  static_assert(Expression::IsVectorAtCompileTime || Expression::IsRowMajor,
                "vlp::view: the matrix must be row-major, e.g. vlp::MatrixXf or "
                "Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>");
  static_assert(
      Expression::InnerStrideAtCompileTime == 1 || Expression::InnerStrideAtCompileTime == Eigen::Dynamic,
      "vlp::view: elements of a row, or of a vector, must be adjacent");
  using T = std::remove_pointer_t<decltype(x.data())>;
  if constexpr (Expression::IsVectorAtCompileTime)
    return VectorView<T>(x.data(), {x.size()}, {x.innerStride()});
  else
    return MatrixView<T>(x.data(), {x.rows(), x.cols()}, {x.outerStride(), x.innerStride()});
}

/// A matrix view as an Eigen map that reads and writes the same elements.
using detail::as_eigen;

/// A vector view as a map of a column vector.
template <class T>
[[nodiscard]] auto as_eigen(const VectorView<T>& view) {
  using Vector = Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, 1>;
  return Eigen::Map<std::conditional_t<std::is_const_v<T>, const Vector, Vector>>(view.data(),
                                                                                  view.extent(0));
}

}  // namespace vlp
