#include "cuda_emulation/block.hpp"

#include "cuda_emulation/language.hpp"
#include "fiber.hpp"

#include <sanitizer/asan_interface.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <numeric>
#include <random>
#include <string_view>
#include <utility>

namespace cuda_emulation {
namespace {

constexpr std::size_t guard_bytes = 4096;

enum class State { ready, in_warp, in_block, ended };

struct Unwind {};  // thrown into waiting threads when another has failed, so no noexcept function may wait

struct Thread {
  explicit Thread(std::function<void(Thread&)> live) : fiber([this, live] { live(*this); }) {}

  Fiber fiber;
  unsigned number = 0;
  uint3 index{};

  bool in_kernel = false;
  State state = State::ended;
  const char* waits_at = "";
  unsigned mask = 0;
  void* operand = nullptr;
  Combine combine = nullptr;
  std::exception_ptr failure;
  AsyncCopies copies;
  AsyncProducts products;

  bool meets(const Thread& other) const {
    return state == other.state && mask == other.mask && combine == other.combine &&
           std::string_view(waits_at) == other.waits_at;
  }
};

std::string text(uint3 v) {
  return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")";
}

class Scheduler {
 public:
  ~Scheduler();
  void run_grid(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& kernel);
  void wait(State state, const char* name, unsigned mask, void* operand, Combine combine);

  Thread& running(const char* what) const;
  [[noreturn]] void fail(const std::string& message) const;

  std::mt19937_64 random;
  bool ascending = true;
  std::size_t launches = 0;
  unsigned char* shared = nullptr;
  std::size_t shared_bytes = 0;
  std::vector<unsigned> unfenced;

 private:
  std::vector<std::size_t> order(std::size_t count);
  void live(Thread& thread);
  void resume(Thread& thread);
  void run_block();
  void run_warp(std::size_t warp);
  bool release_warp(std::size_t warp);
  bool release_block();
  void release(std::span<Thread* const> met);
  void unwind();
  std::string who_waits_where() const;

