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

  [[nodiscard]] __device__ float scale() const {
    return static_cast<float>(exp(static_cast<double>(*log_scale)));
  }

  /// From dot products of operands to scores. Elements beyond the batch become -inf.
  template <class Tile>
  __device__ void apply_factors(Tile& tile, int row, int column, float scale) const {
    float factor[Tile::col_count];
#pragma unroll
    for (int c = 0; c < Tile::col_count; ++c) {
      const int j = column + Tile::col(c);
      factor[c] = j < batch ? text.factor[j] : 0;
    }
#pragma unroll
    for (int r = 0; r < Tile::row_count; ++r) {
      const int i = row + Tile::row(r);
      const float row_factor = i < batch ? scale * image.factor[i] : 0;
#pragma unroll
      for (int c = 0; c < Tile::col_count; ++c) {
        tile(r, c) *= row_factor * factor[c];
        if (i >= batch || column + Tile::col(c) >= batch) tile(r, c) = -INFINITY;
      }
    }
  }

  /// Which of the lane's 64 elements are special, a bit for each: a target of its row (and its column), or
  /// left out of both denominators.
  struct Marks {
    std::uint64_t target = 0, dropped = 0;

    __device__ static bool has(std::uint64_t marks, int r, int c) { return (marks >> (r * 8 + c) & 1) != 0; }
  };

  template <class Tile>
  __device__ Marks marks(int row, int column) const {
    Marks out;
    const bool diagonal = row < column + Tile::size && column < row + Tile::size;
    if (!targets.grouped && !diagonal) return out;
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
    return out;
  }

  /// Sum of the lane's share of (w_r q[i, j] + w_c q[j, i]) S[i, j]; sets dropped scores to -inf.
  template <class Tile>
  __device__ float take_targets(Tile& tile, int row, int column) const {
    float sum = 0;
    if (targets.smooths)
      for_each_inside<Tile>(row, column, [&](int r, int c, int i, int j) {
        sum = fmaf(row_weight * targets.smoothing_of(i) + column_weight * targets.smoothing_of(j), tile(r, c),
                   sum);
      });
    const Marks special = marks<Tile>(row, column);
    if (special.target != 0)
      for_each_inside<Tile>(row, column, [&](int r, int c, int i, int) {
        if (Marks::has(special.target, r, c))
          sum += (row_weight + column_weight) * targets.member_of(i) * tile(r, c);
      });
    if (special.dropped != 0)
      for_each_inside<Tile>(row, column, [&](int r, int c, int i, int j) {
        if (!Marks::has(special.dropped, r, c)) return;
        sum -= (row_weight * targets.smoothing_of(i) + column_weight * targets.smoothing_of(j)) * tile(r, c);
        tile(r, c) = -INFINITY;
      });
    return sum;
  }

  /// From scores to B dL/dS, given the sums of rows and columns.
  template <class Tile>
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
    if (targets.smooths) add_smoothing(tile, row, column);
    const Marks special = marks<Tile>(row, column);
    if ((special.target | special.dropped) != 0)
      for_each_inside<Tile>(row, column, [&](int r, int c, int i, int) {
        if (Marks::has(special.target, r, c))
          tile(r, c) -= (row_weight + column_weight) * targets.member_of(i);
        if (Marks::has(special.dropped, r, c)) tile(r, c) = 0;
      });
  }

  /// Writes `range` times the tile, times the factors of rows and columns, to `out`, whose first element is
  /// that of (first_row, first_column).
  template <class Tile>
  __device__ void write_gradient(const Tile& tile, int row, int column, float range, Rows<Scalar> out,
                                 int first_row, int first_column) const {
#pragma unroll
    for (int r = 0; r < Tile::row_count; ++r) {
      const int i = row + Tile::row(r);
      if (i >= batch) continue;
      const float row_factor = range * image.factor[i];
#pragma unroll
      for (int c = 0; c < Tile::col_count; c += 2) {
        const int j = column + Tile::col(c);
        if (j >= batch) continue;
        Scalar* const to = out[i - first_row] + (j - first_column);
        const auto value = [&](int k) {
          return from_float<Scalar>(tile(r, c + k) * row_factor * text.factor[j + k]);
        };
        if (j + 1 < batch)
          *reinterpret_cast<Pack<Scalar, 2>*>(to) = {value(0), value(1)};
        else
          *to = value(0);
      }
    }
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
    scale = counts ? weight / sums[i].sum : 0;
  }

  template <class Tile>
  __device__ void add_smoothing(Tile& tile, int row, int column) const {
    for_each_inside<Tile>(row, column, [&](int r, int c, int i, int j) {
      tile(r, c) -= row_weight * targets.smoothing_of(i) + column_weight * targets.smoothing_of(j);
    });
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
