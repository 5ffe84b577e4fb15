/// \file
/// AdamW.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/optim/ops/operations.hpp>
#include <vlp/optim/pieces.hpp>

#include <cmath>
#include <string>
#include <utility>

namespace vlp::optim {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;
};

/// Adam with decoupled weight decay (Loshchilov & Hutter, "Decoupled weight decay regularization", 2019,
/// algorithm 2). Step t = 1, 2, ... with gradient g and learning rate r:
///   m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,
///   x = x - r (m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon) + weight_decay x),
/// with weight decay only for parameters it applies to. One pass over each parameter.
template <class Scalar, class Device = Cpu>
class AdamW {
 public:
  /// For parameters that have memory.
  AdamW(Device& device, ParameterList<Scalar, Device> list, const AdamWOptions& options = {})
      : options_(options), state_(device, std::move(list), {".first_moment", ".second_moment"}) {
    const auto check = [](const char* name, double x, double end) {
      require(x >= 0 && x < end, "AdamW: ", name, " must be from 0 to below ", end, ", but is ", x);
    };
    check("beta1", options.beta1, 1);
    check("beta2", options.beta2, 1);
    require(options.epsilon > 0, "AdamW: epsilon must be positive, but is ", options.epsilon);
    require(std::isfinite(options.weight_decay) && options.weight_decay >= 0,
            "AdamW: weight_decay must be a number from 0, but is ", options.weight_decay);
  }

  /// Updates every parameter by its gradient.
  void step(Device& device, double learning_rate) {
    require(std::isfinite(learning_rate) && learning_rate >= 0,
            "AdamW: the learning rate must be a number from 0, but is ", learning_rate);
    ++steps_;
    const double t = static_cast<double>(steps_);
    using Number = AccumulatorOf<Scalar>;
    const AdamWStep<Number> step{
        .beta1 = static_cast<Number>(options_.beta1),
        .beta2 = static_cast<Number>(options_.beta2),
        .rate = static_cast<Number>(learning_rate / (1 - std::pow(options_.beta1, t))),
        .scale = static_cast<Number>(1 / std::sqrt(1 - std::pow(options_.beta2, t))),
        .epsilon = static_cast<Number>(options_.epsilon),
        .keep = static_cast<Number>(1 - learning_rate * options_.weight_decay)};
    adamw_update<Scalar>(device, state_.pieces(), step, state_.array(0), state_.array(1));
  }

  /// Number of steps taken; a checkpoint restores it together with the state.
  [[nodiscard]] Index steps() const { return steps_; }
  void set_steps(Index steps) { steps_ = steps; }

  /// Calls visit(name, extents, view) for each array of state, in device memory, e.g.
  /// "text.block0.norm1.weight.first_moment".
  template <class Visit>
  void for_each_state(Visit&& visit) {
    state_.for_each(visit);
  }

 private:
  AdamWOptions options_;
  detail::State<Scalar, Device, 2> state_;
  Index steps_ = 0;
};

}  // namespace vlp::optim