  std::vector<std::unique_ptr<Thread>> pool_;  // fibers are made once and serve all launches
  std::span<const std::unique_ptr<Thread>> threads_;
  const std::function<void()>* kernel_ = nullptr;
  std::vector<void*> operands_;
  Thread* running_ = nullptr;
  bool unwinding_ = false, closing_ = false, in_block_ = false;
};

Scheduler& scheduler() {
  static Scheduler one;
  return one;
}

// --- threads

// A fiber's life: the kernel once each time it is resumed for a new block, until the program closes.
void Scheduler::live(Thread& thread) {
  while (!closing_) {
    thread.in_kernel = true;
    try {
      (*kernel_)();
    } catch (const Unwind&) {
    } catch (...) {
      thread.failure = std::current_exception();
    }
    thread.in_kernel = false;
    thread.state = State::ended;
    thread.fiber.pause();
  }
}

void Scheduler::resume(Thread& thread) {
  running_ = &thread;
  threadIdx = thread.index;
  thread.fiber.resume();
  running_ = nullptr;
}

void Scheduler::wait(State state, const char* name, unsigned mask, void* operand, Combine combine) {
  Thread& thread = running(name);
  thread.state = state;
  thread.waits_at = name;
  thread.mask = mask;
  thread.operand = operand;
  thread.combine = combine;
  thread.fiber.pause();
  if (unwinding_) throw Unwind{};
}

Scheduler::~Scheduler() {
  closing_ = true;
  for (const auto& thread : pool_) resume(*thread);
}

// --- who runs next

std::vector<std::size_t> Scheduler::order(std::size_t count) {
  std::vector<std::size_t> result(count);
  std::iota(result.begin(), result.end(), std::size_t{0});
  if (!ascending) std::shuffle(result.begin(), result.end(), random);
  return result;
}

void Scheduler::run_grid(dim3 grid, dim3 block, std::size_t bytes, const std::function<void()>& kernel) {
  if (in_block_) fail("a kernel launches a kernel");
  const std::size_t size = std::size_t{block.x} * block.y * block.z;
  while (pool_.size() < size)
    pool_.push_back(std::make_unique<Thread>([this](Thread& thread) { live(thread); }));
  threads_ = std::span(pool_).first(size);
  kernel_ = &kernel;
  ++launches;
  gridDim = grid;
  blockDim = block;
  const std::unique_ptr<unsigned char, decltype(&std::free)> memory(
      static_cast<unsigned char*>(std::aligned_alloc(1024, (bytes + 2 * guard_bytes + 1023) / 1024 * 1024)),
      &std::free);
  shared = memory.get() + guard_bytes;
  shared_bytes = bytes;
  ASAN_POISON_MEMORY_REGION(memory.get(), guard_bytes);
  ASAN_POISON_MEMORY_REGION(shared + bytes, guard_bytes);
  std::exception_ptr failure;
  for (const std::size_t b : order(std::size_t{grid.x} * grid.y * grid.z)) {
    blockIdx = {static_cast<unsigned>(b % grid.x), static_cast<unsigned>(b / grid.x % grid.y),
                static_cast<unsigned>(b / grid.x / grid.y)};
    std::memset(shared, 0xFF, bytes);
    unfenced.assign((bytes + 15) / 16, 0);
    in_block_ = true;
    try {
      run_block();
    } catch (...) {
      failure = std::current_exception();
    }
    if (failure) unwind();
    in_block_ = false;
    if (failure) break;
  }
  ASAN_UNPOISON_MEMORY_REGION(memory.get(), 2 * guard_bytes + bytes);
  if (failure) std::rethrow_exception(failure);
}

// Between two barriers of the block warps run one after another, each as far as it comes, so that a warp can
// be far ahead of another where a barrier is missing.
void Scheduler::run_block() {
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    Thread& thread = *threads_[i];
    const auto n = static_cast<unsigned>(i);
    thread.number = n;
    thread.index = {n % blockDim.x, n / blockDim.x % blockDim.y, n / blockDim.x / blockDim.y};
    thread.state = State::ready;
    thread.copies = {};
    thread.copies.writer = n + 1;
    thread.products = {};
    thread.products.warp = n / 32;
  }
  do {
    for (const std::size_t warp : order((threads_.size() + 31) / 32)) run_warp(warp);
  } while (release_block());
}

void Scheduler::run_warp(std::size_t warp) {
  const std::size_t lanes = std::min<std::size_t>(32, threads_.size() - 32 * warp);
  do {
    for (const std::size_t i : order(lanes)) {
      Thread& thread = *threads_[32 * warp + i];
      if (thread.state != State::ready) continue;
      resume(thread);
      if (thread.failure) std::rethrow_exception(std::exchange(thread.failure, nullptr));
    }
  } while (release_warp(warp));
}

// --- who may go on

bool Scheduler::release_warp(std::size_t warp) {
  const auto lanes = threads_.subspan(32 * warp, std::min<std::size_t>(32, threads_.size() - 32 * warp));
  bool released = false;
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    const Thread& first = *lanes[i];
    // Whether a group has met is asked once, of the lowest lane that its mask names.
    if (first.state != State::in_warp || std::countr_zero(first.mask) != static_cast<int>(i)) continue;
    std::array<Thread*, 32> met{};
    bool all = true;
    for (std::size_t j = 0; j < 32 && all; ++j) {
      if (!(first.mask >> j & 1)) continue;
      all = j < lanes.size() && first.meets(*lanes[j]);
      if (all) met[j] = lanes[j].get();
    }
    if (all) release(met);
    released |= all;
  }
  return released;
}

// False when all threads have ended.
bool Scheduler::release_block() {
  std::vector<Thread*> met;
  const Thread* first = nullptr;
  for (const auto& thread : threads_) {
    const bool ended = thread->state == State::ended;
    met.push_back(ended ? nullptr : thread.get());
    if (!first && !ended) first = thread.get();
    if (!ended && !(first->state == State::in_block && first->meets(*thread))) {
      throw Divergence("block " + text(blockIdx) + " of " + std::to_string(threads_.size()) +
                       " threads diverges: " + who_waits_where());
    }
  }
  if (first) release(met);
  return first;
}

void Scheduler::release(std::span<Thread* const> met) {
  operands_.clear();
  Combine combine = nullptr;
  for (Thread* const thread : met) {
    operands_.push_back(thread ? thread->operand : nullptr);
    if (!thread) continue;
    combine = thread->combine;
    thread->state = State::ready;
  }
  if (combine) combine(operands_);
}

