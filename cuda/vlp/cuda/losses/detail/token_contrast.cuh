/// \file
/// Token alignment forward: attention, what words see, and the contrast of each pair.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/last_block.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/token_rows.cuh>
#include <vlp/cuda/losses/detail/unit_rows.cuh>
#include <vlp/cuda/losses/detail/word_counts.cuh>

#include <cmath>

namespace vlp::cuda::detail {

/// a [n, W, R] from products of operands.
struct TokenAttention {
  TokenShape shape;
  WordCounts counts;
  BatchRows<const float> products;
  const float *word_factor, *region_factor;  // [n, W] and [n, R]
  float inverse_temperature;
  Softmax* sums;  // [n, W] of each word, over the regions

  /// Scores of word w and regions [r, r + 4), with what these are multiplied by; -inf beyond the last. Bits
  /// are the same wherever they are taken: a region that is alone has attention 1, and its gradient cancels.
  __device__ void scores(Index pair, Index w, Index r, float scale, float (&score)[4],
                         float (&factor)[4]) const {
    load_four(products(pair, w), r, shape.regions, score);
    load_four(region_factor + pair * shape.regions, r, shape.regions, factor, false);
#pragma unroll
    for (int e = 0; e < 4; ++e)
      score[e] = r + e < shape.regions ? rounded_product(score[e] * factor[e], scale) : -INFINITY;
  }
  [[nodiscard]] __device__ float scale(Index pair, Index w) const {
    return word_factor[pair * shape.words + w] * inverse_temperature;
  }
};

/// Forward: attention as an operand, region_factor a, 0 in padding, and as it is unless `out` has no data.
/// Warp i of the grid takes word i.
template <class Operand, class Scalar>
__global__ void __launch_bounds__(256)
    attend_regions(TokenAttention in, BatchRows<Operand> operand, BatchRows<Scalar> out, bool packed_out) {
  const Index at = static_cast<Index>(blockIdx.x) * (256 / warp_size) + warp();
  const Index pair = at / in.shape.words, w = at % in.shape.words, regions = in.shape.regions;
  if (pair >= in.shape.pairs) return;
  if (w >= in.counts[pair]) {
    clear_row(operand(pair, w), regions);
    if (out.data != nullptr) clear_row(out(pair, w), regions, packed_out);
    return;
  }
  const float scale = in.scale(pair, w);
  float score[4], factor[4];
  LogSumExp own;
  for_each_four(regions, [&](Index r) {
    in.scores(pair, w, r, scale, score, factor);
    LogSumExp four{fmaxf(fmaxf(score[0], score[1]), fmaxf(score[2], score[3])), 0};
#pragma unroll
    for (int e = 0; e < 4; ++e) four.sum += exp_below(score[e] - four.max);
    own.add(four);
  });
  own = warp_sum(own);
  const Softmax of_word{own.max, 1 / own.sum};
  if (lane() == 0) in.sums[at] = of_word;
  for_each_four(regions, [&](Index r) {
    in.scores(pair, w, r, scale, score, factor);
#pragma unroll
    for (int e = 0; e < 4; ++e) score[e] = of_word(score[e]);
    if (out.data != nullptr) store_four(out(pair, w), r, regions, score, packed_out);
#pragma unroll
    for (int e = 0; e < 4; ++e) score[e] *= factor[e];
    store_four(operand(pair, w), r, regions, score);
  });
}

/// Forward: o = c / max(|c|, 1e-12) [n, W, D], as `Parts` operands below each other, and 1 / max(|c|, 1e-12).
/// Warp i of the grid takes word i.
template <class Operand, int Parts>
__global__ void __launch_bounds__(256) take_contexts(TokenShape shape, BatchRows<const float> contexts,
                                                     BatchRows<Operand> unit_contexts, float* inverse) {
  const Index at = static_cast<Index>(blockIdx.x) * (256 / warp_size) + warp();
  const Index pair = at / shape.words, w = at % shape.words;
  if (pair >= shape.pairs) return;
  const float* const context = contexts(pair, w);
  float value[4];
  double sum = 0;
  for_each_four(shape.features, [&](Index d) {
    load_four(context, d, shape.features, value);
#pragma unroll
    for (int e = 0; e < 4; ++e) sum += static_cast<double>(value[e]) * static_cast<double>(value[e]);
  });
  const auto of_row = static_cast<float>(inverse_norm(warp_sum(sum)));
  if (lane() == 0) inverse[at] = of_row;
  for_each_four(shape.features, [&](Index d) {
    load_four(context, d, shape.features, value);
#pragma unroll
    for (int e = 0; e < 4; ++e) value[e] *= of_row;
    store_parts<Parts>(unit_contexts(pair, w), shape.words * unit_contexts.stride, d, shape.features, value);
  });
}

/// A word's softmax among all words. `others` is 1 less the word's own probability, summed so that it does
/// not cancel when the word is well told apart.
struct ContrastSum {
  Softmax softmax;
  float others;
};

/// Returns -log softmax of `own`, given the scores of the others.
__device__ inline double finish_word(const LogSumExp& others, float own, ContrastSum& out) {
  const float max = fmaxf(others.max, own);
  const float of_own = exp_below(own - max), of_others = others.sum * exp_below(others.max - max);
  const float sum = of_own + of_others;
  out = {{max, 1 / sum}, of_others / sum};
  return static_cast<double>(max) - static_cast<double>(own) +
         log(static_cast<double>(of_own) + static_cast<double>(of_others));
}

/// Scores z [n, W, W] from products with operands [n, Parts W].
template <int Parts>
struct TokenScores {
  Index words;  // W
  BatchRows<const float> products;
  const float* word_factor;  // [n, W]
  float inverse_temperature;
  ContrastSum *rows, *columns;  // [n, W]

