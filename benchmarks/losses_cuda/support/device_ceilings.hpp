/// \file
/// The most that this device can do, measured in the same run as what is compared to it.
#pragma once

#include "losses_cuda/support/draw.hpp"
#include "losses_cuda/support/timing.hpp"
#include "support/case.hpp"

#include <cublas_v2.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/check.cuh>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/matmul.cuh>
#include <vlp/cuda/core/memory.cuh>
#include <vlp/cuda/core/scalar.cuh>

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <type_traits>

namespace vlp::benchmarks {

template <class Scalar>
inline constexpr std::string_view type_name = std::is_same_v<Scalar, float>      ? "float32"
                                              : std::is_same_v<Scalar, BFloat16> ? "bfloat16"
                                                                                 : "float16";

/// Rates of the fastest of some runs, on random values.
struct DeviceCeilings {
  double products_16_bit = 0;  ///< flop/s of cuBLAS on bfloat16, which float16 is taken to share
  double products_float = 0;   ///< flop/s of cuBLAS on float, not rounded (no TF32)
  double copying = 0;          ///< bytes/s read and written together, of a copy on the device

  template <class Scalar>
  [[nodiscard]] double products() const {
    return std::is_same_v<Scalar, float> ? products_float : products_16_bit;
  }
};

/// Seconds of the fastest run of `work()`.
template <class Work>
double fastest_seconds(const Cuda& device, Work work) {
  Event begin, end;
  double best = 0;
  for (int i = 0; i < 13; ++i) {
    begin.record(device.stream());
    work();
    end.record(device.stream());
    const double ms = end.milliseconds_since(begin);
    if (i >= 3) best = i == 3 ? ms : std::min(best, ms);  // three to warm up
  }
  return best * 1e-3;
}

/// flop/s of a product [size, size]^2 whose result is of its factors' type.
template <class Scalar>
double product_rate(Cuda& device, Index size) {
  const Array matrix = normal({size, size});
  cuda::Buffer<Scalar> a(matrix.size()), b(matrix.size()), c(matrix.size());
  draw(device, matrix, 0, a.data());
  draw(device, matrix, 1, b.data());
  const float one = 1, zero = 0;
  const double seconds = fastest_seconds(device, [&] {
    cuda::check(
        cublasGemmEx_64(device.cublas(), CUBLAS_OP_N, CUBLAS_OP_T, size, size, size, &one, a.data(),
                        cuda::data_type<Scalar>, size, b.data(), cuda::data_type<Scalar>, size, &zero,
                        c.data(), cuda::data_type<Scalar>, size, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
        "the product to compare with");
  });
  return 2 * as_double(size) * as_double(size) * as_double(size) / seconds;
}

/// bytes/s of copying that many floats.
inline double copy_rate(Cuda& device, Index count) {
  cuda::Buffer<float> from(count), to(count);
  draw(device, normal({count}), 0, from.data());
  const auto bytes = static_cast<std::size_t>(count) * sizeof(float);
  const double seconds = fastest_seconds(device, [&] {
    cuda::check(cudaMemcpyAsync(to.data(), from.data(), bytes, cudaMemcpyDeviceToDevice, device.stream()),
                "the copy to compare with");
  });
  return 2 * static_cast<double>(bytes) / seconds;
}

/// Products of 8192 x 8192 and a copy of 1 GiB; small ones for a smoke test.
inline DeviceCeilings measure_ceilings(Cuda& device, bool quick) {
  const Index size = quick ? 32 : 8192;
  return {product_rate<BFloat16>(device, size), product_rate<float>(device, size),
          copy_rate(device, quick ? Index{1} << 12 : Index{1} << 28)};
}

}  // namespace vlp::benchmarks
