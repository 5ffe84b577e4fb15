/// \file
/// The cross-entropies of a contrastive batch, row by row and column by column as they are defined, in
/// double.
#pragma once

#include "literal.hpp"
#include "support/loss_case.hpp"

#include <vlp/core/scalar.hpp>
#include <vlp/losses/contrast.hpp>
#include <vlp/losses/loss.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace vlp::test::literal {

/// A batch of scores [images, texts] and what its targets depend on.
struct ContrastBatch {
  PairBlock block;                  ///< of a whole batch, with images and texts filled in
  std::vector<double> scores;       ///< [images, texts]
  std::vector<std::int64_t> group;  ///< empty, of each image, or of each text
  std::vector<std::uint8_t> valid;  ///< empty, or of each text
  DuplicatePolicy policy = DuplicatePolicy::negatives;
  double label_smoothing = 0, row_weight = 0.5, column_weight = 0.5;
  double margin = std::numeric_limits<double>::infinity();  ///< of scores

  [[nodiscard]] double score(Index i, Index j) const {
    return scores[static_cast<std::size_t>(i * block.texts + j)];
  }

  /// Says whether text j is image i's own or, if groups count, of its group.
  [[nodiscard]] bool is_member(Index i, Index j) const {
    if (j == block.text_of(i)) return true;
    if (group.empty() || policy == DuplicatePolicy::negatives) return false;
    const bool of_texts = static_cast<Index>(group.size()) == block.texts;
    const Index own = of_texts ? block.text_of(i) : i, other = of_texts ? j : block.image_of(j);
    return other >= 0 && group[static_cast<std::size_t>(own)] == group[static_cast<std::size_t>(other)];
  }

  /// Says whether the pair is in the denominator of a row or column whose own pair has the score `own`.
  [[nodiscard]] bool is_kept(Index i, Index j, double own) const {
    if (!valid.empty() && valid[static_cast<std::size_t>(j)] == 0) return false;
    if (j == block.text_of(i)) return true;
    if (is_member(i, j)) return policy != DuplicatePolicy::ignore;
    return !(score(i, j) > own + margin);
  }
};

/// The batch of a loss L with those inputs, options and scores [images, texts]. `unit` is what a margin of 1
/// comes to in scores.
template <Loss L>
ContrastBatch contrast_batch(const Arrays& in, const typename L::Options& options, const Matrix& scores,
                             double unit) {
  ContrastBatch out;
  out.block = LossCase<L>(in).inputs.block.of(static_cast<Index>(scores.shape(0)),
                                              static_cast<Index>(scores.shape(1)));
  out.scores.assign(scores.begin(), scores.end());
  if (in.contains("group"))
    for (double id : in.at("group").values) out.group.push_back(static_cast<std::int64_t>(id));
  if (in.contains("valid"))
    for (double v : in.at("valid").values) out.valid.push_back(static_cast<std::uint8_t>(v));
  out.policy = options.duplicate_policy;
  out.margin = unit * options.false_negative_margin;
  if constexpr (requires { options.label_smoothing; }) {
    out.label_smoothing = options.label_smoothing;
    out.row_weight = options.image_to_text_weight;
    out.column_weight = options.text_to_image_weight;
  }
  return out;
}

struct ContrastResult {
  double loss = 0;
  std::vector<double> d_scores;  ///< [images, texts]
};

/// The loss and dL/dS.
inline ContrastResult contrast(const ContrastBatch& batch) {
  const PairBlock& block = batch.block;
  ContrastResult out{0, std::vector<double>(batch.scores.size())};
  struct Pair {
    Index i, j;
  };
  // The cross-entropy over `pairs`, in which the own one is `own`.
  const auto add = [&](const std::vector<Pair>& pairs, const Pair& own, double weight) {
    const double own_score = batch.score(own.i, own.j);
    double max = -std::numeric_limits<double>::infinity(), sum = 0;
    Index kept = 0, members = 0;
    for (const Pair& p : pairs) {
      if (!batch.is_kept(p.i, p.j, own_score)) continue;
      max = std::max(max, batch.score(p.i, p.j));
      ++kept;
      members += batch.is_member(p.i, p.j) ? 1 : 0;
    }
    for (const Pair& p : pairs)
      if (batch.is_kept(p.i, p.j, own_score)) sum += std::exp(batch.score(p.i, p.j) - max);
    for (const Pair& p : pairs) {
      if (!batch.is_kept(p.i, p.j, own_score)) continue;
      const bool is_own = p.i == own.i && p.j == own.j;
      double positive = is_own ? 1 : 0;
      if (batch.policy == DuplicatePolicy::positives)
        positive = batch.is_member(p.i, p.j) ? 1 / static_cast<double>(members) : 0;
      const double target =
          (1 - batch.label_smoothing) * positive + batch.label_smoothing / static_cast<double>(kept);
      const double log_share = batch.score(p.i, p.j) - max - std::log(sum);
      out.loss -= weight * target * log_share;
      out.d_scores[static_cast<std::size_t>(p.i * block.texts + p.j)] +=
          weight * (std::exp(log_share) - target);
    }
  };
  const double images = static_cast<double>(block.images);
  for (Index i = 0; i < block.images; ++i) {
    const Pair own{i, block.text_of(i)};
    std::vector<Pair> row, column;
    for (Index j = 0; j < block.texts; ++j) row.push_back({i, j});
    for (Index k = 0; k < block.images; ++k) column.push_back({k, own.j});
    add(row, own, batch.row_weight / images);
    add(column, own, batch.column_weight / images);
  }
  return out;
}

}  // namespace vlp::test::literal
