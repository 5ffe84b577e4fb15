/// \file
/// The scores of all pairs of a batch, and their gradient, as kernels see them: a tile at a time.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/pair_targets.cuh>
#include <vlp/cuda/losses/detail/unit_rows.cuh>

#include <cmath>

namespace vlp::cuda::detail {

/// S = exp(s) X^ Y^T [B, B], with the cross-entropies' weights and targets.
///
/// Kernels come in two kinds. The plain one, for pairs that all differ, labels that are not smoothed and no
/// kept scores, has room for a tile in registers; what else there is would take them from it even unused.
template <class Scalar>
struct PairScores {
  UnitRows<Scalar> image, text;
  int batch;  // pairs are counted in 32 bits, which spares registers; offsets are not
  Index features;
  bool aligned;  // both operands' rows
  const float* log_scale;
  PairTargets targets;
  float row_weight, column_weight;
  float* kept;  // [kept_rows, B] the first rows of S, which forward writes and backward reads
  Index kept_rows;

  [[nodiscard]] bool is_plain() const { return !targets.grouped && !targets.smooths && kept_rows == 0; }

  /// Whether no element of a tile lies beyond the batch.
  template <class Tile>
  [[nodiscard]] __device__ bool is_inside(int row, int column) const {
    return row + Tile::size <= batch && column + Tile::size <= batch;
  }

  /// From dot products of operands to scores. Elements beyond the batch become -inf.
  template <class Tile>
  __device__ void to_scores(Tile& tile, int row, int column, float scale) const {
    float of_column[Tile::col_count];
#pragma unroll
    for (int c = 0; c < Tile::col_count; ++c)
      of_column[c] = scale * text.factor[min(column + Tile::col(c), batch - 1)];
#pragma unroll
    for (int r = 0; r < Tile::row_count; ++r) {
      const float of_row = image.factor[min(row + Tile::row(r), batch - 1)];
#pragma unroll
      for (int c = 0; c < Tile::col_count; ++c) tile(r, c) *= of_row * of_column[c];
    }
    if (is_inside<Tile>(row, column)) return;
#pragma unroll
    for (int r = 0; r < Tile::row_count; ++r)
#pragma unroll
      for (int c = 0; c < Tile::col_count; ++c)
        if (row + Tile::row(r) >= batch || column + Tile::col(c) >= batch) tile(r, c) = -INFINITY;
  }

  /// The lane's share, in its r-th row, of sum (w_r q[i, j] + w_c q[j, i]) S[i, j]; sets dropped scores to
  /// -inf.
  template <bool Plain, class Tile>
  __device__ float take_targets(Tile& tile, int r, int row, int column) const {
    const int i = row + Tile::row(r);
    if (i >= batch) return 0;
    float sum = 0;
    if (!Plain && targets.smooths) {
      const float of_row = row_weight * targets.smoothing_of(i);
#pragma unroll
      for (int c = 0; c < Tile::col_count; ++c) {
        const int j = column + Tile::col(c);
        if (j < batch) sum = fmaf(fmaf(column_weight, targets.smoothing_of(j), of_row), tile(r, c), sum);
      }
    }
    for_each_member<Plain, Tile>(i, row, column, [&](int c, int j) {
      if (!Plain && targets.drops(i, j)) {
        sum -= (row_weight * targets.smoothing_of(i) + column_weight * targets.smoothing_of(j)) * tile(r, c);
        tile(r, c) = -INFINITY;
      } else {
        sum += target_weight<Plain>(i) * tile(r, c);
      }
    });
    return sum;
  }

  /// What a lane's columns take to be differentiated.
  template <class Tile>
  struct ColumnTerms {
    float max[Tile::col_count], scale[Tile::col_count], factor[Tile::col_count];
  };
  template <class Tile>
  __device__ ColumnTerms<Tile> column_terms(int column, const LogSumExp* columns, float range) const {
    ColumnTerms<Tile> out;
#pragma unroll
    for (int c = 0; c < Tile::col_count; ++c) {
      softmax_terms(columns, column + Tile::col(c), column_weight, out.max[c], out.scale[c]);
      out.factor[c] = range * text.factor[min(column + Tile::col(c), batch - 1)];
    }
    return out;
  }

