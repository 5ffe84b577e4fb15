/// \file
/// Projection into the space that images and reports share.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/feed_forward.hpp>
#include <vlp/nn/linear.hpp>
#include <vlp/nn/types.hpp>

#include <string_view>
#include <utility>
#include <variant>

namespace vlp::nn {

struct ProjectionHeadOptions {
  Index inputs = 128;
  Index hidden = 0;  ///< 0: one linear layer; else linear, GELU, linear with this many in between
  Index outputs = 128;
  GeluForm gelu = GeluForm::tanh;
};

/// x [N, inputs] to y [N, outputs]: a linear layer, or two with GELU between them (Chen et al., "A simple
/// framework for contrastive learning of visual representations", 2020). Region and word features go in as
/// rows.
template <class Scalar, class Device = Cpu>
class ProjectionHead {
 public:
  ProjectionHead(const ProjectionHeadOptions& options, Random random) : layers_(make(options, random)) {}

  [[nodiscard]] Index inputs() const {
    return std::visit([](const auto& layers) { return layers.inputs(); }, layers_);
  }
  [[nodiscard]] Index outputs() const {
    return std::visit([](const auto& layers) { return layers.outputs(); }, layers_);
  }

  void forward(Device& device, MatrixView<const Scalar> x, MatrixView<Scalar> y) {
    std::visit([&](auto& layers) { layers.forward(device, x, y); }, layers_);
  }

  void backward(Device& device, MatrixView<const Scalar> x, MatrixView<const Scalar> d_y,
                MatrixView<Scalar> d_x, Into into = Into::overwrite) {
    std::visit([&](auto& layers) { layers.backward(device, x, d_y, d_x, into); }, layers_);
  }

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    std::visit([&](auto& layers) { layers.for_each_parameter(prefix, visit); }, layers_);
  }

 private:
  using Layers = std::variant<Linear<Scalar, Device>, FeedForward<Scalar, Device>>;

  static Layers make(const ProjectionHeadOptions& options, Random& random) {
    require(options.hidden >= 0, "ProjectionHead: hidden must not be negative, but is ", options.hidden);
    if (options.hidden == 0) return Linear<Scalar, Device>(options.inputs, options.outputs, random);
    return FeedForward<Scalar, Device>(options.inputs, options.hidden, options.outputs, random, options.gelu);
  }

  Layers layers_;
};

}  // namespace vlp::nn
