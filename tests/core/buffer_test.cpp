#include "support/catch.hpp"
#include "support/messages.hpp"

#include <vlp/core/buffer.hpp>

#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>

using namespace vlp;
using vlp::test::message_of;

TEST_CASE("a buffer keeps its memory while it suffices") {
  Buffer<float> buffer;
  float* first = buffer.resize(100);
  CHECK(reinterpret_cast<std::uintptr_t>(first) % memory_alignment == 0);
  CHECK(buffer.resize(50) == first);
  CHECK(buffer.size() == 50);
  CHECK(buffer.resize(100) == first);
  CHECK(buffer.capacity() == 100);
  Buffer<float> other = std::move(buffer);
  CHECK(other.data() == first);
  CHECK(buffer.data() == nullptr);  // NOLINT(bugprone-use-after-move): the moved-from state is what is tested
}

TEST_CASE("an arena stops allocating once it has seen the work") {
  Arena arena;
  const auto work = [&] {
    auto outer = arena.scope();
    float* a = outer.take<float>(1000);
    std::memset(a, 1, 4000);
    for (int i = 0; i < 3; ++i) {
      auto inner = arena.scope();
      double* b = inner.take<double>(5000 * (i + 1));
      CHECK(reinterpret_cast<std::uintptr_t>(b) % memory_alignment == 0);
      std::memset(b, 2, 40000);
    }
    char* c = outer.take<char>(1);
    *c = 3;
    CHECK(reinterpret_cast<unsigned char*>(a)[3999] == 1);
  };
  work();
  work();
  const std::size_t seen = arena.allocations();
  for (int i = 0; i < 10; ++i) work();
  CHECK(arena.allocations() == seen);
  CHECK(arena.high_water() >= 4000 + 120000);
}

TEST_CASE("sizes that no memory has are refused, and leave buffer and arena as they were") {
  constexpr Index most = std::numeric_limits<Index>::max(), large = Index{1} << 32;
  Buffer<double> buffer(3);
  buffer[2] = 5;
  const auto as_before = [&] {
    CHECK(buffer.size() == 3);
    CHECK(buffer.capacity() == 3);
    CHECK(buffer[2] == 5);
  };
  CHECK(message_of<std::invalid_argument>([&] { buffer.resize(-1); }) ==
        "Buffer: there is no memory of -1 elements of 8 bytes");
  for (Index size : {most, most / 8 + 1, Index{1} << 61}) {
    CHECK_THROWS_AS(buffer.resize(size), std::invalid_argument);
    as_before();
  }
  CHECK(
      message_of<std::invalid_argument>([&] { buffer.reshape(large, large); }) ==
      "Buffer: the extents are 4294967296 x 4294967296, but each must be at least 0 and their product below "
      "2^63");
  CHECK_THROWS_AS(buffer.reshape(-2, -3), std::invalid_argument);
  CHECK_THROWS_AS(Buffer<double>(-4), std::invalid_argument);
  as_before();

  Arena arena;
  auto scope = arena.scope();
  double* const first = scope.take<double>(2);
  CHECK(message_of<std::invalid_argument>([&] { scope.take<double>(-1); }) ==
        "scratch: there is no memory of -1 elements of 8 bytes");
  CHECK_THROWS_AS(scope.take<double>(most), std::invalid_argument);
  CHECK_THROWS_AS(scope.take_view<float>(large, large), std::invalid_argument);
  CHECK_THROWS_AS(scope.take_view<float>(large, -1), std::invalid_argument);
  double* const second = scope.take<double>(2);
  CHECK(second != first);
  CHECK(arena.high_water() == 2 * memory_alignment);
}
