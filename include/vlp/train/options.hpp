/// \file
/// Options of the training loop.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>

#include <cmath>
#include <cstdint>
#include <type_traits>

namespace vlp::train {

/// How a task is trained.
struct TrainingOptions {
  std::int64_t epochs = 4;     ///< passes over the training examples
  double lr = 2e-3;            ///< highest learning rate of AdamW
  double warmup = 0.05;        ///< share of the steps over which the learning rate rises, in [0, 1]
  double weight_decay = 0.05;  ///< decoupled, of matrices
  double clip = 1.0;           ///< largest norm of the whole gradient
  std::int64_t checkpoint_every =
      50;  ///< steps between checkpoints, besides the one at the end of each epoch
};

/// Calls `visit(name, field, help)` for each option that decides the result of a run: all but
/// checkpoint_every.
template <class Options, class Visit>
requires std::is_same_v<std::remove_const_t<Options>, TrainingOptions>
void for_each_setting(Options& o, Visit&& visit) {
  visit("epochs", o.epochs, "passes over the training pairs");
  visit("lr", o.lr, "highest learning rate (AdamW)");
  visit("warmup", o.warmup,
        "share of the steps over which the learning rate rises; then it follows a cosine to 0");
  visit("weight-decay", o.weight_decay, "decoupled weight decay of matrices");
  visit("clip", o.clip, "largest norm of the whole gradient");
}

/// Throws std::invalid_argument, naming the setting and its value, for one that is out of range.
inline void validate(const TrainingOptions& o) {
  require_range<std::int64_t>("epochs", o.epochs, 1, 1'000'000'000);
  require(std::isfinite(o.lr) && o.lr > 0, "lr must be a positive number, but is ", o.lr);
  require_range("warmup", o.warmup, 0.0, 1.0);
  require(std::isfinite(o.weight_decay) && o.weight_decay >= 0,
          "weight-decay must be 0 or a positive number, but is ", o.weight_decay);
  require(std::isfinite(o.clip) && o.clip > 0, "clip must be a positive number, but is ", o.clip);
  require_range<std::int64_t>("checkpoint-every", o.checkpoint_every, 1, 1'000'000'000);
}

}  // namespace vlp::train
