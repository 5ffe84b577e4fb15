/// \file
/// Layer normalisation.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/checks.hpp>
#include <vlp/nn/ops/operations.hpp>

#include <string_view>

namespace vlp::nn {

/// Each row of x [T, width] brought to mean 0 and variance 1, times a gain plus a bias (Ba et al., "Layer
/// normalization", 2016). Keeps two numbers a row for backward.
template <class Scalar, class Device = Cpu>
class LayerNorm {
 public:
  explicit LayerNorm(Index width, double epsilon = 1e-5) : epsilon_(static_cast<Scalar>(epsilon)) {
    detail::check_positive("LayerNorm", "width", width);
    require(epsilon > 0, "LayerNorm: epsilon must be positive, but is ", epsilon);
    gain_ = Parameter<Scalar, Device>({width}, WeightDecay::no, Scalar(1));
    bias_ = Parameter<Scalar, Device>({width});
  }

  [[nodiscard]] Index width() const { return gain_.size(); }

  /// y may be x if backward is not to follow.
  void forward(Device& device, MatrixView<const Scalar> x, MatrixView<Scalar> y) {
    detail::check_columns("LayerNorm", "x", x, width());
    detail::check_matrix("LayerNorm", "y", y, x.rows(), width());
    mean_.resize(x.rows());
    inverse_deviation_.resize(x.rows());
    layer_norm_forward<Scalar>(device,
                               LayerNormForward<Scalar>{.x = x,
                                                        .gain = gain_.value().data(),
                                                        .bias = bias_.value().data(),
                                                        .epsilon = epsilon_,
                                                        .y = y,
                                                        .mean = mean_.data(),
                                                        .inverse_deviation = inverse_deviation_.data()});
  }

  /// d_x may be d_y.
  void backward(Device& device, MatrixView<const Scalar> x, MatrixView<const Scalar> d_y,
                MatrixView<Scalar> d_x, Into into = Into::overwrite) {
    detail::check_matrix("LayerNorm", "x of backward", x, mean_.size(), width());
    detail::check_matrix("LayerNorm", "d_y", d_y, x.rows(), width());
    if (d_x.given()) detail::check_matrix("LayerNorm", "d_x", d_x, x.rows(), width());
    layer_norm_backward<Scalar>(device,
                                LayerNormBackward<Scalar>{.x = x,
                                                          .gain = gain_.value().data(),
                                                          .mean = mean_.data(),
                                                          .inverse_deviation = inverse_deviation_.data(),
                                                          .d_y = d_y,
                                                          .d_gain = gain_.gradient().data(),
                                                          .d_bias = bias_.gradient().data(),
                                                          .d_x = d_x,
                                                          .into = into});
  }

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    visit(join_names(prefix, "weight"), gain_);
    visit(join_names(prefix, "bias"), bias_);
  }

 private:
  Scalar epsilon_;
  Parameter<Scalar, Device> gain_, bias_;
  typename Device::template Buffer<Scalar> mean_, inverse_deviation_;
};

}  // namespace vlp::nn
