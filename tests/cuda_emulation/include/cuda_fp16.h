/// \file
/// Stands in for the CUDA toolkit's header of the same name.
#pragma once

#include "cuda_emulation/language.hpp"
#include "cuda_emulation/narrow_float.hpp"

struct __half {
  unsigned short bits;

  __half() = default;
  __half(double value) : bits(cuda_emulation::narrow<5, 10>(value)) {}
  __half(float value) : __half(static_cast<double>(value)) {}
  __half(int value) : __half(static_cast<double>(value)) {}
  operator float() const { return cuda_emulation::widen<5, 10>(bits); }

  // The toolkit's operators round to 16 bits; arithmetic is meant to be in float.
  friend void operator+(__half, __half) = delete;
  friend void operator-(__half, __half) = delete;
  friend void operator*(__half, __half) = delete;
  friend void operator/(__half, __half) = delete;
};

struct alignas(4) __half2 {
  __half x, y;
};

inline __half __float2half(float x) {
  return __half(x);
}
inline __half __float2half_rn(float x) {
  return __half(x);
}
inline __half __double2half(double x) {
  return __half(x);
}
inline float __half2float(__half x) {
  return x;
}
inline __half2 __floats2half2_rn(float x, float y) {
  return {__half(x), __half(y)};
}
inline __half2 __float22half2_rn(float2 v) {
  return {__half(v.x), __half(v.y)};
}
inline float2 __half22float2(__half2 v) {
  return {v.x, v.y};
}
inline unsigned short __half_as_ushort(__half x) {
  return x.bits;
}
inline __half __ushort_as_half(unsigned short bits) {
  __half result;
  result.bits = bits;
  return result;
}
