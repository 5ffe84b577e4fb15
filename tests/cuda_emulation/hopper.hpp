/// \file
/// A model of what instructions of sm_90 do with memory: operands of wgmma, tiles of TMA, phases of an
/// mbarrier. Plain functions, which hardware_test.cpp compares with cards. Source: PTX ISA 8.8, "Asynchronous
/// Warpgroup Level Matrix Shared Memory Layout", "Tensors", "mbarrier".
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>

namespace cuda_emulation {

/// Where the byte for address `at` of shared memory lies under a swizzle of 32, 64 or 128 bytes (0 for none).
/// Rows of so many bytes follow each other; in each, pieces of 16 bytes change places in pairs, and the
/// address's bits from 7 on say which with which, less `base`: the pattern begins so many times 128 bytes
/// behind a multiple of 1024.
constexpr std::uint32_t swizzled(std::uint32_t at, int swizzle_bytes, std::uint32_t base = 0) {
  const std::uint32_t pieces = swizzle_bytes == 0 ? 1 : static_cast<std::uint32_t>(swizzle_bytes) / 16;
  return at ^ ((at - 128 * base) >> 3 & (pieces - 1) << 4);
}

// --- wgmma

/// The descriptor of an operand in shared memory. Addresses and offsets are in bytes, multiples of 16 below
/// 2^18. `swizzle` is 0 for none, 1 for 128, 2 for 64 and 3 for 32 bytes.
constexpr std::uint64_t matrix_descriptor(std::uint32_t address, std::uint32_t leading, std::uint32_t stride,
                                          std::uint32_t swizzle, std::uint32_t base_offset = 0) {
  return (address & 0x3ffffU) >> 4 | static_cast<std::uint64_t>(leading >> 4 & 0x3fffU) << 16 |
         static_cast<std::uint64_t>(stride >> 4 & 0x3fffU) << 32 |
         static_cast<std::uint64_t>(base_offset & 7U) << 49 | static_cast<std::uint64_t>(swizzle & 3U) << 62;
}

/// Address of element (mn, k), k < 16, of an operand of 16-bit elements; `mn` is a row of A or a column of B.
/// K-major operands have neighbouring k side by side, MN-major ones neighbouring mn (imm-trans of 1).
constexpr std::uint32_t operand_address(std::uint64_t descriptor, bool mn_major, int mn, int k) {
  const auto field = [&](int bit) { return static_cast<std::uint32_t>(descriptor >> bit & 0x3fffU) << 4; };
  const std::uint32_t address = field(0), leading = field(16), stride = field(32);
  constexpr int swizzles[4] = {0, 128, 64, 32};
  const int swizzle = swizzles[descriptor >> 62];
  const int row = swizzle == 0 ? 16 : swizzle;  // bytes
  // Along the major direction a row of the pattern holds so many elements; eight rows are a pattern.
  const int along = mn_major ? mn : k, across = mn_major ? k : mn, held = row / 2;
  const std::uint32_t inside = static_cast<std::uint32_t>(across % 8 * row + along % held * 2);
  // To the next pattern along and across. Swizzled K-major operands of 16 columns need no next one along;
  // where there is no swizzle, MN-major operands exchange the two offsets.
  const bool exchanged = mn_major && swizzle == 0;
  const std::uint32_t next_along = exchanged ? stride : leading, next_across = exchanged ? leading : stride;
  return swizzled(address + inside + static_cast<std::uint32_t>(along / held) * next_along +
                      static_cast<std::uint32_t>(across / 8) * next_across,
                  swizzle, static_cast<std::uint32_t>(descriptor >> 49 & 7U));
}

struct Place {
  int row, column;
};
/// The element of D [64, N] that register i of a thread of the warpgroup holds, i < N / 2.
constexpr Place accumulator_place(int thread, int i) {
  return {thread / 32 * 16 + thread % 32 / 4 + 8 * (i / 2 % 2), 8 * (i / 4) + 2 * (thread % 4) + i % 2};
}

// --- TMA

/// A matrix [rows, columns] of 16-bit elements in global memory, rows `pitch` elements apart, and the tiles
/// [box_rows, box_columns] that are taken from it. Elements outside of the matrix are `fill`.
template <class T>
struct TensorMap {
  T* data;
  int rows, columns, pitch, box_rows, box_columns, swizzle_bytes;
  std::uint16_t fill = 0;

