/// \file
/// Ending long work early: a flag that a signal handler or another thread raises, and the exception that the
/// work then ends with.
#pragma once

#include <atomic>
#include <stdexcept>

namespace vlp {

/// Thrown by work that was asked to stop.
class Stopped : public std::runtime_error {
 public:
  Stopped() : std::runtime_error("stopped") {}
};

/// Asks whether to stop. It refers to a flag that must outlive it, or to none, in which case work is never
/// stopped. Work that takes one asks at least every tenth of a second.
class StopToken {
 public:
  StopToken() = default;
  explicit StopToken(const std::atomic<bool>& flag) noexcept : flag_(&flag) {}

  [[nodiscard]] bool requested() const noexcept {
    return flag_ != nullptr && flag_->load(std::memory_order_relaxed);
  }
  /// Throws Stopped if the flag is raised.
  void check() const {
    if (requested()) throw Stopped();
  }

 private:
  const std::atomic<bool>* flag_ = nullptr;
};

}  // namespace vlp
