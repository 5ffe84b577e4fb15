/// \file
/// The learning-rate schedule.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace vlp::optim {

struct WarmupCosineOptions {
  double peak = 1e-3;  ///< the highest learning rate
  double floor = 0;    ///< the lowest, reached at the last step
  Index warmup_steps = 0;
  Index total_steps = 1;  ///< warm-up included
};

/// Rises linearly to the peak over the first warmup_steps steps, then falls to the floor along half a cosine
/// (Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, without restarts).
class WarmupCosine {
 public:
  explicit WarmupCosine(const WarmupCosineOptions& options) : options_(options) {
    require(std::isfinite(options.peak) && options.peak >= 0,
            "WarmupCosine: peak must be a number from 0, but is ", options.peak);
    require(options.floor >= 0 && options.floor <= options.peak,
            "WarmupCosine: floor must be from 0 to the peak ", options.peak, ", but is ", options.floor);
    require(options.total_steps >= 1, "WarmupCosine: total_steps must be at least 1, but is ",
            options.total_steps);
    require(options.warmup_steps >= 0 && options.warmup_steps <= options.total_steps,
            "WarmupCosine: warmup_steps must be from 0 to total_steps ", options.total_steps, ", but is ",
            options.warmup_steps);
  }

  /// The learning rate of step 0, 1, ...: peak (step + 1) / warmup_steps while warming up (so that the first
  /// step does something), then floor + (peak - floor) (1 + cos(pi t)) / 2 with t from 0 at step warmup_steps
  /// to 1 at step total_steps - 1; the floor beyond.
  [[nodiscard]] double operator()(Index step) const {
    const auto [peak, floor, warmup, total] = options_;
    if (step < warmup) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup);
    const double last = static_cast<double>(std::max<Index>(1, total - 1 - warmup));
    const double t = std::min(1.0, static_cast<double>(step - warmup) / last);
    return floor + (peak - floor) * 0.5 * (1 + std::cos(std::numbers::pi * t));
  }

 private:
  WarmupCosineOptions options_;
};

}  // namespace vlp::optim