  [[nodiscard]] __device__ float scale(Index pair, Index w) const {
    return word_factor[pair * words + w] * inverse_temperature;
  }
  [[nodiscard]] __device__ float operator()(Index pair, Index w, Index other) const {
    const float* row = products(pair, w);
    return scale(pair, w) * (Parts == 2 ? row[other] + row[words + other] : row[other]);
  }
};

inline constexpr int contrast_warps = 16;

struct TokenContrastShared {
  LogSumExp part[contrast_warps][warp_size];
  BlockRoom<double> sum, total;
  LastBlockRoom last;
};

/// The lane's share of the sum over w of the cross-entropy of z[w, :]: a warp a row.
template <int Parts>
__device__ double contrast_rows(const TokenScores<Parts>& z, Index pair, Index words) {
  double loss = 0;
  for (Index w = warp(); w < words; w += contrast_warps) {
    LogSumExp others;
    for (Index k = lane(); k < words; k += warp_size)
      if (k != w) others.add({z(pair, w, k), 1});
    ContrastSum sum;
    const double of_word = finish_word(warp_sum(others), z(pair, w, w), sum);
    if (lane() != 0) continue;
    loss += of_word;
    z.rows[pair * z.words + w] = sum;
  }
  return loss;
}

/// The same for z[:, w]: a lane a column, a warp every sixteenth row of it. Ends at a barrier, if there are
/// words at all.
template <int Parts>
__device__ double contrast_columns(const TokenScores<Parts>& z, Index pair, Index words,
                                   TokenContrastShared& shared) {
  double loss = 0;
  for (Index first = 0; first < words; first += warp_size) {
    const Index column = first + lane();
    LogSumExp others;
    if (column < words)
      for (Index w = warp(); w < words; w += contrast_warps)
        if (w != column) others.add({z(pair, w, column), 1});
    shared.part[warp()][lane()] = others;
    __syncthreads();
    if (warp() == 0 && column < words) {
      for (int part = 1; part < contrast_warps; ++part) others.add(shared.part[part][lane()]);
      loss += finish_word(others, z(pair, column, column), z.columns[pair * z.words + column]);
    }
    __syncthreads();
  }
  return loss;
}

/// `range` times the gradient of both sums of cross-entropies for the cosines, times the factors of words, as
/// `Parts` operands below each other; 0 in padding.
template <class Operand, int Parts>
__device__ void differentiate_contrast(const TokenScores<Parts>& z, Index pair, Index words, float range,
                                       const BatchRows<Operand>& out) {
  for (Index w = warp(); w < z.words; w += contrast_warps) {
    const bool is_word = w < words;
    ContrastSum row{};
    if (is_word) row = z.rows[pair * z.words + w];
    const float factor = is_word ? range * z.word_factor[pair * z.words + w] : 0.0F;
    for (Index k = lane(); k < z.words; k += warp_size) {
      float value = 0;
      if (is_word && k < words) {
        const ContrastSum column = z.columns[pair * z.words + k];
        if (k == w) {
          value = -(row.others + column.others);
        } else {
          const float score = z(pair, w, k);
          value = row.softmax(score) + column.softmax(score);
        }
      }
      value *= factor;
      const auto rounded = from_float<Operand>(value);
      out(pair, w)[k] = rounded;
      if constexpr (Parts == 2) out(pair, z.words + w)[k] = from_float<Operand>(value - to_float(rounded));
    }
  }
}

/// Where losses go.
struct TokenLosses {
  double* of_pair;  // [B], or null: not asked for
  Index first;      // pair of this launch
  Index batch;      // B
  unsigned* arrived;
  float* mean;  // null except in the last launch
};

/// Block b takes pair b. With losses, the last block of the last launch takes their mean, NaN if a count is
/// out of range; with `d_scores`, gradients are written.
template <class Operand, int Parts>
__global__ void __launch_bounds__(contrast_warps* warp_size)
    contrast_tokens(WordCounts counts, TokenScores<Parts> z, TokenLosses losses, float range,
                    BatchRows<Operand> d_scores) {
  auto& shared = shared_memory<TokenContrastShared>();
  const Index pair = static_cast<Index>(blockIdx.x), words = counts[pair];
  double sum = contrast_rows(z, pair, words);
  sum += contrast_columns(z, pair, words, shared);
  if (losses.of_pair != nullptr) {
    sum = block_sum(sum, shared.sum);
    if (threadIdx.x == 0)
      losses.of_pair[losses.first + pair] = words > 0 ? sum / static_cast<double>(2 * words) : NAN;
  }
  if (d_scores.data != nullptr) differentiate_contrast<Operand, Parts>(z, pair, words, range, d_scores);
  if (losses.mean == nullptr || !last_block(losses.arrived, shared.last)) return;
  sum = block_sum_of(losses.of_pair, losses.batch, shared.total);
  if (threadIdx.x == 0) *losses.mean = static_cast<float>(sum / static_cast<double>(losses.batch));
}

}  // namespace vlp::cuda::detail
