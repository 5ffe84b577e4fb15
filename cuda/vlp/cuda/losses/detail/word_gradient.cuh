/// \file
/// Contribution of each word in an image to the gradient of its attention.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/aligned_words.cuh>
#include <vlp/cuda/losses/detail/attention_tile.cuh>
#include <vlp/cuda/losses/detail/gradient_scales.cuh>

namespace vlp::cuda::detail {

/// Memory that backward adds to a tile. The rows of `context_dots` and `weighted` lie as far apart as those
/// of attention.
template <class Scalar>
struct AttentionGradient {
  AlignedWords aligned;
  BatchRows<const float> context_dots;  // (image, row): <c_w, C_r>, up to factors
  const float* context_factor;          // [images, rows] factor of context_dots and of the rows of `weighted`
  const float* image_factor;            // [images] a second factor of context_dots; null: 1
  Rows<Scalar> d_scores;                // [rows, images R] dL/dA times a power of two
  BatchRows<Scalar> weighted;           // (image, row): attention times its factor in |c_w|^2; 0 in padding
  const GradientScales* scales;         // what d_scores and weighted are multiplied by
};

/// Contribution of a word in an image to the gradient of its attention. With a the base plus what `attention`
/// holds, A what `scores` holds, and s what `context_dots` holds: g = a (of_score A +
/// of_context_dot s - mean) for its softmax's logits, times the temperature; of_attention a for the scores
/// directly; weight a for `weighted`.
struct WordGradient {
  float base, of_score, of_context_dot, mean, of_attention, weight;
};
__device__ inline WordGradient of_lane(const WordGradient& own, int from) {
  return {__shfl_sync(whole_warp, own.base, from),           __shfl_sync(whole_warp, own.of_score, from),
          __shfl_sync(whole_warp, own.of_context_dot, from), __shfl_sync(whole_warp, own.mean, from),
          __shfl_sync(whole_warp, own.of_attention, from),   __shfl_sync(whole_warp, own.weight, from)};
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
  const float inverse = tile.inverse_sum[at], context_factor = given.context_factor[at],
              d_norm2 = of_word.d_squared_norm;
  const float factor = tile.temperature * inverse;
  const float image_factor = given.image_factor != nullptr ? given.image_factor[image] : 1;
  const float base = to_float(tile.attention(image, row)[tile.regions]) / tile.mean_scale;
  return {base,
          ln_2 * factor * of_word.d_dot,
          factor * d_norm2 * context_factor * image_factor,
          factor * (of_word.d_dot * of_word.dot + d_norm2 * of_word.squared_norm),
          inverse * of_word.d_dot,
          d_norm2 * inverse * context_factor * given.scales->weighted};
}

/// Writes 0 to the gradients of the rows of no word of this strip, in one image.
template <class Scalar>
__device__ void clear_other_gradients(const AttentionTile<Scalar>& tile,
                                      const AttentionGradient<Scalar>& given, int image) {
  tile.for_each_other_row([&](int row) {
    for (int r = lane(); r < tile.regions; r += warp_size)
      given.d_scores[row][image * tile.regions + r] = from_float<Scalar>(0);
    for (int r = lane(); r < tile.padded; r += warp_size)
      given.weighted(image, row)[r] = from_float<Scalar>(0);
  });
}

}  // namespace vlp::cuda::detail
