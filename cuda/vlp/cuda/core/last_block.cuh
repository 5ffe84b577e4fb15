/// \file
/// Sums over all blocks of a kernel without a second launch.
#pragma once

#include <cuda_runtime.h>

namespace vlp::cuda {

/// Room for last_block.
struct LastBlockRoom {
  bool is_last;
};

/// True in all threads of one block: the one that gets here last, which then sees everything that the others
/// wrote before they called this. All threads of all blocks call it once. `arrived` is 0 before, and after.
__device__ inline bool last_block(unsigned* arrived, LastBlockRoom& room) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    room.is_last = atomicAdd(arrived, 1U) == gridDim.x - 1;
    if (room.is_last) *arrived = 0;
  }
  __syncthreads();
  __threadfence();
  return room.is_last;
}

}  // namespace vlp::cuda
