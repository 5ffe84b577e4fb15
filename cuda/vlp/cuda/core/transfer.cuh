/// \file
/// Transfers between the memory of a CUDA device and the host's (see vlp/core/device.hpp).
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/device.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/check.cuh>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/launch.cuh>

#include <algorithm>
#include <cstddef>
#include <span>
#include <type_traits>

namespace vlp {

namespace cuda::detail {

template <class T>
__global__ void fill(T* data, Index count, T value) {
  const Index stride = static_cast<Index>(gridDim.x) * blockDim.x;
  for (Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride)
    data[i] = value;
}

}  // namespace cuda::detail

/// Queues setting `count` elements at `data` to `value`.
template <class T>
void fill(Cuda& device, T* data, Index count, std::type_identity_t<T> value) {
  const Cuda::Call call(device);
  if (count == 0) return;
  // A few blocks for each multiprocessor, whatever the count: a grid has an end.
  constexpr unsigned threads = 256;
  const Index most = 8 * static_cast<Index>(device.multiprocessors());
  const Index blocks = std::min<Index>((count + threads - 1) / threads, most);
  cuda::launch(cuda::detail::fill<T>, cuda::blocks(blocks), threads, 0, device.stream(), data, count, value);
}

/// Queues copying `count` elements at `from` to other memory of the device.
template <class T>
void copy(Cuda& device, const std::type_identity_t<T>* from, Index count, T* to) {
  const Cuda::Call call(device);
  if (count == 0) return;
  cuda::check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(count) * sizeof(T), cudaMemcpyDeviceToDevice,
                              device.stream()),
              "copying on the device");
}

/// Queues copying `host` to `data`. Pageable memory of the host may be reused when the call returns; memory
/// that is page-locked must stay as it is until the copy is done (Cuda::synchronize), and so must any memory
/// while the call is captured in a graph, which reads it at each launch.
template <class T>
void upload(Cuda& device, std::span<const std::type_identity_t<T>> host, T* data) {
  const Cuda::Call call(device);
  if (host.empty()) return;
  cuda::check(cudaMemcpyAsync(data, host.data(), host.size_bytes(), cudaMemcpyHostToDevice, device.stream()),
              "copying to the device");
}

/// Copies host.size() elements at `data` to `host`, once all work queued before is done. Waits for it, so it
/// cannot be captured in a graph.
template <class T>
void download(Cuda& device, const T* data, std::span<std::type_identity_t<T>> host) {
  const Cuda::Call call(device);
  if (host.empty()) return;
  cuda::check(cudaMemcpyAsync(host.data(), data, host.size_bytes(), cudaMemcpyDeviceToHost, device.stream()),
              "copying from the device");
  device.synchronize();
}

static_assert(Device<Cuda>);

}  // namespace vlp
