#include "support/catch.hpp"

#include <vlp/data/prefetcher.hpp>

#include <atomic>
#include <stdexcept>
#include <string>

using namespace vlp;

TEST_CASE("batches come in order, each made once") {
  std::atomic<int> made{0};
  data::Prefetcher<std::string> batches(3, 40, [&](Index i) {
    ++made;
    return "batch " + std::to_string(i);
  });
  for (int i = 3; i < 40; ++i) CHECK(batches.next() == "batch " + std::to_string(i));
  CHECK(made == 37);
}

TEST_CASE("what making a batch throws arrives in its place") {
  data::Prefetcher<int> batches(0, 10, [](Index i) {
    if (i == 2) throw std::runtime_error("image 2 is damaged");
    return static_cast<int>(i);
  });
  CHECK(batches.next() == 0);
  CHECK(batches.next() == 1);
  CHECK_THROWS_AS(batches.next(), std::runtime_error);
}

TEST_CASE("a prefetcher that ends early makes no more than a few batches") {
  std::atomic<int> made{0};
  {
    data::Prefetcher<int> batches(0, 1'000'000, [&](Index) { return ++made; });
    CHECK(batches.next() == 1);
  }
  CHECK(made <= 6);
}
