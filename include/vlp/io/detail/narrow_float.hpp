/// \file
/// Half-precision numbers, which files hold in 16 bits, as the float of the same value.
#pragma once

#include <bit>
#include <cstdint>

namespace vlp::io::detail {

/// The float equal to an IEEE 754 binary16 number of the given bits. A NaN keeps its sign and its payload.
[[nodiscard]] inline float float_of_half(std::uint16_t bits) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fU, fraction = bits & 0x3ffU;
  std::uint32_t magnitude;
  if (exponent == 0) {  // zero and the subnormals: multiples of 2^-24, all of which are normal floats
    magnitude = std::bit_cast<std::uint32_t>(static_cast<float>(fraction) * 0x1p-24F);
  } else if (exponent == 0x1f) {  // infinity and NaN
    magnitude = 0x7f800000U | fraction << 13;
  } else {
    magnitude = (exponent + 127 - 15) << 23 | fraction << 13;
  }
  return std::bit_cast<float>(sign | magnitude);
}

/// The float equal to a bfloat16 number of the given bits, which are the upper half of the float's.
[[nodiscard]] inline float float_of_bfloat16(std::uint16_t bits) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

}  // namespace vlp::io::detail
