#include "support/catch.hpp"

#include <vlp/core/buffer.hpp>

#include <cstdint>
#include <cstring>
#include <utility>

using namespace vlp;

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
