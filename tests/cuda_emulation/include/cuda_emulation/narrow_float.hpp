/// \file
/// Floating point of 16 bits: conversions, correctly rounded (to nearest, ties to even) from every source
/// type.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace cuda_emulation {

/// Bits of `value` with this many bits of exponent and mantissa below one of sign. A NaN becomes 0x7FFF, as
/// on the device.
template <int exponent_bits, int mantissa_bits>
std::uint16_t narrow(double value) {
  constexpr int bias = (1 << (exponent_bits - 1)) - 1;
  constexpr unsigned infinity = ((1u << exponent_bits) - 1) << mantissa_bits;
  if (std::isnan(value)) return 0x7FFF;
  const unsigned sign = std::signbit(value) ? 0x8000 : 0;
  if (std::isinf(value)) return static_cast<std::uint16_t>(sign | infinity);
  if (value == 0) return static_cast<std::uint16_t>(sign);
  const int exponent = std::max(std::ilogb(value), 1 - bias);  // subnormal numbers share the least
  if (exponent > bias) return static_cast<std::uint16_t>(sign | infinity);
  // The leading bit of the mantissa, where there is one, and rounding up to the next power of two carry into
  // the exponent, up to infinity.
  const auto mantissa =
      static_cast<unsigned>(std::nearbyint(std::scalbn(std::fabs(value), mantissa_bits - exponent)));
  const auto exponent_field = static_cast<unsigned>(exponent + bias - 1);
  return static_cast<std::uint16_t>(sign | ((exponent_field << mantissa_bits) + mantissa));
}

/// The number that `bits` mean, exactly. As on the device, a NaN of bfloat16 keeps its bits as the upper half
/// of the float, and every NaN of half becomes 0x7FFFFFFF.
template <int exponent_bits, int mantissa_bits>
float widen(std::uint16_t bits) {
  if constexpr (exponent_bits == 8) return std::bit_cast<float>(std::uint32_t{bits} << 16);
  constexpr unsigned greatest = (1u << exponent_bits) - 1;
  constexpr int bias = (1 << (exponent_bits - 1)) - 1;
  const float sign = bits & 0x8000 ? -1.0f : 1.0f;
  const unsigned exponent = bits >> mantissa_bits & greatest, mantissa = bits & ((1u << mantissa_bits) - 1);
  if (exponent == greatest) {
    if (mantissa != 0) return std::bit_cast<float>(std::uint32_t{0x7FFFFFFF});
    return sign * std::numeric_limits<float>::infinity();
  }
  const unsigned leading = exponent == 0 ? 0 : 1u << mantissa_bits;
  const int scale = (exponent == 0 ? 1 : static_cast<int>(exponent)) - bias - mantissa_bits;
  return sign * std::scalbn(static_cast<float>(leading + mantissa), scale);
}

}  // namespace cuda_emulation
