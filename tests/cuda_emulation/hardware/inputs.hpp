/// \file
/// Inputs of the hardware probe: pure functions of small integers, so that the probe on a card and the tests
/// on the host work on the same bits. They are exact: no function of the mathematical library decides a bit.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace hardware {

/// 32 bits that look random.
inline std::uint32_t hash(std::uint32_t x) {
  x = (x ^ (x >> 16)) * 0x7feb352dU;
  x = (x ^ (x >> 15)) * 0x846ca68bU;
  return x ^ (x >> 16);
}
inline std::uint32_t hash(std::uint32_t x, std::uint32_t y, std::uint32_t z = 0) {
  return hash(x + 0x9e3779b9U * hash(y + 0x9e3779b9U * hash(z)));
}
/// A multiple of 2^-24 in [-1, 1).
inline double fraction(std::uint32_t bits) {
  return std::scalbn(static_cast<double>(bits >> 7), -24) - 1;
}

/// The two types of matrix elements, by their bits of exponent.
enum class Type { bf16 = 8, f16 = 5 };

/// Bits of x in 16 bits, rounded towards zero.
inline std::uint16_t truncated(double x, Type type) {
  const int exponent_bits = static_cast<int>(type), mantissa_bits = 15 - exponent_bits;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const unsigned sign = std::signbit(x) ? 0x8000 : 0, infinity = ((1U << exponent_bits) - 1) << mantissa_bits;
  if (std::isnan(x)) return static_cast<std::uint16_t>(sign | infinity | 1U << (mantissa_bits - 1));
  if (std::isinf(x)) return static_cast<std::uint16_t>(sign | infinity);
  if (x == 0) return static_cast<std::uint16_t>(sign);
  const int exponent = std::max(std::ilogb(x), 1 - bias);
  if (exponent > bias) return static_cast<std::uint16_t>(sign | infinity);
  const auto mantissa =
      static_cast<unsigned>(std::floor(std::scalbn(std::fabs(x), mantissa_bits - exponent)));
  return static_cast<std::uint16_t>(
      sign | ((static_cast<unsigned>(exponent + bias - 1) << mantissa_bits) + mantissa));
}

// --- products of matrices: A [M, 16], B [16, N], C [M, N]

/// Patterns of A, B and C: which element goes where (0-4), random numbers (5-7), a large term beside small
/// ones (8-13), large terms that cancel (14-17), infinities and NaN (18, 19), subnormal numbers (20-22),
/// overflow (23), signs of zero (24), roundings (25-27).
inline constexpr int product_patterns = 28;
/// One more, whose terms are subnormal numbers times normal ones: it tells whether a product's exponent is
/// that of its subnormal factor or the least one of the type.
inline constexpr int subnormal_pattern = 28;

namespace detail {

inline double power(int exponent) {
  return std::scalbn(1.0, exponent);
}
inline double wide(std::uint32_t bits) {
  return fraction(hash(bits)) * power(static_cast<int>(bits % 25) - 12);
}
/// Where column n has its second term: neighbours, ends of halves and quarters.
inline int place(int n) {
  constexpr int places[8] = {1, 2, 3, 4, 7, 8, 9, 15};
  return places[n % 8];
}
inline double special(int i, Type type) {
  const double infinity = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double largest = type == Type::f16 ? 65504 : power(128) - power(120);
  const double least = type == Type::f16 ? power(-24) : power(-133);
  const double table[16] = {1,       0,        -0.0,  infinity, -infinity,   nan,        2,   -1,
                            largest, -largest, least, -least,   least * 128, -1 / 128.0, 0.5, -nan};
  return table[i % 16];
}
/// Of patterns 14 to 16: the column whose large term cancels that of column 0.
inline int canceller(int pattern) {
  return pattern == 14 ? 1 : pattern == 15 ? 8 : 15;
}

}  // namespace detail