  /// From the lane's r-th row of scores to that of B dL/dS, times `range` and the factors of row and columns:
  /// what then multiplies operands.
  template <bool Plain, class Tile>
  __device__ void differentiate(Tile& tile, int r, int row, int column, const LogSumExp* rows,
                                const ColumnTerms<Tile>& of_column) const {
    const int i = row + Tile::row(r);
    float max, scale;
    softmax_terms(rows, i, row_weight, max, scale);
#pragma unroll
    for (int c = 0; c < Tile::col_count; ++c)
      tile(r, c) =
          scale * exp_below(tile(r, c) - max) + of_column.scale[c] * exp_below(tile(r, c) - of_column.max[c]);
    if (i >= batch) return;
    if (!Plain && targets.smooths) {
      const float of_row = row_weight * targets.smoothing_of(i);
#pragma unroll
      for (int c = 0; c < Tile::col_count; ++c) {
        const int j = column + Tile::col(c);
        if (j < batch) tile(r, c) -= fmaf(column_weight, targets.smoothing_of(j), of_row);
      }
    }
    for_each_member<Plain, Tile>(i, row, column, [&](int c, int j) {
      if (!Plain && targets.drops(i, j))
        tile(r, c) = 0;
      else
        tile(r, c) -= target_weight<Plain>(i);
    });
    const float factor = image.factor[i];
#pragma unroll
    for (int c = 0; c < Tile::col_count; ++c) tile(r, c) *= factor * of_column.factor[c];
  }

  template <class Tile>
  __device__ void keep(const Tile& tile, int row, int column) const {
    for_each_inside<Tile>(row, column,
                          [&](int r, int c, int i, int j) { kept[Index{i} * batch + j] = tile(r, c); });
  }
  template <class Tile>
  __device__ void read_kept(Tile& tile, int row, int column) const {
    for_each_inside<Tile>(row, column,
                          [&](int r, int c, int i, int j) { tile(r, c) = kept[Index{i} * batch + j]; });
  }

 private:
  /// Softmax over a row or column = scale exp(score - max), times the weight; 0 without a weight.
  __device__ void softmax_terms(const LogSumExp* sums, int i, float weight, float& max, float& scale) const {
    const bool counts = weight > 0 && i < batch;
    max = counts ? sums[i].max : INFINITY;
    scale = counts ? __fdividef(weight, sums[i].sum) : 0;
  }

  /// Of i's own score, or of those of its group: w_r + w_c where all pairs differ.
  template <bool Plain>
  [[nodiscard]] __device__ float target_weight(int i) const {
    return (row_weight + column_weight) * (Plain ? 1.0F : targets.member_of(i));
  }

  /// Calls visit(c, j) for the lane's columns j that are of i's group, i itself among it.
  template <bool Plain, class Tile, class Visit>
  __device__ void for_each_member(int i, int row, int column, Visit&& visit) const {
    const bool diagonal = row < column + Tile::size && column < row + Tile::size;
    if (!diagonal && (Plain || !targets.grouped)) return;
    const int own = Plain ? i : targets.group_of(i);
#pragma unroll
    for (int c = 0; c < Tile::col_count; ++c) {
      const int j = column + Tile::col(c);
      if (j < batch && (Plain ? j : targets.group_of(j)) == own) visit(c, j);
    }
  }

  template <class Tile, class Visit>
  __device__ void for_each_inside(int row, int column, Visit&& visit) const {
#pragma unroll
    for (int r = 0; r < Tile::row_count; ++r)
#pragma unroll
      for (int c = 0; c < Tile::col_count; ++c) {
        const int i = row + Tile::row(r), j = column + Tile::col(c);
        if (i < batch && j < batch) visit(r, c, i, j);
      }
  }
};

}  // namespace vlp::cuda::detail
