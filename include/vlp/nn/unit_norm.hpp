/// \file
/// Rows at unit length.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/detail/unit_length.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/checks.hpp>
#include <vlp/nn/ops/rows.hpp>

#include <string_view>

namespace vlp::nn {

/// y[t] = x[t] / max(|x[t]|, 1e-12), for x and y [T, N]; has no parameters. Keeps one number a row.
template <class Scalar, class Device = Cpu>
class UnitNorm {
 public:
  /// y may be x, but backward needs what x was.
  void forward(Device& device, MatrixView<const Scalar> x, MatrixView<Scalar> y) {
    detail::check_matrix("UnitNorm", "y", y, x.rows(), x.cols());
    Scalar* inverse = inverse_.resize(x.rows());
    device.parallel_ranges(x.rows(), detail::row_grain(x.cols()), [&](Index begin, Index end) {
      for (Index t = begin; t < end; ++t) {
        inverse[t] = vlp::detail::inverse_norm(x[t].data(), x.cols());
        detail::row(y, t) = inverse[t] * detail::row(x, t);
      }
    });
  }

  /// d_x may be d_y.
  void backward(Device& device, MatrixView<const Scalar> x, MatrixView<const Scalar> d_y,
                MatrixView<Scalar> d_x) {
    detail::check_matrix("UnitNorm", "x", x, inverse_.size(), x.cols());
    detail::check_matrix("UnitNorm", "d_y", d_y, x.rows(), x.cols());
    detail::check_matrix("UnitNorm", "d_x", d_x, x.rows(), x.cols());
    const Scalar* inverse = inverse_.data();
    device.parallel_ranges(x.rows(), detail::row_grain(x.cols()), [&](Index begin, Index end) {
      for (Index t = begin; t < end; ++t) {
        const auto dot = static_cast<double>((detail::row(x, t) * detail::row(d_y, t)).sum() * inverse[t]);
        detail::row(d_x, t) =
            inverse[t] * detail::row(d_y, t) - vlp::detail::projection(inverse[t], dot) * detail::row(x, t);
      }
    });
  }

  template <class Visit>
  void for_each_parameter(std::string_view, Visit&&) {}

 private:
  typename Device::template Buffer<Scalar> inverse_;
};

}  // namespace vlp::nn
