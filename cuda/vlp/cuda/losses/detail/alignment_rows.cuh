/// \file
/// Rows of regions and words as local alignment takes them in and hands their gradients out.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/attention_tile.cuh>
#include <vlp/cuda/losses/detail/gradient_scales.cuh>
#include <vlp/cuda/losses/detail/packed_words.cuh>

#include <cmath>

namespace vlp::cuda::detail {

/// Sums that the gradients of words are made of.
template <class Scalar>
struct WordGradientSums {
  WordRows words;
  Index most_words;          // W
  Rows<const float> sums;    // [rows, D] over the strips of images
  Rows<const Scalar> rows;   // [rows, D] the words themselves
  const float* norm_factor;  // [rows] factor of the words themselves
  const GradientScales* scales;
  Index features;  // D
};

/// From sums over the strips of images to the gradients of words [B, W, D], and 0 in padding: warp w of the
/// grid takes word w of B W.
template <class Scalar>
__global__ void __launch_bounds__(256)
    finish_words(WordGradientSums<Scalar> in, BatchRows<Scalar> out, Into into) {
  const WordRows& words = in.words;
  const Index at = static_cast<Index>(blockIdx.x) * (256 / warp_size) + warp();
  const Index report = at / in.most_words, w = at % in.most_words;
  if (report >= words.reports) return;
  Scalar* const to = out(report, w);
  if (w >= words.count(static_cast<int>(report))) {
    const bool counts_are_valid =
        words.counts_are_valid();  // else there are no words, and nothing is a gradient
    for (Index d = lane(); d < in.features && !(counts_are_valid && into == Into::add); d += warp_size)
      to[d] = from_float<Scalar>(counts_are_valid ? 0 : NAN);
    return;
  }
  const Index row = words.begin[report] + w;
  const float factor = 1 / in.scales->score, norm_factor = in.norm_factor[row];
#pragma unroll 4
  for (Index d = lane(); d < in.features; d += warp_size) {
    const float value = fmaf(norm_factor, to_float(in.rows[row][d]), factor * in.sums[row][d]);
    to[d] = from_float<Scalar>(into == Into::add ? value + to_float(to[d]) : value);
  }
}

/// Sums that the gradients of some images' regions are made of.
struct RegionGradientSums {
  Rows<const float> sums;      // [images R, D] over the strips of words
  Rows<const float> gathered;  // [images padded, D] of contexts
  const float* image_factor;   // [images] of `gathered`; null: 1
  const GradientScales* scales;
  Index regions, padded, features;  // R, and D
};

/// From sums over the strips of words, and what contexts have gathered, to the gradients of some images'
/// regions [images, R, D]: warp w of the grid takes region w. Contexts gather `padded` rows for each image.
template <class Scalar>
__global__ void __launch_bounds__(256)
    finish_regions(RegionGradientSums in, BatchRows<Scalar> out, Into into) {
  const Index row = static_cast<Index>(blockIdx.x) * (256 / warp_size) + warp();
  if (row >= in.sums.count) return;
  const Index image = row / in.regions, gathered_row = image * in.padded + row % in.regions;
  const float factor = 1 / in.scales->score;
  const float of_gathered =
      (in.image_factor != nullptr ? in.image_factor[image] : 1.0F) / in.scales->weighted;
  Scalar* const to = out(image, row % in.regions);
#pragma unroll 4
  for (Index d = lane(); d < in.features; d += warp_size) {
    const float value = fmaf(of_gathered, in.gathered[gathered_row][d], factor * in.sums[row][d]);
    to[d] = from_float<Scalar>(into == Into::add ? value + to_float(to[d]) : value);
  }
}

/// Copies a batch of matrices [..., regions, features] row by row, a warp each.
template <class Scalar>
__global__ void __launch_bounds__(256)
    copy_rows(BatchRows<const Scalar> from, Index regions, Index features, Rows<Scalar> out) {
  const Index row = static_cast<Index>(blockIdx.x) * (256 / warp_size) + warp();
  if (row >= out.count) return;
  const Scalar* const source = from(row / regions, row % regions);
  for (Index d = lane(); d < features; d += warp_size) out[row][d] = source[d];
}

/// A block of add_mean_region: eight packs of `Wide` features side by side, and 32 threads for each, which
/// take every 32nd region. Images are few and have many regions, so they are shared among threads.
template <int Wide>
struct MeanRegionShared {
  static constexpr int packs = 8, threads_below = 32, columns = packs * Wide;
  float sum[threads_below][columns];
};

/// Regions [images, R, D] to [images padded, D]: after those of each image their sum over 2^k, which is
/// 1 / factor, and 0 in the rows left. Block (x, i) takes some features of image i. With Wide > 1 rows are
/// aligned to packs of as many, of which D is a multiple.
template <class Scalar, int Wide>
__global__ void __launch_bounds__(256)
    add_mean_region(BatchRows<const Scalar> from, Index regions, Index padded, Index features, float factor,
                    Rows<Scalar> out) {
  using Shared = MeanRegionShared<Wide>;
  using Features = Pack<Scalar, Wide>;
  auto& shared = shared_memory<Shared>();
  const int thread = static_cast<int>(threadIdx.x), pack = thread % Shared::packs * Wide,
            below = thread / Shared::packs;
  const Index image = blockIdx.y, first = Index{blockIdx.x} * Shared::columns, d = first + pack;
  float sum[Wide] = {};
  for (Index r = below; r < padded && d < features; r += Shared::threads_below) {
    if (r == regions) continue;
    Features values;
#pragma unroll
    for (int e = 0; e < Wide; ++e) values.value[e] = from_float<Scalar>(0);
    if (r < regions) values = *reinterpret_cast<const Features*>(from(image, r) + d);
    *reinterpret_cast<Features*>(out[image * padded + r] + d) = values;
#pragma unroll
    for (int e = 0; e < Wide; ++e) sum[e] += to_float(values.value[e]);
  }
#pragma unroll
  for (int e = 0; e < Wide; ++e) shared.sum[below][pack + e] = sum[e];
  __syncthreads();
  if (thread >= Shared::columns || first + thread >= features) return;
  float all = 0;
  for (int k = 0; k < Shared::threads_below; ++k) all += shared.sum[k][thread];
  out[image * padded + regions][first + thread] = from_float<Scalar>(factor * all);
}

/// Writes 0 to the attention [images, W, R] of what is no word of an image's own report, and to all of it if
/// that report is not given: warp w of the grid takes row w of images W.
template <class Scalar>
__global__ void __launch_bounds__(256)
    clear_padding(WordRows words, Index most_words, Index regions, MatchedAttention<Scalar> matched) {
  const Index at = static_cast<Index>(blockIdx.x) * (256 / warp_size) + warp();
  const Index image = at / most_words, w = at % most_words;
  if (image >= matched.out.count) return;
  const Index report = matched.report_of(image);
  if (report >= 0 && report < words.reports && w < words.count(static_cast<int>(report))) return;
  for (Index r = lane(); r < regions; r += warp_size) matched.out(image, w)[r] = from_float<Scalar>(0);
}

}  // namespace vlp::cuda::detail
