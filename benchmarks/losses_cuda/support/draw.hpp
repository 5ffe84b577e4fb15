/// \file
/// Random inputs, drawn where they are used.
#pragma once

#include "support/case.hpp"

#include <Random123/philox.h>
#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/check.cuh>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/scalar.cuh>

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace vlp::benchmarks {

namespace detail {
/// Element i takes Philox's block i of the stream. Normal values by Box-Muller, as in vlp::Random.
template <class T, int Threads>
__global__ void draw_elements(T* out, Index count, Draw how, double number, std::uint32_t stream) {
  for (Index i = static_cast<Index>(blockIdx.x) * Threads + static_cast<int>(threadIdx.x); i < count;
       i += static_cast<Index>(gridDim.x) * Threads) {
    const r123::Philox4x32::ctr_type counter{
        {static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(i >> 32), stream, 0}};
    const r123::Philox4x32::ctr_type bits = r123::Philox4x32()(counter, r123::Philox4x32::key_type{{1, 0}});
    if constexpr (std::is_integral_v<T>) {
      out[i] = static_cast<T>((bits[0] * static_cast<std::uint64_t>(number)) >> 32);
    } else {
      const auto scale = static_cast<float>(number);
      const float radius = sqrtf(-2 * logf(1 - static_cast<float>(bits[0] >> 8) * 0x1p-24f));
      const float angle = 6.28318530717958648F * (static_cast<float>(bits[1] >> 8) * 0x1p-24f);
      out[i] = cuda::from_float<T>(how == Draw::constant ? scale : scale * radius * cosf(angle));
    }
  }
}
template <class T>
T as_element(double value) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<T>(value);
  else
    return cuda::from_float<T>(static_cast<float>(value));
}
}  // namespace detail

/// Queues the drawing of an array; another stream number gives other values. Given values are copied in the
/// order of the device's stream, and waited for, since it comes from memory that then goes.
template <class T>
void draw(const Cuda& device, const Array& array, std::uint32_t stream, T* out) {
  if (array.how == Draw::given) {
    std::vector<T> values;
    for (double v : array.values) values.push_back(detail::as_element<T>(v));
    cuda::check(cudaMemcpyAsync(out, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice,
                                device.stream()),
                "copying what is given");
    device.synchronize();
    return;
  }
  constexpr int threads = 256;
  const Index count = array.size();
  const Index blocks = std::clamp<Index>((count + threads - 1) / threads, 1, 16 * device.multiprocessors());
  cuda::launch(detail::draw_elements<T, threads>, dim3(static_cast<unsigned>(blocks)), threads, 0,
               device.stream(), out, count, array.how, array.number, stream);
}

}  // namespace vlp::benchmarks
