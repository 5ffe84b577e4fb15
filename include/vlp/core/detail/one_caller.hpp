/// \file
/// Keeps what serves one thread at a time from being used by two.
#pragma once

#include <atomic>
#include <stdexcept>

namespace vlp::detail {

/// Remembers which thread is inside, and refuses all others. A thread may enter several times over.
///
/// Two callers at once corrupt memory without a word, so the check is always made; it costs an atomic
/// exchange a call.
class OneCaller {
 public:
  OneCaller() = default;
  /// Whoever moves an object is not inside it, so nothing is carried over.
  OneCaller(OneCaller&&) noexcept {}
  OneCaller& operator=(OneCaller&&) noexcept { return *this; }

  /// Throws std::logic_error if another thread is inside.
  void enter() {
    const void* nobody = nullptr;
    if (!is_inside() && !caller_.compare_exchange_strong(nobody, this_thread(), std::memory_order_acquire,
                                                         std::memory_order_relaxed)) [[unlikely]]
      refuse();
    ++depth_;
  }
  void leave() noexcept {
    if (--depth_ == 0) caller_.store(nullptr, std::memory_order_release);
  }

  /// Says whether the calling thread is inside.
  [[nodiscard]] bool is_inside() const noexcept {
    return caller_.load(std::memory_order_relaxed) == this_thread();
  }

  [[noreturn]] static void refuse() {
    throw std::logic_error(
        "one device is used by two threads at once, or from inside its own loop; make one Cpu (or Cuda) for "
        "each thread");
  }

 private:
  /// An address that no other thread has while this one lives.
  static const void* this_thread() noexcept {
    static thread_local const char here = 0;
    return &here;
  }

  std::atomic<const void*> caller_ = nullptr;
  int depth_ = 0;  // of the thread inside
};

}  // namespace vlp::detail