inline double a_element(int pattern, int m, int k, Type type) {
  using detail::power;
  const auto seed = static_cast<std::uint32_t>(1000 * pattern + 16 * m + k);
  const int row = m % 16;
  switch (pattern) {
    case 0:
    case 1:
      return 16 * row + k + 1;
    case 2:
      return k == row;
    case 4:
      return static_cast<int>(hash(seed, 1) % 17) - 8;
    case 5:
      return fraction(hash(seed, 1));
    case 6:
    case 7:
      return detail::wide(hash(seed, 1));
    case 8:
    case 9:
    case 12:
      return k == 0 ? 1 : power(-2 - row);
    case 10:
    case 11:
    case 13:
      return power(-2 - row);
    case 14:
    case 15:
    case 16:
      if (k == 0) return power(row - 2);
      return k == detail::canceller(pattern) ? -power(row - 2) : power(-10) * (1 + k / 128.0);
    case 17:
      return k == 0 ? power(row - 2) : power(-10) * (1 + k / 128.0);
    case 18:
    case 19:
      return k == 0 ? detail::special(row, type) : 0;
    case 20:
      return k == 0 ? power((type == Type::f16 ? -24 : -133) + row) : 0;
    case 22:
      return k == 0 ? power(type == Type::f16 ? -24 : -63) : 0;
    case 23:
      if (type == Type::f16) return k < 2 ? 65504 : 0;
      return k == 0 ? power(127) : k == 1 ? (row % 2 == 0 ? power(120) : -power(127)) : 0;
    case 24:
      return row % 2 == 0 ? 0.0 : -0.0;
    case 25:
      return k == 0 ? (row & 4 ? -power(-12) : power(-12)) : 0;
    case 26:
      return static_cast<int>(hash(seed, 1) % 511) - 255;
    case 27:
      return 1.5 + fraction(hash(seed, 1)) / 2;
    case subnormal_pattern:
      return k == 0 ? power((type == Type::f16 ? -24 : -133) + row % 8) : 0;
    default:
      return 0;  // 3, 21
  }
}

inline double b_element(int pattern, int k, int n, Type type) {
  using detail::power;
  const auto seed = static_cast<std::uint32_t>(1000 * pattern + 16 * n + k);
  const double small = power(-14);
  switch (pattern) {
    case 0:
      return k == n;
    case 1:
      return k == n + 8;
    case 2:
      return 8 * k + n % 8 + 1;
    case 4:
      return static_cast<int>(hash(seed, 2) % 17) - 8;
    case 5:
      return fraction(hash(seed, 2));
    case 6:
    case 7:
      return detail::wide(hash(seed, 2));
    case 8:
      return k == 0 ? 1 : k == detail::place(n) ? small : 0;
    case 9:
      return k == 0 ? 1 : k == detail::place(n) ? -small : 0;
    case 10:
      return k == detail::place(n) ? small : 0;
    case 11:
      return k == detail::place(n) ? -small : 0;
    case 12:
      return k == 0 ? 1 : k <= 1 + 2 * (n % 8) ? small : 0;
    case 13:
      return k <= 1 + 2 * (n % 8) ? small : 0;
    case 14:
    case 15:
    case 16:
      return k == 0 || k == detail::canceller(pattern) ? 64 : 0.75 + fraction(hash(seed, 2)) / 4;
    case 17:
      return k == 0 ? 64 : 0.75 + fraction(hash(seed, 2)) / 4;
    case 18:
    case 19:
      return k == 0 ? detail::special(n % 8, type) : 1;
    case 20:
      return k == 0 ? power(type == Type::f16 ? -24 + n % 8 : -16 + 4 * (n % 8)) : 0;
    case 22:
      return k == 0 ? power(type == Type::f16 ? -24 : -63) : 0;
    case 23:
      return k < 2 ? power(n % 8 - 3) : 0;
    case 24:
      return n % 2 == 0 ? 1 : -1;
    case 25:
      return k == 0 ? power(-12) * (1 + n % 8 / 8.0) : 0;
    case 26:
      return static_cast<int>(hash(seed, 2) % 511) - 255;
    case 27:
      return 1.5 + fraction(hash(seed, 2)) / 2;
    case subnormal_pattern:
      return k == 0 ? power(type == Type::f16 ? n % 8 : 109 + n % 8) : 0;
    default:
      return 0;  // 3, 21
  }
}

inline float c_element(int pattern, int m, int n) {
  using detail::power;
  const auto seed = static_cast<std::uint32_t>(1000 * pattern + 16 * m + n);
  const int row = m % 16, i = 8 * row + n % 8;
  double out = 0;
  switch (pattern) {
    case 3:
      out = i + 1;
      break;
    case 4:
      out = static_cast<int>(hash(seed, 3) % 201) - 100;
      break;
    case 5:
      out = fraction(hash(seed, 3));
      break;
    case 6:
      out = detail::wide(hash(seed, 3));
      break;
    case 10:
    case 11:
    case 13:
      out = 1;
      break;
    case 17:
      out = -power(row + 4);
      break;
    case 19:
      out = std::numeric_limits<double>::infinity();
      break;
    case 21:
      out = power(-149) * (i + 1) * (n % 2 == 0 ? 1 : -1);
      break;
    case 22:
      out = -power(-149) * (i + 1);
      break;
    case 23:
      out = std::numeric_limits<float>::max();
      break;
    case 24:
      out = row / 2 % 2 == 0 ? 0.0 : -0.0;
      break;
    case 25:
      out = 1 + (row & 3) * power(-23);
      break;
    case 26:
      out = static_cast<int>(hash(seed, 3) >> 5) - (1 << 26);
      break;
    case subnormal_pattern:
      out = power(-24) * (1 + fraction(hash(seed, 3)) / 2);
      break;
    default:
      break;
  }
  return static_cast<float>(out);
}

