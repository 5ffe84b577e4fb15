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

/// The number of columns whose terms a lane has in registers at a time.
inline constexpr int column_terms = 8;

/// Numbers of a column that its rows read in backward: the softmax over it is weight exp(S - max).
struct alignas(16) ColumnTerm {
  float weight, factor, max;
};

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

  /// Says whether no element of a tile lies beyond the batch.
  template <class Tile>
  [[nodiscard]] __device__ bool is_inside(int row, int column) const {
    return row + Tile::size <= batch && column + Tile::size <= batch;
  }

  /// The scale of scores, and how they are held in tiles.
  ///
  /// |S| <= exp(s). If that is small enough, exp(S) itself and sums of 2^31 of them are floats: log-sum-exps
  /// then need no maximum, and rows and columns share one exponential. Tiles hold log2(e) S, which makes it a
  /// single instruction. It must not be too small either, so that a gradient may be divided by it. In all
  /// other cases tiles hold S.
  struct Scale {
    float factor;  // from products of unit rows to what tiles hold
    bool bounded;

    __device__ explicit Scale(const float* log_scale) : factor(scale_of(log_scale)), bounded(false) {
      constexpr float least = 0x1p-20F, most = 64;
      bounded = factor >= least && factor <= most;
      if (bounded) factor *= log2_e;
    }

    /// From what tiles hold to S.
    [[nodiscard]] __device__ double unit() const { return bounded ? 0.693147180559945309 : 1.0; }
  };

  /// From dot products of operands to scores. Elements beyond the batch become -inf.
  template <class Tile>
  __device__ void to_scores(Tile& tile, int row, int column, const Scale& scale) const {
    float of_row[Tile::row_count];
#pragma unroll
    for (int r = 0; r < Tile::row_count; ++r) of_row[r] = image.factor[within(row + Tile::row(r))];
#pragma unroll
    for (int c = 0; c < Tile::col_count; ++c) {
      const float of_column = scale.factor * text.factor[within(column + Tile::col(c))];
#pragma unroll
      for (int r = 0; r < Tile::row_count; ++r)
        tile(r, c) = rounded_product(tile(r, c), of_row[r] * of_column);
    }
    if (is_inside<Tile>(row, column)) return;
#pragma unroll
    for (int r = 0; r < Tile::row_count; ++r)
#pragma unroll
      for (int c = 0; c < Tile::col_count; ++c)
        if (row + Tile::row(r) >= batch || column + Tile::col(c) >= batch) tile(r, c) = -INFINITY;
  }

  /// The lane's share, in its r-th row, of sum (w_r q[i, j] + w_c q[j, i]) times what the tile holds of
  /// S[i, j]; sets dropped scores to -inf.
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
    for_each_member<Plain, Tile, Tile::col_count>(i, row, column, 0, [&](int c, int j) {
      if (!Plain && targets.drops(i, j)) {
        sum -= (row_weight * targets.smoothing_of(i) + column_weight * targets.smoothing_of(j)) * tile(r, c);
        tile(r, c) = -INFINITY;
      } else {
        sum += target_weight<Plain>(i) * tile(r, c);
      }
    });
    return sum;
  }

  /// The lane's share of sum (w_r + w_c) S[i, i], from a tile of exponentials. A logarithm of the very number
  /// that was summed leaves a loss of nothing where the sum has no other.
  template <class Tile>
  __device__ double own_scores(const Tile& tile, int row, int column) const {
    if (row >= column + Tile::size || column >= row + Tile::size) return 0;
    double product = 1;  // of a lane's at most four
#pragma unroll
    for (int r = 0; r < Tile::row_count; ++r)
      for_each_member<true, Tile, Tile::col_count>(row + Tile::row(r), row, column, 0, [&](int c, int) {
        product *= static_cast<double>(tile(r, c));
      });
    return static_cast<double>(row_weight + column_weight) * log(product);
  }

  /// Numbers of a column that backward reads.
  template <bool Bounded>
  [[nodiscard]] __device__ ColumnTerm term_of_column(int j, const LogSumExp* columns, const Scale& scale,
                                                     float range) const {
    j = within(j);
    ColumnTerm out;
    softmax_terms(columns, j, range * column_weight, out.max, out.weight);
    out.factor = text.factor[j];
    if (Bounded) out.factor *= scale.factor;
    return out;
  }

  /// The terms of some of a lane's columns, from the first-th on.
  struct ColumnTerms {
    int first;
    float max[column_terms], weight[column_terms], factor[column_terms];

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
      }
      return out;
    }
  };

  /// From some columns of the lane's r-th row of dot products, or of scores if they are `kept` ones, to those
  /// of `range` B dL/dS times the factors of row and columns: what then multiplies operands. `range` is that
  /// of the terms of columns, and with Bounded it is divided by the scale, which comes back with the factors.
  template <bool Plain, bool Bounded, class Tile>
  __device__ void differentiate(Tile& tile, int r, int row, int column, bool is_kept, const LogSumExp* rows,
                                const LogSumExp* columns, const ColumnTerms& of_column, const Scale& scale,
                                float range) const {
    const int i = within(row + Tile::row(r));
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
      gradient[c] = Bounded ? tile(r, first + c) * (weight + of_column.weight[c])
                            : weight * exp_below(score - max) +
                                  of_column.weight[c] * exp_below(score - of_column.max[c]);
    }
    const auto smoothing = [&](int j) {
      return range * fmaf(column_weight, targets.smoothing_of(j), row_weight * targets.smoothing_of(i));
    };
    if (!Plain && targets.smooths) {
#pragma unroll
      for (int c = 0; c < column_terms; ++c) {
        const int j = column + Tile::col(first + c);
        if (j < batch) gradient[c] -= smoothing(j);
      }
    }
    for_each_member<Plain, Tile, column_terms>(i, row, column, first, [&](int own, int j) {
      const int c = own - first;
      if (!Plain && targets.drops(i, j)) {
        gradient[c] = 0;
      } else if (Bounded) {  // p - q = (exp(S) - q sum) / sum: the difference is exact where p is almost q
        const float q = Plain ? 1.0F : targets.member_of(i);
        float sum = !Plain && targets.smooths ? -smoothing(j) : 0.0F;
        if (weight > 0) sum = fmaf(weight, fmaf(-q, rows[i].sum, tile(r, first + c)), sum);
        if (column_weight > 0)
          sum = fmaf(of_column.weight[c], fmaf(-q, columns[j].sum, tile(r, first + c)), sum);
        gradient[c] = sum;
      } else {
        gradient[c] -= range * target_weight<Plain>(i);
      }
    });
