#include "hopper.hpp"

#include "support/catch.hpp"

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <utility>
#include <vector>

using namespace cuda_emulation;

namespace {

/// A matrix [rows, columns] whose elements are 1, 2, 3, ... in `pitch` elements a row; between rows, 9999.
std::vector<std::uint16_t> counted(int rows, int columns, int pitch) {
  std::vector<std::uint16_t> out(static_cast<std::size_t>(rows * pitch), 9999);
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < columns; ++j)
      out[static_cast<std::size_t>(i * pitch + j)] = static_cast<std::uint16_t>(i * columns + j + 1);
  return out;
}

}  // namespace

// --- swizzles

TEST_CASE("a swizzle exchanges pieces of 16 bytes within rows") {
  for (const int swizzle : {32, 64, 128}) {
    std::set<std::uint32_t> places;
    for (int at = 0; at < 4096; at += 2) {
      // Rows of 128 bytes are what repeats: row 128 r of them has its pieces xor r, cut to the swizzle's
      // rows.
      const int line = at / 128 % 8, piece = at % swizzle / 16;
      const int expected = at - piece * 16 + (piece ^ (line % (swizzle / 16))) * 16;
      REQUIRE(swizzled(static_cast<std::uint32_t>(at), swizzle) == static_cast<std::uint32_t>(expected));
      places.insert(swizzled(static_cast<std::uint32_t>(at), swizzle));
    }
    CHECK(places.size() == 2048);
  }
  CHECK(swizzled(1234, 0) == 1234);
  CHECK(swizzled(128, 128) == 128 + 16);
  CHECK(swizzled(3 * 128 + 5 * 16 + 6, 128) == 3 * 128 + 6 * 16 + 6);
}

// --- wgmma

TEST_CASE("matrix descriptors have their fields where they belong") {
  CHECK(matrix_descriptor(0, 16, 1024, 1) == 0x4000004000010000);
  CHECK(matrix_descriptor(0, 8192, 1024, 1) == 0x4000004002000000);
  CHECK(matrix_descriptor(0x3fff0, 0, 0, 0) == 0x3fff);
  CHECK(matrix_descriptor(0x40010, 0, 0, 3, 5) == 0xc00a000000000001);
}

TEST_CASE("operands of wgmma lie in shared memory as the PTX ISA draws them") {
  const auto at = [](std::uint32_t leading, std::uint32_t stride, std::uint32_t swizzle, bool turned, int mn,
                     int k) {
    return static_cast<int>(
        operand_address(matrix_descriptor(4096, leading, stride, swizzle), turned, mn, k));
  };
  for (int mn = 0; mn < 128; ++mn)
    for (int k = 0; k < 16; ++k) {
      const int group = mn / 8, row = mn % 8, byte = k % 8 * 2;
      INFO("element " << mn << ", " << k);
      // K-major: rows of 128, 64 and 32 bytes, or columns of 8 x 16 bytes.
      REQUIRE(at(16, 1024, 1, false, mn, k) == 4096 + group * 1024 + row * 128 + (k / 8 ^ row) * 16 + byte);
      REQUIRE(at(16, 512, 2, false, mn, k) == 4096 + group * 512 + row * 64 + (k / 8 ^ row / 2) * 16 + byte);
      REQUIRE(at(16, 256, 3, false, mn, k) == 4096 + group * 256 + row * 32 + (k / 8 ^ row / 4) * 16 + byte);
      REQUIRE(at(2048, 128, 0, false, mn, k) == 4096 + k / 8 * 2048 + group * 128 + row * 16 + byte);
      // MN-major: rows of 64, 32 and 16 elements of the same k.
      const int half = k / 8, line = k % 8, column = row * 2;
      REQUIRE(at(8192, 1024, 1, true, mn, k) ==
              4096 + mn / 64 * 8192 + half * 1024 + line * 128 + (group % 8 ^ line) * 16 + column);
      REQUIRE(at(2048, 512, 2, true, mn, k) ==
              4096 + mn / 32 * 2048 + half * 512 + line * 64 + (group % 4 ^ line / 2) * 16 + column);
      REQUIRE(at(1024, 256, 3, true, mn, k) ==
              4096 + mn / 16 * 1024 + half * 256 + line * 32 + (group % 2 ^ line / 4) * 16 + column);
      REQUIRE(at(2048, 128, 0, true, mn, k) == 4096 + half * 2048 + group * 128 + line * 16 + column);
    }
}

TEST_CASE("accumulators of a warpgroup are each element of D once") {
  std::set<std::pair<int, int>> places;
  for (int thread = 0; thread < 128; ++thread)
    for (int i = 0; i < 128; ++i) {
      const Place place = accumulator_place(thread, i);
      CHECK((place.row >= thread / 32 * 16 && place.row < thread / 32 * 16 + 16));
      CHECK((place.column >= 0 && place.column < 256));
      places.insert({place.row, place.column});
    }
  CHECK(places.size() == std::size_t{64} * 256);
  CHECK(accumulator_place(0, 1).column == 1);
  CHECK(accumulator_place(33, 2).row == 24);
  CHECK(accumulator_place(33, 2).column == 2);
  CHECK(accumulator_place(0, 4).column == 8);
}

// --- TMA

