/// \file
/// Rows at unit length.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/checks.hpp>
#include <vlp/nn/ops/operations.hpp>

#include <string_view>

namespace vlp::nn {

/// y[t] = x[t] / max(|x[t]|, 1e-12), for x and y [T, N]; has no parameters. Keeps one number a row.
template <class Scalar, class Device = Cpu>
class UnitNorm {
 public:
  /// y may be x, but backward needs what x was.
  void forward(Device& device, MatrixView<const Scalar> x, MatrixView<Scalar> y) {
    detail::check_matrix("UnitNorm", "y", y, x.rows(), x.cols());
    unit_rows<Scalar>(device, x, y, inverse_.resize(x.rows()));
  }

  /// d_x may be d_y.
  void backward(Device& device, MatrixView<const Scalar> x, MatrixView<const Scalar> d_y,
                MatrixView<Scalar> d_x) {
    detail::check_matrix("UnitNorm", "x", x, inverse_.size(), x.cols());
    detail::check_matrix("UnitNorm", "d_y", d_y, x.rows(), x.cols());
    detail::check_matrix("UnitNorm", "d_x", d_x, x.rows(), x.cols());
    unit_rows_gradient<Scalar>(device, x, inverse_.data(), d_y, d_x);
  }

  template <class Visit>
  void for_each_parameter(std::string_view, Visit&&) {}

 private:
  typename Device::template Buffer<Scalar> inverse_;
};

}  // namespace vlp::nn
