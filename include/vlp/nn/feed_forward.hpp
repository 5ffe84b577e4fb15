/// \file
/// The feed-forward layer of a transformer.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/checks.hpp>
#include <vlp/nn/linear.hpp>
#include <vlp/nn/ops/operations.hpp>
#include <vlp/nn/types.hpp>

#include <string_view>

namespace vlp::nn {

/// y = GELU(x W1^T + b1) W2^T + b2 (+ residual), for x [T, inputs], y [T, outputs]. Keeps x W1^T + b1 [T,
/// hidden]; its GELU is made again by backward, in the pass that its derivative takes anyway.
template <class Scalar, class Device = Cpu>
class FeedForward {
 public:
  FeedForward(Index inputs, Index hidden, Index outputs, Random& random, GeluForm gelu = GeluForm::tanh)
      : first_(inputs, hidden, random), second_(hidden, outputs, random), gelu_(gelu) {}

  [[nodiscard]] Index inputs() const { return first_.inputs(); }
  [[nodiscard]] Index hidden() const { return first_.outputs(); }
  [[nodiscard]] Index outputs() const { return second_.outputs(); }

  void forward(Device& device, MatrixView<const Scalar> x, MatrixView<Scalar> y,
               MatrixView<const Scalar> residual = {}) {
    const auto hidden_sums = hidden_.reshape(x.rows(), hidden());
    first_.forward(device, x, hidden_sums);
    auto scope = device.scratch().scope();
    const auto active = scope.template take_view<Scalar>(x.rows(), hidden());
    gelu_forward<Scalar>(device, gelu_, hidden_sums.data(), active.data(), active.size());
    second_.forward(device, active, y, residual);
  }

  /// d_x may be d_y when it is added to.
  void backward(Device& device, MatrixView<const Scalar> x, MatrixView<const Scalar> d_y,
                MatrixView<Scalar> d_x, Into into = Into::overwrite) {
    require(x.rows() * hidden() == hidden_.size(), "FeedForward: x of backward has ", x.rows(),
            " rows but that of forward had ", hidden_.size() / hidden());
    auto scope = device.scratch().scope();
    const auto active = scope.template take_view<Scalar>(x.rows(), hidden());
    const auto gradient = scope.template take_view<Scalar>(x.rows(), hidden());
    second_.input_gradient(device, d_y, gradient, Into::overwrite);
    gelu_backward<Scalar>(device, gelu_, hidden_.data(), gradient.data(), gradient.data(), active.data(),
                          active.size());
    second_.add_parameter_gradients(device, active, d_y);
    first_.backward(device, x, gradient, d_x, into);
  }

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    first_.for_each_parameter(join_names(prefix, "first"), visit);
    second_.for_each_parameter(join_names(prefix, "second"), visit);
  }

 private:
  Linear<Scalar, Device> first_, second_;
  GeluForm gelu_;
  typename Device::template Buffer<Scalar> hidden_;  // before GELU
};

}  // namespace vlp::nn
