/// \file
/// The one way to start a kernel, and to reach a block's shared memory.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/check.cuh>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <map>
#include <mutex>
#include <utility>

namespace vlp::cuda {

/// Blocks that cover `count` elements, `each` to a block. Throws std::invalid_argument beyond what a grid
/// holds, 2^31 - 1.
[[nodiscard]] inline dim3 blocks(Index count, Index each = 1) {
  const Index out = (count + each - 1) / each;
  require(out <= std::numeric_limits<int>::max(), "CUDA: ", count, " elements are more than a grid of ", each,
          " to a block holds");
  return dim3(static_cast<unsigned>(out));
}

namespace detail {

/// How much shared memory kernels have been allowed, so that each is asked about once and not at every
/// launch. Safe to use from several threads.
class SharedMemoryBounds {
 public:
  /// Sees to it that `kernel` may have `bytes` of shared memory for a block on `device`: calls allow() unless
  /// it may have them already. Returns what allow() returned, or cudaSuccess.
  template <class Allow>
  cudaError_t raise(const void* kernel, int device, std::size_t bytes, Allow&& allow) {
    const std::lock_guard lock(mutex_);
    std::size_t& allowed = allowed_[{kernel, device}];
    if (bytes <= allowed) return cudaSuccess;
    const cudaError_t status = allow();
    if (status == cudaSuccess) allowed = bytes;
    return status;
  }

  /// Forgets everything, for a device that has been reset has forgotten too.
  void clear() {
    const std::lock_guard lock(mutex_);
    allowed_.clear();
  }

 private:
  std::mutex mutex_;
  std::map<std::pair<const void*, int>, std::size_t> allowed_;  // by kernel and device
};

/// The bounds of this process. The bound belongs to the kernel, not to the launch, so it only ever grows: no
/// thread may lower it beside a launch from another.
inline SharedMemoryBounds& shared_memory_bounds() {
  static SharedMemoryBounds bounds;
  return bounds;
}

/// Allows `kernel` to have `bytes` of shared memory for a block on the current device.
template <class... Parameters>
cudaError_t allow_shared_memory(void (*kernel)(Parameters...), std::size_t bytes) {
  constexpr std::size_t without_asking = 48 * 1024, least_for_asking = 99 * 1024;
  if (bytes <= without_asking) return cudaSuccess;
  bytes = std::max(bytes, least_for_asking);  // which every card has, so that most kernels ask once
  int device = 0;
  if (const cudaError_t status = cudaGetDevice(&device); status != cudaSuccess) return status;
  return shared_memory_bounds().raise(reinterpret_cast<const void*>(kernel), device, bytes, [&] {
    const cudaError_t status =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
    if (status != cudaSuccess) return status;
    // all that there is, so that two such blocks fit where they can
    return cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, 100);
  });
}

}  // namespace detail

/// Queues a kernel on the current device. `shared_bytes` may exceed 48 KiB. Throws std::runtime_error if it
/// cannot be started.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
            cudaStream_t stream, Arguments&&... arguments) {
  const auto what = [&] {
    return concat("starting a kernel of ", grid.x, " x ", grid.y, " x ", grid.z, " blocks of ", block.x,
                  " threads with ", shared_bytes, " bytes of shared memory");
  };
  cudaError_t status = detail::allow_shared_memory(kernel, shared_bytes);
  if (status == cudaSuccess) {
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = stream;
    status = cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...);
  }
  if (status == cudaSuccess) return;
  cudaGetLastError();  // the error is reported here and must not be found again later
  detail::shared_memory_bounds().clear();
  check(status, what());
}

/// The block's shared memory, which the launch gave sizeof(T) bytes. Kernels of vlp have no other: what they
/// share stands in one struct.
template <class T>
__device__ inline T& shared_memory() {
#ifdef VLP_CUDA_EMULATION
  return *static_cast<T*>(cuda_emulation::dynamic_shared_memory(sizeof(T), alignof(T)));
#else
  extern __shared__ __align__(1024) unsigned char vlp_shared_memory[];
  return *reinterpret_cast<T*>(vlp_shared_memory);
#endif
}

}  // namespace vlp::cuda
