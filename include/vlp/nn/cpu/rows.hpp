/// \file
/// Operations on the rows of matrices on the CPU, and how rows are cut into work.
#pragma once

#include <Eigen/Core>

#include <vlp/core/cpu.hpp>
#include <vlp/core/detail/unit_length.hpp>
#include <vlp/core/view.hpp>

#include <algorithm>
#include <type_traits>

namespace vlp {

namespace nn::detail {

template <class T>
using Array = Eigen::Array<std::remove_const_t<T>, Eigen::Dynamic, 1>;

/// Memory as an Eigen array.
template <class T>
auto as_array(T* data, Index size) {
  return Eigen::Map<std::conditional_t<std::is_const_v<T>, const Array<T>, Array<T>>>(data, size);
}

/// Row `i` of a matrix as an Eigen array.
template <class T>
auto row(const MatrixView<T>& matrix, Index i) {
  return as_array(matrix.data() + i * matrix.stride(0), matrix.cols());
}

/// Rows per piece of work: about 16K elements, enough to pay for handing out the piece.
inline Index row_grain(Index cols) {
  return std::max<Index>(1, 16384 / std::max<Index>(1, cols));
}

/// Adds to `out` [width] the sum over rows of what `body(begin, end, partial)` adds to `partial` [width],
/// which starts at zero: in parallel over runs of rows that depend on `rows` alone, summed in their order.
template <class Scalar, class Body>
void sum_over_rows(Cpu& device, Index rows, Index width, Scalar* out, Body&& body) {
  const Index run = std::max<Index>(128, (rows + 63) / 64), runs = (rows + run - 1) / run;
  auto scope = device.scratch().scope();
  Scalar* partial = scope.template take<Scalar>(runs * width);
  device.parallel_for(runs, [&](Index r, int) {
    std::fill_n(partial + r * width, width, Scalar(0));
    body(r * run, std::min(rows, (r + 1) * run), partial + r * width);
  });
  for (Index r = 0; r < runs; ++r) as_array(out, width) += as_array(partial + r * width, width);
}

}  // namespace nn::detail

template <class Scalar>
void broadcast_bias(Cpu& device, const Scalar* bias, std::type_identity_t<MatrixView<const Scalar>> addend,
                    std::type_identity_t<MatrixView<Scalar>> y) {
  const auto b = nn::detail::as_array(bias, y.cols());
  device.parallel_ranges(y.rows(), nn::detail::row_grain(y.cols()), [&](Index begin, Index end) {
    for (Index t = begin; t < end; ++t) {
      if (addend.given())
        nn::detail::row(y, t) = nn::detail::row(addend, t) + b;
      else
        nn::detail::row(y, t) = b;
    }
  });
}

template <class Scalar>
void add_scaled(Cpu& device, Scalar factor, std::type_identity_t<MatrixView<const Scalar>> x,
                std::type_identity_t<MatrixView<Scalar>> y) {
  device.parallel_ranges(y.rows(), nn::detail::row_grain(y.cols()), [&](Index begin, Index end) {
    for (Index t = begin; t < end; ++t) nn::detail::row(y, t) += factor * nn::detail::row(x, t);
  });
}

template <class Scalar>
void assign_scaled(Cpu& device, Scalar factor, std::type_identity_t<MatrixView<const Scalar>> x,
                   std::type_identity_t<MatrixView<Scalar>> y) {
  device.parallel_ranges(y.rows(), nn::detail::row_grain(y.cols()), [&](Index begin, Index end) {
    for (Index t = begin; t < end; ++t) nn::detail::row(y, t) = factor * nn::detail::row(x, t);
  });
}

template <class Scalar>
void add_column_sums(Cpu& device, MatrixView<const Scalar> x, Scalar* out) {
  nn::detail::sum_over_rows<Scalar>(device, x.rows(), x.cols(), out,
                                    [&](Index begin, Index end, Scalar* sum) {
                                      for (Index t = begin; t < end; ++t)
                                        nn::detail::as_array(sum, x.cols()) += nn::detail::row(x, t);
                                    });
}

template <class Scalar>
void mean_of_rows(Cpu& device, std::type_identity_t<BatchView<const Scalar>> x,
                  std::type_identity_t<MatrixView<Scalar>> mean) {
  device.parallel_for(x.extent(0), [&](Index b, int) {
    auto out = nn::detail::row(mean, b);
    const auto rows = x[b];
    out.setZero();
    for (Index r = 0; r < rows.rows(); ++r) out += nn::detail::row(rows, r);
    out *= Scalar(1) / static_cast<Scalar>(rows.rows());
  });
}

template <class Scalar>
void mean_of_rows_gradient(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> d_mean,
                           std::type_identity_t<BatchView<Scalar>> d_x) {
  device.parallel_for(d_x.extent(0), [&](Index b, int) {
    const auto rows = d_x[b];
    const Scalar share = Scalar(1) / static_cast<Scalar>(rows.rows());
    for (Index r = 0; r < rows.rows(); ++r) nn::detail::row(rows, r) += share * nn::detail::row(d_mean, b);
  });
}

template <class Scalar>
void unit_rows(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> x,
               std::type_identity_t<MatrixView<Scalar>> y, Scalar* inverse) {
  device.parallel_ranges(x.rows(), nn::detail::row_grain(x.cols()), [&](Index begin, Index end) {
    for (Index t = begin; t < end; ++t) {
      inverse[t] = detail::inverse_norm(x[t].data(), x.cols());
      nn::detail::row(y, t) = inverse[t] * nn::detail::row(x, t);
    }
  });
}

template <class Scalar>
void unit_rows_gradient(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> x, const Scalar* inverse,
                        std::type_identity_t<MatrixView<const Scalar>> d_y,
                        std::type_identity_t<MatrixView<Scalar>> d_x) {
  device.parallel_ranges(x.rows(), nn::detail::row_grain(x.cols()), [&](Index begin, Index end) {
    using nn::detail::row;
    for (Index t = begin; t < end; ++t) {
      const auto dot = static_cast<double>((row(x, t) * row(d_y, t)).sum() * inverse[t]);
      row(d_x, t) = inverse[t] * row(d_y, t) - detail::projection(inverse[t], dot) * row(x, t);
    }
  });
}

}  // namespace vlp
