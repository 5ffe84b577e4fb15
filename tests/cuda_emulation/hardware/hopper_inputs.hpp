/// \file
/// Inputs of the hardware probe that concern sm_90: operands of wgmma in shared memory, tiles that TMA moves,
/// steps of an mbarrier.
#pragma once

#include "inputs.hpp"

#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

namespace hardware {

/// Fields of a matrix descriptor of wgmma, in bytes: of the start relative to an operand's region, which
/// begins at a multiple of 1024. `swizzle` is 0 for none, 1 for 128, 2 for 64 and 3 for 32 bytes.
struct Descriptor {
  std::uint32_t start, leading, stride, swizzle, base_offset;
};

/// Bytes of shared memory whose every element is known, for each operand.
inline constexpr int region_bytes = 32768, region_elements = region_bytes / 2;

/// An operand whose elements are to be found: which element of its region is element (mn, k), for k < 16 and
/// mn below 64 of A and below n of B? The probe answers with the fragments of D: of A times the unit matrix
/// all 128 threads' first 8 registers, of the unit matrix times B the first warp's.
struct OperandMap {
  const char* name;
  bool is_a, transposed;
  int n;
  Descriptor descriptor;
};

inline constexpr OperandMap operand_maps[] = {
    {"b/k128", false, false, 64, {0, 16, 1024, 1, 0}},
    {"b/k128_second_step", false, false, 64, {32, 16, 1024, 1, 0}},
    {"b/k128_last_step", false, false, 64, {96, 16, 1024, 1, 0}},
    {"b/k128_wide_stride", false, false, 64, {0, 16, 2048, 1, 0}},
    {"b/k128_n128", false, false, 128, {0, 16, 1024, 1, 0}},
    {"b/mn128", false, true, 64, {0, 8192, 1024, 1, 0}},
    {"b/mn128_second_step", false, true, 64, {2048, 8192, 1024, 1, 0}},
    {"b/mn128_n128", false, true, 128, {0, 4096, 1024, 1, 0}},
    {"b/mn128_n128_by_rows", false, true, 128, {0, 1024, 2048, 1, 0}},
    {"b/k128_n256", false, false, 256, {0, 16, 1024, 1, 0}},
    {"b/mn128_n256", false, true, 256, {0, 8192, 1024, 1, 0}},
    {"a/k128", true, false, 64, {0, 16, 1024, 1, 0}},
    {"a/k128_second_step", true, false, 64, {32, 16, 1024, 1, 0}},
    {"a/mn128", true, true, 64, {0, 8192, 1024, 1, 0}},
    {"a/mn128_second_step", true, true, 64, {2048, 8192, 1024, 1, 0}},
};

/// Operands that are stored in other ways, or unusually.
inline constexpr OperandMap odd_operand_maps[] = {
    {"b/k128_other_leading", false, false, 64, {0, 4096, 1024, 1, 0}},
    {"b/k0", false, false, 64, {0, 128, 256, 0, 0}},
    {"b/k0_by_columns", false, false, 64, {0, 1024, 128, 0, 0}},
    {"b/k64", false, false, 64, {0, 16, 512, 2, 0}},
    {"b/k64_second_step", false, false, 64, {32, 16, 512, 2, 0}},
    {"b/k32", false, false, 64, {0, 16, 256, 3, 0}},
    {"b/mn0", false, true, 64, {0, 1024, 128, 0, 0}},
    {"b/mn0_by_rows", false, true, 64, {0, 128, 256, 0, 0}},
    {"b/mn64", false, true, 64, {0, 4096, 512, 2, 0}},
    {"b/mn32", false, true, 64, {0, 2048, 256, 3, 0}},
    {"a/k0", true, false, 64, {0, 1024, 128, 0, 0}},
    {"a/k64", true, false, 64, {0, 16, 512, 2, 0}},
    {"a/k32", true, false, 64, {0, 16, 256, 3, 0}},
    {"a/mn0", true, true, 64, {0, 1024, 128, 0, 0}},
    {"b/k128_at_second_row", false, false, 64, {128, 16, 1024, 1, 0}},
    {"b/k128_at_second_row_with_base", false, false, 64, {128, 16, 1024, 1, 1}},
};

/// The probe reads an element's place from two products, whose operands hold these; 0 is not among them.
inline double place_low(int element) {
  return element % 128 + 1;
}
inline double place_high(int element) {
  return element / 128 + 1;
}
/// Their inverse; 0xffff when no place leads to them.
inline std::uint16_t place_of(float low, float high) {
  if (!(low >= 1 && low <= 128 && high >= 1 && high <= 128)) return 0xffff;
  const int place = static_cast<int>(low) - 1 + 128 * (static_cast<int>(high) - 1);
  return place_low(place) == static_cast<double>(low) && place_high(place) == static_cast<double>(high)
             ? static_cast<std::uint16_t>(place)
             : 0xffff;
}

/// Elements of the products of [64, 64] matrices of small integers, exact in either type.
inline double left_element(int m, int k) {
  return static_cast<int>(hash(static_cast<std::uint32_t>(64 * m + k), 30) % 33) - 16;
}
inline double right_element(int k, int n) {
  return static_cast<int>(hash(static_cast<std::uint32_t>(64 * n + k), 31) % 33) - 16;
}

/// The same as 16 bits, of two's complement; -32768 for what is no integer of 16 bits.
inline std::uint16_t integer_of(float x) {
  return static_cast<std::uint16_t>(x >= -32767 && x <= 32767 && x == std::floor(x) ? static_cast<int>(x)
                                                                                    : -32768);
}
inline std::vector<std::uint16_t> integers_of(const std::vector<float>& values) {
  std::vector<std::uint16_t> out;
  for (const float x : values) out.push_back(integer_of(x));
  return out;
}

// --- TMA

/// The tensor that tiles are loaded from and stored to: [rows, columns] of 16 bits, rows `pitch` apart.
/// Element (i, j) is pitch i + j + 1; what lies between rows is `between`.
inline constexpr int tensor_rows = 40, tensor_columns = 72, tensor_pitch = 80;
inline constexpr std::uint16_t between = 0xDEAD, unwritten = 0xEEEE;
inline std::uint16_t tensor_element(int at) {
  return at % tensor_pitch < tensor_columns ? static_cast<std::uint16_t>(at + 1) : between;
}

/// A tile [16, box_columns] whose first element is (row, column) of the tensor, stored `destination` bytes
/// behind a multiple of 1024 in shared memory. `swizzle` is 0, 32, 64 or 128 bytes.
struct Tile {
  const char* name;
  int swizzle, box_columns, column, row, destination;
  bool fill_nan;
};
inline constexpr int tile_rows = 16;
/// Shared memory that the probe shows after each load, in elements of 16 bits; it held `unwritten` before.
inline constexpr int tile_dump = 1536;

inline constexpr Tile tiles[] = {
    {"inside", 128, 64, 0, 0, 0, false},          {"inside_further", 128, 64, 8, 5, 0, false},
    {"beyond_columns", 128, 64, 64, 0, 0, false}, {"before_both", 128, 64, -8, -2, 0, false},
    {"beyond_both", 128, 64, 24, 32, 0, false},   {"outside", 128, 64, 128, 0, 0, false},
    {"outside_rows", 128, 64, 0, 1000, 0, false}, {"narrow_box", 128, 24, 8, 3, 0, false},
    {"nan_fill", 128, 64, 24, 32, 0, true},       {"off_pattern", 128, 64, 0, 0, 256, false},
    {"swizzle_64", 64, 32, 8, 4, 0, false},       {"swizzle_32", 32, 16, 8, 4, 0, false},
    {"swizzle_0", 0, 40, 8, 4, 0, false},
};
/// Which of `tiles` are stored, too; element i of shared memory is 1000 + i.
inline constexpr int tile_stores[] = {0, 1, 4};
/// The one of `tiles` that begins before both edges: cards load it, but storing it is an illegal instruction.
inline constexpr int refused_tile_store = 3;
/// Tiles whose first column is not at a multiple of 16 bytes: an illegal instruction.
inline constexpr Tile refused_tiles[] = {{"column_3", 128, 64, 3, 5, 0, false},
                                         {"column_4", 128, 64, 4, 0, 0, false},
                                         {"column_before", 128, 64, -3, -2, 0, false}};

// --- mbarrier

enum class BarrierOp : std::uint32_t { init, arrive, arrive_expect, expect, copy, drop };
/// A step: init with a count, arrive with a count, arrive.expect_tx and expect_tx of bytes, a copy that
/// completes so many bytes, arrive_drop.
struct BarrierStep {
  BarrierOp op;
  std::uint32_t value;
};
inline constexpr BarrierStep barrier_steps[] = {
    {BarrierOp::init, 3},           {BarrierOp::arrive, 1},
    {BarrierOp::arrive, 1},         {BarrierOp::arrive, 1},  // completes phase 0
    {BarrierOp::arrive, 2},         {BarrierOp::arrive_expect, 32},
    {BarrierOp::copy, 16},          {BarrierOp::copy, 16},  // completes phase 1
    {BarrierOp::expect, 48},        {BarrierOp::arrive, 3},
    {BarrierOp::copy, 48},  // completes phase 2
    {BarrierOp::copy, 16},          {BarrierOp::arrive, 2},
    {BarrierOp::arrive_expect, 16},                          // completes phase 3
    {BarrierOp::arrive, 3},                                  // completes phase 4
    {BarrierOp::drop, 1},           {BarrierOp::arrive, 2},  // completes phase 5
    {BarrierOp::arrive, 2},  // completes phase 6, which expects one arrival less
    {BarrierOp::arrive_expect, 0},  {BarrierOp::arrive, 1},  // completes phase 7
};
inline constexpr int barrier_step_count = static_cast<int>(sizeof(barrier_steps) / sizeof(barrier_steps[0]));

/// What the probe shows after each step, 32 bits each. 0 or 1: test_wait.parity of 0 and of 1,
/// try_wait.parity of 0 and of 1, test_wait of the last token. Then mbarrier.pending_count of that token, the
/// token's two halves, the barrier's two halves.
inline constexpr int barrier_columns = 10;

}  // namespace hardware
