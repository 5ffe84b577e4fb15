/// \file
/// Memory of a CUDA device, as the kind of memory that vlp::Buffer and vlp::BasicArena hold.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/buffer.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/check.cuh>

#include <cstddef>
#include <memory>

namespace vlp::cuda {

/// Memory of the current device, aligned to 256 bytes. Asking for it and giving it back may wait for the
/// device and cannot be captured in a graph: vlp does so only while buffers grow to their size.
struct DeviceMemory {
  static constexpr bool is_host = false;

  struct Delete {
    void operator()(std::byte* p) const noexcept { cudaFree(p); }
  };
  using Bytes = std::unique_ptr<std::byte[], Delete>;

  /// Throws std::runtime_error when the device has not that much left.
  static Bytes allocate(std::size_t bytes) {
    void* out = nullptr;
    const cudaError_t status = cudaMalloc(&out, bytes);
    if (status != cudaSuccess) cudaGetLastError();  // or the next launch would report it again
    check(status, concat("asking for ", bytes, " bytes of device memory"));
    return Bytes(static_cast<std::byte*>(out));
  }
};

/// What outlives one call, in device memory.
template <class T>
using Buffer = vlp::Buffer<T, DeviceMemory>;

}  // namespace vlp::cuda
