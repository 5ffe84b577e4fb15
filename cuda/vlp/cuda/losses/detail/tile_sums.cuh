/// \file
/// Log-sum-exps over the rows and the columns of tiles, and how the tiles of a launch are dealt out.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/reduce.cuh>

#include <algorithm>

namespace vlp::cuda::detail {

/// Which tiles each block of a launch takes: a run of columns in one row of tiles. Blocks that follow each
/// other take the same columns, whose operands then come from the cache.
struct TileRuns {
  Index row, rows;  ///< where the rows of the launch begin, a multiple of 128 from 0, and how many they are
  Index column, columns;  ///< the same of its columns
  int row_tiles, column_tiles;
  int run_tiles;  ///< tiles in a run; the last run may be shorter
  int tile_size;

  /// Runs that make about `wanted` blocks, if there are that many tiles. The length is the nearest: cut off,
  /// it would leave a last round of blocks that fills little of the device.
  TileRuns(Index first_row, Index row_count, Index first_column, Index column_count, int size, int wanted)
      : row(first_row),
        rows(row_count),
        column(first_column),
        columns(column_count),
        row_tiles(static_cast<int>((row_count + size - 1) / size)),
        column_tiles(static_cast<int>((column_count + size - 1) / size)),
        run_tiles(static_cast<int>(std::clamp((Index{row_tiles} * column_tiles + wanted / 2) / wanted,
                                              Index{1}, Index{column_tiles}))),
        tile_size(size) {}

  [[nodiscard]] int runs() const { return (column_tiles - 1) / run_tiles + 1; }
  [[nodiscard]] Index block_count() const { return Index{row_tiles} * runs(); }

  /// This block's row of tiles, its run, and the number of tiles in the run.
  [[nodiscard]] __device__ int row_tile() const { return static_cast<int>(blockIdx.x) % row_tiles; }
  [[nodiscard]] __device__ int run() const { return static_cast<int>(blockIdx.x) / row_tiles; }
  [[nodiscard]] __device__ int first_row_of_block() const {
    return static_cast<int>(row) + row_tile() * tile_size;
  }
  [[nodiscard]] __device__ int first_column_of_block() const {
    return static_cast<int>(column) + run() * run_tiles * tile_size;
  }
  [[nodiscard]] __device__ int tiles() const { return min(run_tiles, column_tiles - run() * run_tiles); }
};

/// Runs for a kernel over the tiles of `Product`: four blocks for each place on the device, enough that
/// uneven ends cost little.
template <class Product>
[[nodiscard]] TileRuns tile_runs(const Cuda& device, Index row, Index rows, Index column, Index columns) {
  return {row,
          rows,
          column,
          columns,
          Product::Tile::size,
          device.multiprocessors() * Product::blocks_per_multiprocessor * 4};
}

/// Deals numbers out to lanes. All lanes give x[0, Count), and of each Shares = 2^k neighbouring numbers
/// every lane gets one, which it leaves at the same place among the first Count / Shares: number i of the
/// lane's Shares, where bit b of i is the bit of the lane's number that counts `First` 2^b. With `Sum`, what
/// it gets is the sum of that number over the Shares lanes which differ in those bits only; otherwise it is
/// its own.
///
/// Sums of Count numbers that every lane is to have would take log2(Shares) Count exchanges. These take
/// Count, less Count / Shares.
template <bool Sum, int First, int Shares, int Count>
__device__ void deal_out(float (&x)[Count]) {
  static_assert(Count % Shares == 0);
#pragma unroll
  for (int share = 1, left = Count / 2; share < Shares; share *= 2, left /= 2) {
    const bool upper = (lane() & First * share) != 0;
#pragma unroll
    for (int i = 0; i < left; ++i) {
      const float own = upper ? x[2 * i + 1] : x[2 * i], other = upper ? x[2 * i] : x[2 * i + 1];
      x[i] = Sum ? own + __shfl_xor_sync(whole_warp, other, First * share) : own;
    }
  }
}

/// From numbers x log2(e), no larger than 127, to exp(x).
template <class Tile>
__device__ void take_exponentials(Tile& tile) {
#pragma unroll
  for (int r = 0; r < Tile::row_count; ++r)
#pragma unroll
    for (int c = 0; c < Tile::col_count; ++c) tile(r, c) = exp2_below(tile(r, c));
}

/// The running log-sum-exps of the rows of a block's tiles. A row's columns are spread over the warps that
/// stand beside each other, and each keeps its own to the end: in registers, dealt out to the four lanes that
/// share its rows.
template <class Tile>
class RowSums {
 public:
  struct Shared {
    LogSumExp of_row[4][Tile::size];  // as many are used as warps stand beside each other

    [[nodiscard]] __device__ LogSumExp operator[](int r) const {
      LogSumExp out = of_row[0][r];
      for (int w = 1; w < Tile::warp_columns; ++w) out.add(of_row[w][r]);
      return out;
    }
  };

