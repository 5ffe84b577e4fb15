#include "cuda_emulation/block.hpp"

#include "cuda_emulation/language.hpp"

#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

#include <algorithm>
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

#if defined(__SANITIZE_ADDRESS__)
#define VLP_EMULATION_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define VLP_EMULATION_ASAN 1
#endif
#endif

namespace cuda_emulation {
namespace {

using boost::context::fiber;
using boost::context::protected_fixedsize_stack;

constexpr std::size_t stack_bytes = 256 << 10;  // taken from the system page by page, as far as it is used
constexpr std::size_t guard_bytes = 4096;

enum class State { ready, in_warp, in_block, ended };

struct Unwind {};  // thrown into waiting threads when another has failed

// AddressSanitizer wants to be told of every change of stacks.
void leave_for([[maybe_unused]] void** keep, [[maybe_unused]] const void* bottom,
               [[maybe_unused]] std::size_t size) {
#if VLP_EMULATION_ASAN
  __sanitizer_start_switch_fiber(keep, bottom, size);
#endif
}
void arrived([[maybe_unused]] void* kept, [[maybe_unused]] const void** bottom,
             [[maybe_unused]] std::size_t* size) {
#if VLP_EMULATION_ASAN
  __sanitizer_finish_switch_fiber(kept, bottom, size);
#endif
}

struct Thread {
  fiber goes_on;
  const void* stack_bottom = nullptr;
  std::size_t stack_size = 0;
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

 private:
  std::vector<std::size_t> order(std::size_t count);
  void add_thread();
  fiber live(Thread& thread, fiber&& launcher);
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
  Thread* running_ = nullptr;
  bool unwinding_ = false, closing_ = false, in_block_ = false;
  fiber launcher_;
  const void* launcher_bottom_ = nullptr;
  std::size_t launcher_size_ = 0;
};

Scheduler& scheduler() {
  static Scheduler one;
  return one;
}

// --- fibers

void Scheduler::add_thread() {
  protected_fixedsize_stack allocator(stack_bytes);
  const boost::context::stack_context stack = allocator.allocate();
  Thread& thread = *pool_.emplace_back(std::make_unique<Thread>());
  thread.stack_bottom = static_cast<char*>(stack.sp) - stack.size;
  thread.stack_size = stack.size;
  thread.goes_on =
      fiber(std::allocator_arg, boost::context::preallocated(stack.sp, stack.size, stack), allocator,
            [this, &thread](fiber&& launcher) { return live(thread, std::move(launcher)); });
}

// A fiber's life: the kernel once for each time it is made ready, until the program closes.
fiber Scheduler::live(Thread& thread, fiber&& launcher) {
  launcher_ = std::move(launcher);
  arrived(nullptr, &launcher_bottom_, &launcher_size_);
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
    void* kept = nullptr;
    leave_for(&kept, launcher_bottom_, launcher_size_);
    launcher_ = std::move(launcher_).resume();
    arrived(kept, &launcher_bottom_, &launcher_size_);
  }
  leave_for(nullptr, launcher_bottom_, launcher_size_);
  return std::move(launcher_);
}

void Scheduler::resume(Thread& thread) {
  running_ = &thread;
  threadIdx = thread.index;
  void* kept = nullptr;
  leave_for(&kept, thread.stack_bottom, thread.stack_size);
  thread.goes_on = std::move(thread.goes_on).resume();
  arrived(kept, nullptr, nullptr);
  running_ = nullptr;
}

void Scheduler::wait(State state, const char* name, unsigned mask, void* operand, Combine combine) {
  Thread& thread = running(name);
  thread.state = state;
  thread.waits_at = name;
  thread.mask = mask;
  thread.operand = operand;
  thread.combine = combine;
  void* kept = nullptr;
  leave_for(&kept, launcher_bottom_, launcher_size_);
  launcher_ = std::move(launcher_).resume();
  arrived(kept, &launcher_bottom_, &launcher_size_);
  if (unwinding_) throw Unwind{};
}

Scheduler::~Scheduler() {
  closing_ = true;
  for (auto& thread : pool_) resume(*thread);
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
  while (pool_.size() < size) add_thread();
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
    std::vector<Thread*> met(32, nullptr);
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
  std::vector<void*> operands;
  Combine combine = nullptr;
  for (Thread* const thread : met) {
    operands.push_back(thread ? thread->operand : nullptr);
    if (!thread) continue;
    combine = thread->combine;
    thread->state = State::ready;
  }
  if (combine) combine(operands);
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
  std::string result;
  for (std::size_t first = 0, end; first < threads_.size(); first = end) {
    const std::string here = place(*threads_[first]);
    for (end = first + 1; end < threads_.size() && place(*threads_[end]) == here; ++end) {
    }
    result += (first == 0 ? "threads " : "; threads ") + std::to_string(first) + "-" +
              std::to_string(end - 1) + " " + here;
  }
  return result;
}

Thread& Scheduler::running(const char* what) const {
  if (!running_) fail(std::string(what) + " is called outside of a kernel");
  return *running_;
}

void Scheduler::fail(const std::string& message) const {
  std::string where;
  if (in_block_) where += "block " + text(blockIdx) + ", ";
  if (running_) where += "thread " + text(running_->index) + ": ";
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

}  // namespace cuda_emulation
