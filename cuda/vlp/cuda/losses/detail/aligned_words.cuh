/// \file
/// From what each word sees of each image to the scores of pairs, and back.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/gradient_scales.cuh>
#include <vlp/cuda/losses/detail/packed_words.cuh>

#include <cmath>

namespace vlp::cuda::detail {

/// A word in an image: what forward kept, and the gradients for it; d_squared_norm is twice the gradient.
struct AlignedWord {
  float dot, squared_norm;
  float d_dot = 0, d_squared_norm = 0;
  float d_log_norm = 0;  ///< -d_cos cos: its gradient for |T_w|, times |T_w|
  float d_cosine = 0, norm_product = 0;
};

/// cos_w = <T_w, c_w> / max(|T_w| |c_w|, 1e-8) of all words in all images, and what they make of each pair:
/// S[i, j] = t_pair log sum_w exp(t_word cos_w).
struct AlignedWords {
  const float* dot;           // [images, rows] <T_w, c_w>
  const float* squared_norm;  // [images, rows] |c_w|^2
  const float* word_norm;     // [rows] |T_w|
  Index rows;
  const float* similarity;    // [images, reports] S
  const float* d_similarity;  // [images, reports]
  int images, reports;
  float word_temperature, pair_temperature;

  static constexpr float smallest_norm_product = 1e-8F;

  [[nodiscard]] __device__ float norm_product(int image, int word) const {
    return word_norm[word] * sqrtf(squared_norm[image * rows + word]);
  }
  [[nodiscard]] __device__ float cosine(int image, int word) const {
    return clip(dot[image * rows + word] / fmaxf(norm_product(image, word), smallest_norm_product));
  }

  [[nodiscard]] __device__ AlignedWord differentiate(int image, int report, int word) const {
    AlignedWord out{dot[image * rows + word], squared_norm[image * rows + word]};
    out.norm_product = norm_product(image, word);
    const float divisor = fmaxf(out.norm_product, smallest_norm_product);
    const float quotient = out.dot / divisor, cosine = clip(quotient);
    const Index pair = Index{image} * reports + report;
    // The share is at most 1 except for rounding, here and in S.
    const float share = expf(word_temperature * cosine - similarity[pair] / pair_temperature);
    out.d_cosine = pair_temperature * word_temperature * share * d_similarity[pair];
    if (fabsf(quotient) > 1) return out;
    out.d_dot = out.d_cosine / divisor;
    if (out.norm_product < smallest_norm_product) return out;
    out.d_log_norm = -out.d_cosine * cosine;
    out.d_squared_norm = out.d_log_norm / out.squared_norm;
    return out;
  }

 private:
  /// Where a context is all but 0, |c_w|^2 is a rounding error, but no cosine is beyond 1; nor has it a
  /// gradient there.
  [[nodiscard]] __device__ static float clip(float quotient) {
    return fabsf(quotient) > 1 ? copysignf(1, quotient) : quotient;
  }
};

/// S[i, j] to `similarity`, and rounded to `rounded` unless that has no data: a warp a pair, a
/// block eight reports in one image. NaN for a report without words.
template <class Scalar>
__global__ void __launch_bounds__(256)
    score_pairs(WordRows words, AlignedWords aligned, float* similarity, Rows<Scalar> rounded) {
  const unsigned blocks_of_image = (aligned.reports + 7) / 8;
  const int i = static_cast<int>(blockIdx.x / blocks_of_image);
  const int j = static_cast<int>(blockIdx.x % blocks_of_image) * 8 + warp();
  if (j >= aligned.reports) return;
  const int begin = words.begin[j], end = words.begin[j + 1];
  LogSumExp sum;
  for (int w = begin + lane(); w < end; w += warp_size)
    sum.add({aligned.word_temperature * aligned.cosine(i, w), 1});
  sum = warp_sum(sum);
  if (lane() != 0) return;
  const float score = begin < end ? static_cast<float>(aligned.pair_temperature * sum.value()) : NAN;
  similarity[Index{i} * aligned.reports + j] = score;
  if (rounded.data != nullptr) rounded[i][j] = from_float<Scalar>(score);
}

/// Terms of the bounds of a batch.
struct BoundTerms {
  GradientBounds* bounds;        // null: not asked for
  float temperature;             // of attention
  float largest_context_factor;  // of the factor that `weighted` has beside d_squared_norm; 0: it is |c_w|
};

struct SumNormGradientsShared {
  float sum[8][warp_size];
  MaximumShared maxima;
};

/// Sums d_log_norm over the images and divides by |T_w|^2, to norm_factor [rows]: a lane a word, the warps of
/// a block take every eighth image.
///
/// For Half also bounds: with |A_r| <= |T_w| |C_r| and |(a G)_r| <= |c_w| |C_r|, |g| of WordGradient is at
/// most 2 t |d_cos| |C_r| / |c_w|, which the softmax over the words doubles. Words or contexts of no length
/// have gradients beyond any bound, which Half then cuts off; they do not count, or nothing would be left of
/// the others.
template <class Float>
__global__ void __launch_bounds__(256)
    sum_norm_gradients(WordRows words, AlignedWords aligned, BoundTerms terms, Float* norm_factor) {
  auto& shared = shared_memory<SumNormGradientsShared>();
  const Index row = static_cast<Index>(blockIdx.x) * warp_size + lane();
  const int word = static_cast<int>(row);
  const int report = row < aligned.rows ? words.report_of(word) : words.reports;
  const float region_norm = terms.bounds != nullptr ? __uint_as_float(terms.bounds->region_norm) : 0;
  float sum = 0, score_bound = 0, weighted_bound = 0;
  if (report < words.reports)
    for (int image = warp(); image < aligned.images; image += 8) {
      const AlignedWord of_word = aligned.differentiate(image, report, word);
      sum += of_word.d_log_norm;
      if (terms.bounds == nullptr || of_word.norm_product < AlignedWords::smallest_norm_product) continue;
      const float norm = sqrtf(of_word.squared_norm);
      const float bound =
          fabsf(of_word.d_dot) + 4 * terms.temperature * fabsf(of_word.d_cosine) * region_norm / norm;
      const float context_factor = terms.largest_context_factor > 0 ? terms.largest_context_factor : norm;
      score_bound = fmaxf(score_bound, bound);
      weighted_bound = fmaxf(weighted_bound, fabsf(of_word.d_squared_norm) * context_factor);
    }
  shared.sum[warp()][lane()] = sum;
  __syncthreads();
  if (warp() == 0 && row < aligned.rows) {
    for (int w = 1; w < 8; ++w) sum += shared.sum[w][lane()];
    const float norm = aligned.word_norm[word];
    norm_factor[word] = sum == 0 ? 0 : sum / (norm * norm);
  }
  if (terms.bounds == nullptr) return;
  score_bound = block_max(score_bound, shared.maxima.first);
  weighted_bound = block_max(weighted_bound, shared.maxima.second);
  if (threadIdx.x != 0) return;
  atomicMax(&terms.bounds->score, __float_as_uint(score_bound));
  atomicMax(&terms.bounds->weighted, __float_as_uint(weighted_bound));
}

}  // namespace vlp::cuda::detail
