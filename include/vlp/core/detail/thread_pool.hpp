/// \file
/// Threads that help their caller through a loop.
#pragma once

#if __has_include(<unistd.h>)
#include <unistd.h>
#endif

#include <vlp/core/detail/processors.hpp>
#include <vlp/core/scalar.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace vlp::detail {

/// The pieces of one loop, handed out in ascending order, and the error of the first of them that failed.
class LoopPieces {
 public:
  explicit LoopPieces(Index count) noexcept : count_(count) {}

  /// Runs `body(piece, worker)` for pieces that nobody has taken, until there are none.
  template <class Body>
  void work(Body& body, int worker) noexcept {
    Index piece = 0;
    try {
      while ((piece = next_.fetch_add(1, std::memory_order_relaxed)) < count_) body(piece, worker);
    } catch (...) {
      fail(piece);
    }
  }

  /// Throws what the first piece that failed has thrown. All before it have been run, as on one thread.
  void rethrow() const {
    if (error_) [[unlikely]]
      std::rethrow_exception(error_);
  }

 private:
  void fail(Index piece) noexcept {
    next_.store(count_, std::memory_order_relaxed);
    const std::lock_guard lock(mutex_);
    if (error_ && piece > failed_) return;
    failed_ = piece;
    error_ = std::current_exception();
  }

  Index count_;
  std::atomic<Index> next_ = 0;
  std::mutex mutex_;
  Index failed_ = 0;
  std::exception_ptr error_;
};

/// Helpers of one caller. They take part in a loop only if they are awake before it ends: where processors
/// are busy with other work, the caller does theirs itself and waits for nobody who has not begun.
///
/// Whoever waits looks again and again for a moment, since the next loop mostly follows within microseconds,
/// and then sleeps, which leaves the processor to others.
class ThreadPool {
 public:
  /// Starts up to `helpers` threads, fewer where the system allows no more.
  explicit ThreadPool(int helpers) : looks_(helpers < usable_processors()) {
    try {
      threads_.reserve(static_cast<std::size_t>(helpers));
      for (int h = 0; h < helpers; ++h) threads_.emplace_back([this, h] { help(h + 1); });
    } catch (const std::exception&) {
      // With the helpers that there are, or with none, the loop still runs.
    }
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool() {
    if (is_of_this_process()) {
      ended_.store(true, std::memory_order_relaxed);
      loops_.fetch_add(1, std::memory_order_release);
      loops_.notify_all();
      for (std::thread& thread : threads_) thread.join();
    } else {
      // After a fork the threads are the parent's; they can be neither joined nor let go of.
      static auto* const left_behind = new std::vector<std::vector<std::thread>>;
      left_behind->push_back(std::move(threads_));
    }
  }

  /// False in a child of the process that started the threads: they are not there.
  [[nodiscard]] bool is_of_this_process() const noexcept { return process_ == this_process(); }

  /// Calls work(0) here and work(worker), worker from 1, on at most `most` helpers at the same time. Returns
  /// when all these calls have. `work` must not throw.
  template <class Work>
  void run(Index most, Work& work) {
    job_ = [](void* context, int worker) { (*static_cast<Work*>(context))(worker); };
    context_ = &work;
    inside_.store(open, std::memory_order_release);
    loops_.fetch_add(1, std::memory_order_release);
    if (most < static_cast<Index>(threads_.size()))
      for (Index h = 0; h < most; ++h) loops_.notify_one();
    else
      loops_.notify_all();
    work(0);
    std::uint32_t left = inside_.fetch_and(~open, std::memory_order_acq_rel) & ~open;
    while (left != 0) {
      wait_while(inside_, left);
      left = inside_.load(std::memory_order_acquire);
    }
  }

 private:
  using Clock = std::chrono::steady_clock;

  /// The bit of inside_ that lets helpers in.
  static constexpr std::uint32_t open = std::uint32_t{1} << 31;
  /// How long a waiting thread looks before it sleeps: longer than most pauses between the loops of a step.
  static constexpr std::chrono::microseconds look_time{50};

  static long this_process() noexcept {
#if __has_include(<unistd.h>)
    return static_cast<long>(::getpid());
#else
    return 0;
#endif
  }

  static void pause() noexcept {
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
    __builtin_ia32_pause();
#elif defined(__GNUC__) && defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  /// Returns once `number` is no longer `value`.
  void wait_while(const std::atomic<std::uint32_t>& number, std::uint32_t value) const {
    if (looks_) {
      const auto end = Clock::now() + look_time;
      do {
        for (int i = 0; i < 32; ++i) {
          if (number.load(std::memory_order_relaxed) != value) return;
          pause();
        }
      } while (Clock::now() < end);
    }
    number.wait(value, std::memory_order_relaxed);
  }

  void help(int worker) {
    std::uint32_t seen = 0;
    for (;;) {
      wait_while(loops_, seen);
      seen = loops_.load(std::memory_order_acquire);
      if (ended_.load(std::memory_order_relaxed)) return;
      std::uint32_t inside = inside_.load(std::memory_order_relaxed);
      while ((inside & open) != 0 &&
             !inside_.compare_exchange_weak(inside, inside + 1, std::memory_order_acq_rel,
                                            std::memory_order_relaxed)) {
      }
      if ((inside & open) == 0) continue;  // too late for this one
      job_(context_, worker);
      if (inside_.fetch_sub(1, std::memory_order_acq_rel) == 1) inside_.notify_one();
    }
  }

  bool looks_;  // not with more threads than processors: then looking keeps another of them from its work
  long process_ = this_process();
  alignas(64) std::atomic<std::uint32_t> loops_ = 0;   // begun so far, and one more at the end
  alignas(64) std::atomic<std::uint32_t> inside_ = 0;  // helpers in the loop, and whether more may come
  std::atomic<bool> ended_ = false;
  void (*job_)(void*, int) = nullptr;
  void* context_ = nullptr;
  std::vector<std::thread> threads_;
};

}  // namespace vlp::detail
