/// \file
/// The linear layer.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/op.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/checks.hpp>
#include <vlp/nn/initialise.hpp>
#include <vlp/nn/ops/operations.hpp>

#include <string_view>

/// Layers.
///
/// A layer is `forward(device, inputs, outputs)` and `backward(device, the same inputs, gradients by the
/// outputs, gradients by the inputs)`. It keeps in buffers of its own what backward needs beyond the inputs,
/// so that one forward pass at a time is in flight. Backward adds to the gradients of the parameters (see
/// Parameters) and writes those by the inputs, or adds to them (Into::add), or skips them when their view
/// is not given. `for_each_parameter(prefix, visit)` calls `visit(name, parameter)` for each parameter,
/// always in the same order.
namespace vlp::nn {

/// y = x W^T + b (+ residual), for x [T, inputs], W [outputs, inputs], b [outputs], y and residual [T,
/// outputs].
template <class Scalar, class Device = Cpu>
class Linear {
 public:
  /// W starts by Xavier and b at zero. With `parts` > 1, W is that many matrices one above the other (query,
  /// key, value), each started as one of its own.
  Linear(Index inputs, Index outputs, Random& random, Index parts = 1) {
    detail::check_positive("Linear", "inputs", inputs);
    detail::check_positive("Linear", "outputs", outputs);
    weight_ = Parameter<Scalar, Device>({outputs, inputs}, WeightDecay::yes);
    bias_ = Parameter<Scalar, Device>({outputs});
    initialise_xavier(weight_, inputs, outputs / parts, random);
  }

  [[nodiscard]] Index inputs() const { return weight_.extents()[1]; }
  [[nodiscard]] Index outputs() const { return weight_.extents()[0]; }

  /// `residual`, if given, is added to the result; it may be y.
  void forward(Device& device, MatrixView<const Scalar> x, MatrixView<Scalar> y,
               MatrixView<const Scalar> residual = {}) {
    detail::check_columns("Linear", "x", x, inputs());
    detail::check_matrix("Linear", "y", y, x.rows(), outputs());
    if (residual.given()) detail::check_matrix("Linear", "residual", residual, x.rows(), outputs());
    broadcast_bias<Scalar>(device, bias_.value().data(), residual, y);
    matmul<Scalar>(device, x, Op::none, weight_.matrix(), Op::transpose, y, Scalar(1), Scalar(1));
  }

  void backward(Device& device, MatrixView<const Scalar> x, MatrixView<const Scalar> d_y,
                MatrixView<Scalar> d_x, Into into = Into::overwrite) {
    add_parameter_gradients(device, x, d_y);
    if (d_x.given()) input_gradient(device, d_y, d_x, into);
  }

  /// The two halves of backward, for callers that have x later than d_x.
  void add_parameter_gradients(Device& device, MatrixView<const Scalar> x, MatrixView<const Scalar> d_y) {
    detail::check_columns("Linear", "x", x, inputs());
    detail::check_matrix("Linear", "d_y", d_y, x.rows(), outputs());
    matmul<Scalar>(device, d_y, Op::transpose, x, Op::none, weight_.gradient_matrix(), Scalar(1), Scalar(1));
    add_column_sums<Scalar>(device, d_y, bias_.gradient().data());
  }
  void input_gradient(Device& device, MatrixView<const Scalar> d_y, MatrixView<Scalar> d_x, Into into) {
    detail::check_columns("Linear", "d_y", d_y, outputs());
    detail::check_matrix("Linear", "d_x", d_x, d_y.rows(), inputs());
    matmul<Scalar>(device, d_y, Op::none, weight_.matrix(), Op::none, d_x, Scalar(1),
                   into == Into::add ? Scalar(1) : Scalar(0));
  }

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    visit(join_names(prefix, "weight"), weight_);
    visit(join_names(prefix, "bias"), bias_);
  }

 private:
  Parameter<Scalar, Device> weight_, bias_;
};

}  // namespace vlp::nn
