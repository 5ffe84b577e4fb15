/// \file
/// The gradient of the two softmaxes of local alignment.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/aligned_words.cuh>
#include <vlp/cuda/losses/detail/attention_tile.cuh>

namespace vlp::cuda::detail {

/// What backward adds to a tile.
template <class Scalar>
struct AttentionGradient {
  AlignedWords aligned;
  BatchRows<const float> seen;   // (image, row): <c_w, C_r>, up to factors
  const float* look_factor;      // [images, rows] of seen, and of the rows that look at c_w (see Contexts)
  const float* image_factor;     // [images] of seen, too; null: 1
  Rows<Scalar> d_scores;         // [rows, images R] dL/dA times a power of two
  BatchRows<Scalar> weighted;    // (image, row): attention times its factor in |c_w|^2; 0 in padding
  const GradientPowers* powers;  // what d_scores and weighted are multiplied by
};

/// What a word in an image contributes to the gradient of its attention, with a for base plus what
/// `attention` holds, A for what `scores` holds, and s for what `seen` holds: g = a (of_score A + of_seen s -
/// mean) for its softmax's logits, times the temperature; of_attention a for the scores directly; weight a
/// for `weighted`.
struct WordGradient {
  float base, of_score, of_seen, mean, of_attention, weight;
};
__device__ inline WordGradient of_lane(const WordGradient& own, int from) {
  return {__shfl_sync(whole_warp, own.base, from),         __shfl_sync(whole_warp, own.of_score, from),
          __shfl_sync(whole_warp, own.of_seen, from),      __shfl_sync(whole_warp, own.mean, from),
          __shfl_sync(whole_warp, own.of_attention, from), __shfl_sync(whole_warp, own.weight, from)};
}

/// dot = sum_r a_r A_r and |c|^2 = a G a^T give the attention's gradient d_dot A_r + d_norm2 (a G)_r, whose
/// mean under the attention is d_dot dot + d_norm2 |c|^2; d_norm2 is twice the gradient of |c|^2.
template <class Scalar>
__device__ WordGradient word_gradient(const AttentionTile<Scalar>& tile,
                                      const AttentionGradient<Scalar>& given, int image, int report,
                                      int row) {
  const Index at = Index{image} * tile.rows + row;
  const int word = tile.first_row + row, i = tile.first_image + image;
  const AlignedWord of_word = given.aligned.differentiate(i, report, word);
  const float inverse = tile.inverse_sum[at], look = given.look_factor[at], d_norm2 = of_word.d_squared_norm;
  const float factor = tile.temperature * inverse;
  const float image_factor = given.image_factor != nullptr ? given.image_factor[image] : 1;
  const float base = to_float(tile.attention(image, row)[tile.regions]) / tile.mean_scale;
  return {base,
          ln_2 * factor * of_word.d_dot,
          factor * d_norm2 * look * image_factor,
          factor * (of_word.d_dot * of_word.dot + d_norm2 * of_word.squared_norm),
          inverse * of_word.d_dot,
          d_norm2 * inverse * look * given.powers->weighted};
}

/// Columns that a lane has of a chunk in backward.
inline constexpr int gradient_columns = 2;

/// What a block shares, and behind it room for as many words as its launch gives bytes for.
struct DifferentiateShared {
  using Chunk = ColumnChunk<gradient_columns>;
  float sum[8][Chunk::size];

