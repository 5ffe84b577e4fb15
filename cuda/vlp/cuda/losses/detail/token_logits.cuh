/// \file
/// The logits of tokens over a vocabulary, and their gradient, a tile at a time: the kernels.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/last_block.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/core/tile_product.cuh>
#include <vlp/cuda/losses/detail/tile_sums.cuh>
#include <vlp/cuda/losses/detail/write_row.cuh>

#include <cmath>
#include <cstdint>
#include <limits>

namespace vlp::cuda::detail {

/// Z = H E^T + b [N, V] and its targets q[n, v] = hit [v = y_n] + spread.
template <class Scalar>
struct TokenLogits {
  Rows<const Scalar> hidden, weight;
  const Scalar* bias;  // [V], or null: 0
  Index features;
  bool aligned;  // rows of both
  const std::int64_t* target;
  std::int64_t ignore_index;
  int rows, vocabulary;  // counted in 32 bits, which spares registers; offsets are not
  float hit, spread;

  [[nodiscard]] __device__ bool counts(int n) const { return n < rows && target[n] != ignore_index; }
  [[nodiscard]] __device__ bool is_token(std::int64_t y) const { return y >= 0 && y < vocabulary; }

  /// From dot products to logits. Elements beyond the vocabulary become -inf.
  template <class Tile>
  __device__ void add_bias(Tile& tile, int column) const {
#pragma unroll
    for (int c = 0; c < Tile::col_count; ++c) {
      const int v = column + Tile::col(c);
      float add = v < vocabulary ? 0.0F : -INFINITY;
      if (bias != nullptr && v < vocabulary) add = to_float(bias[v]);
#pragma unroll
      for (int r = 0; r < Tile::row_count; ++r) tile(r, c) += add;
    }
  }

  /// Writes the target's logit of each row whose target is one of the lane's; returns the sum of the lane's
  /// logits in rows that count, if labels are smoothed.
  template <class Tile>
  __device__ float take_targets(const Tile& tile, int row, int column, float* target_logits) const {
    float sum = 0;
#pragma unroll
    for (int r = 0; r < Tile::row_count; ++r) {
      const int n = row + Tile::row(r);
      if (!counts(n)) continue;
      const std::int64_t at = target[n] - column;
#pragma unroll
      for (int c = 0; c < Tile::col_count; ++c) {
        if (at == Tile::col(c)) target_logits[n] = tile(r, c);
        if (spread > 0 && column + Tile::col(c) < vocabulary) sum += tile(r, c);
      }
    }
    return sum;
  }

