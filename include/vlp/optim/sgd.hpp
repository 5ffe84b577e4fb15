/// \file
/// Stochastic gradient descent with momentum.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/optim/ops/operations.hpp>
#include <vlp/optim/pieces.hpp>

#include <cmath>
#include <utility>

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
  /// For parameters that have memory.
  Sgd(Device& device, ParameterList<Scalar, Device> list, const SgdOptions& options = {})
      : options_(options), state_(device, std::move(list), {".velocity"}) {
    require(options.momentum >= 0 && options.momentum < 1, "Sgd: momentum must be from 0 to below 1, but is ",
            options.momentum);
    require(std::isfinite(options.weight_decay) && options.weight_decay >= 0,
            "Sgd: weight_decay must be a number from 0, but is ", options.weight_decay);
  }

  /// Updates every parameter by its gradient.
  void step(Device& device, double learning_rate) {
    require(std::isfinite(learning_rate) && learning_rate >= 0,
            "Sgd: the learning rate must be a number from 0, but is ", learning_rate);
    ++steps_;
    using Number = AccumulatorOf<Scalar>;
    const SgdStep<Number> step{.rate = static_cast<Number>(learning_rate),
                               .momentum = static_cast<Number>(options_.momentum),
                               .weight_decay = static_cast<Number>(options_.weight_decay),
                               .nesterov = options_.nesterov};
    sgd_update<Scalar>(device, state_.pieces(), step, state_.array(0));
  }

  /// Number of steps taken; a checkpoint restores it together with the state.
  [[nodiscard]] Index steps() const { return steps_; }
  void set_steps(Index steps) { steps_ = steps; }

  /// Calls visit(name, extents, view) for each array of state, in device memory, e.g.
  /// "text.block0.norm1.weight.velocity".
  template <class Visit>
  void for_each_state(Visit&& visit) {
    state_.for_each(visit);
  }

 private:
  SgdOptions options_;
  detail::State<Scalar, Device, 1> state_;
  Index steps_ = 0;
};

}  // namespace vlp::optim
