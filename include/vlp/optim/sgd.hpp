/// \file
/// Stochastic gradient descent with momentum.
#pragma once

#include <vlp/core/buffer.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/parameter.hpp>
#include <vlp/optim/pieces.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

namespace vlp::optim {

struct SgdOptions {
  double momentum = 0.9;
  bool nesterov = false;
  double weight_decay = 0;
};

/// Stochastic gradient descent with momentum (Sutskever et al., "On the importance of initialization and
/// momentum in deep learning", 2013, in the form of PyTorch). Each step, with gradient g and learning rate r:
///   d = g + weight_decay x,  b = momentum b + d,  x = x - r b,  or with Nesterov momentum x = x - r (d +
///   momentum b),
/// with weight decay only for parameters it applies to.
template <class Scalar, class Device = Cpu>
class Sgd {
 public:
  explicit Sgd(ParameterList<Scalar, Device> list, const SgdOptions& options = {})
      : options_(options),
        list_(std::move(list)),
        pieces_(detail::cut_into_pieces(list_)),
        velocity_(list_.size()) {
    require(options.momentum >= 0 && options.momentum < 1, "Sgd: momentum must be from 0 to below 1, but is ",
            options.momentum);
    require(std::isfinite(options.weight_decay) && options.weight_decay >= 0,
            "Sgd: weight_decay must be a number from 0, but is ", options.weight_decay);
    for (std::size_t p = 0; p < list_.size(); ++p)
      std::fill_n(velocity_[p].resize(list_[p].parameter->size()), list_[p].parameter->size(), Scalar(0));
  }

  /// Updates every parameter by its gradient.
  void step(Device& device, double learning_rate) {
    require(std::isfinite(learning_rate) && learning_rate >= 0,
            "Sgd: the learning rate must be a number from 0, but is ", learning_rate);
    ++steps_;
    device.parallel_for(static_cast<Index>(pieces_.size()),
                        [&](Index i, int) { update(pieces_[static_cast<std::size_t>(i)], learning_rate); });
  }

  /// How many steps were taken; a checkpoint restores it together with the state.
  [[nodiscard]] Index steps() const { return steps_; }
  void set_steps(Index steps) { steps_ = steps; }

  /// Calls visit(name, extents, buffer) for each array of state, e.g. "text.block0.norm1.weight.velocity".
  template <class Visit>
  void for_each_state(Visit&& visit) {
    for (std::size_t p = 0; p < list_.size(); ++p)
      visit(list_[p].name + ".velocity", list_[p].parameter->extents, velocity_[p]);
  }

 private:
  void update(const detail::Piece& piece, double learning_rate) {
    auto& parameter = *list_[piece.parameter].parameter;
    const auto rate = static_cast<Scalar>(learning_rate), momentum = static_cast<Scalar>(options_.momentum);
    const auto decay =
        static_cast<Scalar>(parameter.weight_decay == WeightDecay::yes ? options_.weight_decay : 0);
    const Scalar* gradient = parameter.gradient.data();
    Scalar* value = parameter.value.data();
    Scalar* velocity = velocity_[piece.parameter].data();
    for (Index i = piece.begin; i < piece.end; ++i) {
      const Scalar d = gradient[i] + decay * value[i];
      velocity[i] = momentum * velocity[i] + d;
      value[i] -= rate * (options_.nesterov ? d + momentum * velocity[i] : velocity[i]);
    }
  }

  SgdOptions options_;
  ParameterList<Scalar, Device> list_;
  std::vector<detail::Piece> pieces_;
  std::vector<typename Device::template Buffer<Scalar>> velocity_;
  Index steps_ = 0;
};

}  // namespace vlp::optim
