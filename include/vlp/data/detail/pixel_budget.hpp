/// \file
/// Memory for decoded images, shared by threads.
#pragma once

#include <vlp/core/scalar.hpp>

#include <condition_variable>
#include <mutex>

namespace vlp::data::detail {

/// A number of pixels that threads may hold at the same time. A thread that wants more than are free waits;
/// one image alone is always admitted, so that none waits for ever.
class PixelBudget {
 public:
  explicit PixelBudget(Index pixels) : limit_(pixels) {}

  /// Pixels that one thread has taken, given back when the share ends.
  class Share {
   public:
    explicit Share(PixelBudget& budget) : budget_(budget) {}
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    ~Share() { budget_.give_back(taken_); }

    /// Waits until `pixels` may be taken. To be called once.
    void take(Index pixels) {
      budget_.take(pixels);
      taken_ = pixels;
    }

   private:
    PixelBudget& budget_;
    Index taken_ = 0;
  };

 private:
  void take(Index pixels) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return used_ == 0 || used_ + pixels <= limit_; });
    used_ += pixels;
  }

  void give_back(Index pixels) {
    {
      const std::lock_guard lock(mutex_);
      used_ -= pixels;
    }
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  Index limit_, used_ = 0;
};

}  // namespace vlp::data::detail
