/// \file
/// xtensor's containers and adaptors as views and views as xtensor adaptors, without a copy.
///
///     xt::xtensor<float, 3> words({32, 40, 128});
///     inputs.words = vlp::view(words);            // reads, and writes, the container itself
///     auto loudest = xt::amax(vlp::as_xtensor(inputs.words))();
///
/// Call `vlp::view` by its full name: xtensor has a function `xt::view` of its own.
#pragma once

#if __has_include(<xtensor/containers/xadapt.hpp>)  // since 0.26
#include <xtensor/containers/xadapt.hpp>
#include <xtensor/containers/xarray.hpp>
#include <xtensor/containers/xtensor.hpp>
#else
#include <xtensor/xadapt.hpp>
#include <xtensor/xarray.hpp>
#include <xtensor/xtensor.hpp>
#endif

#include <vlp/core/errors.hpp>
#include <vlp/core/view.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>

namespace vlp {

namespace detail {

/// An xtensor expression whose elements lie in memory: a container, an adaptor, a view by ranges.
template <class X>
concept XtensorInMemory = requires(X& x) {
  requires std::derived_from<X, xt::xexpression<X>>;
  typename X::temporary_type;
  { *x.data() } -> std::convertible_to<typename X::value_type>;
  x.data_offset();
  x.shape();
  x.strides();
};

/// The rank of xarray and other types that know their number of dimensions only at run time.
inline constexpr std::size_t dynamic_rank = SIZE_MAX;

template <class X>
constexpr std::size_t rank_of() {
  if constexpr (requires { std::tuple_size<typename X::shape_type>::value; })
    return std::tuple_size_v<typename X::shape_type>;
  else
    return xt::get_rank<X>::value;
}

}  // namespace detail

/// A view of the elements of an xtensor container, adaptor or range view. The rank is that of the type; for
/// an xarray it is named: `view<2>(x)`, which throws std::invalid_argument when `x` has another number of
/// dimensions. It is a view of const elements when `x` is const or cannot be written to. The layout must be
/// row-major (a compile-time error where the type says otherwise) with adjacent elements in the last
/// dimension. The view is valid as long as the elements of `x` stay where they are.
template <std::size_t Rank = detail::dynamic_rank, class X>
requires detail::XtensorInMemory<std::remove_cvref_t<X>>
[[nodiscard]] auto view(X&& x) {
  using Expression = std::remove_cvref_t<X>;
  constexpr std::size_t rank = Rank == detail::dynamic_rank ? detail::rank_of<Expression>() : Rank;
  static_assert(
      std::is_lvalue_reference_v<X> || !std::is_same_v<typename Expression::temporary_type, Expression>,
      "vlp::view: a view of this temporary container would outlive its elements; give it a name first");
  static_assert(Expression::static_layout != xt::layout_type::column_major,
                "vlp::view: the container must be row-major");
  static_assert(rank != detail::dynamic_rank,
                "vlp::view: an xarray does not know its rank at compile time; write vlp::view<2>(x)");
  require(x.dimension() == rank, "view: the array has ", x.dimension(), " dimensions, not ", rank);

  // xtensor gives a dimension of extent 1 the stride 0; a view gives it the stride of a contiguous array.
  std::array<Index, rank> extents{}, strides{};
  for (std::size_t d = rank; d-- > 0;) {
    extents[d] = static_cast<Index>(x.shape()[d]);
    const Index contiguous = d + 1 == rank ? 1 : extents[d + 1] * strides[d + 1];
    strides[d] = extents[d] == 1 ? contiguous : static_cast<Index>(x.strides()[d]);
  }
  using T = std::remove_pointer_t<decltype(x.data())>;
  return View<T, rank>(x.data() + x.data_offset(), extents, strides);
}

/// A contiguous view as an xtensor adaptor that reads and writes the same elements. Throws
/// std::invalid_argument for a strided view: xtensor's scalar assignments (`x += 1`) run over an adaptor's
/// memory as if it had no gaps. Take the whole array and let `xt::view` cut it.
template <class T, std::size_t Rank>
[[nodiscard]] auto as_xtensor(const View<T, Rank>& view) {
  require(view.contiguous(), "as_xtensor: the view must be contiguous");
  std::array<std::size_t, Rank> shape{};
  for (std::size_t d = 0; d < Rank; ++d) shape[d] = static_cast<std::size_t>(view.extent(d));
  return xt::adapt<xt::layout_type::row_major>(view.data(), static_cast<std::size_t>(view.size()),
                                               xt::no_ownership(), shape);
}

}  // namespace vlp
