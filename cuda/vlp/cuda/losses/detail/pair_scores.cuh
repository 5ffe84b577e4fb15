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
#include <cstdint>

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

  [[nodiscard]] __device__ float scale() const {
    return static_cast<float>(exp(static_cast<double>(*log_scale)));
  }

  /// Multiplies by `factor` and the factors of rows and columns: from dot products of operands to those of
  /// unit rows, and from gradients by those to what multiplies operands.
  template <class Tile>
  __device__ void multiply_by_factors(Tile& tile, int row, int column, float factor) const {
    float of_column[Tile::col_count];
#pragma unroll
    for (int c = 0; c < Tile::col_count; ++c)
      of_column[c] = factor * text.factor[min(column + Tile::col(c), batch - 1)];
#pragma unroll
    for (int r = 0; r < Tile::row_count; ++r) {
      const float of_row = image.factor[min(row + Tile::row(r), batch - 1)];
#pragma unroll
      for (int c = 0; c < Tile::col_count; ++c) tile(r, c) *= of_row * of_column[c];
    }
  }

  /// From dot products of operands to scores. Elements beyond the batch become -inf.
  template <class Tile>
  __device__ void to_scores(Tile& tile, int row, int column, float scale) const {
    multiply_by_factors(tile, row, column, scale);
    if (is_inside<Tile>(row, column)) return;
#pragma unroll
    for (int r = 0; r < Tile::row_count; ++r)
#pragma unroll
      for (int c = 0; c < Tile::col_count; ++c)
        if (row + Tile::row(r) >= batch || column + Tile::col(c) >= batch) tile(r, c) = -INFINITY;
  }

  /// Which of the lane's 64 elements are special, a bit for each: a target of its row (and its column), or
  /// left out of both denominators.
  struct Marks {
    std::uint64_t target = 0, dropped = 0;

    __device__ static bool has(std::uint64_t marks, int r, int c) { return (marks >> (r * 8 + c) & 1) != 0; }
  };

  template <bool Plain, class Tile>
  __device__ Marks marks(int row, int column) const {
    Marks out;
    const bool diagonal = row < column + Tile::size && column < row + Tile::size;
    if (!diagonal && (Plain || !targets.grouped)) return out;
    if constexpr (Plain) {
#pragma unroll
      for (int r = 0; r < Tile::row_count; ++r)
#pragma unroll
        for (int c = 0; c < Tile::col_count; ++c)
          if (row + Tile::row(r) == column + Tile::col(c)) out.target |= std::uint64_t{1} << (r * 8 + c);
    } else {
      int group[Tile::col_count];
#pragma unroll
      for (int c = 0; c < Tile::col_count; ++c) {
        const int j = column + Tile::col(c);
        group[c] = j < batch ? targets.group[j] : -1;
      }
#pragma unroll
      for (int r = 0; r < Tile::row_count; ++r) {
        const int i = row + Tile::row(r), own = i < batch ? targets.group[i] : -2;
#pragma unroll
        for (int c = 0; c < Tile::col_count; ++c) {
          if (group[c] != own) continue;
          const bool drops = targets.drops(i, column + Tile::col(c));
          (drops ? out.dropped : out.target) |= std::uint64_t{1} << (r * 8 + c);
        }
      }
    }
    return out;
  }

  /// Sum of the lane's share of (w_r q[i, j] + w_c q[j, i]) S[i, j]; sets dropped scores to -inf.
  template <bool Plain, class Tile>
  __device__ float take_targets(Tile& tile, int row, int column) const {
    float sum = 0;
    if (!Plain && targets.smooths)
      for_each_inside<Tile>(row, column, [&](int r, int c, int i, int j) {
        sum = fmaf(row_weight * targets.smoothing_of(i) + column_weight * targets.smoothing_of(j), tile(r, c),
                   sum);
      });
    const Marks special = marks<Plain, Tile>(row, column);
    if (special.target != 0)
      for_each_inside<Tile>(row, column, [&](int r, int c, int i, int) {
        if (Marks::has(special.target, r, c))
          sum += (row_weight + column_weight) * targets.member_of(i) * tile(r, c);
      });
    if (!Plain && special.dropped != 0)
      for_each_inside<Tile>(row, column, [&](int r, int c, int i, int j) {
        if (!Marks::has(special.dropped, r, c)) return;
        sum -= (row_weight * targets.smoothing_of(i) + column_weight * targets.smoothing_of(j)) * tile(r, c);
        tile(r, c) = -INFINITY;
      });
    return sum;
  }

  /// From scores to B dL/dS, given the sums of rows and columns.
  template <bool Plain, class Tile>
  __device__ void differentiate(Tile& tile, int row, int column, const LogSumExp* rows,
                                const LogSumExp* columns) const {
    float column_max[Tile::col_count], column_scale[Tile::col_count];
#pragma unroll
    for (int c = 0; c < Tile::col_count; ++c)
      softmax_terms(columns, column + Tile::col(c), column_weight, column_max[c], column_scale[c]);
#pragma unroll
    for (int r = 0; r < Tile::row_count; ++r) {
      float row_max, row_scale;
      softmax_terms(rows, row + Tile::row(r), row_weight, row_max, row_scale);
#pragma unroll
      for (int c = 0; c < Tile::col_count; ++c)
        tile(r, c) = row_scale * exp_below(tile(r, c) - row_max) +
                     column_scale[c] * exp_below(tile(r, c) - column_max[c]);
    }
    if (!Plain && targets.smooths) add_smoothing(tile, row, column);
    const Marks special = marks<Plain, Tile>(row, column);
    if ((special.target | special.dropped) != 0)
      for_each_inside<Tile>(row, column, [&](int r, int c, int i, int) {
        if (Marks::has(special.target, r, c))
          tile(r, c) -= (row_weight + column_weight) * targets.member_of(i);
        if (!Plain && Marks::has(special.dropped, r, c)) tile(r, c) = 0;
      });
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

  template <class Tile>
  __device__ void add_smoothing(Tile& tile, int row, int column) const {
    for_each_inside<Tile>(row, column, [&](int r, int c, int i, int j) {
      tile(r, c) -= row_weight * targets.smoothing_of(i) + column_weight * targets.smoothing_of(j);
    });
  }

  /// Whether no element of a tile lies beyond the batch.
  template <class Tile>
  [[nodiscard]] __device__ bool is_inside(int row, int column) const {
    return row + Tile::size <= batch && column + Tile::size <= batch;
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
