/// \file
/// How the pairs of a batch are cut into micro-batches.
#pragma once

#include <vlp/core/scalar.hpp>

#include <algorithm>

namespace vlp::tasks::detail {

/// The micro-batches of a batch of `pairs`: `size` pairs each, the last one what is left, or all at once
/// where `size` is 0.
class MicroBatches {
 public:
  MicroBatches(Index pairs, Index size)
      : pairs_(pairs), size_(size == 0 ? std::max(pairs, Index(1)) : size) {}

  /// How many there are.
  [[nodiscard]] Index count() const { return pairs_ / size_ + (pairs_ % size_ == 0 ? 0 : 1); }
  /// The first pair of micro-batch m, and how many it has.
  [[nodiscard]] Index first(Index m) const { return m * size_; }
  [[nodiscard]] Index pairs(Index m) const { return std::min(size_, pairs_ - first(m)); }

 private:
  Index pairs_, size_;
};

}  // namespace vlp::tasks::detail
