/// \file
/// Barriers and warp collectives. Stricter than the device: a lane that the mask names must exist and take
/// part, and a lane that another reads must be in the mask.
#pragma once

#include "block.hpp"

#include <algorithm>
#include <concepts>
#include <string>

namespace cuda_emulation {

template <class T>
struct Shuffle {
  T value;
  unsigned source;
  T result;
};

template <class T>
T shuffle(const char* name, unsigned mask, T value, unsigned source) {
  Shuffle<T> own{value, source, {}};
  wait_for_warp(name, mask, &own, [](Operands lanes) {
    for (void* operand : lanes) {
      if (!operand) continue;
      auto& to = *static_cast<Shuffle<T>*>(operand);
      if (!lanes[to.source]) {
        fail("a shuffle reads lane " + std::to_string(to.source) + ", which its mask does not name");
      }
      to.result = static_cast<const Shuffle<T>*>(lanes[to.source])->value;
    }
  });
  return own.result;
}

/// Everybody gets op(op(a, b), c)... over those who take part.
template <class T, class Op>
void reduce(Operands operands) {
  T* first = nullptr;
  for (void* operand : operands) {
    if (!operand) continue;
    if (first) *first = Op{}(*first, *static_cast<T*>(operand));
    if (!first) first = static_cast<T*>(operand);
  }
  for (void* operand : operands) {
    if (operand) *static_cast<T*>(operand) = *first;
  }
}

struct Min {
  auto operator()(auto a, auto b) const { return std::min(a, b); }
};
struct Max {
  auto operator()(auto a, auto b) const { return std::max(a, b); }
};

template <class T, class Op>
T warp_reduce(const char* name, unsigned mask, T value) {
  wait_for_warp(name, mask, &value, reduce<T, Op>);
  return value;
}

template <class T, class Op>
T block_reduce(const char* name, T value) {
  wait_for_block(name, &value, reduce<T, Op>);
  return value;
}

}  // namespace cuda_emulation

inline void __syncthreads() {
  cuda_emulation::wait_for_block("__syncthreads", nullptr, nullptr);
}
inline int __syncthreads_or(int predicate) {
  return cuda_emulation::block_reduce<int, std::bit_or<>>("__syncthreads_or", predicate != 0);
}
inline int __syncthreads_and(int predicate) {
  return cuda_emulation::block_reduce<int, std::bit_and<>>("__syncthreads_and", predicate != 0);
}
inline int __syncthreads_count(int predicate) {
  return cuda_emulation::block_reduce<int, std::plus<>>("__syncthreads_count", predicate != 0);
}
inline void __syncwarp(unsigned mask = ~0u) {
  cuda_emulation::wait_for_warp("__syncwarp", mask, nullptr, nullptr);
}

// A shuffle stays within a segment of `width` lanes (a power of two); past its end a lane reads itself.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const unsigned segment = static_cast<unsigned>(width) - 1, lane = cuda_emulation::lane();
  const unsigned from = (lane & ~segment) | (static_cast<unsigned>(source) & segment);
  return cuda_emulation::shuffle("__shfl_sync", mask, value, from);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
  const unsigned segment = static_cast<unsigned>(width) - 1, lane = cuda_emulation::lane();
  const unsigned from = lane ^ (static_cast<unsigned>(bits) & 31);
  return cuda_emulation::shuffle("__shfl_xor_sync", mask, value, from <= (lane | segment) ? from : lane);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const unsigned segment = static_cast<unsigned>(width) - 1, lane = cuda_emulation::lane();
  const bool inside = (lane & segment) + delta <= segment;
  return cuda_emulation::shuffle("__shfl_down_sync", mask, value, inside ? lane + delta : lane);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const unsigned segment = static_cast<unsigned>(width) - 1, lane = cuda_emulation::lane();
  const bool inside = delta <= (lane & segment);
  return cuda_emulation::shuffle("__shfl_up_sync", mask, value, inside ? lane - delta : lane);
}

inline unsigned __ballot_sync(unsigned mask, int predicate) {
  const unsigned own = predicate ? 1u << cuda_emulation::lane() : 0;
  return cuda_emulation::warp_reduce<unsigned, std::bit_or<>>("__ballot_sync", mask, own);
}
inline int __any_sync(unsigned mask, int predicate) {
  return cuda_emulation::warp_reduce<int, std::bit_or<>>("__any_sync", mask, predicate != 0);
}
inline int __all_sync(unsigned mask, int predicate) {
  return cuda_emulation::warp_reduce<int, std::bit_and<>>("__all_sync", mask, predicate != 0);
}

inline unsigned __reduce_add_sync(unsigned mask, unsigned value) {
  return cuda_emulation::warp_reduce<unsigned, std::plus<>>("__reduce_add_sync", mask, value);
}
inline int __reduce_add_sync(unsigned mask, int value) {  // wraps round, as the device does
  return static_cast<int>(__reduce_add_sync(mask, static_cast<unsigned>(value)));
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned value) {
  return cuda_emulation::warp_reduce<unsigned, cuda_emulation::Min>("__reduce_min_sync", mask, value);
}
inline int __reduce_min_sync(unsigned mask, int value) {
  return cuda_emulation::warp_reduce<int, cuda_emulation::Min>("__reduce_min_sync", mask, value);
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned value) {
  return cuda_emulation::warp_reduce<unsigned, cuda_emulation::Max>("__reduce_max_sync", mask, value);
}
inline int __reduce_max_sync(unsigned mask, int value) {
  return cuda_emulation::warp_reduce<int, cuda_emulation::Max>("__reduce_max_sync", mask, value);
}
