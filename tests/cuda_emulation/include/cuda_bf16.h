/// \file
/// Stands in for the CUDA toolkit's header of the same name.
#pragma once

#include "cuda_emulation/language.hpp"
#include "cuda_emulation/narrow_float.hpp"

struct __nv_bfloat16 {
  unsigned short bits;

  __nv_bfloat16() = default;
  __nv_bfloat16(double value) : bits(cuda_emulation::narrow<8, 7>(value)) {}
  __nv_bfloat16(float value) : __nv_bfloat16(static_cast<double>(value)) {}
  __nv_bfloat16(int value) : __nv_bfloat16(static_cast<double>(value)) {}
  operator float() const { return cuda_emulation::widen<8, 7>(bits); }

  // The toolkit's operators round to 16 bits; arithmetic is meant to be in float.
  friend void operator+(__nv_bfloat16, __nv_bfloat16) = delete;
  friend void operator-(__nv_bfloat16, __nv_bfloat16) = delete;
  friend void operator*(__nv_bfloat16, __nv_bfloat16) = delete;
  friend void operator/(__nv_bfloat16, __nv_bfloat16) = delete;
};

struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};

inline __nv_bfloat16 __float2bfloat16(float x) {
  return __nv_bfloat16(x);
}
inline __nv_bfloat16 __float2bfloat16_rn(float x) {
  return __nv_bfloat16(x);
}
inline __nv_bfloat16 __double2bfloat16(double x) {
  return __nv_bfloat16(x);
}
inline float __bfloat162float(__nv_bfloat16 x) {
  return x;
}
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
  return {__nv_bfloat16(x), __nv_bfloat16(y)};
}
inline __nv_bfloat162 __float22bfloat162_rn(float2 v) {
  return {__nv_bfloat16(v.x), __nv_bfloat16(v.y)};
}
inline float2 __bfloat1622float2(__nv_bfloat162 v) {
  return {v.x, v.y};
}
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 x) {
  return x.bits;
}
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) {
  __nv_bfloat16 result;
  result.bits = bits;
  return result;
}
