/// \file
/// The logits of the sigmoid loss over a block of pairs, and their gradient, as kernels see them: a tile at a
/// time.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/core/tile_product.cuh>
#include <vlp/cuda/losses/detail/pair_targets.cuh>
#include <vlp/cuda/losses/detail/pair_tiles.cuh>
#include <vlp/cuda/losses/detail/tile_sums.cuh>
#include <vlp/cuda/losses/detail/unit_rows.cuh>
#include <vlp/cuda/losses/detail/write_row.cuh>

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace vlp::cuda::detail {

/// Sums over many numbers x of log(1 + 2^x): the positive ones, and the logarithm of a product of what 1 +
/// 2^-|x| are. The product is held less 1, in which whatever pairs far from the boundary contribute is not
/// lost.
struct SoftplusSum {
  float positive = 0, product = 0;

  /// Adds x, of which `exponential` is 2^-|x|. 64 numbers leave the product in the range of float.
  __device__ void add(float x, float exponential) {
    positive += fmaxf(x, 0.0F);
    product = fmaf(product, exponential, product + exponential);
  }
  [[nodiscard]] __device__ double value() const {
    return static_cast<double>(ln_2) * static_cast<double>(positive) + static_cast<double>(log1pf(product));
  }
};

/// The logits -z (S + b) of a block of pairs: their loss is softplus, and its derivative sigmoid. Tiles hold
/// log2(e) times them, which makes an exponential a single instruction.
template <class Scalar>
struct PairLogits : PairTiles<Scalar> {
  using Pairs = PairTiles<Scalar>;
  using Pairs::image, Pairs::text, Pairs::images, Pairs::texts, Pairs::targets, Pairs::image_limit,
      Pairs::text_limit, Pairs::image_within, Pairs::text_within;

  const float* bias;
  bool weighs;  // an image's positives count like one pair together

  struct Scale {
    float factor, bias;

    __device__ Scale(const PairLogits& logits, PairKind)
        : factor(scale_of(logits.log_scale) * log2_e), bias(*logits.bias * log2_e) {}
  };

  /// From a dot product of operands to log2(e) (S + b).
  [[nodiscard]] __device__ float score_of(float dot, float of_row, float of_column,
                                          const Scale& scale) const {
    return fmaf(dot, of_row * (scale.factor * of_column), scale.bias);
  }

  /// Numbers of a column that its rows read.
  struct ColumnTerm {
    float factor, limit;
  };
  template <PairKind Kind>
  [[nodiscard]] __device__ ColumnTerm term_of_column(int j) const {
    j = text_within(j);
    return {text.factor[j], Kind == PairKind::limited ? text_limit[j] : 0.0F};
  }

  /// From dot products of operands to log2(e) (S + b).
  template <class Tile>
  __device__ void to_scores(Tile& tile, int row, const ColumnTerm* of_column, const Scale& scale) const {
#pragma unroll
    for (int r = 0; r < Tile::row_count; ++r) {
      const float of_row = image.factor[image_within(row + Tile::row(r))];
#pragma unroll
      for (int c = 0; c < Tile::col_count; ++c)
        tile(r, c) = score_of(tile(r, c), of_row, of_column[Tile::col(c)].factor, scale);
    }
  }

  /// From some columns of the lane's r-th row of log2(e) (S + b), from the first-th on, to log2(e) times the
  /// logits: of the other sign for matching pairs, -inf for those left out. Returns the bits of those that
  /// match.
  template <PairKind Kind, class Tile>
  __device__ unsigned to_logits(Tile& tile, int r, int first, int row, int column,
                                const ColumnTerm* of_column) const {
    constexpr bool plain = Kind == PairKind::plain;
    const int i = row + Tile::row(r);
    if (!this->template all_are_there<plain, Tile>(row, column)) {
#pragma unroll
      for (int c = first; c < first + column_terms; ++c)
        if (i >= images || !this->template is_text<plain>(column + Tile::col(c))) tile(r, c) = -INFINITY;
    }
    if (Kind == PairKind::limited && i < images) {
#pragma unroll
      for (int c = first; c < first + column_terms; ++c) {
        const int j = text_within(column + Tile::col(c));
        // fmaxf takes the other where there is no limit
        const bool above = tile(r, c) > fmaxf(image_limit[i], of_column[Tile::col(c)].limit);
        if (above && !targets.is_member(i, j)) tile(r, c) = -INFINITY;
      }
    }
    unsigned matching = 0;
    this->template for_each_member<plain, Tile, column_terms>(i, row, column, first, [&](int c, int j) {
      if (!plain && targets.drops(i, j)) {
        tile(r, c) = -INFINITY;
      } else {
        tile(r, c) = -tile(r, c);
        matching |= 1U << (c - first);
      }
    });
    return matching;
  }

  /// The weight of image i's matching pairs.
  template <bool Plain>
  [[nodiscard]] __device__ float weight_of(int i) const {
    return !Plain && weighs ? targets.member_of_image(image_within(i)) : 1.0F;
  }

  /// Adds some columns of the lane's r-th row of logits to the loss, and with Differentiates turns them into
  /// B dL/dS, which it adds to `d_bias`.
  template <bool Plain, bool Differentiates, class Tile>
  __device__ void add_logits(Tile& tile, int r, int first, int row, unsigned matching, SoftplusSum& sum,
                             double& weighted, float& d_bias) const {
    const float weight = weight_of<Plain>(row + Tile::row(r));
    const bool apart = !Plain && weighs && matching != 0;
    SoftplusSum of_matching;
#pragma unroll
    for (int c = 0; c < column_terms; ++c) {
      float& logit = tile(r, first + c);
      const float exponential = exp2_below(-fabsf(logit));
      const bool matches = (matching >> c & 1) != 0;
      if (apart && matches)
        of_matching.add(logit, exponential);
      else
        sum.add(logit, exponential);
      if (!Differentiates) continue;
      const float gradient = __fdividef(logit >= 0 ? 1.0F : exponential, 1 + exponential);
      logit = matches ? -weight * gradient : gradient;
      d_bias += logit;
    }
    if (apart) weighted += static_cast<double>(weight) * of_matching.value();
  }
};

/// Shared memory of a block of the kernel below.
template <class Scalar, class Products = NativeProducts>
struct SigmoidsShared {
  using Product = TileProduct<Scalar, 128, 3, Products>;
  union {
    typename Product::Shared product;
    BlockRoom<double> room[2];  // when the products are done
  };
  typename PairLogits<Scalar>::ColumnTerm of_column[Product::cols];
};
static_assert(sizeof(SigmoidsShared<float>) <= 99 * 1024);
static_assert(sizeof(SigmoidsShared<Half, GroupProducts>) <= 113 * 1024);  // two on a multiprocessor

/// Each block's share of B times the loss and, with Differentiates, of the sum of B dL/dS, which are added to
/// losses and d_biases [gridDim.x] unless these are null; and `range` B dL/dS times the factors of rows and
/// columns, written to `out`, whose first row and column are those of the launch.
template <class Scalar, PairKind Kind, bool Differentiates>
__global__ void __launch_bounds__(TileProduct<Scalar>::threads,
                                  TileProduct<Scalar>::blocks_per_multiprocessor)
    take_sigmoids(PairLogits<Scalar> logits, TileRuns runs, double* losses, double* d_biases, float range,
                  Rows<Scalar> out) {
  using Tile = typename TileProduct<Scalar>::Tile;
  auto& shared = shared_memory<SigmoidsShared<Scalar>>();
  const int thread = static_cast<int>(threadIdx.x);
  constexpr bool plain = Kind == PairKind::plain;
  const typename PairLogits<Scalar>::Scale scale(logits, Kind);
  double loss = 0, d_bias = 0;
  constexpr bool reads_kept = Differentiates && !plain;
  for_each_score_tile<reads_kept, Scalar>(
      shared, logits, runs, [&](Tile& tile, int row, int column, bool is_kept) {
        __syncthreads();  // all are done with the terms of the tile before
        if (thread < Tile::size)
          shared.of_column[thread] = logits.template term_of_column<Kind>(column + thread);
        __syncthreads();
        if (!is_kept) logits.to_scores(tile, row, shared.of_column, scale);
        if (!plain && !Differentiates && row < logits.kept_rows) logits.keep(tile, row, column);
        SoftplusSum of_tile;
        float d_bias_of_tile = 0;
#pragma unroll
        for (int first = 0; first < Tile::col_count; first += column_terms) {
#pragma unroll
          for (int r = 0; r < Tile::row_count; ++r) {
            const unsigned matching =
                logits.template to_logits<Kind>(tile, r, first, row, column, shared.of_column);
            logits.template add_logits<plain, Differentiates>(tile, r, first, row, matching, of_tile, loss,
                                                              d_bias_of_tile);
          }
          if constexpr (Differentiates) {
            const Rows<Scalar> to{out[row - runs.row] + (column - runs.column), 0, out.stride};
            RowWriter<Scalar, Tile, column_terms> writer(to, first,
                                                         logits.template is_inside<Tile>(row, column),
                                                         logits.images - row, logits.texts - column);
#pragma unroll
            for (int r = 0; r < Tile::row_count; ++r) {
              const float of_row = range * logits.image.factor[logits.image_within(row + Tile::row(r))];
#pragma unroll
              for (int c = first; c < first + column_terms; ++c)
                tile(r, c) *= of_row * shared.of_column[Tile::col(c)].factor;
              writer.write(tile, r);
            }
          }
        }
        loss += of_tile.value();
        d_bias += static_cast<double>(d_bias_of_tile);
      });
  loss = block_sum(loss, shared.room[0]);
  if (thread == 0 && losses != nullptr) losses[blockIdx.x] += loss;
  if constexpr (Differentiates) {
    d_bias = block_sum(d_bias, shared.room[1]);
    if (thread == 0 && d_biases != nullptr) d_biases[blockIdx.x] += d_bias;
  }
}

}  // namespace vlp::cuda::detail
