/// \file
/// The CPU as a device: how many threads, and the scratch memory of the work that runs on it.
#pragma once

#include <vlp/core/buffer.hpp>
#include <vlp/core/detail/one_caller.hpp>
#include <vlp/core/detail/processors.hpp>
#include <vlp/core/detail/thread_pool.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

namespace vlp {

/// Runs loops over threads of its own and owns the scratch arena.
///
/// All results are independent of the number of threads: work is cut into pieces by its shape alone, every
/// piece writes its own output, and sums over pieces are taken in a fixed order. One `Cpu` serves one caller
/// at a time; make one per thread of your own. A second caller, and a loop whose body uses the device, get
/// std::logic_error.
///
/// Threads start with the first loop and end with the `Cpu`. A process that was forked from one that had run
/// loops starts its own. Threads that wait sleep, and a loop never waits for one that has not begun: on a
/// machine whose other processors are busy, all threads are about as fast as one.
class Cpu {
 public:
  /// Kind of its memory.
  using Memory = HostMemory;
  /// Type of memory kept between calls.
  template <class T>
  using Buffer = vlp::Buffer<T, Memory>;

  /// The most threads that a `Cpu` may have.
  static constexpr int most_threads = detail::most_threads;

  /// `threads` from 1 to most_threads; 0 takes as many as OMP_NUM_THREADS asks for (at most most_threads) or,
  /// where it is not set or no positive number, as many as there are processors that the process may use, by
  /// its affinity and its container's quota. Throws std::invalid_argument for another number.
  explicit Cpu(int threads = 0) : threads_(threads) {
    require(threads >= 0 && threads <= most_threads, "Cpu: threads must be from 0 (all) to ", most_threads,
            ", but is ", threads);
    if (threads == 0) threads_ = detail::default_threads();
  }
  Cpu(Cpu&& other) noexcept
      : threads_(other.threads_), scratch_(std::move(other.scratch_)), pool_(std::move(other.pool_)) {}
  Cpu& operator=(Cpu&& other) noexcept {
    threads_ = other.threads_;
    scratch_ = std::move(other.scratch_);
    pool_ = std::move(other.pool_);
    return *this;
  }

  [[nodiscard]] int threads() const noexcept { return threads_; }

  /// Scratch memory for the duration of one call.
  [[nodiscard]] Arena& scratch() {
    if (in_loop_.load(std::memory_order_relaxed)) detail::OneCaller::refuse();
    return scratch_;
  }

  /// Calls `body(index, worker)` for each index in [0, count), in any order, on up to threads() workers;
  /// `worker` in [0, threads()) tells which, for scratch of its own. `body` must not call back into this
  /// device. If it throws, the loop ends early and throws what the lowest index that failed threw; all
  /// indices below that one have been run.
  template <class Body>
  void parallel_for(Index count, Body&& body) {
    const InLoop loop(*this);
    if (threads_ == 1 || count <= 1) {
      for (Index i = 0; i < count; ++i) body(i, 0);
      return;
    }
    detail::LoopPieces pieces(count);
    auto work = [&](int worker) { pieces.work(body, worker); };
    pool().run(count - 1, work);
    pieces.rethrow();
  }

  /// Cuts [0, count) into runs of `grain` and calls `body(begin, end)` for each, in parallel. The cuts depend
  /// on `count` and `grain` alone.
  template <class Body>
  void parallel_ranges(Index count, Index grain, Body&& body) {
    const Index pieces = count / grain + (count % grain != 0 ? 1 : 0);
    parallel_for(pieces, [&](Index piece, int) {
      const Index begin = piece * grain;
      body(begin, begin + std::min(grain, count - begin));
    });
  }

 private:
  /// Keeps the device to the calling thread, and to one loop.
  class InLoop {
   public:
    explicit InLoop(Cpu& device) : device_(&device), scope_(device.scratch_) {
      if (device.in_loop_.exchange(true, std::memory_order_relaxed)) detail::OneCaller::refuse();
    }
    InLoop(const InLoop&) = delete;
    InLoop& operator=(const InLoop&) = delete;
    ~InLoop() { device_->in_loop_.store(false, std::memory_order_relaxed); }

   private:
    Cpu* device_;
    Arena::Scope scope_;
  };

  detail::ThreadPool& pool() {
    if (pool_ == nullptr || !pool_->is_of_this_process())
      pool_ = std::make_unique<detail::ThreadPool>(threads_ - 1);
    return *pool_;
  }

  int threads_;
  Arena scratch_;
  std::atomic<bool> in_loop_ = false;
  std::unique_ptr<detail::ThreadPool> pool_;
};

}  // namespace vlp
