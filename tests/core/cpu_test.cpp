#include "support/catch.hpp"
#include "support/messages.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <vlp/core/cpu.hpp>
#include <vlp/core/detail/processors.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using namespace vlp;
using vlp::test::message_of;

static_assert(std::is_nothrow_move_constructible_v<Cpu> && std::is_nothrow_move_assignable_v<Cpu>);
static_assert(!std::is_copy_constructible_v<Cpu> && !std::is_copy_assignable_v<Cpu>);

namespace {

/// The sum of 0 to 999, by a loop.
int sum_by_loop(Cpu& device) {
  std::vector<int> out(1000);
  device.parallel_for(1000, [&](Index i, int) { out[static_cast<std::size_t>(i)] = static_cast<int>(i); });
  int sum = 0;
  for (int x : out) sum += x;
  return sum;
}

/// Says whether a loop of `count` pieces has as many threads at once, within ten seconds.
bool meet(Cpu& device, int count) {
  std::atomic<int> here = 0;
  std::atomic<bool> met = true;
  device.parallel_for(count, [&](Index, int) {
    ++here;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (here < count && met) {
      std::this_thread::yield();
      if (std::chrono::steady_clock::now() > end) met = false;
    }
  });
  return met;
}

/// What a child process makes of `work`: its status, or none if it does not end within 20 seconds.
template <class Work>
std::optional<int> status_in_child(Work&& work) {
  const pid_t child = fork();
  if (child == 0) _exit(work());
  for (int i = 0; i < 2000; ++i) {
    int status = 0;
    if (waitpid(child, &status, WNOHANG) == child)
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  return {};
}

/// Stays, for as long as it lives, on `device`'s loop in another thread.
class Busy {
 public:
  explicit Busy(Cpu& device)
      : thread_([this, &device] {
          device.parallel_for(1, [this](Index, int) {
            inside_ = true;
            while (!done_) std::this_thread::yield();
          });
        }) {
    while (!inside_) std::this_thread::yield();
  }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;
  ~Busy() {
    done_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> inside_ = false, done_ = false;
  std::thread thread_;
};

/// A device of the whole program, which runs a last loop when the program ends.
struct UntilTheEnd {
  Cpu device{2};
  ~UntilTheEnd() {
    if (sum_by_loop(device) != 499500) std::_Exit(3);
  }
} until_the_end;

const std::string one_caller =
    "one device is used by two threads at once, or from inside its own loop; make one Cpu (or Cuda) for each "
    "thread";

}  // namespace

TEST_CASE("every index is visited once, by a worker in range") {
  for (int threads : {1, 2, 3, 9}) {
    Cpu device(threads);
    for (Index count : {0, 1, 2, 5, 1000}) {
      const auto size = static_cast<std::size_t>(count);
      std::vector<int> visits(size), workers(size);
      device.parallel_for(count, [&](Index i, int worker) {
        ++visits[static_cast<std::size_t>(i)];
        workers[static_cast<std::size_t>(i)] = worker;
      });
      for (int v : visits) CHECK(v == 1);
      for (int w : workers) CHECK((w >= 0 && w < device.threads()));
    }
  }
}

TEST_CASE("sleeping threads wake for a loop, of fewer pieces than there are threads too") {
  Cpu device(4);
  for (int count : {4, 2, 3}) {
    sum_by_loop(device);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    CHECK(meet(device, count));
  }
}

TEST_CASE("a loop ends when all its pieces have") {
  Cpu device(2);
  for (auto pause : {std::chrono::milliseconds(0), std::chrono::milliseconds(20)}) {
    std::atomic<int> begun = 0, ended = 0;
    device.parallel_for(2, [&](Index i, int) {
      ++begun;
      while (begun < 2) std::this_thread::yield();
      if (i == 1) std::this_thread::sleep_for(pause);
      ++ended;
    });
    CHECK(ended == 2);
  }
}

TEST_CASE("all threads take part in a loop, each as one worker") {
  Cpu device(3);
  std::atomic<int> here = 0;
  std::vector<std::thread::id> ids(3);
  device.parallel_for(3, [&](Index, int worker) {
    ids[static_cast<std::size_t>(worker)] = std::this_thread::get_id();
    ++here;
    while (here < 3) std::this_thread::yield();  // so nobody can take two
  });
  CHECK(ids[0] == std::this_thread::get_id());
  CHECK(ids[1] != ids[0]);
  CHECK(ids[2] != ids[0]);
  CHECK(ids[2] != ids[1]);
}

TEST_CASE("loops of any length follow each other at any distance") {
  Cpu device(4);
  std::vector<Index> sums(5);
  for (int round = 0; round < 3000; ++round) {
    const Index count = round % 7;
    std::atomic<Index> sum = 0;
    device.parallel_for(count, [&](Index i, int) { sum += i + 1; });
    REQUIRE(sum == count * (count + 1) / 2);
    if (round % 500 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));  // the helpers sleep
  }
}

TEST_CASE("ranges cover the whole and no more") {
  Cpu device(2);
  std::vector<int> visits(103);
  std::atomic<bool> too_long = false;
  device.parallel_ranges(103, 10, [&](Index begin, Index end) {
    if (end - begin > 10) too_long = true;
    for (Index i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
  });
  CHECK(!too_long);
  for (int v : visits) CHECK(v == 1);
  device.parallel_ranges(0, 10, [](Index, Index) { FAIL("nothing to do"); });
  std::vector<std::pair<Index, Index>> ranges;
  Cpu(1).parallel_ranges(std::numeric_limits<Index>::max(), std::numeric_limits<Index>::max() - 1,
                         [&](Index begin, Index end) { ranges.emplace_back(begin, end); });
  REQUIRE(ranges.size() == 2);
  CHECK(ranges[1].first == ranges[0].second);
  CHECK(ranges[1].second == std::numeric_limits<Index>::max());
}

TEST_CASE("a loop whose body throws throws what the lowest index threw, and the device goes on") {
  for (int threads : {1, 2, 5}) {
    Cpu device(threads);
    for (int round = 0; round < 50; ++round) {
      std::vector<int> visits(100);
      const std::string message = message_of<std::runtime_error>([&] {
        device.parallel_for(100, [&](Index i, int) {
          visits[static_cast<std::size_t>(i)] = 1;
          if (i >= 40 && i % 3 == 0) throw std::runtime_error("piece " + std::to_string(i));
        });
      });
      CHECK(message == "piece 42");
      for (std::size_t i = 0; i <= 42; ++i) CHECK(visits[i] == 1);
      CHECK(sum_by_loop(device) == 499500);
    }
    CHECK_THROWS_AS(device.parallel_for(3, [](Index, int) { throw 7; }), int);
    std::atomic<int> begun = 0;
    CHECK_THROWS_AS(device.parallel_for(1000,
                                        [&](Index i, int) {
                                          ++begun;
                                          std::this_thread::sleep_for(std::chrono::milliseconds(1));
                                          if (i == 0) throw 7;
                                        }),
                    int);
    CHECK(begun < 1000);
    CHECK_NOTHROW(device.scratch().scope());
  }
}

TEST_CASE("a loop throws what the lowest index threw even if another threw first") {
  Cpu device(2);
  std::atomic<bool> other_threw = false;
  CHECK(message_of([&] {
          device.parallel_for(2, [&](Index i, int) {
            while (i == 0 && !other_threw) std::this_thread::yield();
            std::this_thread::sleep_for(std::chrono::milliseconds(i == 0 ? 20 : 0));
            other_threw = true;
            throw std::runtime_error("piece " + std::to_string(i));
          });
        }) == "piece 0");
}

TEST_CASE("a number of threads out of range is refused") {
  CHECK(message_of<std::invalid_argument>([] { Cpu device(-1); }) ==
        "Cpu: threads must be from 0 (all) to 1024, but is -1");
  CHECK_THROWS_AS(Cpu(1025), std::invalid_argument);
  CHECK(Cpu(1024).threads() == 1024);  // none is started before the first loop
  CHECK(Cpu().threads() >= 1);
}

TEST_CASE("OMP_NUM_THREADS says how many threads, if it is a number") {
  const auto asked = detail::asked_threads;
  CHECK(asked("4") == 4);
  CHECK(asked(" 3 ") == 3);
  CHECK(asked("2,7") == 2);
  CHECK(asked("100000") == 1024);
  CHECK(asked("99999999999999999999") == 1024);
  for (const char* text : {"", " ", "0", "-1", "-99999999999999999999", "abc", "4x", "4 2", ",2", "1.5"}) {
    CAPTURE(text);
    CHECK(asked(text) == 0);
  }
  const auto gives = [](const char* value, int threads) {
    return status_in_child([=] {
             setenv("OMP_NUM_THREADS", value, 1);
             return Cpu().threads() == threads ? 0 : 1;
           }) == 0;
  };
  CHECK(gives("7", 7));
  CHECK(gives("nonsense", std::min(detail::usable_processors(), 1024)));
}

TEST_CASE("a device that two threads use at once says so, whatever they do with it") {
  for (int threads : {1, 2}) {
    Cpu device(threads);
    {
      const Busy other(device);
      CHECK(message_of<std::logic_error>([&] { device.parallel_for(1, [](Index, int) {}); }) == one_caller);
      CHECK(message_of<std::logic_error>([&] { device.parallel_for(0, [](Index, int) {}); }) == one_caller);
      CHECK(message_of<std::logic_error>([&] { static_cast<void>(device.scratch()); }) == one_caller);
    }
    CHECK(sum_by_loop(device) == 499500);
    auto scope = device.scratch().scope();
    CHECK(sum_by_loop(device) == 499500);  // the thread that has the scope may
    std::string loop, scratch, taken;
    std::thread([&] {
      loop = message_of<std::logic_error>([&] { device.parallel_for(5, [](Index, int) {}); });
      scratch = message_of<std::logic_error>([&] { const auto other = device.scratch().scope(); });
      taken = message_of<std::logic_error>([&] { scope.take<int>(1); });
    }).join();
    CHECK(loop == one_caller);
    CHECK(scratch == one_caller);
    CHECK(taken == one_caller);
    CHECK(sum_by_loop(device) == 499500);
  }
}

TEST_CASE("a loop's body that calls back into its device is told so") {
  for (int threads : {1, 2}) {
    Cpu device(threads);
    const auto nested = [&](auto body) {
      return message_of<std::logic_error>([&] { device.parallel_for(8, [&](Index, int) { body(); }); });
    };
    CHECK(nested([&] { device.parallel_for(2, [](Index, int) {}); }) == one_caller);
    CHECK(nested([&] { const auto scope = device.scratch().scope(); }) == one_caller);
    CHECK(sum_by_loop(device) == 499500);
    Cpu other(2);  // a device of the body's own is fine
    device.parallel_for(1, [&](Index, int) { CHECK(sum_by_loop(other) == 499500); });
  }
}

TEST_CASE("a device of static storage works until the program has ended") {
  CHECK(sum_by_loop(until_the_end.device) == 499500);
  CHECK(status_in_child([] {
          sum_by_loop(until_the_end.device);
          std::exit(5);  // NOLINT(concurrency-mt-unsafe): runs the destructors
          return 0;
        }) == 5);
}

TEST_CASE("devices are moved with what they hold, and work after it") {
  Cpu first(2);
  CHECK(sum_by_loop(first) == 499500);
  Cpu second = std::move(first);
  CHECK(sum_by_loop(second) == 499500);
  CHECK(sum_by_loop(first) ==
        499500);  // NOLINT(bugprone-use-after-move): the moved-from state is what is tested
  first = std::move(second);
  CHECK(first.threads() == 2);
  CHECK(sum_by_loop(first) == 499500);
}

TEST_CASE("a process forked after a loop runs loops, and ends") {
  Cpu device(2), unused(2);
  CHECK(sum_by_loop(device) == 499500);
  const auto in_child = [&] {
    return status_in_child([&] {
      Cpu own(3);
      const bool right = sum_by_loop(device) == 499500 && sum_by_loop(unused) == 499500 &&
                         sum_by_loop(own) == 499500 && sum_by_loop(device) == 499500 && meet(device, 2) &&
                         meet(own, 3);
      const Cpu moved = std::move(device);  // its end must not wait for the parent's threads either
      return right ? 0 : 1;
    });
  };
  CHECK(in_child() == 0);
  CHECK(sum_by_loop(device) == 499500);  // the parent's threads are untouched
  CHECK(in_child() == 0);
  CHECK(status_in_child([&] {
          std::optional<Cpu>(std::move(device)).reset();
          return 0;
        }) == 0);
}
