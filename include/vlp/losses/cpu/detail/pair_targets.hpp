/// \file
/// Targets of a contrastive batch whose reports repeat, whose labels may be smoothed, and some of whose texts
/// may be no image's own.
#pragma once

#include <vlp/core/buffer.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/contrast.hpp>
#include <vlp/losses/loss.hpp>

#include <algorithm>
#include <cstdint>
#include <span>

namespace vlp::detail {

/// The targets of a batch of B images and N texts in O(B + N) memory: for the row of image i
///
///   q[i, j] = (1 - e) p[i, j] + e kept(i, j) / (number of texts kept by i),   e = label smoothing,
///
/// with p one at the image's own text t_i, or uniform over the texts of its group under
/// DuplicatePolicy::positives, and kept(i, j) false for texts that are not valid and, under
/// DuplicatePolicy::ignore, for those of i's group other than t_i. The columns of own texts have the same
/// targets over the images, of which all are valid. Images and texts are named by their places in the batch.
class PairTargets {
 public:
  /// `group` is empty, or has an id for each text, or one for each image: then texts that are no image's own
  /// are in no group. `valid` [N] is not given where all texts are valid. Both must outlive this.
  PairTargets(Arena::Scope& scratch, const PairBlock& block, std::span<const std::int64_t> group,
              VectorView<const std::uint8_t> valid, DuplicatePolicy policy, double label_smoothing)
      : block_(block),
        valid_(valid),
        policy_(policy),
        smoothing_(label_smoothing),
        valid_texts_(block.texts) {
    if (valid.given())
      valid_texts_ = std::count_if(valid.data(), valid.data() + block.texts, [](auto v) { return v != 0; });
    if (!group.empty() && policy != DuplicatePolicy::negatives) find_groups(scratch, group);
  }

  [[nodiscard]] const PairBlock& block() const noexcept { return block_; }

  /// Says whether text j, of the group of image i, leaves the denominators of i's row and, if it is an
  /// image's own, of its column.
  [[nodiscard]] bool drops(Index i, Index j) const noexcept {
    return policy_ == DuplicatePolicy::ignore && j != block_.text_of(i);
  }

  /// Says whether labels are smoothed.
  [[nodiscard]] bool smooths() const noexcept { return smoothing_ > 0; }

  /// The target that smoothing gives each text kept by image i's row.
  [[nodiscard]] double row_smoothing(Index i) const noexcept {
    return smoothing_ / static_cast<double>(valid_texts_ - (ignores() ? members_[i].texts - 1 : 0));
  }
  /// The target that smoothing gives each image kept by the column of image i's own text.
  [[nodiscard]] double column_smoothing(Index i) const noexcept {
    return smoothing_ / static_cast<double>(block_.images - (ignores() ? members_[i].images - 1 : 0));
  }

  /// The number of texts that are positives of image i.
  [[nodiscard]] Index positives(Index i) const noexcept {
    return members_ != nullptr && policy_ == DuplicatePolicy::positives ? members_[i].texts : 1;
  }

  /// Calls visit(j, row target, column target) for each valid text j in [begin, end) of image i's group,
  /// ascending; t_i is one of them. The targets are (1 - e) p in the row of i and in the column of j, which
  /// is 0 where j is no image's own.
  template <class Visit>
  void for_each_member(Index i, Index begin, Index end, Visit&& visit) const {
    const Index own = block_.text_of(i);
    if (members_ == nullptr) {
      if (begin <= own && own < end) visit(own, 1 - smoothing_, 1 - smoothing_);
      return;
    }
    const Members& members = members_[i];
    const Index* const last = members.first + members.texts;
    const bool positives = policy_ == DuplicatePolicy::positives;
    for (const Index* j = std::lower_bound(members.first, last, begin); j != last && *j < end; ++j) {
      if (!positives)
        visit(*j, *j == own ? 1 - smoothing_ : 0, *j == own ? 1 - smoothing_ : 0);
      else
        visit(*j, (1 - smoothing_) / static_cast<double>(members.texts),
              block_.image_of(*j) < 0 ? 0 : (1 - smoothing_) / static_cast<double>(members.images));
    }
  }

  /// Calls visit(j) for each text in [begin, end) that is not valid.
  template <class Visit>
  void for_each_invalid(Index begin, Index end, Visit&& visit) const {
    if (valid_texts_ == block_.texts) return;
    for (Index j = begin; j < end; ++j)
      if (valid_[j] == 0) visit(j);
  }

 private:
  /// The group of an image: its valid texts, ascending, and the number of its images.
  struct Members {
    const Index* first;
    Index texts, images;
  };

  [[nodiscard]] bool ignores() const noexcept {
    return members_ != nullptr && policy_ == DuplicatePolicy::ignore;
  }

  void find_groups(Arena::Scope& scratch, std::span<const std::int64_t> group) {
    const bool of_texts = static_cast<Index>(group.size()) == block_.texts;
    const auto id = [&](Index text) {
      return group[static_cast<std::size_t>(of_texts ? text : block_.image_of(text))];
    };
    Index* const order = scratch.take<Index>(block_.texts);
    Index count = 0;
    for (Index j = 0; j < block_.texts; ++j)
      if ((!valid_.given() || valid_[j] != 0) && (of_texts || block_.image_of(j) >= 0)) order[count++] = j;
    std::sort(order, order + count, [&](Index a, Index b) { return id(a) != id(b) ? id(a) < id(b) : a < b; });
    Members* const members = scratch.take<Members>(block_.images);
    for (Index first = 0, last = 0; first < count; first = last) {
      Index images = 0;
      for (last = first; last < count && id(order[last]) == id(order[first]); ++last)
        images += block_.image_of(order[last]) >= 0 ? 1 : 0;
      for (Index k = first; k < last; ++k)
        if (const Index image = block_.image_of(order[k]); image >= 0)
          members[image] = {order + first, last - first, images};
    }
    members_ = members;
  }

  PairBlock block_;
  VectorView<const std::uint8_t> valid_;
  DuplicatePolicy policy_;
  double smoothing_;
  Index valid_texts_;
  const Members* members_ = nullptr;  // of each image; null where only own texts match
};

}  // namespace vlp::detail
