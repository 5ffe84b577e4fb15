/// \file
/// The range of gradients in 16 bits: what local alignment multiplies them by, so that Half has room for
/// them.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/packed_words.cuh>

#include <cmath>

namespace vlp::cuda::detail {

/// Upper bounds, as bits of floats of 0 or more, whose order is that of the numbers: so a maximum is taken by
/// integer atomics, and does not depend on theirs.
struct GradientBounds {
  unsigned region_norm;  // of |C_r|
  unsigned score;        // of |dL/dA|
  unsigned weighted;     // of the factors of `weighted` attention
};

/// The largest power of two that takes `bound` to 16384 or less: a quarter of what Half holds, for rounding
/// and for bounds that are none (see sum_norm_gradients).
__device__ inline float half_scale(float bound) {
  return bound > 0 && bound <= 3.402823466e38F ? exp2f(fminf(floorf(log2f(16384 / bound)), 126.0F)) : 1.0F;
}

struct MaximumShared {
  BlockRoom<float> first, second;
};

/// Takes the largest |C_r| into bounds.region_norm: a warp a region.
template <class Scalar>
__global__ void __launch_bounds__(256)
    bound_region_norms(Rows<const Scalar> regions, Index features, GradientBounds* bounds) {
  auto& shared = shared_memory<MaximumShared>();
  const Index row = static_cast<Index>(blockIdx.x) * (256 / warp_size) + warp();
  float sum = 0;
  if (row < regions.count)
    for (Index d = lane(); d < features; d += warp_size) {
      const float v = to_float(regions[row][d]);
      sum = fmaf(v, v, sum);
    }
  const float norm = block_max(sqrtf(warp_sum(sum)), shared.first);
  if (threadIdx.x == 0) atomicMax(&bounds->region_norm, __float_as_uint(norm));
}

/// The powers of two that gradients for scores, and `weighted`, are multiplied by.
struct GradientScales {
  float score, weighted;
};
/// 1 without bounds; NaN where there are no words, so that no gradient looks like one.
template <class Scales>
__global__ void choose_scales(WordRows words, const GradientBounds* bounds, Scales* scales) {
  const auto power = [&](unsigned bound) {
    return words.counts_are_valid() ? half_scale(__uint_as_float(bound)) : NAN;
  };
  *scales =
      bounds != nullptr ? Scales{power(bounds->score), power(bounds->weighted)} : Scales{power(0), power(0)};
}

}  // namespace vlp::cuda::detail
