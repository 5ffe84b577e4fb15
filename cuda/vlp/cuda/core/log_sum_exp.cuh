/// \file
/// Log-sum-exp in one pass, with a running maximum: safe for finite values of any size.
#pragma once

#include <cuda_runtime.h>

#include <vlp/cuda/core/reduce.cuh>

namespace vlp::cuda {

/// 2^x for x <= 0, by the processor's own instruction, whose relative error is below 2^-22.7 (2^-22.80 on an
/// H200). A result below 2^-126 is 0: exp2f, which keeps it, takes three instructions more, and kernels take
/// four exponentials for every pair.
__device__ inline float exp2_below(float x) {
#ifdef VLP_CUDA_EMULATION
  const float out = exp2f(x);
  return out < 0x1p-126F ? 0 : out;
#else
  float out;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
  return out;
#endif
}

inline constexpr float log2_e = 1.44269504088896341F;  // e^x = 2^(log2_e x)
inline constexpr float ln_2 = 0.693147180559945309F;

/// exp(x) for x <= 0. Its relative error is below 1.25 x 2^-24 |x|, from log2(e) and from rounding the
/// product, plus that of exp2_below; a softmax is off by less than 2^-22.
__device__ inline float exp_below(float x) {
  return exp2_below(x * log2_e);
}

/// 2^x - 1 for x <= 15, exact beside x where x is near 0.
__device__ inline float exp2_minus_one(float x) {
  const float near_0 = x * fmaf(x, fmaf(x, ln_2 * ln_2 * ln_2 / 6, ln_2 * ln_2 / 2), ln_2);
  return fabsf(x) < 0x1p-6F * log2_e ? near_0 : exp2_below(x) - 1;
}

/// log sum_k exp(x_k) = max + log(sum), where max is the largest x_k, or 0 if it is known beforehand that no
/// exp(x_k) and no sum of them leaves the range of float. A NaN or +inf makes the sum NaN; -inf adds nothing.
struct LogSumExp {
  float max = -3.402823466e38F;
  float sum = 0;

  __device__ void add(const LogSumExp& other) {
    const float both = fmaxf(max, other.max);
    sum = sum * exp_below(max - both) + other.sum * exp_below(other.max - both);
    max = both;
  }
  [[nodiscard]] __device__ double value() const {
    return static_cast<double>(max) + log(static_cast<double>(sum));
  }
  /// exp(x) / sum_k exp(x_k), for x one of the x_k or -inf.
  [[nodiscard]] __device__ float softmax(float x) const { return __fdividef(exp_below(x - max), sum); }
};

/// Softmax over numbers that have been summed.
struct Softmax {
  float max, inverse_sum;

  [[nodiscard]] __device__ float operator()(float x) const { return exp_below(x - max) * inverse_sum; }
};

/// The sum of those of all lanes, in every lane.
__device__ inline LogSumExp warp_sum(const LogSumExp& x) {
  const float max = warp_max(x.max);
  return {max, warp_sum(x.sum * exp_below(x.max - max))};
}

}  // namespace vlp::cuda
