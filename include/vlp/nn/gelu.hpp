/// \file
/// GELU as a separate layer. Feed-forward layers use the device operations directly.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/checks.hpp>
#include <vlp/nn/ops/operations.hpp>
#include <vlp/nn/types.hpp>

#include <string_view>

namespace vlp::nn {

/// y = GELU(x) for contiguous x [T, N]. Has no parameters and keeps nothing.
template <class Scalar, class Device = Cpu>
class Gelu {
 public:
  explicit Gelu(GeluForm form = GeluForm::tanh) : form_(form) {}

  /// y may be x if backward is not to follow.
  void forward(Device& device, MatrixView<const Scalar> x, MatrixView<Scalar> y) {
    check(x, "y", y);
    gelu_forward<Scalar>(device, form_, x.data(), y.data(), x.size());
  }

  /// d_x may be d_y.
  void backward(Device& device, MatrixView<const Scalar> x, MatrixView<const Scalar> d_y,
                MatrixView<Scalar> d_x) {
    check(x, "d_y", d_y);
    if (!d_x.given()) return;
    check(x, "d_x", d_x);
    gelu_backward<Scalar>(device, form_, x.data(), d_y.data(), d_x.data(), static_cast<Scalar*>(nullptr),
                          x.size());
  }

  template <class Visit>
  void for_each_parameter(std::string_view, Visit&&) {}

 private:
  template <class T>
  static void check(MatrixView<const Scalar> x, std::string_view name, const MatrixView<T>& other) {
    detail::check_matrix("Gelu", name, other, x.rows(), x.cols());
    require(x.contiguous() && other.contiguous(), "Gelu: x and ", name, " must be contiguous");
  }

  GeluForm form_;
};

}  // namespace vlp::nn