  /// Of a word, for the second pass.
  struct Word {
    float weight[Chunk::size], d_weight[Chunk::size];
    float base, of_attention;
  };
  [[nodiscard]] __device__ Word& word(int w) { return reinterpret_cast<Word*>(this + 1)[w]; }
};

/// Calls visit(word, gradient, c, attention, weight, d_weight, to) for those words of a report that are the
/// warp's and the columns c of the lane; with 0 beyond the last. `to` points into `out`, whose row 0 is the
/// first word's and whose column 0 the lane's first. Lanes work out the gradients of 32 words at a time and
/// hand them round. A row's loads are on their way together; from row to row addresses take sums, no
/// products.
template <class Scalar, class Chunk, class Visit>
__device__ void for_each_attention(const AttentionTile<Scalar>& tile, const AttentionGradient<Scalar>& given,
                                   int image, int report, const Chunk& chunk, const Rows<Scalar>& out,
                                   Visit&& visit) {
  const int begin = tile.row_of(report), count = tile.words.count(report), column = chunk.column(0);
  const float* scores = tile.scores_of(image, begin + warp()) + column;
  const float* seen = given.seen(image, begin + warp()) + column;
  const Scalar* attention = tile.attention(image, begin + warp()) + column;
  Scalar* to = out[warp()];
  LaneSoftmax<gradient_columns> softmax;
  softmax.load(tile.softmax_of(image, report), chunk);
  for (int first = warp(); first < count; first += 8 * warp_size) {
    const int of_this_lane = first + 8 * lane();
    WordGradient own{};
    if (of_this_lane < count) own = word_gradient(tile, given, image, report, begin + of_this_lane);
    const int words = min(warp_size, (count - first + 7) / 8);
    for (int k = 0; k < words; ++k) {
      float score[gradient_columns], look[gradient_columns], a[gradient_columns];
#pragma unroll
      for (int c = 0; c < gradient_columns; ++c) {
        score[c] = chunk.has(c) ? scores[c * warp_size] : 0;
        look[c] = chunk.has(c) ? seen[c * warp_size] : 0;
        a[c] = chunk.has(c) ? to_float(attention[c * warp_size]) : 0;
      }
      const WordGradient gradient = of_lane(own, k);
#pragma unroll
      for (int c = 0; c < gradient_columns; ++c) {
        if (chunk.has(c)) a[c] += gradient.base;
        visit(first + 8 * k, gradient, c, a[c], softmax.column[c](score[c]),
              a[c] * (gradient.of_score * score[c] + (gradient.of_seen * look[c] - gradient.mean)),
              to + c * warp_size);
      }
      scores += 8 * tile.scores.stride;
      seen += 8 * given.seen.stride;
      attention += 8 * tile.attention.stride;
      to += 8 * out.stride;
    }
  }
}

/// The mean under the softmax over the words, from each warp's share of it, in a chunk's columns; by the
/// whole block.
__device__ inline void sum_means(float (&mean)[gradient_columns], DifferentiateShared& shared) {
#pragma unroll
  for (int c = 0; c < gradient_columns; ++c) shared.sum[warp()][c * warp_size + lane()] = mean[c];
  __syncthreads();
#pragma unroll
  for (int c = 0; c < gradient_columns; ++c) {
    mean[c] = 0;
#pragma unroll
    for (int w = 0; w < 8; ++w) mean[c] += shared.sum[w][c * warp_size + lane()];
  }
  __syncthreads();  // sums may be used anew
}

/// Backward: from what is seen to the gradient for the scores, and to `weighted`. Blocks as in `attend`. For
/// each chunk of regions a first pass over the report's words takes the mean that the softmax over them
/// subtracts, a second one writes. What the second needs lies in shared memory, where each warp finds what it
/// left itself; for reports of more than `most_kept` words it is computed again.
template <class Scalar>
__global__ void __launch_bounds__(256, 4)
    differentiate_attention(AttentionTile<Scalar> tile, AttentionGradient<Scalar> given, int most_kept) {
  using Chunk = DifferentiateShared::Chunk;
  auto& shared = shared_memory<DifferentiateShared>();
  const int image = static_cast<int>(blockIdx.y), last_report = tile.last_report();
  const float score_power = given.powers->score;
  for (int report = tile.first_report() + static_cast<int>(blockIdx.x); report < last_report;
       report += static_cast<int>(gridDim.x)) {
    const int begin = tile.row_of(report), count = tile.words.count(report);
    const bool is_kept = count <= most_kept;
    for (int first = 0; first < tile.regions; first += Chunk::size) {
      const Chunk chunk{first, tile.regions};
      const auto from_here = [&](Scalar* row, Index stride) {
        return Rows<Scalar>{row + chunk.column(0), count, stride};
      };
      const Rows<Scalar> weighted = from_here(given.weighted(image, begin), given.weighted.stride);
      const Rows<Scalar> d_scores =
          from_here(given.d_scores[begin] + image * tile.regions, given.d_scores.stride);
      float mean[gradient_columns] = {};
      for_each_attention(
          tile, given, image, report, chunk, weighted,
          [&](int w, const WordGradient& gradient, int c, float a, float weight, float d_weight, Scalar* to) {
            mean[c] = fmaf(weight, d_weight, mean[c]);
            if (chunk.has(c)) *to = from_float<Scalar>(gradient.weight * a);
            if (!is_kept) return;
            DifferentiateShared::Word& word = shared.word(w);
            word.weight[c * warp_size + lane()] = weight;
            word.d_weight[c * warp_size + lane()] = d_weight;
            if (c > 0 || lane() > 0) return;
            word.base = gradient.base;
            word.of_attention = gradient.of_attention;
          });
      sum_means(mean, shared);
      const auto write = [&](Scalar* to, int c, float a, float weight, float d_weight, float of_attention) {
        if (chunk.has(c))
          *to = from_float<Scalar>(score_power * fmaf(weight, d_weight - mean[c], of_attention * a));
      };
      if (!is_kept) {
        for_each_attention(
            tile, given, image, report, chunk, d_scores,
            [&](int, const WordGradient& gradient, int c, float a, float weight, float d_weight, Scalar* to) {
              write(to, c, a, weight, d_weight, gradient.of_attention);
            });
        continue;
      }
      const Scalar* attention = tile.attention(image, begin + warp()) + chunk.column(0);
      Scalar* to = d_scores[warp()];
      for (int w = warp(); w < count; w += 8) {
        const DifferentiateShared::Word& word = shared.word(w);
#pragma unroll
        for (int c = 0; c < gradient_columns; ++c) {
          const int column = c * warp_size + lane();
          const float a = word.base + (chunk.has(c) ? to_float(attention[c * warp_size]) : 0);
          write(to + c * warp_size, c, a, word.weight[column], word.d_weight[column], word.of_attention);
        }
        attention += 8 * tile.attention.stride;
        to += 8 * d_scores.stride;
      }
      __syncwarp();  // what the warp has left may be written over
    }
    const int beyond = tile.regions + lane();
    for (int row = begin + warp(); row < begin + count; row += 8)
      if (beyond < tile.padded) given.weighted(image, row)[beyond] = from_float<Scalar>(0);
  }
  tile.for_each_other_row([&](int row) {
    for (int r = lane(); r < tile.regions; r += warp_size)
      given.d_scores[row][image * tile.regions + r] = from_float<Scalar>(0);
    for (int r = lane(); r < tile.padded; r += warp_size)
      given.weighted(image, row)[r] = from_float<Scalar>(0);
  });
}

}  // namespace vlp::cuda::detail
