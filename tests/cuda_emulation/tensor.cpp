#include "cuda_emulation/tensor.hpp"

#include "cuda_emulation/block.hpp"
#include "cuda_emulation/narrow_float.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

namespace cuda_emulation {
namespace {

// --- mma

// An H200 adds the accumulator and all 16 products at once: each product is exact, and all 17 terms are cut
// towards zero to multiples of 2^-25 of the largest exponent, where a product's exponent is the sum of its
// factors'. Their exact sum is cut towards zero to a float. That is what the hardware probe showed, to the
// bit, in 28 patterns of mma and of wgmma in both types; older cards add fewer terms at a time, with fewer
// bits (Fasi et al., "Numerical behavior of NVIDIA tensor cores", 2021).

/// A finite number: mantissa x 2^(exponent - bits of the mantissa). Subnormal ones have the least exponent of
/// their type, which no pattern so far tells from their own.
struct Number {
  std::int32_t mantissa;
  int exponent;
};

template <int exponent_bits, int mantissa_bits>
Number number_of(std::uint32_t bits) {
  constexpr std::uint32_t implicit = 1u << mantissa_bits, bias = (1u << (exponent_bits - 1)) - 1;
  const std::uint32_t field = bits >> mantissa_bits & ((1u << exponent_bits) - 1);
  const auto mantissa = static_cast<std::int32_t>((bits & (implicit - 1)) | (field == 0 ? 0 : implicit));
  const bool negative = (bits >> (exponent_bits + mantissa_bits) & 1u) != 0;
  return {negative ? -mantissa : mantissa, static_cast<int>(field == 0 ? 1 : field) - static_cast<int>(bias)};
}

/// x 2^shift, cut towards zero. |x| < 2^24, shift <= 25.
std::int64_t scaled(std::int32_t x, int shift) {
  const std::int64_t size = std::abs(std::int64_t{x});
  const std::int64_t out = shift >= 0 ? size << shift : shift > -32 ? size >> -shift : 0;
  return x < 0 ? -out : out;
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

/// c + sum_k a[k] b[k] of finite numbers; a zero is positive, whatever the signs of zeros that were added.
template <int mantissa_bits>
float sum_of_products(float c, const Number* a, const Number* b) {
  constexpr int extra_bits = 2, float_bits = 23, kept = float_bits + extra_bits;
  const Number sum = number_of<8, float_bits>(std::bit_cast<std::uint32_t>(c));
  int largest = sum.mantissa == 0 ? std::numeric_limits<int>::min() : sum.exponent;
  for (int k = 0; k < 16; ++k)
    if (a[k].mantissa != 0 && b[k].mantissa != 0) largest = std::max(largest, a[k].exponent + b[k].exponent);
  if (largest == std::numeric_limits<int>::min()) return 0;
  std::int64_t total =
      scaled(sum.mantissa, sum.mantissa == 0 ? 0 : sum.exponent - float_bits - largest + kept);
  for (int k = 0; k < 16; ++k) {
    const std::int32_t product = a[k].mantissa * b[k].mantissa;
    if (product != 0)
      total += scaled(product, a[k].exponent + b[k].exponent - 2 * mantissa_bits - largest + kept);
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

/// Rows of A or columns of B.
template <int exponent_bits, int mantissa_bits, int rows>
struct Factors {
  Number numbers[rows][16];
  float values[rows][16];
  bool finite[rows] = {};

  /// Two neighbours.
  void put(int row, int k, std::uint32_t pair) {
    for (int i = 0; i < 2; ++i) {
      const auto bits = static_cast<std::uint16_t>(pair >> (16 * i));
      numbers[row][k + i] = number_of<exponent_bits, mantissa_bits>(bits);
      values[row][k + i] = widen<exponent_bits, mantissa_bits>(bits);
    }
  }
  void find_finite() {
    for (int row = 0; row < rows; ++row)
      finite[row] = std::all_of(values[row], values[row] + 16, [](float x) { return std::isfinite(x); });
  }
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
                 ? sum_of_products<mantissa_bits>(d[i], a.numbers[row], b.numbers[column])
                 : sum_of_specials(d[i], a.values[row], b.values[column]);
    }
  }
}

// --- ldmatrix

struct Rows {
  std::uint32_t* r;
  const void* row;
};

template <bool transposed>
void load(Operands lanes) {
  for (std::size_t lane = 0; lane < 32; ++lane) {
    auto& own = *static_cast<Rows*>(lanes[lane]);
    for (std::size_t matrix = 0; matrix < 4; ++matrix) {
      std::uint16_t pair[2];
      for (std::size_t i = 0; i < 2; ++i) {
        const std::size_t row = transposed ? 2 * (lane % 4) + i : lane / 4;
        const std::size_t column = transposed ? lane / 4 : 2 * (lane % 4) + i;
        const auto& from = *static_cast<const Rows*>(lanes[8 * matrix + row]);
        std::memcpy(&pair[i], static_cast<const char*>(from.row) + 2 * column, 2);
      }
      own.r[matrix] = pair[0] | std::uint32_t{pair[1]} << 16;
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

void ldmatrix_x4(std::uint32_t (&r)[4], const void* row) {
  check_shared_16("ldmatrix", row);
  Rows own{r, row};
  wait_for_warp("ldmatrix.x4", all_lanes, &own, load<false>);
}

void ldmatrix_x4_trans(std::uint32_t (&r)[4], const void* row) {
  check_shared_16("ldmatrix", row);
  Rows own{r, row};
  wait_for_warp("ldmatrix.x4.trans", all_lanes, &own, load<true>);
}

// --- asynchronous copies

namespace {

std::size_t piece_of(const void* shared) {
  return static_cast<std::size_t>(static_cast<const unsigned char*>(shared) - shared_memory_begin()) / 16;
}

void copy(const AsyncCopies::Copy& one) {
  if (one.bytes != 0) std::memcpy(one.shared, one.global, one.bytes);
  std::memset(static_cast<char*>(one.shared) + one.bytes, 0, 16 - one.bytes);
}

}  // namespace

void cp_async_16(void* shared, const void* global, int source_bytes) {
  check_shared_16("cp.async", shared);
  if (reinterpret_cast<std::uintptr_t>(global) % 16 != 0)
    fail("cp.async: an address is not aligned to 16 bytes");
  if (source_bytes < 0 || source_bytes > 16)
    fail("cp.async: " + std::to_string(source_bytes) + " bytes of 16");
  AsyncCopies& copies = async_copies();
  copies.pending.push_back({shared, global, static_cast<std::size_t>(source_bytes), copies.group, false});
  unfenced_pieces()[piece_of(shared)] = copies.writer;
  if (draw() % 2 == 1) {
    copy(copies.pending.back());
    copies.pending.back().is_done = true;
  }
}

void cp_async_commit() {
  ++async_copies().group;
}

void cp_async_wait(int groups_left) {
  AsyncCopies& copies = async_copies();
  std::erase_if(copies.pending, [&](const AsyncCopies::Copy& one) {
    const bool done = one.group + static_cast<std::size_t>(groups_left) < copies.group;
    if (!done) return false;
    if (!one.is_done) copy(one);
    copies.arrived.push_back(piece_of(one.shared));
    return true;
  });
}

}  // namespace cuda_emulation
