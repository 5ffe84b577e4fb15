/// \file
/// Log-sum-exp in one pass, with a running maximum: safe for finite values of any size.
#pragma once

#include <cuda_runtime.h>

namespace vlp::cuda {

inline constexpr float log2_e = 1.44269504088896341F;
inline constexpr double ln_2 = 0.693147180559945309417;

/// log2 sum_k 2^(x_k) = max + log2(sum), of values in units of log 2: x = log2(e) times a logit. The base is
/// the one that the processor has an instruction for. A NaN or +inf makes the sum NaN; -inf adds nothing.
struct LogSumExp2 {
  float max = -3.402823466e38F;
  float sum = 0;

  __device__ void add(float x) {
    const float both = fmaxf(max, x);
    sum = sum * exp2f(max - both) + exp2f(x - both);
    max = both;
  }
  __device__ void add(const LogSumExp2& other) {
    const float both = fmaxf(max, other.max);
    sum = sum * exp2f(max - both) + other.sum * exp2f(other.max - both);
    max = both;
  }
  /// In units of log 2.
  [[nodiscard]] __device__ double value() const {
    return static_cast<double>(max) + log2(static_cast<double>(sum));
  }
};

}  // namespace vlp::cuda
