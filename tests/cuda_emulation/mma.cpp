// Products of matrices. They touch registers only and take most of the time of emulated losses, so that this
// file is compiled without sanitizers.
#include "cuda_emulation/block.hpp"
#include "cuda_emulation/narrow_float.hpp"
#include "cuda_emulation/tensor.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>

namespace cuda_emulation {
namespace {

// An H200 adds the accumulator and all 16 products at once: each product is exact, and all 17 terms are cut
// towards zero to multiples of 2^-25 of the largest exponent, where a product's exponent is the sum of its
// factors'. Their exact sum is cut towards zero to a float. That is what the hardware probe showed, to the
// bit, in 28 patterns of mma and of wgmma in both types; older cards add fewer terms at a time, with fewer
// bits (Fasi et al., "Numerical behavior of NVIDIA tensor cores", 2021).

/// A finite number: mantissa x 2^(exponent - bits of the mantissa). Subnormal ones have the least exponent of
/// their type, which no pattern so far tells from their own; the exponent of 0 is below all sums of others.
struct Number {
  std::int32_t mantissa;
  int exponent;
};
constexpr int no_exponent = -10000;

template <int exponent_bits, int mantissa_bits>
Number number_of(std::uint32_t bits) {
  constexpr std::uint32_t implicit = 1u << mantissa_bits, bias = (1u << (exponent_bits - 1)) - 1;
  const std::uint32_t field = bits >> mantissa_bits & ((1u << exponent_bits) - 1);
  const auto mantissa = static_cast<std::int32_t>((bits & (implicit - 1)) | (field == 0 ? 0 : implicit));
  const bool negative = (bits >> (exponent_bits + mantissa_bits) & 1u) != 0;
  if (mantissa == 0) return {0, no_exponent};
  return {negative ? -mantissa : mantissa, static_cast<int>(field == 0 ? 1 : field) - static_cast<int>(bias)};
}

/// x 2^exponent as a float, cut towards zero; beyond the largest float it is infinite.
float cut_to_float(std::int64_t x, int exponent) {
  std::int64_t size = std::abs(x);
  const int excess = std::bit_width(static_cast<std::uint64_t>(size)) - 24;
  const int cut = std::max({excess, -149 - exponent, 0});
  size = cut < 63 ? size >> cut : 0;
  const float out = std::ldexp(static_cast<float>(size), exponent + cut);
  return x < 0 ? -out : out;
}

/// Rows of A or columns of B.
template <int exponent_bits, int mantissa_bits, int rows>
struct Factors {
  std::int32_t mantissas[rows][16];
  int exponents[rows][16];
  float values[rows][16];
  bool finite[rows];

  /// Two neighbours.
  void put(int row, int k, std::uint32_t pair) {
    for (int i = 0; i < 2; ++i) {
      const auto bits = static_cast<std::uint16_t>(pair >> (16 * i));
      const Number number = number_of<exponent_bits, mantissa_bits>(bits);
      mantissas[row][k + i] = number.mantissa;
      exponents[row][k + i] = number.exponent;
      values[row][k + i] = widen<exponent_bits, mantissa_bits>(bits);
    }
  }
  void find_finite() {
    for (int row = 0; row < rows; ++row)
      finite[row] = std::all_of(values[row], values[row] + 16, [](float x) { return std::isfinite(x); });
  }
};

/// c + sum_k a[k] b[k] of finite numbers, of row i of A and column j of B; a zero is positive, whatever the
/// signs of zeros that were added.
template <int mantissa_bits, class A, class B>
float sum_of_products(float c, const A& a, int i, const B& b, int j) {
  constexpr int float_bits = 23, extra_bits = 2, kept = float_bits + extra_bits;
  const Number sum = number_of<8, float_bits>(std::bit_cast<std::uint32_t>(c));
  int exponents[17], terms[17];
  for (int k = 0; k < 16; ++k) {
    exponents[k] = a.exponents[i][k] + b.exponents[j][k];
    terms[k] = a.mantissas[i][k] * b.mantissas[j][k] * (1 << (kept - 2 * mantissa_bits));
  }
  exponents[16] = sum.exponent;
  terms[16] = sum.mantissa * (1 << extra_bits);
  int largest = no_exponent;
  for (const int exponent : exponents) largest = std::max(largest, exponent);
  std::int64_t total = 0;
  for (int k = 0; k < 17; ++k) {  // terms are below 2^27
    const int size = std::abs(terms[k]) >> std::min(largest - exponents[k], 31);
    total += terms[k] < 0 ? -size : size;
  }
  return cut_to_float(total, largest - kept);
}

/// The same by the rules for infinities and NaN, if there are any. The card's NaN is 0x7fffffff.
float sum_of_specials(double sum, const float* a, const float* b) {
  for (int k = 0; k < 16; ++k) sum += static_cast<double>(a[k]) * b[k];
  return std::isnan(sum) ? std::bit_cast<float>(0x7fffffffu) : static_cast<float>(sum);
}

// A lane's part of the product. Lane 4g + t holds, two neighbours in a register: of a, rows g and g + 8 and
// columns 2t and 2t + 8; of b, rows 2t and 2t + 8 of column g; of d, rows g and g + 8 and columns 2t.
struct Fragments {
  float* d;
  const std::uint32_t *a, *b;
};

template <int exponent_bits, int mantissa_bits>
void multiply(Operands lanes) {
  Factors<exponent_bits, mantissa_bits, 16> a;
  Factors<exponent_bits, mantissa_bits, 8> b;
  for (int lane = 0; lane < 32; ++lane) {
    const auto& own = *static_cast<const Fragments*>(lanes[static_cast<std::size_t>(lane)]);
    const int g = lane / 4, t = lane % 4;
    a.put(g, 2 * t, own.a[0]);
    a.put(g + 8, 2 * t, own.a[1]);
    a.put(g, 2 * t + 8, own.a[2]);
    a.put(g + 8, 2 * t + 8, own.a[3]);
    b.put(g, 2 * t, own.b[0]);
    b.put(g, 2 * t + 8, own.b[1]);
  }
  a.find_finite();
  b.find_finite();
  for (int lane = 0; lane < 32; ++lane) {
    float* const d = static_cast<const Fragments*>(lanes[static_cast<std::size_t>(lane)])->d;
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
      d[i] = a.finite[row] && b.finite[column] && std::isfinite(d[i])
                 ? sum_of_products<mantissa_bits>(d[i], a, row, b, column)
                 : sum_of_specials(d[i], a.values[row], b.values[column]);
    }
  }
}

constexpr unsigned all_lanes = ~0u;

}  // namespace

void mma_m16n8k16_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  Fragments own{d, a, b};
  wait_for_warp("mma.m16n8k16.bf16", all_lanes, &own, multiply<8, 7>);
}

void mma_m16n8k16_f16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  Fragments own{d, a, b};
  wait_for_warp("mma.m16n8k16.f16", all_lanes, &own, multiply<5, 10>);
}

}  // namespace cuda_emulation