TEST_CASE("a tile is loaded where it lies in the matrix, with zeros around it") {
  const std::vector<std::uint16_t> matrix = counted(5, 20, 24);
  const TensorMap<const std::uint16_t> map{matrix.data(), 5, 20, 24, 4, 16, 32};
  std::vector<std::uint16_t> shared(128, 7777);
  load_tile(map, 3, 8, shared, 128);
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 16; ++j) {
      const bool inside = i < 2 && j < 12;
      const auto at = swizzled(static_cast<std::uint32_t>(128 + 32 * i + 2 * j), 32) / 2;
      CHECK(shared[at] == (inside ? (3 + i) * 20 + 8 + j + 1 : 0));
      shared[at] = 7777;
    }
  CHECK(shared == std::vector<std::uint16_t>(128, 7777));  // nothing else was written

  const TensorMap<const std::uint16_t> with_fill{matrix.data(), 5, 20, 24, 4, 16, 32, 0x7fff};
  load_tile(with_fill, -2, -8, shared, 0);
  CHECK(shared[0] == 0x7fff);
  CHECK(shared[2 * 16 + 8] == 1);
  CHECK(shared[3 * 16 + 8 + 5] == 20 + 6);

  CHECK_THROWS_WITH(load_tile(map, 0, 3, shared, 0), ContainsSubstring("multiple of 16 bytes"));
  CHECK_THROWS_WITH(load_tile(map, 0, -12, shared, 0), ContainsSubstring("multiple of 16 bytes"));
}

TEST_CASE("a tile is stored without what lies outside of the matrix") {
  std::vector<std::uint16_t> matrix = counted(5, 20, 24);
  const std::vector<std::uint16_t> before = matrix;
  std::vector<std::uint16_t> shared(64);
  const TensorMap<std::uint16_t> map{matrix.data(), 5, 20, 24, 4, 16, 32};
  load_tile(map, 3, 8, shared, 0);
  for (std::uint16_t& value : shared) value = static_cast<std::uint16_t>(value + 500);
  CHECK_THROWS_WITH(store_tile(map, 3, 4, shared, 0), ContainsSubstring("multiple of 16 bytes"));
  store_tile(map, 3, 8, shared, 0);
  for (int i = 0; i < 5; ++i)
    for (int j = 0; j < 24; ++j) {
      const auto at = static_cast<std::size_t>(24 * i + j);
      CHECK(matrix[at] == before[at] + (i >= 3 && j >= 8 && j < 20 ? 500 : 0));
    }
}

TEST_CASE("wgmma finds the tiles that TMA loads") {
  const std::vector<std::uint16_t> matrix = counted(64, 64, 64);
  std::vector<std::uint16_t> shared(8192);
  const TensorMap<const std::uint16_t> map{matrix.data(), 64, 64, 64, 64, 64, 128};
  load_tile(map, 0, 0, shared, 1024);
  for (int step = 0; step < 4; ++step) {
    const auto at = static_cast<std::uint32_t>(step);
    const std::uint64_t by_rows = matrix_descriptor(1024 + 32 * at, 16, 1024, 1);
    const std::uint64_t by_columns = matrix_descriptor(1024 + 2048 * at, 8192, 1024, 1);
    for (int mn = 0; mn < 64; ++mn)
      for (int k = 0; k < 16; ++k) {
        REQUIRE(shared[operand_address(by_rows, false, mn, k) / 2] == mn * 64 + 16 * step + k + 1);
        REQUIRE(shared[operand_address(by_columns, true, mn, k) / 2] == (16 * step + k) * 64 + mn + 1);
      }
  }
}

// --- mbarrier

TEST_CASE("a phase of an mbarrier completes when all arrivals and bytes have come") {
  Mbarrier barrier(2);
  CHECK(!barrier.is_complete(0U));
  CHECK(barrier.is_complete(1U));  // as if a phase had been before the first
  const Mbarrier::Token first = barrier.arrive();
  CHECK(first.pending == 2);
  CHECK(!barrier.is_complete(0U));
  CHECK(!barrier.is_complete(first));
  barrier.arrive();
  CHECK(barrier.is_complete(0U));
  CHECK(barrier.is_complete(first));
  CHECK(!barrier.is_complete(1U));

  barrier.arrive_expect(32);
  barrier.arrive();
  barrier.complete(16);
  CHECK(!barrier.is_complete(1U));
  barrier.complete(16);
  CHECK(barrier.is_complete(1U));

  barrier.complete(64);  // before it is expected
  barrier.arrive();
  CHECK(!barrier.is_complete(0U));
  barrier.arrive_expect(64);
  CHECK(barrier.is_complete(0U));

  barrier.drop();
  barrier.arrive();
  CHECK(barrier.is_complete(1U));
  barrier.arrive();  // who dropped out is not waited for
  CHECK(barrier.is_complete(0U));
}

TEST_CASE("an mbarrier refuses more than it can count") {
  Mbarrier barrier(1);
  CHECK_THROWS_WITH(barrier.arrive(2), ContainsSubstring("more arrivals than are expected"));
  barrier.expect((1 << 20) - 1);
  CHECK_THROWS_WITH(barrier.expect(1), ContainsSubstring("more bytes are missing"));
}