inline std::uint32_t pair(double low, double high, Type type) {
  return truncated(low, type) | static_cast<std::uint32_t>(truncated(high, type)) << 16;
}

/// Registers of lanes, [threads, 4], as mma.m16n8k16 and wgmma.m64nNk16 take A: warp w has rows 16 w to
/// 16 w + 15. `element(m, k)` is that of A.
template <class Element>
std::vector<std::uint32_t> a_fragments(int threads, Type type, Element element) {
  std::vector<std::uint32_t> out;
  for (int thread = 0; thread < threads; ++thread) {
    const int g = thread / 32 * 16 + thread % 32 / 4, t = thread % 4;
    for (int i = 0; i < 4; ++i) {
      const int m = g + 8 * (i % 2), k = 2 * t + 8 * (i / 2);
      out.push_back(pair(element(m, k), element(m, k + 1), type));
    }
  }
  return out;
}
/// Registers of 32 lanes, [32, 2], as mma.m16n8k16 takes B.
template <class Element>
std::vector<std::uint32_t> b_fragments(Type type, Element element) {
  std::vector<std::uint32_t> out;
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 2; ++i)
      out.push_back(pair(element(2 * t + 8 * i, g), element(2 * t + 8 * i + 1, g), type));
  }
  return out;
}
/// Registers of lanes, [threads, n / 2], as mma.m16n8k16 (n = 8) and wgmma.m64nNk16 hold C and D.
template <class Element>
std::vector<float> c_fragments(int threads, int n, Element element) {
  std::vector<float> out;
  for (int thread = 0; thread < threads; ++thread) {
    const int g = thread / 32 * 16 + thread % 32 / 4, t = thread % 4;
    for (int i = 0; i < n / 2; ++i) out.push_back(element(g + 8 * (i / 2 % 2), 8 * (i / 4) + 2 * t + i % 2));
  }
  return out;
}

// --- numbers

/// Rows of 8 elements in shared memory that lanes name to ldmatrix: element j of row i is 8 i + j.
inline constexpr int matrix_rows = 64, matrix_cases = 3;
inline int matrix_row(int which, int lane) {
  if (which == 0) return lane;
  if (which == 1) return (7 * lane + 3) % matrix_rows;
  return static_cast<int>(hash(static_cast<std::uint32_t>(lane), 7) % matrix_rows);
}

/// The bytes of copies of 16 bytes.
inline std::uint8_t copied_byte(int i) {
  return static_cast<std::uint8_t>(hash(static_cast<std::uint32_t>(i), 8) | 1);
}
/// What a destination holds before.
inline constexpr std::uint8_t untouched = 0xAB;

inline std::vector<float> special_numbers() {
  std::vector<float> out;
  for (const std::uint32_t bits :
       {0x00000000U, 0x7f800000U, 0x7fc00000U, 0x7f800001U, 0x7fffffffU, 0x7fa00000U, 0x00000001U,
        0x00000002U, 0x007fffffU, 0x00400000U, 0x00800000U, 0x00800001U, 0x7f7fffffU, 0x7f7f8000U,
        0x7f7f7fffU, 0x7f000000U, 0x7e800000U, 0x477fe000U, 0x477fefffU, 0x477ff000U, 0x477ff001U,
        0x47800000U, 0x33000000U, 0x33000001U, 0x32ffffffU, 0x33800000U, 0x33c00000U, 0x387fc000U,
        0x387fe000U, 0x38800000U, 0x3f800000U, 0x3f7fffffU, 0x3f800001U, 0x42fe0000U, 0x42ff0000U,
        0x43000000U, 0x42fc0000U, 0x42fd0000U, 0x43150000U, 0x43160000U, 0x42b00000U, 0x42b17218U,
        0x42b2d4fcU, 0x42d00000U})
    for (const std::uint32_t sign : {0U, 0x80000000U}) out.push_back(std::bit_cast<float>(bits | sign));
  return out;
}