// Ends all threads that are inside of the kernel, so that what they hold is destroyed.
void Scheduler::unwind() {
  unwinding_ = true;
  for (const auto& thread : threads_) {
    if (thread->in_kernel) resume(*thread);
    thread->failure = nullptr;
    thread->state = State::ended;
  }
  unwinding_ = false;
}

// --- reports

std::string Scheduler::who_waits_where() const {
  const auto place = [](const Thread& thread) {
    if (thread.state == State::ended) return std::string("have ended");
    const std::string name = std::string("wait at ") + thread.waits_at;
    if (thread.state == State::in_block) return name;
    char mask[11];
    std::snprintf(mask, sizeof mask, "0x%08x", thread.mask);
    return name + " (mask " + mask + ")";
  };
  std::vector<std::pair<std::string, std::string>> places;  // and the threads there, as ranges
  for (std::size_t first = 0, end; first < threads_.size(); first = end) {
    const std::string here = place(*threads_[first]);
    for (end = first + 1; end < threads_.size() && place(*threads_[end]) == here; ++end) {
    }
    auto found =
        std::find_if(places.begin(), places.end(), [&](const auto& one) { return one.first == here; });
    if (found == places.end()) found = places.insert(found, {here, ""});
    found->second += (found->second.empty() ? "" : ",") + std::to_string(first);
    if (end - first > 1) found->second += "-" + std::to_string(end - 1);
  }
  std::string result;
  for (const auto& [here, threads] : places) {
    result += (result.empty() ? "threads " : "; threads ") + threads + " " + here;
  }
  return result;
}

Thread& Scheduler::running(const char* what) const {
  if (!running_) fail(std::string(what) + " is called outside of a kernel");
  return *running_;
}

void Scheduler::fail(const std::string& message) const {
  std::string where;
  if (in_block_)
    where = "block " + text(blockIdx) + (running_ ? ", thread " + text(running_->index) : "") + ": ";
  throw std::runtime_error(where + message);
}

}  // namespace

void set_order(std::uint64_t seed) {
  scheduler().ascending = seed == 0;
  scheduler().random.seed(seed);
}

std::size_t launches() {
  return scheduler().launches;
}

void* dynamic_shared_memory(std::size_t bytes, std::size_t alignment) {
  scheduler().running("dynamic_shared_memory");
  if (bytes > scheduler().shared_bytes) {
    fail("the kernel takes " + std::to_string(bytes) + " bytes of shared memory, the launch gave " +
         std::to_string(scheduler().shared_bytes));
  }
  if (alignment > 1024) fail("shared memory is aligned to 1024 bytes, not to " + std::to_string(alignment));
  return scheduler().shared;
}

void run_grid(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& kernel) {
  scheduler().run_grid(grid, block, shared_bytes, kernel);
}

void wait_for_block(const char* name, void* operand, Combine combine) {
  scheduler().wait(State::in_block, name, 0, operand, combine);
}

void wait_for_warp(const char* name, unsigned mask, void* operand, Combine combine) {
  if (!(mask >> lane() & 1)) fail(std::string(name) + ": the mask does not name the lane that calls");
  scheduler().wait(State::in_warp, name, mask, operand, combine);
}

unsigned lane() {
  return scheduler().running("a warp collective").number % 32;
}

void fail(const std::string& message) {
  scheduler().fail(message);
}

void check_shared_16(const char* name, const void* pointer) {
  const auto begin = reinterpret_cast<std::uintptr_t>(scheduler().shared);
  const auto at = reinterpret_cast<std::uintptr_t>(pointer);
  if (at % 16 != 0) fail(std::string(name) + ": an address is not aligned to 16 bytes");
  if (at < begin || at + 16 > begin + scheduler().shared_bytes) {
    fail(std::string(name) + ": an address is not in shared memory");
  }
}

std::uint64_t draw() {
  return scheduler().ascending ? 0 : scheduler().random();
}

AsyncCopies& async_copies() {
  return scheduler().running("cp.async").copies;
}

std::vector<unsigned>& unfenced_pieces() {
  return scheduler().unfenced;
}

AsyncProducts& async_products() {
  return scheduler().running("wgmma").products;
}

unsigned char* shared_memory_begin() {
  return scheduler().shared;
}

std::size_t shared_bytes() {
  return scheduler().shared_bytes;
}

}  // namespace cuda_emulation
