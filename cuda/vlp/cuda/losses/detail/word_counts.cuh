/// \file
/// How many words each report has, known to the device alone.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>

#include <cstdint>

namespace vlp::cuda::detail {

/// Word counts as kernels take them. Nobody looks at them on the host, so a kernel may meet any number.
struct WordCounts {
  const std::int64_t* count;  // [B], or null: every report has `most`
  Index most;                 // W

  /// 0 for a count that is not in 1 to W: what then is a sum or a mean over the words must become NaN.
  [[nodiscard]] __device__ Index operator[](Index report) const {
    if (count == nullptr) return most;
    const Index words = count[report];
    return words >= 1 && words <= most ? words : 0;
  }
};

}  // namespace vlp::cuda::detail