/// Inputs of ex2.approx: special numbers, a grid of 2^-5 over [-160, 0), of 2^-3 over [-16, 112), random
/// numbers of every size, random numbers in [-1, 0).
inline constexpr int ex2_inputs = 1 << 13;
inline std::vector<float> ex2_input() {
  std::vector<float> out = special_numbers();
  for (int i = 1; i <= 160 * 32; ++i) out.push_back(static_cast<float>(-i) / 32);
  for (int i = 0; i < 128 * 8; ++i) out.push_back(static_cast<float>(i) / 8 - 16);
  for (std::uint32_t i = 0; i < 1024; ++i) {
    const std::uint32_t bits = hash(i, 9);
    out.push_back(std::bit_cast<float>((bits & 0x807fffffU) | (96 + (bits >> 23 & 255U) % 38) << 23));
  }
  for (std::uint32_t i = 0; static_cast<int>(out.size()) < ex2_inputs; ++i)
    out.push_back(static_cast<float>((fraction(hash(i, 10)) - 1) / 2));
  return out;
}

/// Inputs of conversions to 16 bits: special numbers, ties of both types and their neighbours, random bits.
inline std::vector<float> conversion_input() {
  std::vector<float> out = special_numbers();
  for (std::uint32_t exponent = 0; exponent < 255; ++exponent) {
    const std::uint32_t bits = exponent << 23 | (hash(exponent, 11) & 0x807f0000U);
    for (const std::uint32_t low : {0x8000U, 0x7fffU, 0x8001U})
      out.push_back(std::bit_cast<float>(bits | low));
  }
  for (std::uint32_t exponent = 100; exponent < 144; ++exponent) {
    for (const std::uint32_t low : {0x1000U, 0x0fffU, 0x1001U})
      for (std::uint32_t i = 0; i < 4; ++i) {
        const std::uint32_t bits = exponent << 23 | (hash(exponent, 12, i) & 0x807fe000U);
        out.push_back(std::bit_cast<float>(bits | low));
      }
  }
  for (std::uint32_t i = 0; out.size() < 2048; ++i) out.push_back(std::bit_cast<float>(hash(i, 13)));
  return out;
}
/// Bits of 16-bit numbers to convert to float: the ends of the patterns and some of each exponent.
inline std::vector<std::uint16_t> widened_input() {
  std::vector<std::uint16_t> out;
  for (std::uint32_t i = 0; i < 1024; ++i)
    out.push_back(static_cast<std::uint16_t>(i % 4 == 0 ? 64 * i : 64 * i + hash(i, 14) % 64));
  for (const int bits :
       {0x7f80, 0x7f81, 0x7fff, 0xff80, 0xffff, 0x7c00, 0x7c01, 0xfc00, 0xfdff, 0x7e00, 1, 0x8001})
    out.push_back(static_cast<std::uint16_t>(bits));
  return out;
}

/// Dividends and divisors of __fdividef, [count, 2].
inline std::vector<float> division_input() {
  std::vector<float> out;
  const std::vector<float> special = special_numbers();
  for (std::uint32_t i = 0; i < 256; ++i) {
    out.push_back(special[hash(i, 15) % special.size()]);
    out.push_back(special[hash(i, 16) % special.size()]);
  }
  for (std::uint32_t i = 0; i < 256; ++i) {  // divisors of 2^120 to 2^128
    out.push_back(std::bit_cast<float>((hash(i, 17) & 0x807fffffU) | (64 + hash(i, 18) % 190) << 23));
    out.push_back(std::bit_cast<float>((hash(i, 19) & 0x807fffffU) | (247 + i % 8) << 23));
  }
  for (std::uint32_t i = 0; i < 512; ++i) {
    out.push_back(std::bit_cast<float>((hash(i, 20) & 0x807fffffU) | (107 + hash(i, 21) % 40) << 23));
    out.push_back(std::bit_cast<float>((hash(i, 22) & 0x807fffffU) | (107 + hash(i, 23) % 40) << 23));
  }
  return out;
}
/// Inputs of functions of one number: special ones, integers from -160 to 160 (with exp2f, powers of two),
/// powers of two from 2^-149 to 2^127 (with log2f, integers), random numbers.
inline std::vector<float> function_input() {
  std::vector<float> out = special_numbers();
  for (int i = -160; i <= 160; ++i) out.push_back(static_cast<float>(i));
  for (int i = -149; i <= 127; ++i) out.push_back(static_cast<float>(detail::power(i)));
  for (std::uint32_t i = 0; out.size() < 1024; ++i) {
    const std::uint32_t bits = hash(i, 24);
    out.push_back(std::bit_cast<float>((bits & 0x807fffffU) | (107 + (bits >> 23 & 255U) % 27) << 23));
  }
  return out;
}

}  // namespace hardware
