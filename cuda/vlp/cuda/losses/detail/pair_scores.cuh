/// \file
/// The scores of cross-entropies over a block of pairs, and their gradient, as kernels see them: a tile at a
/// time.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/finish_contrast.cuh>
#include <vlp/cuda/losses/detail/pair_tiles.cuh>
#include <vlp/cuda/losses/detail/unit_rows.cuh>

#include <cmath>

namespace vlp::cuda::detail {

/// Numbers of a column that its rows read in backward: the softmax over it is weight exp(S - max), of scores
/// up to the limit.
struct alignas(16) ColumnTerm {
  float weight, factor, max, limit;
};

/// The scores of a block of pairs, with the cross-entropies' weights.
template <class Scalar>
struct PairScores : PairTiles<Scalar> {
  using Pairs = PairTiles<Scalar>;
  using Pairs::image, Pairs::text, Pairs::images, Pairs::texts, Pairs::targets, Pairs::log_scale,
      Pairs::image_limit, Pairs::text_limit, Pairs::image_within, Pairs::text_within;

  float row_weight, column_weight;

  /// The scale of scores, and how they are held in tiles.
  ///
  /// |S| <= exp(s). If that is small enough, exp(S) itself and sums of 2^31 of them are floats: log-sum-exps
  /// then need no maximum, and rows and columns share one exponential. Tiles hold log2(e) S, which makes it a
  /// single instruction. It must not be too small either, so that a gradient may be divided by it, and rows
  /// and columns must have the same pairs, which limits do not leave them. In all other cases tiles hold S.
  struct Scale {
    float factor;  // from products of unit rows to what tiles hold
    bool bounded;

    __device__ Scale(const PairScores& scores, PairKind kind)
        : factor(scale_of(scores.log_scale)), bounded(false) {
      constexpr float least = 0x1p-20F, most = 64;
      bounded = factor >= least && factor <= most && kind != PairKind::limited;
      if (bounded) factor *= log2_e;
    }

    /// From what tiles hold to S.
    [[nodiscard]] __device__ double unit() const { return bounded ? 0.693147180559945309 : 1.0; }
  };

  /// From a dot product of operands to a score.
  [[nodiscard]] __device__ float score_of(float dot, float of_row, float of_column,
                                          const Scale& scale) const {
    return rounded_product(dot, of_row * (scale.factor * of_column));
  }

  /// From dot products of operands to scores. Elements that are not there become -inf.
  template <bool Plain, class Tile>
  __device__ void to_scores(Tile& tile, int row, int column, const Scale& scale) const {
    float of_row[Tile::row_count];
#pragma unroll
    for (int r = 0; r < Tile::row_count; ++r) of_row[r] = image.factor[image_within(row + Tile::row(r))];
#pragma unroll
    for (int c = 0; c < Tile::col_count; ++c) {
      const float of_column = scale.factor * text.factor[text_within(column + Tile::col(c))];
#pragma unroll
      for (int r = 0; r < Tile::row_count; ++r)
        tile(r, c) = rounded_product(tile(r, c), of_row[r] * of_column);
    }
    if (this->template all_are_there<Plain, Tile>(row, column)) return;
#pragma unroll
    for (int c = 0; c < Tile::col_count; ++c) {
      const bool is_there = this->template is_text<Plain>(column + Tile::col(c));
#pragma unroll
      for (int r = 0; r < Tile::row_count; ++r)
        if (!is_there || row + Tile::row(r) >= images) tile(r, c) = -INFINITY;
    }
  }

