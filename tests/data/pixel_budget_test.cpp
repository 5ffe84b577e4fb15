#include "support/catch.hpp"

#include <vlp/data/detail/pixel_budget.hpp>

#include <atomic>
#include <thread>
#include <vector>

using namespace vlp;
using data::detail::PixelBudget;

TEST_CASE("threads never hold more pixels than there are, and each gets its turn") {
  constexpr Index limit = 100;
  PixelBudget budget(limit);
  std::atomic<Index> held{0};
  std::atomic<int> turns{0}, too_many{0};
  std::vector<std::thread> threads;
  for (const Index pixels : {10, 40, 60, 100, 250}) {  // the last is more than there are, and goes alone
    threads.emplace_back([&, pixels] {
      for (int i = 0; i < 50; ++i) {
        PixelBudget::Share share(budget);
        share.take(pixels);
        const Index now = held += pixels;
        if (now > limit && now != pixels) ++too_many;
        std::this_thread::yield();
        held -= pixels;
        ++turns;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(turns == 250);
  CHECK(too_many == 0);
}
