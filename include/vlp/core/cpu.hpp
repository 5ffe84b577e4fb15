/// \file
/// The CPU as a device: how many threads, and the scratch memory of the work that runs on it.
#pragma once

#ifdef _OPENMP
#include <omp.h>
#endif

#include <vlp/core/buffer.hpp>
#include <vlp/core/config.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>

namespace vlp {

/// Runs loops over OpenMP threads (one thread where OpenMP is absent) and owns the scratch arena.
///
/// All results are independent of the number of threads: work is cut into pieces by its shape alone, every
/// piece writes its own output, and sums over pieces are taken in a fixed order. One `Cpu` serves one caller
/// at a time; make one per thread of your own.
class Cpu {
 public:
  /// Type of memory kept between calls.
  template <class T>
  using Buffer = vlp::Buffer<T>;

  /// `threads` = 0 takes all the machine offers. Throws std::invalid_argument for a negative number.
  explicit Cpu(int threads = 0) : threads_(threads) {
    require(threads >= 0, "Cpu: threads must be 0 (all) or more, but is ", threads);
#ifdef _OPENMP
    if (threads == 0) threads_ = omp_get_max_threads();
#else
    threads_ = 1;
#endif
  }

  [[nodiscard]] int threads() const noexcept {
    return threads_;
  }

  /// Scratch memory for the duration of one call.
  [[nodiscard]] Arena& scratch() noexcept {
    return scratch_;
  }

  /// Calls `body(index, worker)` for each index in [0, count), in any order, on up to threads() workers;
  /// `worker` in [0, threads()) tells which, for scratch of its own. `body` must not throw and must not call
  /// back into this device.
  template <class Body>
  void parallel_for(Index count, Body&& body) {
#ifdef _OPENMP
    if (threads_ > 1 && count > 1 && !omp_in_parallel()) {
#pragma omp parallel for schedule(dynamic) num_threads(threads_)
      for (Index i = 0; i < count; ++i) body(i, omp_get_thread_num());
      return;
    }
#endif
    for (Index i = 0; i < count; ++i) body(i, 0);
  }

  /// Cuts [0, count) into runs of `grain` and calls `body(begin, end)` for each, in parallel. The cuts depend
  /// on `count` and `grain` alone.
  template <class Body>
  void parallel_ranges(Index count, Index grain, Body&& body) {
    const Index pieces = (count + grain - 1) / grain;
    parallel_for(pieces, [&](Index piece, int) {
      body(piece * grain, piece * grain + grain < count ? piece * grain + grain : count);
    });
  }

 private:
  int threads_;
  Arena scratch_;
};

}  // namespace vlp
