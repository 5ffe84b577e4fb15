/// \file
/// Targets of a contrastive batch whose reports repeat and whose labels may be smoothed.
#pragma once

#include <vlp/core/buffer.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/losses/loss.hpp>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <span>

namespace vlp::detail {

/// The rows q[i, :] of the target matrix [B, B] and the columns each row keeps in its denominator, in O(B)
/// memory:
///
///   q[i, j] = (1 - e) p[i, j] + e kept(i, j) / (number kept by i),   e = label smoothing,
///
/// with p the identity, or uniform over i's group under DuplicatePolicy::positives, and kept(i, j) false only
/// under DuplicatePolicy::ignore, for j other than i of i's group. p and kept are symmetric.
class PairTargets {
 public:
  /// `group` has `batch` ids, or none: then all pairs differ.
  void prepare(Index batch, std::span<const std::int64_t> group, DuplicatePolicy policy,
               double label_smoothing) {
    batch_ = batch;
    policy_ = policy;
    smoothing_ = label_smoothing;
    Index* order = order_.resize(batch);
    Index* begin = begin_.resize(batch);
    Index* count = count_.resize(batch);
    std::iota(order, order + batch, Index{0});
    const bool grouped = !group.empty() && policy != DuplicatePolicy::negatives;
    const auto id = [&](Index i) { return group[static_cast<std::size_t>(i)]; };
    if (grouped)
      std::sort(order, order + batch,
                [&](Index a, Index b) { return id(a) != id(b) ? id(a) < id(b) : a < b; });
    for (Index first = 0, last = 0; first < batch; first = last) {
      last = first + 1;
      while (grouped && last < batch && id(order[last]) == id(order[first])) ++last;
      for (Index k = first; k < last; ++k) {
        begin[order[k]] = first;
        count[order[k]] = last - first;
      }
    }
  }

  /// Says whether column j, of the group of i, leaves the denominator of row i.
  [[nodiscard]] bool drops(Index i, Index j) const noexcept {
    return policy_ == DuplicatePolicy::ignore && i != j;
  }

  /// Says whether labels are smoothed.
  [[nodiscard]] bool smooths() const noexcept { return smoothing_ > 0; }

  /// The target that smoothing gives each column kept by row i.
  [[nodiscard]] double smoothing(Index i) const noexcept {
    const Index dropped = policy_ == DuplicatePolicy::ignore ? count_[i] - 1 : 0;
    return smoothing_ / static_cast<double>(batch_ - dropped);
  }

  /// Calls visit(j, (1 - e) p[i, j]) for each j in [begin, end) of i's group, ascending; i is one of them.
  template <class Visit>
  void for_each_member(Index i, Index begin, Index end, Visit&& visit) const {
    const Index* const first = order_.data() + begin_[i];
    const Index* const last = first + count_[i];
    const Index* j = std::lower_bound(first, last, begin);
    for (; j != last && *j < end; ++j) visit(*j, target(i, *j));
  }

 private:
  [[nodiscard]] double target(Index i, Index j) const noexcept {
    if (policy_ == DuplicatePolicy::positives) return (1 - smoothing_) / static_cast<double>(count_[i]);
    return i == j ? 1 - smoothing_ : 0;
  }

  Index batch_ = 0;
  DuplicatePolicy policy_ = DuplicatePolicy::negatives;
  double smoothing_ = 0;
  Buffer<Index> order_;  // pairs by group, ascending inside each
  Buffer<Index> begin_;  // where in order_ the group of pair i begins,
  Buffer<Index> count_;  // and how many pairs it has
};

}  // namespace vlp::detail
