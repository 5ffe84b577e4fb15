/// \file
/// AdamW.
#pragma once

#include <Eigen/Core>

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
  explicit AdamW(ParameterList<Scalar, Device> list, const AdamWOptions& options = {})
      : options_(options),
        list_(std::move(list)),
        pieces_(detail::cut_into_pieces(list_)),
        state_(list_.size()) {
    const auto check = [](const char* name, double x, double end) {
      require(x >= 0 && x < end, "AdamW: ", name, " must be from 0 to below ", end, ", but is ", x);
    };
    check("beta1", options.beta1, 1);
    check("beta2", options.beta2, 1);
    require(options.epsilon > 0, "AdamW: epsilon must be positive, but is ", options.epsilon);
    require(std::isfinite(options.weight_decay) && options.weight_decay >= 0,
            "AdamW: weight_decay must be a number from 0, but is ", options.weight_decay);
    for (std::size_t p = 0; p < list_.size(); ++p) {
      const Index size = list_[p].parameter->size();
      for (auto* moment : {&state_[p].first, &state_[p].second})
        std::fill_n(moment->resize(size), size, Scalar(0));
    }
  }

  /// Updates every parameter by its gradient.
  void step(Device& device, double learning_rate) {
    require(std::isfinite(learning_rate) && learning_rate >= 0,
            "AdamW: the learning rate must be a number from 0, but is ", learning_rate);
    ++steps_;
    const double t = static_cast<double>(steps_);
    const double correction1 = 1 - std::pow(options_.beta1, t), correction2 = 1 - std::pow(options_.beta2, t);
    device.parallel_for(static_cast<Index>(pieces_.size()), [&](Index i, int) {
      update(pieces_[static_cast<std::size_t>(i)], learning_rate, correction1, correction2);
    });
  }

  /// How many steps were taken; a checkpoint restores it together with the state.
  [[nodiscard]] Index steps() const { return steps_; }
  void set_steps(Index steps) { steps_ = steps; }

  /// Calls visit(name, extents, buffer) for each array of state, e.g.
  /// "text.block0.norm1.weight.first_moment".
  template <class Visit>
  void for_each_state(Visit&& visit) {
    for (std::size_t p = 0; p < list_.size(); ++p) {
      visit(list_[p].name + ".first_moment", list_[p].parameter->extents, state_[p].first);
      visit(list_[p].name + ".second_moment", list_[p].parameter->extents, state_[p].second);
    }
  }

 private:
  struct Moments {
    typename Device::template Buffer<Scalar> first, second;
  };

  void update(const detail::Piece& piece, double learning_rate, double correction1, double correction2) {
    const auto elements = [&](const auto& buffer) {
      return Eigen::Map<Eigen::Array<Scalar, Eigen::Dynamic, 1>>(buffer.data() + piece.begin,
                                                                 piece.end - piece.begin);
    };
    auto& parameter = *list_[piece.parameter].parameter;
    auto value = elements(parameter.value), m = elements(state_[piece.parameter].first),
         v = elements(state_[piece.parameter].second);
    const auto gradient = elements(parameter.gradient);
    const bool decays = parameter.weight_decay == WeightDecay::yes;
    const auto keep = static_cast<Scalar>(1 - (decays ? learning_rate * options_.weight_decay : 0));
    const auto rate = static_cast<Scalar>(learning_rate / correction1);
    const auto scale = static_cast<Scalar>(1 / std::sqrt(correction2)),
               epsilon = static_cast<Scalar>(options_.epsilon);
    const auto beta1 = static_cast<Scalar>(options_.beta1), beta2 = static_cast<Scalar>(options_.beta2);
    constexpr Index run = 1024;  // stays in the first-level cache between the three statements
    for (Index i = 0; i < value.size(); i += run) {
      const Index n = std::min(run, value.size() - i);
      auto mi = m.segment(i, n), vi = v.segment(i, n);
      const auto gi = gradient.segment(i, n);
      mi = beta1 * mi + (Scalar(1) - beta1) * gi;
      vi = beta2 * vi + (Scalar(1) - beta2) * gi.square();
      value.segment(i, n) = keep * value.segment(i, n) - rate * mi / (vi.sqrt() * scale + epsilon);
    }
  }

  AdamWOptions options_;
  ParameterList<Scalar, Device> list_;
  std::vector<detail::Piece> pieces_;
  std::vector<Moments> state_;
  Index steps_ = 0;
};

}  // namespace vlp::optim
