/// \file
/// The gradient of the two softmaxes of local alignment.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/attention_gradient_few_regions.cuh>
#include <vlp/cuda/losses/detail/attention_tile.cuh>
#include <vlp/cuda/losses/detail/word_gradient.cuh>

#include <algorithm>
#include <cstddef>

namespace vlp::cuda::detail {

/// Columns that a lane has of a chunk in backward.
inline constexpr int gradient_columns = 2;

/// Shared memory of a block. Behind it is room for as many words as the launch gives bytes for.
struct DifferentiateShared {
  using Chunk = ColumnChunk<gradient_columns>;
  float sum[8][Chunk::size];

  /// Numbers of a word that the second pass reads.
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
  const float* context_dots = given.context_dots(image, begin + warp()) + column;
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
      float score[gradient_columns], context_dot[gradient_columns], a[gradient_columns];
#pragma unroll
      for (int c = 0; c < gradient_columns; ++c) {
        score[c] = chunk.has(c) ? scores[c * warp_size] : 0;
        context_dot[c] = chunk.has(c) ? context_dots[c * warp_size] : 0;
        a[c] = chunk.has(c) ? to_float(attention[c * warp_size]) : 0;
      }
      const WordGradient gradient = of_lane(own, k);
#pragma unroll
      for (int c = 0; c < gradient_columns; ++c) {
        if (chunk.has(c)) a[c] += gradient.base;
        visit(first + 8 * k, gradient, c, a[c], softmax.column[c](score[c]),
              a[c] *
                  (gradient.of_score * score[c] + (gradient.of_context_dot * context_dot[c] - gradient.mean)),
              to + c * warp_size);
      }
      scores += 8 * tile.scores.stride;
      context_dots += 8 * given.context_dots.stride;
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

/// Backward, for any R: from <c_w, C_r> to the gradient for the scores, and to `weighted`. Blocks
/// as in `attend`. For each chunk of regions a first pass over the report's words takes the mean that the
/// softmax over them subtracts, a second one writes. The numbers that the second needs lie in shared memory,
/// where each warp finds what it left itself; for reports of more than `most_kept` words it is computed
/// again.
template <class Scalar>
__global__ void __launch_bounds__(256, 4)
    differentiate_attention(AttentionTile<Scalar> tile, AttentionGradient<Scalar> given, int most_kept) {
  using Chunk = DifferentiateShared::Chunk;
  auto& shared = shared_memory<DifferentiateShared>();
  const int image = static_cast<int>(blockIdx.y), last_report = tile.last_report();
  const float score_power = given.scales->score;
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
  clear_other_gradients(tile, given, image);
}

/// Starts differentiate_few, unless Columns do not hold R or a report of `words` words is more than a block
/// keeps. Returns whether it was started.
template <class Columns, class Scalar>
[[nodiscard]] bool start_differentiate_few(const AttentionTile<Scalar>& tile,
                                           const AttentionGradient<Scalar>& given, Index words, dim3 grid,
                                           cudaStream_t stream) {
  using Shared = DifferentiateFewShared;
  // Within a report the kernel counts elements by 32 bits.
  const Index furthest = words * std::max(tile.scores.stride, tile.attention.stride);
  if (!Columns::hold(tile.regions) || words > Shared::most_words || furthest >= Index{1} << 31) return false;
  launch(differentiate_few<Scalar, Columns>, grid, few_gradient_threads,
         Shared::template bytes<Columns>(words), stream, tile, given);
  return true;
}

/// Starts the kernel for a tile of reports of `words` words at most. Where a softmax over words is all but
/// one word's, differentiate_few cancels what it has rounded, by 2^-24 of the largest terms: nothing beside
/// numbers of 16 bits, but not for float.
template <class Scalar>
void start_differentiate(const AttentionTile<Scalar>& tile, const AttentionGradient<Scalar>& given,
                         Index words, dim3 grid, cudaStream_t stream) {
  if constexpr (is_16_bit<Scalar>) {
    if (start_differentiate_few<GridColumns>(tile, given, words, grid, stream)) return;
    if (start_differentiate_few<AnyFewColumns>(tile, given, words, grid, stream)) return;
  }
  using Shared = DifferentiateShared;
  // 55 KiB: four blocks share the 228 KiB of a multiprocessor of compute capability 9.0.
  constexpr Index most_kept = 104;
  const Index kept = std::min(words, most_kept);
  launch(differentiate_attention<Scalar>, grid, 256,
         sizeof(Shared) + static_cast<std::size_t>(kept) * sizeof(Shared::Word), stream, tile, given,
         static_cast<int>(kept));
}

}  // namespace vlp::cuda::detail
