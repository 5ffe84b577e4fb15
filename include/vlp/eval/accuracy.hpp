/// \file
/// A share of right answers with the level of guessing beside it.
#pragma once

#include <vlp/core/scalar.hpp>

#include <limits>

namespace vlp::eval {

/// Number of right answers to a number of questions, and the share that guessing would get right.
struct Accuracy {
  Index correct = 0;
  Index count = 0;
  /// Expected share of right answers when guessing, in [0, 1]; NaN when nothing was asked.
  double chance = std::numeric_limits<double>::quiet_NaN();

  /// Share of right answers, in [0, 1]; NaN when nothing was asked.
  [[nodiscard]] double value() const noexcept {
    return count > 0 ? static_cast<double>(correct) / static_cast<double>(count)
                     : std::numeric_limits<double>::quiet_NaN();
  }

  /// Adds one answer to a question that guessing answers right with probability `guess`; `chance` becomes
  /// the mean over the questions.
  void add(bool right, double guess) {
    const double before = count > 0 ? chance * static_cast<double>(count) : 0.0;
    ++count;
    correct += right;
    chance = (before + guess) / static_cast<double>(count);
  }
};

}  // namespace vlp::eval