  /// From the lane's r-th row of logits to `range` N' dL/dZ, given the sums of rows: 0 in rows that do not
  /// count.
  template <class Tile>
  __device__ void differentiate(Tile& tile, int r, int row, int column, const LogSumExp* sums,
                                float range) const {
    const int n = row + Tile::row(r);
    const bool is_in = counts(n);
    const float max = is_in ? sums[n].max : 0, scale = is_in ? __fdividef(1.0F, sums[n].sum) : 0;
    const std::int64_t at = is_in ? target[n] - column : -1;
#pragma unroll
    for (int c = 0; c < Tile::col_count; ++c) {
      const float gradient = scale * exp_below(tile(r, c) - max) - spread - (at == Tile::col(c) ? hit : 0.0F);
      tile(r, c) = is_in ? range * gradient : 0.0F;
    }
  }
};

/// Shared memory of a block of the tile kernels below.
template <class Scalar>
using TokenShared = TileShared<TileProduct<Scalar>>;

/// Calls visit(logits, row, column) for each tile of this block.
template <class Scalar, class Visit>
__device__ void for_each_logit_tile(TokenShared<Scalar>& shared, const TokenLogits<Scalar>& logits,
                                    const TileRuns& runs, Visit&& visit) {
  using Product = TileProduct<Scalar>;
  const int row = runs.first_row_of_block(), column = runs.first_column_of_block();
  Product::for_each_tile(shared.product, logits.hidden, logits.weight, logits.features, logits.aligned, row,
                         column, runs.tiles(), [&](typename Product::Tile& tile, Index at) {
                           logits.add_bias(tile, static_cast<int>(at));
                           visit(tile, row, static_cast<int>(at));
                         });
}

/// Forward: the log-sum-exps of each run for each row, run_sums [runs, N]; the logit of each row's target
/// [N]; and, if labels are smoothed, each block's share of the sum of all logits.
template <class Scalar>
__global__ void __launch_bounds__(TileProduct<Scalar>::threads,
                                  TileProduct<Scalar>::blocks_per_multiprocessor)
    take_logits(TokenLogits<Scalar> logits, TileRuns runs, LogSumExp* run_sums, float* target_logits,
                double* all_logits) {
  using Tile = typename TileProduct<Scalar>::Tile;
  auto& shared = shared_memory<TokenShared<Scalar>>();
  const int thread = static_cast<int>(threadIdx.x);
  RowSums<Tile> row_sums;
  double sum = 0;
  for_each_logit_tile(shared, logits, runs, [&](Tile& tile, int row, int column) {
    sum += static_cast<double>(logits.take_targets(tile, row, column, target_logits));
    row_sums.take(tile);
  });
  row_sums.share(shared.after.rows);
  __syncthreads();
  const int row = runs.first_row_of_block() + thread;
  if (thread < Tile::size && row < logits.rows)
    run_sums[Index{runs.run()} * logits.rows + row] = shared.after.rows[thread];
  sum = block_sum(sum, shared.after.room);
  if (thread == 0) all_logits[blockIdx.x] = sum;
}

/// Sums over rows that finish_tokens makes.
struct TokenTotals {
  double loss, count;
};

struct FinishTokensShared {
  BlockRoom<double> loss, count, final_loss, final_count;
  LastBlockRoom last;
};

/// Numbers that take_logits leaves for finish_tokens.
struct TakenLogits {
  const LogSumExp* run_sums;   // [runs, N]
  int runs;                    // of tiles in a row
  const float* target_logits;  // [N]
  const double* all_logits;    // [block_count] sums of all logits
  Index block_count;
};

/// The sums of all rows, the loss, and 1 / N' (0 when no row counts). A target that is neither a token nor
/// ignore_index makes the sum of its row, and so the loss and that row's gradient, NaN.
template <class Scalar>
__global__ void __launch_bounds__(256)
    finish_tokens(TokenLogits<Scalar> logits, TakenLogits taken, LogSumExp* sums, TokenTotals* pieces,
                  unsigned* arrived, float* inverse_count, float* loss) {
  auto& shared = shared_memory<FinishTokensShared>();
  const Index n = static_cast<Index>(blockIdx.x) * 256 + threadIdx.x;
  double own = 0, count = 0;
  if (n < logits.rows && logits.target[n] != logits.ignore_index) {
    LogSumExp sum;
    for (int run = 0; run < taken.runs; ++run) sum.add(taken.run_sums[run * Index{logits.rows} + n]);
    const bool is_token = logits.is_token(logits.target[n]);
    if (!is_token) sum.sum = NAN;
    sums[n] = sum;
    count = 1;
    own = sum.value() - (is_token ? static_cast<double>(logits.hit * taken.target_logits[n]) : 0.0);
  }
  if (logits.spread > 0)
    for (Index k = n; k < taken.block_count; k += static_cast<Index>(gridDim.x) * 256)
      own -= static_cast<double>(logits.spread) * taken.all_logits[k];
  own = block_sum(own, shared.loss);
  count = block_sum(count, shared.count);
  if (threadIdx.x == 0) pieces[blockIdx.x] = {own, count};
  if (!last_block(arrived, shared.last)) return;
  own = count = 0;
  for (unsigned k = threadIdx.x; k < gridDim.x; k += 256) {
    own += pieces[k].loss;
    count += pieces[k].count;
  }
  own = block_sum(own, shared.final_loss);
  count = block_sum(count, shared.final_count);
  if (threadIdx.x != 0) return;
  *inverse_count = count > 0 ? static_cast<float>(1 / count) : 0.0F;
  if (loss != nullptr) *loss = count > 0 ? static_cast<float>(own / count) : 0.0F;
}

/// Backward over a block of Z: range times N' dL/dZ, written to `out`, whose first element is the launch's.
template <class Scalar>
__global__ void __launch_bounds__(TileProduct<Scalar>::threads,
                                  TileProduct<Scalar>::blocks_per_multiprocessor)
    differentiate_logits(TokenLogits<Scalar> logits, TileRuns runs, const LogSumExp* sums, float range,
                         Rows<Scalar> out) {
  using Tile = typename TileProduct<Scalar>::Tile;
  auto& shared = shared_memory<TokenShared<Scalar>>();
  for_each_logit_tile(shared, logits, runs, [&](Tile& tile, int row, int column) {
    const Rows<Scalar> to{out[row - runs.row] + (column - runs.column), 0, out.stride};
    const int rows = logits.rows - row, columns = logits.vocabulary - column;
    RowWriter<Scalar, Tile> writer(to, 0, rows >= Tile::size && columns >= Tile::size, rows, columns);
#pragma unroll
    for (int r = 0; r < Tile::row_count; ++r) {
      logits.differentiate(tile, r, row, column, sums, range);
      writer.write(tile, r);
    }
  });
}

/// Copies rows [N, D] that count and writes 0 for the others, which are not read.
template <class Scalar>
__global__ void __launch_bounds__(256) copy_rows_that_count(TokenLogits<Scalar> logits, Rows<Scalar> out) {
  const Index n = static_cast<Index>(blockIdx.x) * (256 / warp_size) + warp();
  if (n >= logits.rows) return;
  const bool counts = logits.counts(static_cast<int>(n));
  for (Index d = lane(); d < logits.features; d += warp_size)
    out[n][d] = counts ? logits.hidden[n][d] : from_float<Scalar>(0);
}

/// From sums of products to the gradients of rows: a mean over N'.
template <class Scalar>
struct FinishMean {
  static constexpr bool projects = false;
  float factor;
  const float* inverse_count;

  struct OfRow {
    float factor;
    [[nodiscard]] __device__ float value(float sum) const { return factor * sum; }
  };
  [[nodiscard]] __device__ OfRow of_row(Index) const { return {factor * *inverse_count}; }
};

}  // namespace vlp::cuda::detail
