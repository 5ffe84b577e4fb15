/// \file
/// Cross-entropy over the rows and the columns of the scores of all pairs.
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
#include <vlp/cuda/losses/detail/pair_scores.cuh>
#include <vlp/cuda/losses/detail/tile_sums.cuh>
#include <vlp/cuda/losses/detail/unit_rows.cuh>
#include <vlp/cuda/losses/detail/write_row.cuh>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <type_traits>

namespace vlp::cuda::detail {

/// Shared memory of a block of the kernels below.
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

/// Its bytes in whatever code the device runs, of which the host does not know for what it was compiled.
template <class Scalar>
[[nodiscard]] std::size_t contrast_shared_bytes(const Cuda& device) {
  constexpr std::size_t by_warps = sizeof(ContrastShared<Scalar, WarpProducts>),
                        by_groups = sizeof(ContrastShared<Scalar, GroupProducts>);
  return device.is_hopper() ? std::max(by_warps, by_groups) : by_warps;
}

/// Calls visit(tile, row, column, is_kept) for each tile of this block: of dot products, or with ReadKept of
/// the scores that were kept.
template <bool ReadKept, class Scalar, class Visit>
__device__ void for_each_score_tile(ContrastShared<Scalar>& shared, const PairScores<Scalar>& scores,
                                    const TileRuns& runs, Visit&& visit) {
  using Product = TileProduct<Scalar>;
  using Tile = typename Product::Tile;
  const int row = runs.first_row_of_block();
  const int column = runs.first_column_of_block();
  const bool is_kept = ReadKept && row < scores.kept_rows;
  Product::for_each_tile(shared.tiles.product, scores.image.operand, scores.text.operand,
                         is_kept ? 0 : scores.features, scores.aligned, row, column, runs.tiles(),
                         [&](Tile& tile, Index at) {
                           const int tile_column = static_cast<int>(at);
                           if (is_kept) scores.read_kept(tile, row, tile_column);
                           visit(tile, row, tile_column, is_kept);
                         });
}

/// Forward over a strip of rows: log-sum-exps of each run for each row, row_sums [runs, rows of the launch],
/// and of each row of tiles for each column, column_sums [row tiles, B]; and each block's share of the
/// weighted sum of target scores. A weight of 0 leaves that side out.
template <class Scalar, bool Plain>
__global__ void __launch_bounds__(TileProduct<Scalar>::threads,
                                  TileProduct<Scalar>::blocks_per_multiprocessor)
    take_scores(PairScores<Scalar> scores, TileRuns runs, LogSumExp* row_sums, LogSumExp* column_sums,
                double* target_scores) {
  using Tile = typename TileProduct<Scalar>::Tile;
  auto& shared = shared_memory<ContrastShared<Scalar>>();
  const int thread = static_cast<int>(threadIdx.x);
  const typename PairScores<Scalar>::Scale scale(scores.log_scale);
  RowSums<Tile> row_sums_of_block;
  double target_score = 0;
  for_each_score_tile<false>(shared, scores, runs, [&](Tile& tile, int row, int column, bool) {
    scores.to_scores(tile, row, column, scale);
    if (!Plain && row < scores.kept_rows) scores.keep(tile, row, column);
    if (!Plain || !scale.bounded) {
      float of_tile = 0;
#pragma unroll
      for (int r = 0; r < Tile::row_count; ++r)
        of_tile += scores.template take_targets<Plain>(tile, r, row, column);
      target_score += static_cast<double>(of_tile) * scale.unit();
    }
    if (scale.bounded) {
      take_exponentials(tile);
      if (Plain) target_score += scores.own_scores(tile, row, column);
      if (scores.row_weight > 0) row_sums_of_block.take_exponentials(tile);
      if (scores.column_weight > 0) shared.columns.take_exponentials(tile);
    } else {
      if (scores.row_weight > 0) row_sums_of_block.take(tile);
      if (scores.column_weight > 0) shared.columns.take(tile);
    }
    if (scores.column_weight == 0) return;
    __syncthreads();
    if (thread < Tile::size && column + thread < scores.batch)
      column_sums[Index{runs.row_tile()} * scores.batch + column + thread] = shared.columns[thread];
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

/// Takes a strip's sums into those of its rows, which are then complete, and into those of all columns.
template <class Sum>
__global__ void __launch_bounds__(256)
    merge_sums(TileRuns runs, Index batch, const Sum* row_sums, int run_count, const Sum* column_sums,
               Sum* rows, Sum* columns) {
  const Index i = static_cast<Index>(blockIdx.x) * 256 + threadIdx.x;
  if (i < batch && column_sums != nullptr) {
    Sum sum = runs.row > 0 ? columns[i] : Sum{};
#pragma unroll 8
    for (int tile = 0; tile < runs.row_tiles; ++tile) sum.add(column_sums[tile * batch + i]);
    columns[i] = sum;
  }
  if (i < runs.rows && row_sums != nullptr) {
    Sum sum;
#pragma unroll 8
    for (int run = 0; run < run_count; ++run) sum.add(row_sums[run * runs.rows + i]);
    rows[runs.row + i] = sum;
  }
}

/// Backward over a block of S: range times B dL/dS, times the factors of rows and columns, written to `out`,
/// whose first row and column are those of the launch. Scales of two apart, rows of `out` then multiply
/// operands as they are.
template <class Scalar, bool Plain>
__global__ void __launch_bounds__(TileProduct<Scalar>::threads,
                                  TileProduct<Scalar>::blocks_per_multiprocessor)
    differentiate_scores(PairScores<Scalar> scores, TileRuns runs, const LogSumExp* rows,
                         const LogSumExp* columns, float range, Rows<Scalar> out) {
  using Tile = typename TileProduct<Scalar>::Tile;
  auto& shared = shared_memory<ContrastShared<Scalar>>();
  const typename PairScores<Scalar>::Scale scale(scores.log_scale);
  const auto differentiate = [&](auto bounded, Tile& tile, int row, int column, bool is_kept) {
    constexpr bool is_bounded = decltype(bounded)::value;
    const float own_range = is_bounded ? __fdividef(range, scale.factor) : range;
    const Rows<Scalar> to{out[row - runs.row] + (column - runs.column), 0, out.stride};
    const int thread = static_cast<int>(threadIdx.x);
    __syncthreads();  // all are done with the terms of the tile before
    if (thread < Tile::size)
      shared.of_column[thread] =
          scores.template term_of_column<is_bounded>(column + thread, columns, scale, own_range);
    __syncthreads();
#pragma unroll
    for (int first = 0; first < Tile::col_count; first += column_terms) {
      const auto of_column = PairScores<Scalar>::ColumnTerms::template of<Tile>(shared.of_column, first);
      RowWriter<Scalar, Tile, column_terms> writer(to, first, scores.template is_inside<Tile>(row, column),
                                                   scores.batch - row, scores.batch - column);
#pragma unroll
      for (int r = 0; r < Tile::row_count; ++r) {
        scores.template differentiate<Plain, is_bounded>(tile, r, row, column, is_kept, rows, columns,
                                                         of_column, scale, own_range);
        writer.write(tile, r);
      }
    }
  };
  for_each_score_tile<!Plain>(shared, scores, runs, [&](Tile& tile, int row, int column, bool is_kept) {
    if (scale.bounded)
      differentiate(std::true_type{}, tile, row, column, is_kept);
    else
      differentiate(std::false_type{}, tile, row, column, is_kept);
  });
}

/// From sums of products to the gradients of rows that were brought to unit length and scaled by exp(s).
template <class Scalar>
struct FinishUnitRows {
  static constexpr bool projects = true;
  UnitRows<Scalar> rows;
  const float* log_scale;
  float factor;

  struct OfRow {
    const Scalar* x;
    float factor, inverse;

    [[nodiscard]] __device__ float value(float sum) const { return factor * sum; }
    [[nodiscard]] __device__ float along(float dot) const { return projection(inverse, dot); }
  };
  [[nodiscard]] __device__ OfRow of_row(Index row) const {
    const float inverse = rows.inverse[row];
    return {rows.x[row], factor * scale_of(log_scale) * (inverse / rows.factor[row]), inverse};
  }
};

/// out (+)= sum of count numbers, in double, by one block.
template <class Number>
__global__ void __launch_bounds__(1024) sum_numbers(const Number* x, Index count, Into into, float* out) {
  auto& room = shared_memory<BlockRoom<double>>();
  const double sum = block_sum_of(x, count, room);
  if (threadIdx.x == 0) *out = static_cast<float>(sum) + (into == Into::add ? *out : 0.0F);
}

/// L = w_r mean_i CE(S[i, :], q[i, :]) + w_c mean_j CE(S[:, j], q[j, :]) of S = exp(s) X^ Y^T [B, B], which
/// exists only a tile at a time. Keeps the log-sum-exps of rows and columns, and what it is allowed of S.
template <class Scalar>
class PairContrast {
 public:
  /// The arguments of the kernels for the batch that was begun.
  [[nodiscard]] PairScores<Scalar> scores(const UnitRows<Scalar>& image, const UnitRows<Scalar>& text,
                                          Index features, const float* log_scale, const PairTargets& targets,
                                          double row_weight, double column_weight) const {
    return {image,
            text,
            static_cast<int>(image.x.count),
            features,
            image.operand.aligned() && text.operand.aligned(),
            log_scale,
            targets,
            static_cast<float>(row_weight),
            static_cast<float>(column_weight),
            kept_.data(),
            kept_rows_};
  }

  /// Starts a batch. Rows of S that fit in `kept_bytes` will be kept, in whole tiles.
  void begin(Index batch, std::size_t kept_bytes) {
    const auto fitting = static_cast<Index>(kept_bytes / sizeof(float)) / batch;
    kept_rows_ = fitting < batch ? fitting / tile_size * tile_size : batch;
    kept_.resize(kept_rows_ * batch);
    rows_.resize(batch);
    columns_.resize(batch);
  }

  [[nodiscard]] Index batch() const noexcept { return rows_.size(); }

  /// Writes the loss unless it is null.
  void forward(Cuda& device, const PairScores<Scalar>& scores, float* loss) {
    const Index batch = scores.batch, tiles = (batch + tile_size - 1) / tile_size;
    const auto sums_bytes = batch * static_cast<Index>(sizeof(LogSumExp));
    const Index strip_tiles =
        std::clamp(static_cast<Index>(device.options().score_block_bytes) / sums_bytes, Index{1}, tiles);
    const auto runs_of = [&](Index row) {
      return tile_runs<Product>(device, row, std::min(strip_tiles * tile_size, batch - row), 0, batch);
    };
    Index target_count = 0, most_runs = 0;
    for (Index row = 0; row < batch; row += strip_tiles * tile_size) {
      target_count += runs_of(row).block_count();
      most_runs = std::max<Index>(most_runs, runs_of(row).runs());
    }
    auto scratch = device.scratch().scope();
    const Index strip_rows = std::min(strip_tiles * tile_size, batch);
    auto* row_sums =
        scores.row_weight > 0 ? scratch.template take<LogSumExp>(most_runs * strip_rows) : nullptr;
    auto* column_sums =
        scores.column_weight > 0 ? scratch.template take<LogSumExp>(strip_tiles * batch) : nullptr;
    auto* target_scores = scratch.template take<double>(target_count);
    auto* next_target_scores = target_scores;
    for (Index row = 0; row < batch; row += strip_rows) {
      const TileRuns runs = runs_of(row);
      launch(scores.is_plain() ? take_scores<Scalar, true> : take_scores<Scalar, false>,
             blocks(runs.block_count()), threads, contrast_shared_bytes<Scalar>(device), device.stream(),
             scores, runs, row_sums, column_sums, next_target_scores);
      launch(merge_sums<LogSumExp>, blocks(std::max(batch, runs.rows), 256), 256, 0, device.stream(), runs,
             batch, row_sums, runs.runs(), column_sums, rows_.data(), columns_.data());
      next_target_scores += runs.block_count();
    }
    if (loss == nullptr) return;
    const dim3 grid = blocks(batch, 256);
    launch(finish_contrast<LogSumExp>, grid, 256, sizeof(FinishContrastShared), device.stream(),
           ContrastSums<LogSumExp>{rows_.data(), columns_.data(), batch, scores.row_weight,
                                   scores.column_weight, target_scores, target_count},
           scratch.template take<double>(grid.x), device.arrived(), loss);
  }

  /// Writes upstream times the gradients that are not empty.
  void backward(Cuda& device, const PairScores<Scalar>& scores, float upstream, Rows<Scalar> d_image,
                Rows<Scalar> d_text, float* d_log_scale, Into into) const {
    const Index batch = scores.batch;
    // Half has no room below 6e-8, so the numbers, at most w_r + w_c (its factors of rows are at most 1), are
    // brought near its largest.
    const float range =
        std::is_same_v<Scalar, Half> ? 16384 / (scores.row_weight + scores.column_weight) : 1.0F;
    const float factor = upstream / (range * static_cast<float>(batch));
    auto scratch = device.scratch().scope();
    float* dots = d_log_scale != nullptr ? scratch.template take<float>(batch) : nullptr;
    // Either side gives d(log scale) = <x, dx>, before the projection; d_text only if it is alone.
    const bool by_text = d_image.data == nullptr && d_text.data != nullptr;
    gradient_products<Scalar>(
        device, {scores.image.operand, scores.text.operand, scores.features},
        [&](const BlockPlace& place, Rows<Scalar> block) {
          const TileRuns runs =
              tile_runs<Product>(device, place.row, place.rows, place.column, place.columns);
          launch(scores.is_plain() ? differentiate_scores<Scalar, true> : differentiate_scores<Scalar, false>,
                 blocks(runs.block_count()), threads, contrast_shared_bytes<Scalar>(device), device.stream(),
                 scores, runs, rows_.data(), columns_.data(), range, block);
        },
        GradientSide{FinishUnitRows<Scalar>{scores.image, scores.log_scale, factor},
                     GradientRows<Scalar>{d_image, into, by_text ? nullptr : dots}},
        GradientSide{FinishUnitRows<Scalar>{scores.text, scores.log_scale, factor},
                     GradientRows<Scalar>{d_text, into, by_text ? dots : nullptr}});
    if (d_log_scale != nullptr)
      launch(sum_numbers<float>, 1, 1024, sizeof(BlockRoom<double>), device.stream(), dots, batch, into,
             d_log_scale);
  }

 private:
  using Product = TileProduct<Scalar>;
  static constexpr int tile_size = Product::Tile::size, threads = Product::threads;

  Buffer<LogSumExp> rows_, columns_;  // [B]
  Buffer<float> kept_;                // [kept_rows_, B]
  Index kept_rows_ = 0;
};

}  // namespace vlp::cuda::detail
