/// \file
/// Device functions that concern one thread: bits, mathematics, atomics. Fibers never run at the same time,
/// so an atomic operation is a plain one.
#pragma once

#include "block.hpp"

#include <math.h>

#include <bit>
#include <cassert>
#include <cmath>
#include <concepts>
#include <type_traits>

inline unsigned __float_as_uint(float x) {
  return std::bit_cast<unsigned>(x);
}
inline int __float_as_int(float x) {
  return std::bit_cast<int>(x);
}
inline float __uint_as_float(unsigned x) {
  return std::bit_cast<float>(x);
}
inline float __int_as_float(int x) {
  return std::bit_cast<float>(x);
}
inline int __popc(unsigned x) {
  return std::popcount(x);
}
inline int __ffs(int x) {
  return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1;
}
inline int __clz(int x) {
  return std::countl_zero(static_cast<unsigned>(x));
}

inline float rsqrtf(float x) {
  return 1.0f / std::sqrt(x);
}
inline double rsqrt(double x) {
  return 1.0 / std::sqrt(x);
}
inline float __expf(float x) noexcept {
  return std::exp(x);
}
inline float __logf(float x) noexcept {
  return std::log(x);
}
// By divisors above 2^126 the device gives 0 (CUDA C++ Programming Guide, "Intrinsic Functions").
inline float __fdividef(float x, float y) {
  return std::fabs(y) > 0x1p126f ? x * std::copysign(0.0f, y) : x / y;
}

// Returns the number rather than the NaN, as the device does.
template <class T>
requires std::is_arithmetic_v<T>
constexpr T min(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) return std::fmin(a, b);
  return b < a ? b : a;
}
template <class T>
requires std::is_arithmetic_v<T>
constexpr T max(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) return std::fmax(a, b);
  return a < b ? b : a;
}

template <class T>
T __ldg(const T* p) {
  return *p;
}
inline void __threadfence() {}
[[noreturn]] inline void __trap() {
  cuda_emulation::fail("__trap() was called");
}

namespace cuda_emulation {
template <class T, class... U>
concept OneOf = (std::same_as<T, U> || ...);
}

// The operand's type is the address's, as in the toolkit's overloads. Integers wrap round.
template <cuda_emulation::OneOf<int, unsigned, unsigned long long, float, double> T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  if constexpr (std::is_same_v<T, int>) {
    *address = static_cast<int>(static_cast<unsigned>(old) + static_cast<unsigned>(value));
  } else {
    *address = old + value;
  }
  return old;
}
template <cuda_emulation::OneOf<int, unsigned, unsigned long long> T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  if (old < value) *address = value;
  return old;
}
template <cuda_emulation::OneOf<int, unsigned, unsigned long long> T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  if (value < old) *address = value;
  return old;
}
template <cuda_emulation::OneOf<int, unsigned, unsigned long long> T>
T atomicCAS(T* address, std::type_identity_t<T> compare, std::type_identity_t<T> value) {
  const T old = *address;
  if (old == compare) *address = value;
  return old;
}