  /// Adds the numbers x of a tile, x(r, c), to the sums of its rows.
  template <class Numbers>
  __device__ void take(const Numbers& x) {
    float max[Tile::row_count], sum[Tile::row_count];
#pragma unroll
    for (int r = 0; r < Tile::row_count; ++r) {
      max[r] = LogSumExp{}.max;
#pragma unroll
      for (int c = 0; c < Tile::col_count; ++c) max[r] = fmaxf(max[r], x(r, c));
#pragma unroll
      for (int apart = 1; apart < lanes; apart *= 2)
        max[r] = fmaxf(max[r], __shfl_xor_sync(whole_warp, max[r], apart));
      sum[r] = 0;
#pragma unroll
      for (int c = 0; c < Tile::col_count; ++c) sum[r] += exp_below(x(r, c) - max[r]);
    }
    deal_out<false, 1, shares>(max);
    add_up(sum);
#pragma unroll
    for (int i = 0; i < own; ++i) own_[i].add({max[i], sum[i]});
  }

  /// Adds a tile of exponentials exp(x) to the sums of its rows, all of whose numbers must be given so.
  __device__ void take_exponentials(const Tile& tile) {
    float sum[Tile::row_count] = {};
#pragma unroll
    for (int r = 0; r < Tile::row_count; ++r)
#pragma unroll
      for (int c = 0; c < Tile::col_count; ++c) sum[r] += tile(r, c);
    add_up(sum);
#pragma unroll
    for (int i = 0; i < own; ++i) own_[i] = {0, own_[i].sum + sum[i]};
  }

  /// Leaves the sums where all threads find them after a barrier.
  __device__ void share(Shared& shared) const {
#pragma unroll
    for (int r = 0; r < Tile::row_count; ++r)
      if (lane() % lanes == r % shares)
        shared.of_row[warp() % Tile::warp_columns][Tile::row(r)] = own_[r / shares];
  }

 private:
  static constexpr int lanes = 4;  // that share rows
  static constexpr int shares = Tile::row_count < lanes ? Tile::row_count : lanes;
  static constexpr int own = Tile::row_count / shares;

  /// Sums over the lanes that share rows, dealt out. Lanes in excess have the same rows as others.
  __device__ static void add_up(float (&sum)[Tile::row_count]) {
#pragma unroll
    for (int apart = shares; apart < lanes; apart *= 2)
#pragma unroll
      for (int r = 0; r < Tile::row_count; ++r) sum[r] += __shfl_xor_sync(whole_warp, sum[r], apart);
    deal_out<true, 1, shares>(sum);
  }

  LogSumExp own_[own];  // of rows lane % shares + shares i
};

/// The log-sum-exps of one tile's columns. A column's rows are spread over the warps that stand below each
/// other, and in each over eight lanes, of which each gets the sum of one of eight columns.
template <class Tile>
struct ColumnSums {
  LogSumExp of_column[Tile::warp_rows][Tile::size];

  /// Leaves the sums of the numbers x of a tile, x(r, c), where all threads find them after a barrier.
  template <class Numbers>
  __device__ void take(const Numbers& x) {
#pragma unroll
    for (int first = 0; first < Tile::col_count; first += lanes) {
      float max[lanes], sum[lanes];
#pragma unroll
      for (int c = 0; c < lanes; ++c) {
        max[c] = LogSumExp{}.max;
#pragma unroll
        for (int r = 0; r < Tile::row_count; ++r) max[c] = fmaxf(max[c], x(r, first + c));
#pragma unroll
        for (int apart = 4; apart < warp_size; apart *= 2)
          max[c] = fmaxf(max[c], __shfl_xor_sync(whole_warp, max[c], apart));
        sum[c] = 0;
#pragma unroll
        for (int r = 0; r < Tile::row_count; ++r) sum[c] += exp_below(x(r, first + c) - max[c]);
      }
      deal_out<false, 4, lanes>(max);
      deal_out<true, 4, lanes>(sum);
      leave(first, {max[0], sum[0]});
    }
  }

  /// The same of a tile of exponentials exp(x).
  __device__ void take_exponentials(const Tile& tile) {
#pragma unroll
    for (int first = 0; first < Tile::col_count; first += lanes) {
      float sum[lanes] = {};
#pragma unroll
      for (int r = 0; r < Tile::row_count; ++r)
#pragma unroll
        for (int c = 0; c < lanes; ++c) sum[c] += tile(r, first + c);
      deal_out<true, 4, lanes>(sum);
      leave(first, {0, sum[0]});
    }
  }

  [[nodiscard]] __device__ LogSumExp operator[](int c) const {
    LogSumExp out = of_column[0][c];
#pragma unroll
    for (int w = 1; w < Tile::warp_rows; ++w) out.add(of_column[w][c]);
    return out;
  }

 private:
  static constexpr int lanes = warp_size / 4;
  static_assert(Tile::col_count % lanes == 0);

  __device__ void leave(int first, const LogSumExp& own) {
    of_column[warp() / Tile::warp_columns][Tile::col(first + lane() / 4)] = own;
  }
};

/// Shared memory of a block over tiles: first the steps of its products, and when it has done with them the
/// sums that it leaves. With column sums beside it, it must not exceed the 99 KiB that a block has on cards
/// of compute capability 8.6 and 8.9.
template <class Product>
union TileShared {
  typename Product::Shared product;
  struct {
    typename RowSums<typename Product::Tile>::Shared rows;
    BlockRoom<double> room;
  } after;
};

}  // namespace vlp::cuda::detail
