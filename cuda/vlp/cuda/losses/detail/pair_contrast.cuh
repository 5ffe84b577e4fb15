/// \file
/// Cross-entropy over the rows and the columns of the scores of all pairs of a block.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/core/tile_product.cuh>
#include <vlp/cuda/losses/detail/finish_contrast.cuh>
#include <vlp/cuda/losses/detail/gradient_products.cuh>
#include <vlp/cuda/losses/detail/pair_gradients.cuh>
#include <vlp/cuda/losses/detail/pair_scores.cuh>
#include <vlp/cuda/losses/detail/pair_tiles.cuh>
#include <vlp/cuda/losses/detail/tile_sums.cuh>
#include <vlp/cuda/losses/detail/write_row.cuh>
#include <vlp/losses/contrast.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <type_traits>

namespace vlp::cuda::detail {

/// Shared memory of a block of the kernels below: TileShared, with the sums or the terms of columns.
template <class Scalar, class Products = NativeProducts>
struct ContrastShared {
  using Product = TileProduct<Scalar, 128, 3, Products>;
  TileShared<Product> tiles;
  union {
    ColumnSums<typename Product::Tile> columns;
    ColumnTerm of_column[Product::cols];
  };
};
static_assert(sizeof(ContrastShared<float>) <= 99 * 1024);
static_assert(sizeof(ContrastShared<Half, WarpProducts>) <= 99 * 1024);
static_assert(sizeof(ContrastShared<Half, GroupProducts>) <= 113 * 1024);  // two on a multiprocessor

/// Forward over a strip of rows: log-sum-exps of each run for each row, row_sums [runs, rows of the launch],
/// and of each row of tiles for each column, column_sums [row tiles, n]; and each block's share of the
/// weighted sum of target scores. A weight of 0 leaves that side out.
template <class Scalar, PairKind Kind>
__global__ void __launch_bounds__(TileProduct<Scalar>::threads,
                                  TileProduct<Scalar>::blocks_per_multiprocessor)
    take_scores(PairScores<Scalar> scores, TileRuns runs, LogSumExp* row_sums, LogSumExp* column_sums,
                double* target_scores) {
  using Tile = typename TileProduct<Scalar>::Tile;
  auto& shared = shared_memory<ContrastShared<Scalar>>();
  const int thread = static_cast<int>(threadIdx.x);
  constexpr bool plain = Kind == PairKind::plain;
  const typename PairScores<Scalar>::Scale scale(scores, Kind);
  RowSums<Tile> row_sums_of_block;
  double target_score = 0;
  for_each_score_tile<false, Scalar>(shared.tiles, scores, runs, [&](Tile& tile, int row, int column, bool) {
    scores.template to_scores<plain>(tile, row, column, scale);
    if (!plain && row < scores.kept_rows) scores.keep(tile, row, column);
    if (!plain || !scale.bounded) {
      float of_tile = 0;
#pragma unroll
      for (int r = 0; r < Tile::row_count; ++r)
        of_tile += scores.template take_targets<plain>(tile, r, row, column);
      target_score += static_cast<double>(of_tile) * scale.unit();
    }
    if constexpr (Kind == PairKind::limited) {
      using Scores = PairScores<Scalar>;
      if (scores.row_weight > 0)
        row_sums_of_block.take(typename Scores::template Limited<true, Tile>{scores, tile, row, column});
      if (scores.column_weight > 0)
        shared.columns.take(typename Scores::template Limited<false, Tile>{scores, tile, row, column});
    } else if (scale.bounded) {
      take_exponentials(tile);
      if (plain) target_score += scores.own_scores(tile, row, column);
      if (scores.row_weight > 0) row_sums_of_block.take_exponentials(tile);
      if (scores.column_weight > 0) shared.columns.take_exponentials(tile);
    } else {
      if (scores.row_weight > 0) row_sums_of_block.take(tile);
      if (scores.column_weight > 0) shared.columns.take(tile);
    }
    if (scores.column_weight == 0) return;
    __syncthreads();
    if (thread < Tile::size && column + thread < scores.texts)
      column_sums[Index{runs.row_tile()} * scores.texts + column + thread] = shared.columns[thread];
    // The next tile's sums come after the barriers of its product.
  });
  auto& after = shared.tiles.after;
  row_sums_of_block.share(after.rows);
  __syncthreads();
  const Index row = Index{runs.row_tile()} * Tile::size + thread;
  if (scores.row_weight > 0 && thread < Tile::size && row < runs.rows)
    row_sums[runs.run() * runs.rows + row] = after.rows[thread];
  target_score = block_sum(target_score, after.room);
  if (thread == 0) target_scores[blockIdx.x] = target_score;
}

/// Sums that the blocks of a launch of take_scores left.
struct StripSums {
  const LogSumExp* rows;  // [runs, rows of the launch], or null without a weight
  int runs;
  const LogSumExp* columns;  // [row tiles, n], or null without a weight
  const double* target_scores;
  Index target_count;
};

/// Takes a strip's sums into those of its rows, which are then complete, of all columns, and of the target
/// scores. The first strip adds to what stands there, or begins with nothing.
template <int Threads>
__global__ void __launch_bounds__(Threads)
    merge_strip(TileRuns runs, Index texts, StripSums strip, Into into, BlockSums sums) {
  auto& room = shared_memory<BlockRoom<double>>();
  const Index i = static_cast<Index>(blockIdx.x) * Threads + threadIdx.x;
  const bool adds = into == Into::add || runs.row > 0;
  if (i < texts && (strip.columns != nullptr || !adds)) {
    LogSumExp sum = adds ? sums.columns[i] : LogSumExp{};
#pragma unroll 8
    for (int tile = 0; tile < runs.row_tiles && strip.columns != nullptr; ++tile)
      sum.add(strip.columns[tile * texts + i]);
    sums.columns.store(i, sum);
  }
  if (i < runs.rows && (strip.rows != nullptr || into == Into::overwrite)) {
    LogSumExp sum = into == Into::add ? sums.rows[runs.row + i] : LogSumExp{};
#pragma unroll 8
    for (int run = 0; run < strip.runs && strip.rows != nullptr; ++run)
      sum.add(strip.rows[run * runs.rows + i]);
    sums.rows.store(runs.row + i, sum);
  }
  if (blockIdx.x > 0) return;
  const double target_score = block_sum_of(strip.target_scores, strip.target_count, room);
  if (threadIdx.x == 0) *sums.target_score = target_score + (adds ? *sums.target_score : 0.0);
}

/// Backward over a block of S: range times B dL/dS, times the factors of rows and columns, written to `out`,
/// whose first row and column are those of the launch. Scales of two apart, rows of `out` then multiply
/// operands as they are.
template <class Scalar, PairKind Kind>
__global__ void __launch_bounds__(TileProduct<Scalar>::threads,
                                  TileProduct<Scalar>::blocks_per_multiprocessor)
    differentiate_scores(PairScores<Scalar> scores, TileRuns runs, SideSums rows, SideSums columns,
                         float range, Rows<Scalar> out) {
  using Tile = typename TileProduct<Scalar>::Tile;
  auto& shared = shared_memory<ContrastShared<Scalar>>();
  constexpr bool plain = Kind == PairKind::plain;
  const typename PairScores<Scalar>::Scale scale(scores, Kind);
  const auto differentiate = [&](auto bounded, Tile& tile, int row, int column, bool is_kept) {
    constexpr bool is_bounded = decltype(bounded)::value;
    const float own_range = is_bounded ? __fdividef(range, scale.factor) : range;
    const Rows<Scalar> to{out[row - runs.row] + (column - runs.column), 0, out.stride};
    const int thread = static_cast<int>(threadIdx.x);
    __syncthreads();  // all are done with the terms of the tile before
    if (thread < Tile::size)
      shared.of_column[thread] =
          scores.template term_of_column<Kind, is_bounded>(column + thread, columns, scale, own_range);
    __syncthreads();
#pragma unroll
    for (int first = 0; first < Tile::col_count; first += column_terms) {
      const auto of_column = PairScores<Scalar>::ColumnTerms::template of<Tile>(shared.of_column, first);
      RowWriter<Scalar, Tile, column_terms> writer(to, first, scores.template is_inside<Tile>(row, column),
                                                   scores.images - row, scores.texts - column);
#pragma unroll
      for (int r = 0; r < Tile::row_count; ++r) {
        scores.template differentiate<Kind, is_bounded>(tile, r, row, column, is_kept, rows, columns,
                                                        of_column, scale, own_range);
        writer.write(tile, r);
      }
    }
  };
  for_each_score_tile<!plain, Scalar>(shared.tiles, scores, runs,
                                      [&](Tile& tile, int row, int column, bool is_kept) {
                                        if (scale.bounded)
                                          differentiate(std::true_type{}, tile, row, column, is_kept);
                                        else
                                          differentiate(std::false_type{}, tile, row, column, is_kept);
                                      });
}

/// Writes, or adds, the sums of the block of pairs that `scores` are of.
template <class Scalar>
void accumulate_pairs(Cuda& device, const PairScores<Scalar>& scores, const ContrastSums<float>& sums,
                      Into into) {
  using Product = TileProduct<Scalar>;
  constexpr int tile_size = Product::Tile::size;
  const Index images = scores.images, texts = scores.texts, tiles = (images + tile_size - 1) / tile_size;
  const auto sums_bytes = texts * static_cast<Index>(sizeof(LogSumExp));
  const Index strip_tiles =
      std::clamp(static_cast<Index>(device.options().score_block_bytes) / sums_bytes, Index{1}, tiles);
  const Index strip_rows = std::min(strip_tiles * tile_size, images);
  const auto runs_of = [&](Index row) {
    return tile_runs<Product>(device, row, std::min(strip_rows, images - row), 0, texts);
  };
  Index most_blocks = 0, most_runs = 0;
  for (Index row = 0; row < images; row += strip_rows) {
    most_blocks = std::max(most_blocks, runs_of(row).block_count());
    most_runs = std::max<Index>(most_runs, runs_of(row).runs());
  }
  auto scratch = device.scratch().scope();
  auto* row_sums = scores.row_weight > 0 ? scratch.template take<LogSumExp>(most_runs * strip_rows) : nullptr;
  auto* column_sums =
      scores.column_weight > 0 ? scratch.template take<LogSumExp>(strip_tiles * texts) : nullptr;
  auto* target_scores = scratch.template take<double>(most_blocks);
  for (Index row = 0; row < images; row += strip_rows) {
    const TileRuns runs = runs_of(row);
    launch(kernel_of(scores.kind(), take_scores<Scalar, PairKind::plain>,
                     take_scores<Scalar, PairKind::general>, take_scores<Scalar, PairKind::limited>),
           blocks(runs.block_count()), Product::threads, pair_shared_bytes<ContrastShared, Scalar>(device),
           device.stream(), scores, runs, row_sums, column_sums, target_scores);
    launch(merge_strip<256>, blocks(std::max(texts, runs.rows), 256), 256, sizeof(BlockRoom<double>),
           device.stream(), runs, texts,
           StripSums{row_sums, runs.runs(), column_sums, target_scores, runs.block_count()}, into,
           BlockSums(sums));
  }
}

/// Writes upstream times the gradients of the block of pairs that `scores` are of, by the sums of the rows
/// and columns of a batch of as many images.
template <class Scalar>
void differentiate_contrast(Cuda& device, const PairScores<Scalar>& scores, const ContrastSums<float>& sums,
                            float upstream, Index batch, const PairGradients<Scalar>& to) {
  using Product = TileProduct<Scalar>;
  const float range = gradient_range<Scalar>(scores.row_weight + scores.column_weight);
  differentiate_pairs<Scalar>(
      device, scores, upstream, range, batch, to, [&](const BlockPlace& place, Rows<Scalar> block) {
        const TileRuns runs = tile_runs<Product>(device, place.row, place.rows, place.column, place.columns);
        launch(kernel_of(scores.kind(), differentiate_scores<Scalar, PairKind::plain>,
                         differentiate_scores<Scalar, PairKind::general>,
                         differentiate_scores<Scalar, PairKind::limited>),
               blocks(runs.block_count()), Product::threads,
               pair_shared_bytes<ContrastShared, Scalar>(device), device.stream(), scores, runs,
               SideSums(sums.rows), SideSums(sums.columns), range, block);
      });
}

}  // namespace vlp::cuda::detail