#pragma unroll
    for (int c = 0; c < column_terms; ++c) tile(r, first + c) = gradient[c] * factor[c];
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
  /// An index within the batch. Numbers computed for rows and columns beyond it are neither summed nor
  /// written.
  [[nodiscard]] __device__ int within(int i) const {
    return min(i, batch - 1);
  }

  /// Weight times the softmax over row or column i = scale exp(score - max); 0 without a weight.
  __device__ static void softmax_terms(const LogSumExp* sums, int i, float weight, float& max, float& scale) {
    max = weight > 0 ? sums[i].max : INFINITY;
    scale = weight > 0 ? __fdividef(weight, sums[i].sum) : 0;
  }

  /// Weight of i's own score, or of those of its group: w_r + w_c where all pairs differ.
  template <bool Plain>
  [[nodiscard]] __device__ float target_weight(int i) const {
    return (row_weight + column_weight) * (Plain ? 1.0F : targets.member_of(i));
  }

  /// Calls visit(c, j) for `Count` of the lane's columns, from the first-th on, that are of i's group, i
  /// itself among it: the lane's c-th column is column j of S.
  template <bool Plain, class Tile, int Count, class Visit>
  __device__ void for_each_member(int i, int row, int column, int first, Visit&& visit) const {
    const bool diagonal = row < column + Tile::size && column < row + Tile::size;
    if (!diagonal && (Plain || !targets.grouped)) return;
    const int own = Plain ? i : targets.group_of(i);
#pragma unroll
    for (int c = first; c < first + Count; ++c) {
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
