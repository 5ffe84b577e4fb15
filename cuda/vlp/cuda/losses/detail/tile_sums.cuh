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
        run_tiles(std::clamp(static_cast<int>((Index{row_tiles} * column_tiles + wanted / 2) / wanted), 1,
                             column_tiles)),
        tile_size(size) {}

  [[nodiscard]] int runs() const { return (column_tiles + run_tiles - 1) / run_tiles; }
  [[nodiscard]] Index block_count() const { return Index{row_tiles} * runs(); }

  /// Of this block: its row of tiles, its run, and how many tiles that has.
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

/// The running log-sum-exps of the rows of a block's tiles. A row's columns are spread over four warps, and
/// each keeps its own to the end: in registers, two of eight rows to each of the four lanes that share them.
template <class Tile>
class RowSums {
 public:
  struct Shared {
    LogSumExp of_row[4][Tile::size];

    [[nodiscard]] __device__ LogSumExp operator[](int r) const {
      LogSumExp out = of_row[0][r];
      for (int w = 1; w < 4; ++w) out.add(of_row[w][r]);
      return out;
    }
  };

  /// Adds a tile to the sums of its rows.
  __device__ void take(const Tile& tile) {
#pragma unroll
    for (int r = 0; r < Tile::row_count; ++r) {
      LogSumExp row;
#pragma unroll
      for (int c = 0; c < Tile::col_count; ++c) row.max = fmaxf(row.max, tile(r, c));
      row.max = fmaxf(row.max, __shfl_xor_sync(whole_warp, row.max, 1));
      row.max = fmaxf(row.max, __shfl_xor_sync(whole_warp, row.max, 2));
#pragma unroll
      for (int c = 0; c < Tile::col_count; ++c) row.sum += exp_below(tile(r, c) - row.max);
      row.sum += __shfl_xor_sync(whole_warp, row.sum, 1);
      row.sum += __shfl_xor_sync(whole_warp, row.sum, 2);
      if (lane() % 4 == r % 4) own_[r / 4].add(row);
    }
  }

  /// Leaves the sums where all threads find them after a barrier.
  __device__ void share(Shared& shared) const {
#pragma unroll
    for (int r = 0; r < Tile::row_count; ++r)
      if (lane() % 4 == r % 4) shared.of_row[warp() % 4][Tile::row(r)] = own_[r / 4];
  }

 private:
  LogSumExp own_[Tile::row_count / 4];
};

/// The log-sum-exps of one tile's columns. A column's rows are spread over two warps.
template <class Tile>
struct ColumnSums {
  LogSumExp of_column[2][Tile::size];

  /// Leaves the sums where all threads find them after a barrier.
  __device__ void take(const Tile& tile) {
#pragma unroll
    for (int c = 0; c < Tile::col_count; ++c) {
      LogSumExp column;
#pragma unroll
      for (int r = 0; r < Tile::row_count; ++r) column.max = fmaxf(column.max, tile(r, c));
#pragma unroll
      for (int apart = 4; apart < warp_size; apart *= 2)
        column.max = fmaxf(column.max, __shfl_xor_sync(whole_warp, column.max, apart));
#pragma unroll
      for (int r = 0; r < Tile::row_count; ++r) column.sum += exp_below(tile(r, c) - column.max);
#pragma unroll
      for (int apart = 4; apart < warp_size; apart *= 2)
        column.sum += __shfl_xor_sync(whole_warp, column.sum, apart);
      if (lane() / 4 == 0) of_column[warp() / 4][Tile::col(c)] = column;
    }
  }

  [[nodiscard]] __device__ LogSumExp operator[](int c) const {
    LogSumExp out = of_column[0][c];
    out.add(of_column[1][c]);
    return out;
  }
};

/// What a block over tiles shares: first the steps of its products, and when it has done with them the sums
/// that it leaves. With column sums beside it, it must not exceed the 99 KiB that a block has on cards of
/// compute capability 8.6 and 8.9.
template <class Product>
union TileShared {
  typename Product::Shared product;
  struct {
    typename RowSums<typename Product::Tile>::Shared rows;
    BlockRoom<double> room;
  } after;
};

}  // namespace vlp::cuda::detail
