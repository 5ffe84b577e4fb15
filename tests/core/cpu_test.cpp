#include "support/catch.hpp"

#include <vlp/core/cpu.hpp>

#include <stdexcept>
#include <vector>

using namespace vlp;

TEST_CASE("every index is visited once, by a worker in range") {
  for (int threads : {1, 2, 3}) {
    Cpu device(threads);
    std::vector<int> visits(1000);
    std::vector<int> workers(1000);
    device.parallel_for(1000, [&](Index i, int worker) {
      ++visits[static_cast<std::size_t>(i)];
      workers[static_cast<std::size_t>(i)] = worker;
    });
    for (int v : visits) CHECK(v == 1);
    for (int w : workers) CHECK((w >= 0 && w < device.threads()));
  }
}

TEST_CASE("ranges cover the whole and no more") {
  Cpu device(2);
  std::vector<int> visits(103);
  device.parallel_ranges(103, 10, [&](Index begin, Index end) {
    CHECK(end - begin <= 10);
    for (Index i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
  });
  for (int v : visits) CHECK(v == 1);
  device.parallel_ranges(0, 10, [](Index, Index) { FAIL("nothing to do"); });
}

TEST_CASE("a negative number of threads is refused") {
  CHECK_THROWS_AS(Cpu(-1), std::invalid_argument);
}