  [[nodiscard]] constexpr bool holds(int row, int column) const {
    return row >= 0 && row < rows && column >= 0 && column < columns;
  }
};

namespace detail {

inline void check_column(int column) {
  if (column % 8 != 0)
    throw std::runtime_error("TMA: a tile's first column is not at a multiple of 16 bytes");
}

/// Calls visit(index in `shared`, row, column) for each element of the tile that begins at (row, column).
/// `address` is that of its first byte, and shared[0] lies at a multiple of 1024. Rows of a tile follow each
/// other without a gap where nothing is swizzled, and otherwise as rows of the swizzle's pattern, however
/// narrow they are.
template <class T, class Visit>
void visit_tile(const TensorMap<T>& map, int row, int column, std::uint32_t address, Visit visit) {
  for (int i = 0; i < map.box_rows; ++i)
    for (int j = 0; j < map.box_columns; ++j) {
      const int pitch = map.swizzle_bytes == 0 ? 2 * map.box_columns : map.swizzle_bytes;
      const auto offset = static_cast<std::uint32_t>(i * pitch + 2 * j);
      visit(swizzled(address + offset, map.swizzle_bytes) / 2, row + i, column + j);
    }
}

}  // namespace detail

/// cp.async.bulk.tensor.2d from global to shared memory. Throws std::runtime_error where cards have an
/// illegal instruction: when the first column is not at a multiple of 16 bytes, be it inside of the matrix or
/// not.
template <class T>
void load_tile(const TensorMap<T>& map, int row, int column, std::span<std::uint16_t> shared,
               std::uint32_t address) {
  detail::check_column(column);
  detail::visit_tile(map, row, column, address, [&](std::size_t at, int i, int j) {
    shared[at] = map.holds(i, j) ? map.data[i * map.pitch + j] : map.fill;
  });
}
/// The same from shared to global memory: elements outside of the matrix are not written.
inline void store_tile(const TensorMap<std::uint16_t>& map, int row, int column,
                       std::span<const std::uint16_t> shared, std::uint32_t address) {
  detail::check_column(column);
  detail::visit_tile(map, row, column, address, [&](std::size_t at, int i, int j) {
    if (map.holds(i, j)) map.data[i * map.pitch + j] = shared[at];
  });
}

// --- mbarrier

/// Phases of an mbarrier. One completes when all arrivals and all bytes that it expects have come; the next
/// begins at once.
class Mbarrier {
 public:
  /// Of the phase in which a thread arrived, and the arrivals that were missing before.
  struct Token {
    std::uint32_t phase, pending;
  };

  explicit Mbarrier(std::uint32_t count) : expected_(count), pending_(count) {}

  /// Throws std::runtime_error when more arrive than are expected.
  Token arrive(std::uint32_t count = 1) {
    if (count > pending_) throw std::runtime_error("mbarrier: more arrivals than are expected");
    const Token out{phase_, pending_};
    pending_ -= count;
    complete_phase();
    return out;
  }
  Token arrive_expect(std::uint32_t bytes) {
    expect(bytes);
    return arrive();
  }
  /// Arrives, and is not expected from the next phase on.
  Token drop() {
    if (expected_ == 0) throw std::runtime_error("mbarrier: more leave than are expected");
    --expected_;
    return arrive();
  }
  void expect(std::uint32_t bytes) { count_bytes(static_cast<std::int64_t>(bytes)); }
  /// Bytes that a copy brought; they may come before they are expected, as long as arrivals are missing.
  void complete(std::uint32_t bytes) {
    count_bytes(-static_cast<std::int64_t>(bytes));
    complete_phase();
  }
  /// test_wait.parity: whether the phase of this parity, the current or the one before, is complete.
  [[nodiscard]] bool is_complete(std::uint32_t parity) const { return phase_ % 2 != parity; }
  /// test_wait: whether the token's phase is complete.
  [[nodiscard]] bool is_complete(const Token& token) const { return token.phase != phase_; }

 private:
  void count_bytes(std::int64_t bytes) {
    constexpr std::int64_t most = (1 << 20) - 1;
    missing_bytes_ += bytes;
    if (missing_bytes_ > most || missing_bytes_ < -most)
      throw std::runtime_error("mbarrier: more bytes are missing than it counts");
  }
  void complete_phase() {
    if (pending_ != 0 || missing_bytes_ != 0) return;
    ++phase_;
    pending_ = expected_;
  }

  std::uint32_t expected_, pending_, phase_ = 0;
  std::int64_t missing_bytes_ = 0;
};

}  // namespace cuda_emulation
