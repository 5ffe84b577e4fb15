#include "losses/every_loss.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"

#include <vlp/core/cpu.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/losses/all.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

// Calls that find no memory: each allocation of a call fails in turn, those of Eigen inside parallel loops
// too. A program of its own, for it replaces operator new and (by the linker) malloc.

namespace {

/// Allocations until one fails, on whatever thread; negative: none does.
std::atomic<long> until_failure = -1;

bool fails_now() {
  return until_failure.load(std::memory_order_relaxed) >= 0 && until_failure.fetch_sub(1) == 0;
}

}  // namespace

extern "C" {
void* __real_malloc(std::size_t bytes);   // NOLINT(bugprone-reserved-identifier): the linker's name
void* __wrap_malloc(std::size_t bytes) {  // NOLINT(bugprone-reserved-identifier)
  if (!fails_now()) return __real_malloc(bytes);
  errno = ENOMEM;
  return nullptr;
}
}

[[gnu::noinline]] void* operator new(std::size_t bytes) {
  void* const memory = fails_now() ? nullptr : __real_malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
[[gnu::noinline]] void* operator new(std::size_t bytes, std::align_val_t alignment) {
  const auto unit = static_cast<std::size_t>(alignment);
  void* const memory = fails_now() ? nullptr : std::aligned_alloc(unit, (bytes + unit - 1) / unit * unit);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace {

using namespace vlp::test;
using vlp::Cpu;
using vlp::Index;
using vlp::Random;

/// Runs `action` with its n-th allocation failing; says whether there was one. Throws what `action` throws,
/// except that memory is short.
template <class Action>
bool runs_out(long n, Action&& action) {
  bool is_refused = false;
  until_failure = n;
  try {
    action();
  } catch (const std::bad_alloc&) {
    is_refused = true;
  } catch (...) {
    until_failure = -1;
    throw;
  }
  const bool has_failed = until_failure.exchange(-1) < 0;
  // A helper that cannot be started is the one thing that a call does without.
  CHECK((has_failed || !is_refused));
  return has_failed;
}

/// Large enough that Eigen takes memory for its products.
template <class L>
constexpr LossSizes large_sizes() {
  if constexpr (requires(typename L::Inputs inputs) { inputs.words; })
    return {40, 400, 5, 4, 0};
  else
    return {130, 400, 0, 3, 300};
}
constexpr LossSizes small_sizes{6, 8, 5, 4, 20};

}  // namespace

TEMPLATE_LIST_TEST_CASE("every loss that finds no memory is as it was, or says that it is not", "",
                        vlp::AllLosses<float>) {
  using L = TestType;
  Random random(5);
  const Arrays small = inputs_of<L>(random, small_sizes), large = inputs_of<L>(random, large_sizes<L>());
  LossCase<L> small_alone(small), large_alone(large), small_case(small), large_case(large);
  small_alone.run({});
  const auto value = large_alone.run({});
  const Arrays small_want = small_alone.gradient_values(), want = large_alone.gradient_values();
  typename L::Accumulator result{};
  for (const int threads : {1, 2}) {
    CAPTURE(threads);
    long n = 0;
    for (bool more = true; more; ++n) {
      CAPTURE(n);
      REQUIRE(n < 1000);
      Cpu device(threads);
      L loss;
      small_case.forward(loss, device);
      more = runs_out(n, [&] { loss.forward(device, large_case.inputs, {&result}); });
      const std::string message = message_of<std::invalid_argument>(
          [&] { loss.backward(device, small_case.inputs, 1, small_case.gradients); });
      if (message == "no error") CHECK(same_bits(small_case.gradient_values(), small_want));
      CHECK(large_case.forward(loss, device) == value);
      loss.backward(device, large_case.inputs, 1, large_case.gradients);
      CHECK(same_bits(large_case.gradient_values(), want));
    }
    CHECK(n > 2);
    n = 0;
    for (bool more = true; more; ++n) {
      CAPTURE(n);
      REQUIRE(n < 1000);
      Cpu device(threads);
      L loss;
      large_case.forward(loss, device);
      more = runs_out(n, [&] { loss.backward(device, large_case.inputs, 1, large_case.gradients); });
      loss.backward(device, large_case.inputs, 1, large_case.gradients);
      CHECK(same_bits(large_case.gradient_values(), want));
    }
  }
}

TEST_CASE("a device that cannot start all its threads does without, and joins those that it has") {
  long failures = 0;
  for (bool more = true; more;) {
    Cpu device(4);
    std::vector<int> visits(100);
    const auto loop = [&] {
      device.parallel_for(100, [&](Index i, int) { ++visits[static_cast<std::size_t>(i)]; });
    };
    more = runs_out(failures, loop);
    failures += more ? 1 : 0;
    loop();
    const int most = *std::max_element(visits.begin(), visits.end());
    CHECK(std::count(visits.begin(), visits.end(), most) == 100);
    CHECK(most <= 2);
  }
  CHECK(failures >= 4);
}

TEST_CASE("a product that finds no memory inside its loop says so, and the next is right") {
  constexpr Index n = 300;
  const std::vector<float> a(n * n, 0.5f), b(n * n, 2.0f);
  std::vector<float> c(n * n), want(n * n, static_cast<float>(n));
  const auto product = [&](Cpu& device) {
    vlp::matmul<float>(device, {a.data(), {n, n}}, vlp::Op::none, {b.data(), {n, n}}, vlp::Op::none,
                       vlp::MatrixView<float>(c.data(), {n, n}));
  };
  for (const int threads : {1, 2, 3}) {
    long failures = 0;
    for (bool more = true; more;) {
      Cpu device(threads);
      product(device);  // its threads run, and only Eigen is left to ask for memory
      more = runs_out(failures, [&] { product(device); });
      failures += more ? 1 : 0;
      product(device);
      CHECK(c == want);
    }
    CHECK(failures >= 2);
  }
}
