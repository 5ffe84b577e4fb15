/// \file
/// Sums and maxima over a warp and a block, in an order that depends on the shape alone.
#pragma once

#include <cuda_runtime.h>

#include <vlp/cuda/core/scalar.cuh>

namespace vlp::cuda {

inline constexpr int warp_size = 32;
inline constexpr unsigned whole_warp = 0xffffffffU;

__device__ inline int lane() {
  return static_cast<int>(threadIdx.x) % warp_size;
}
__device__ inline int warp() {
  return static_cast<int>(threadIdx.x) / warp_size;
}

/// combine(x of lane 0, ..., x of lane 31) in every lane. `combine` commutes; lanes may then be folded in
/// halves, and all get the same bits.
template <class T, class Combine>
__device__ inline T warp_reduce(T x, Combine combine) {
#pragma unroll
  for (int apart = warp_size / 2; apart > 0; apart /= 2)
    x = combine(x, __shfl_xor_sync(whole_warp, x, apart));
  return x;
}
template <class T>
__device__ inline T warp_sum(T x) {
  return warp_reduce(x, [](T a, T b) { return a + b; });
}
__device__ inline float warp_max(float x) {
  return warp_reduce(x, [](float a, float b) { return fmaxf(a, b); });
}

/// Room for block_reduce over values of type T: one for each warp of at most 1024 threads.
template <class T>
struct BlockRoom {
  T of_warp[warp_size];
};

/// combine over all threads of the block, in every thread. Ends at a barrier-free point: a second call with
/// the same room needs a __syncthreads between. blockDim.x is a multiple of 32.
template <class T, class Combine>
__device__ inline T block_reduce(T x, T neutral, BlockRoom<T>& room, Combine combine) {
  x = warp_reduce(x, combine);
  if (lane() == 0) room.of_warp[warp()] = x;
  __syncthreads();
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  return warp_reduce(lane() < warps ? room.of_warp[lane()] : neutral, combine);
}
template <class T>
__device__ inline T block_sum(T x, BlockRoom<T>& room) {
  return block_reduce(x, T(0), room, [](T a, T b) { return a + b; });
}
/// The largest of a block's numbers, which must not be negative.
__device__ inline float block_max(float x, BlockRoom<float>& room) {
  return block_reduce(x, 0.0F, room, [](float a, float b) { return fmaxf(a, b); });
}

/// The sum over the threads before this one, and over all.
template <class T>
struct BlockPrefix {
  T before, all;
};
template <class T>
__device__ inline BlockPrefix<T> block_prefix_sum(T x, BlockRoom<T>& room) {
  T sum = x;
#pragma unroll
  for (int apart = 1; apart < warp_size; apart *= 2) {
    const T before = __shfl_up_sync(whole_warp, sum, apart);
    if (lane() >= apart) sum += before;
  }
  if (lane() == warp_size - 1) room.of_warp[warp()] = sum;
  __syncthreads();
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  const T of_warp = lane() < warps ? room.of_warp[lane()] : T(0);
  return {warp_sum(lane() < warp() ? of_warp : T(0)) + sum - x, warp_sum(of_warp)};
}

/// Sum of count numbers, in double, by one block: each thread takes every blockDim.x-th, ascending.
template <class T>
__device__ inline double block_sum_of(const T* x, Index count, BlockRoom<double>& room) {
  double sum = 0;
  for (Index i = static_cast<Index>(threadIdx.x); i < count; i += static_cast<Index>(blockDim.x))
    sum += static_cast<double>(x[i]);
  return block_sum(sum, room);
}

}  // namespace vlp::cuda