  /// The lane's share, in its r-th row, of sum (w_r q[i, j] + w_c q'[i, j]) times what the tile holds of
  /// S[i, j]; sets dropped scores to -inf.
  template <bool Plain, class Tile>
  __device__ float take_targets(Tile& tile, int r, int row, int column) const {
    const int i = row + Tile::row(r);
    if (i >= images) return 0;
    float sum = 0;
    if (!Plain && targets.smooths) {
      const float of_row = row_weight * targets.smoothing_of_image(i);
#pragma unroll
      for (int c = 0; c < Tile::col_count; ++c) {
        if (tile(r, c) != -INFINITY)
          sum =
              fmaf(fmaf(column_weight, targets.smoothing_of(column + Tile::col(c)), of_row), tile(r, c), sum);
      }
    }
    this->template for_each_member<Plain, Tile, Tile::col_count>(i, row, column, 0, [&](int c, int j) {
      if (!Plain && targets.drops(i, j)) {
        sum -= smoothing(i, j) * tile(r, c);
        tile(r, c) = -INFINITY;
      } else {
        sum += target_weight<Plain>(i, j) * tile(r, c);
      }
    });
    return sum;
  }

  /// The scores of a tile that its rows, or its columns, take in: those above the limit of their row, or
  /// column, are -inf, except members' own.
  template <bool OfRows, class Tile>
  struct Limited {
    const PairScores& scores;
    const Tile& tile;
    int row, column;

    [[nodiscard]] __device__ float operator()(int r, int c) const {
      const int i = scores.image_within(row + Tile::row(r)), j = scores.text_within(column + Tile::col(c));
      const bool above = tile(r, c) > (OfRows ? scores.image_limit[i] : scores.text_limit[j]);
      return above && !scores.targets.is_member(i, j) ? -INFINITY : tile(r, c);
    }
  };

  /// The lane's share of sum (w_r + w_c) S[i, i], from a tile of exponentials. A logarithm of the very number
  /// that was summed leaves a loss of nothing where the sum has no other.
  template <class Tile>
  __device__ double own_scores(const Tile& tile, int row, int column) const {
    if (row >= column + Tile::size || column >= row + Tile::size) return 0;
    double product = 1;  // of a lane's at most four
#pragma unroll
    for (int r = 0; r < Tile::row_count; ++r)
      this->template for_each_member<true, Tile, Tile::col_count>(
          row + Tile::row(r), row, column, 0,
          [&](int c, int) { product *= static_cast<double>(tile(r, c)); });
    return static_cast<double>(row_weight + column_weight) * log(product);
  }

  /// Numbers of a column that backward reads.
  template <PairKind Kind, bool Bounded>
  [[nodiscard]] __device__ ColumnTerm term_of_column(int j, const SideSums& columns, const Scale& scale,
                                                     float range) const {
    j = text_within(j);
    ColumnTerm out;
    const float weight = Kind == PairKind::plain || targets.is_own_text(j) ? column_weight : 0.0F;
    softmax_terms(columns, j, range * weight, out.max, out.weight);
    out.factor = Kind == PairKind::plain || targets.is_valid(j) ? text.factor[j] : 0.0F;
    if (Bounded) out.factor *= scale.factor;
    out.limit = Kind == PairKind::limited ? text_limit[j] : 0;
    return out;
  }

  /// The terms of some of a lane's columns, from the first-th on.
  struct ColumnTerms {
    int first;
    float max[column_terms], weight[column_terms], factor[column_terms], limit[column_terms];

    template <class Tile>
    __device__ static ColumnTerms of(const ColumnTerm* of_tile, int first) {
      ColumnTerms out;
      out.first = first;
#pragma unroll
      for (int c = 0; c < column_terms; ++c) {
        const ColumnTerm& own = of_tile[Tile::col(first + c)];
        out.max[c] = own.max;
        out.weight[c] = own.weight;
        out.factor[c] = own.factor;
        out.limit[c] = own.limit;
      }
      return out;
    }
  };

