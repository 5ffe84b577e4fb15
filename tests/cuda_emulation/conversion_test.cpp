#include "support/catch.hpp"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

namespace {

/// What `bits` mean, by the definition of the format.
double meaning(unsigned bits, int exponent_bits) {
  const int mantissa_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = static_cast<int>(bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const double fraction = (bits & ((1u << mantissa_bits) - 1)) * std::pow(2.0, -mantissa_bits);
  const double sign = bits >> 15 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) {
    return fraction > 0 ? std::numeric_limits<double>::quiet_NaN()
                        : sign * std::numeric_limits<double>::infinity();
  }
  return sign * (exponent == 0 ? fraction * std::pow(2.0, 1 - bias)
                               : (1 + fraction) * std::pow(2.0, exponent - bias));
}

/// The nearest of all numbers of the format, of two the one with an even pattern. Above the greatest finite
/// number lies, for rounding, the next that the format would have: infinity.
unsigned nearest(double value, int exponent_bits) {
  const unsigned infinity = ((1u << exponent_bits) - 1) << (15 - exponent_bits);
  static std::vector<double> tables[9];
  std::vector<double>& table = tables[exponent_bits];
  if (table.empty()) {
    for (unsigned bits = 0; bits < infinity; ++bits) table.push_back(meaning(bits, exponent_bits));
    table.push_back(2 * table.back() - table[infinity - 2]);
  }
  const double magnitude = std::fabs(value);
  const unsigned sign = std::signbit(value) ? 0x8000 : 0;
  const auto above =
      static_cast<unsigned>(std::lower_bound(table.begin(), table.end(), magnitude) - table.begin());
  if (above > infinity) return sign | infinity;
  if (above == 0) return sign;
  const double up = table[above] - magnitude, down = magnitude - table[above - 1];
  return sign | (up < down || (up == down && above % 2 == 0) ? above : above - 1);
}

template <class T>
void check_format(int exponent_bits, T (*from_bits)(unsigned short), unsigned short (*to_bits)(T)) {
  static_assert(sizeof(T) == 2 && std::is_trivial_v<T>);
  int wrong = 0;
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const T number = from_bits(static_cast<unsigned short>(bits));
    const double expected = meaning(bits, exponent_bits);
    const float value = number;
    if (std::isnan(expected)) {
      wrong += !std::isnan(value) || to_bits(T(value)) != 0x7FFF;
      continue;
    }
    wrong +=
        !(value == expected && std::signbit(value) == std::signbit(expected)) || to_bits(T(value)) != bits;
    // Halfway to the next and a float to each side of that.
    const auto halfway = static_cast<float>((expected + meaning(bits + 1 & 0xFFFF, exponent_bits)) / 2);
    if (!std::isfinite(halfway)) continue;
    for (const float x : {std::nextafter(halfway, -1e38f), halfway, std::nextafter(halfway, 1e38f)}) {
      wrong += to_bits(T(x)) != nearest(x, exponent_bits);
    }
    // What a double has beyond a float decides as well.
    const double beyond = static_cast<double>(halfway) * (1 + 1e-12);
    wrong += to_bits(T(beyond)) != nearest(beyond, exponent_bits);
  }
  CHECK(wrong == 0);
  std::mt19937 random(1);
  wrong = 0;
  for (int i = 0; i < 200000; ++i) {
    const float x = __builtin_bit_cast(float, static_cast<std::uint32_t>(random()));
    if (!std::isnan(x)) wrong += to_bits(T(x)) != nearest(x, exponent_bits);
  }
  CHECK(wrong == 0);
  CHECK(static_cast<float>(T(-3)) == -3.0f);
  CHECK(to_bits(T(16777217)) == nearest(16777217.0, exponent_bits));
}

}  // namespace

TEST_CASE("the oracle knows numbers that the formats are known by") {
  CHECK(meaning(0x3F80, 8) == 1);
  CHECK(meaning(0xC049, 8) == -3.140625);
  CHECK(meaning(0x0001, 8) == std::pow(2.0, -133));
  CHECK(meaning(0x7BFF, 5) == 65504);
  CHECK(meaning(0x0001, 5) == std::pow(2.0, -24));
  CHECK(nearest(65519.0, 5) == 0x7BFF);
  CHECK(nearest(65520.0, 5) == 0x7C00);
}

TEST_CASE("bf16") {
  check_format<__nv_bfloat16>(8, __ushort_as_bfloat16, __bfloat16_as_ushort);
}

TEST_CASE("half") {
  check_format<__half>(5, __ushort_as_half, __half_as_ushort);
}

TEST_CASE("the toolkit's names for conversions") {
  CHECK(__bfloat162float(__float2bfloat16(1.5f)) == 1.5f);
  CHECK(__bfloat16_as_ushort(__float2bfloat16_rn(1.00390625f)) == 0x3F80);  // halfway, to even
  CHECK(__half2float(__float2half(1.5f)) == 1.5f);
  CHECK(__half_as_ushort(__float2half_rn(65520.0f)) == 0x7C00);
  const __nv_bfloat162 b = __floats2bfloat162_rn(1, 2), c = __float22bfloat162_rn(make_float2(3, 4));
  CHECK(__bfloat1622float2(b).x + 10 * __bfloat1622float2(b).y == 21.0f);
  CHECK(static_cast<float>(c.x) + 10 * static_cast<float>(c.y) == 43.0f);
  const __half2 d = __floats2half2_rn(1, 2), e = __float22half2_rn(make_float2(3, 4));
  CHECK(__half22float2(d).x + 10 * __half22float2(d).y == 21.0f);
  CHECK(static_cast<float>(e.x) + 10 * static_cast<float>(e.y) == 43.0f);
}
