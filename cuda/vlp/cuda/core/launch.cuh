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

/// Queues a kernel. `shared_bytes` may exceed 48 KiB. Throws std::runtime_error if it cannot be started.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
            cudaStream_t stream, Arguments&&... arguments) {
  const auto what = [&] {
    return concat("starting a kernel of ", grid.x, " x ", grid.y, " x ", grid.z, " blocks of ", block.x,
                  " threads with ", shared_bytes, " bytes of shared memory");
  };
  // What a block has without asking, and has at least when it asks. The bound belongs to the kernel, not to
  // the launch, so that nobody may lower it beside a launch from another thread.
  constexpr std::size_t shared_without_asking = 48 * 1024, shared_for_asking = 99 * 1024;
  cudaError_t status = cudaSuccess;
  if (shared_bytes > shared_without_asking) {
    status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(std::max(shared_bytes, shared_for_asking)));
    if (status == cudaSuccess)  // all that there is, so that two such blocks fit where they can
      status = cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, 100);
  }
  if (status == cudaSuccess) {
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = stream;
    status = cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...);
  }
  if (status == cudaSuccess) return;
  cudaGetLastError();  // it is reported here; nobody is to find it later
  check(status, what());
}

/// The block's shared memory, which the launch gave sizeof(T) bytes. Kernels of vlp have no other: what they
/// share stands in one struct.
template <class T>
__device__ inline T& shared_memory() {
#ifdef VLP_CUDA_EMULATION
  return *static_cast<T*>(cuda_emulation::dynamic_shared_memory(sizeof(T), alignof(T)));
#else
  extern __shared__ __align__(128) unsigned char vlp_shared_memory[];
  return *reinterpret_cast<T*>(vlp_shared_memory);
#endif
}

}  // namespace vlp::cuda