  /// From some columns of the lane's r-th row of dot products, or of scores if they are `kept` ones, to those
  /// of `range` B dL/dS times the factors of row and columns: what then multiplies operands. `range` is that
  /// of the terms of columns, and with Bounded it is divided by the scale, which comes back with the factors.
  template <PairKind Kind, bool Bounded, class Tile>
  __device__ void differentiate(Tile& tile, int r, int row, int column, bool is_kept, const SideSums& rows,
                                const SideSums& columns, const ColumnTerms& of_column, const Scale& scale,
                                float range) const {
    constexpr bool plain = Kind == PairKind::plain, limited = Kind == PairKind::limited;
    const int i = image_within(row + Tile::row(r));
    float max, weight;
    softmax_terms(rows, i, range * row_weight, max, weight);
    const float of_row = image.factor[i];
    float factor[column_terms], gradient[column_terms];
    const int first = of_column.first;
#pragma unroll
    for (int c = 0; c < column_terms; ++c) {
      factor[c] = of_row * of_column.factor[c];
      float score = tile(r, first + c);  // by the same products as in to_scores, to the bit
      if (!is_kept)
        score = rounded_product(score, Bounded ? factor[c] : of_row * (scale.factor * of_column.factor[c]));
      if (Bounded) tile(r, first + c) = exp2_below(score);
      if (limited) tile(r, first + c) = score;
      gradient[c] = Bounded ? tile(r, first + c) * (weight + of_column.weight[c])
                            : weight * exp_below(score - max) +
                                  of_column.weight[c] * exp_below(score - of_column.max[c]);
    }
    if constexpr (limited) {
#pragma unroll
      for (int c = 0; c < column_terms; ++c) {
        const float score = tile(r, first + c);
        const bool above_row = score > image_limit[i], above_column = score > of_column.limit[c];
        if ((above_row || above_column) && !targets.is_member(i, text_within(column + Tile::col(first + c))))
          gradient[c] = (above_row ? 0.0F : weight * exp_below(score - max)) +
                        (above_column ? 0.0F : of_column.weight[c] * exp_below(score - of_column.max[c]));
      }
    }
    if (!plain && targets.smooths) {
#pragma unroll
      for (int c = 0; c < column_terms; ++c) {
        const int j = column + Tile::col(first + c);
        if (j < texts) gradient[c] -= range * smoothing(i, j);
      }
    }
    this->template for_each_member<plain, Tile, column_terms>(i, row, column, first, [&](int own, int j) {
      const int c = own - first;
      if (!plain && targets.drops(i, j)) {
        gradient[c] = 0;
      } else if (Bounded) {  // p - q = (exp(S) - q sum) / sum: the difference is exact where p is almost q
        float sum = !plain && targets.smooths ? -range * smoothing(i, j) : 0.0F;
        if (weight > 0)
          sum = fmaf(weight,
                     fmaf(plain ? -1.0F : -targets.member_of_image(i), rows.sum[i], tile(r, first + c)), sum);
        if (plain ? column_weight > 0 : of_column.weight[c] > 0)
          sum = fmaf(of_column.weight[c],
                     fmaf(plain ? -1.0F : -targets.member_of(j), columns.sum[j], tile(r, first + c)), sum);
        gradient[c] = sum;
      } else {
        gradient[c] -= range * target_weight<plain>(i, j);
      }
    });
#pragma unroll
    for (int c = 0; c < column_terms; ++c)
      tile(r, first + c) = !plain && of_column.factor[c] == 0 ? 0.0F : gradient[c] * factor[c];
  }

 private:
  /// Weight times the softmax over row or column i = scale exp(score - max); 0 without a weight.
  __device__ static void softmax_terms(const SideSums& sums, int i, float weight, float& max, float& scale) {
    max = weight > 0 ? sums.max[i] : INFINITY;
    scale = weight > 0 ? __fdividef(weight, sums.sum[i]) : 0;
  }

  /// Weight of the score of image i and a member j: w_r + w_c where all pairs differ.
  template <bool Plain>
  [[nodiscard]] __device__ float target_weight(int i, int j) const {
    if constexpr (Plain) return row_weight + column_weight;
    return row_weight * targets.member_of_image(i) + column_weight * targets.member_of(j);
  }

  /// Share that smoothing adds to the target of any score.
  [[nodiscard]] __device__ float smoothing(int i, int j) const {
    return fmaf(column_weight, targets.smoothing_of(j), row_weight * targets.smoothing_of_image(i));
  }
};

}  // namespace vlp::cuda::detail
