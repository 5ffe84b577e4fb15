/// \file
/// Where the margin of probable false negatives lies.
#pragma once

#include <vlp/core/buffer.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/losses/contrast.hpp>

#include <algorithm>
#include <limits>

namespace vlp::detail {

/// Scores above which pairs of a batch are probable false negatives. Null without a margin.
template <class Scalar>
struct MarginThresholds {
  const Scalar* rows = nullptr;     ///< [B] of each image's row
  const Scalar* columns = nullptr;  ///< [N] of each text's column
};

/// The score of each image with its own text plus `margin` times `unit`, for the rows and the columns of a
/// whole batch; columns that are no image's own have `of_others`. `scores` has score(image, text), which may
/// be rounded in another way than the scores compared with it: a text that equals the own one is not beyond
/// it by that.
template <class Scores, class Scalar>
MarginThresholds<Scalar> own_thresholds(Arena::Scope& scratch, const Scores& scores, const PairBlock& block,
                                        double margin, double unit, Scalar of_others) {
  constexpr double rounding = 32 * static_cast<double>(std::numeric_limits<Scalar>::epsilon());
  Scalar* const rows = scratch.take<Scalar>(block.images);
  Scalar* const columns = scratch.take<Scalar>(block.texts);
  std::fill_n(columns, block.texts, of_others);
  for (Index i = 0; i < block.images; ++i)
    rows[i] = columns[block.text_of(i)] = static_cast<Scalar>(
        static_cast<double>(scores.score(i, block.text_of(i))) + unit * (margin + rounding));
  return {rows, columns};
}

}  // namespace vlp::detail
