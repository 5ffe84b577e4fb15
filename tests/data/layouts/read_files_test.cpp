#include "support/catch.hpp"

#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/layouts/detail/read_files.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using namespace vlp;
using data::layouts::detail::read_files;

TEST_CASE("many files are read once each, until one fails") {
  for (const std::size_t count : {0U, 1U, 31U, 32U, 33U, 1000U}) {
    std::vector<std::atomic<int>> read(count);
    std::vector<Index> told;
    read_files(
        count, "reports", {}, [&](std::string_view, Index done, Index) { told.push_back(done); },
        [&](std::size_t i) { ++read[i]; });
    CHECK(std::all_of(read.begin(), read.end(), [](const auto& times) { return times == 1; }));
    CHECK(std::is_sorted(told.begin(), told.end()));
    CHECK((count == 0 ? told.empty() : told.back() == static_cast<Index>(count)));
  }
  const std::atomic<bool> stop{true};
  CHECK_THROWS_AS(read_files(1000, "reports", StopToken(stop), {}, [](std::size_t) { FAIL(); }), Stopped);
  // The other threads wait for the failure, and then end with the parts that they have.
  std::atomic<int> calls{0};
  std::atomic<bool> failed{false};
  CHECK_THROWS_AS(read_files(10'000, "reports", {}, {},
                             [&](std::size_t i) {
                               ++calls;
                               if (i == 0) {
                                 failed = true;
                                 throw std::out_of_range("0");
                               }
                               while (!failed) std::this_thread::yield();
                               std::this_thread::sleep_for(std::chrono::milliseconds(1));
                             }),
                  std::out_of_range);
  CHECK(calls < 5'000);
}

}  // namespace
