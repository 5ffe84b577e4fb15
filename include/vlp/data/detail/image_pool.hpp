/// \file
/// Threads that read images while their caller does something else.
#pragma once

#include <unistd.h>

#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/detail/pixel_budget.hpp>
#include <vlp/data/image_cache.hpp>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace vlp::data::detail {

/// An image that was asked for, or what reading it threw.
struct ImageOutcome {
  Pixels pixels;
  std::exception_ptr error;
};

/// A number of images that were asked for together. The pool's mutex guards all but the first member.
struct ImageOrder {
  std::vector<std::int64_t> ids;       // each once
  std::vector<ImageOutcome> outcomes;  // [ids]
  std::size_t begun = 0, done = 0;
};

/// Threads that read images in the order in which they are asked for. Threads hold one image each, beside the
/// outcomes of orders that nobody has collected yet.
class ImagePool {
 public:
  using Read = std::function<Pixels(std::int64_t id, PixelBudget& budget)>;

  /// Starts up to `threads` threads, fewer where the system allows no more. `read` is called on all of them.
  ImagePool(int threads, Index budget, Read read) : budget_(budget), read_(std::move(read)) {
    try {
      for (int i = 0; i < threads; ++i)
        threads_.emplace_back([this](const std::stop_token& stop) { work(stop); });
    } catch (const std::system_error&) {
      // With the threads that there are; with none, whoever collects reads.
    }
  }
  ImagePool(const ImagePool&) = delete;
  ImagePool& operator=(const ImagePool&) = delete;
  /// Ends after the images in hand.
  ~ImagePool() {
    for (std::jthread& thread : threads_) thread.request_stop();
  }

  /// False in a child of the process that started the threads: they are not there.
  [[nodiscard]] bool is_of_this_process() const noexcept { return process_ == ::getpid(); }

  void add(std::shared_ptr<ImageOrder> order) {
    order->outcomes.resize(order->ids.size());
    if (order->ids.empty()) return;
    {
      const std::lock_guard lock(mutex_);
      orders_.push_back(std::move(order));
    }
    changed_.notify_all();
  }

  /// Waits until all images of an order have been read. Throws Stopped where `stop` asks for it.
  void wait_for(ImageOrder& order, StopToken stop) {
    constexpr std::chrono::milliseconds look{20};
    std::unique_lock lock(mutex_);
    if (threads_.empty()) {
      lock.unlock();
      while (read_one()) stop.check();
      lock.lock();
    }
    while (order.done < order.ids.size()) {
      stop.check();
      changed_.wait_for(lock, look, [&] { return order.done == order.ids.size(); });
    }
  }

  /// Leaves what has not begun of an order. What has begun still goes to it.
  void cancel(const ImageOrder& order) {
    const std::lock_guard lock(mutex_);
    std::erase_if(orders_, [&](const auto& waiting) { return waiting.get() == &order; });
  }

 private:
  void work(const std::stop_token& stop) {
    while (true) {
      {
        std::unique_lock lock(mutex_);
        if (!changed_.wait(lock, stop, [&] { return !orders_.empty(); }) || stop.stop_requested()) return;
      }
      read_one();
    }
  }

  /// Reads the next image. Returns false where there is none.
  bool read_one() {
    std::shared_ptr<ImageOrder> order;
    std::size_t k = 0;
    {
      const std::lock_guard lock(mutex_);
      if (orders_.empty()) return false;
      order = orders_.front();
      k = order->begun++;
      if (order->begun == order->ids.size()) orders_.pop_front();
    }
    ImageOutcome outcome;
    try {
      outcome.pixels = read_(order->ids[k], budget_);
    } catch (...) {
      outcome.error = std::current_exception();
    }
    {
      const std::lock_guard lock(mutex_);
      order->outcomes[k] = std::move(outcome);
      if (++order->done < order->ids.size()) return true;
    }
    changed_.notify_all();
    return true;
  }

  PixelBudget budget_;
  Read read_;
  pid_t process_ = ::getpid();
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<std::shared_ptr<ImageOrder>> orders_;  // those of which images have not begun
  std::vector<std::jthread> threads_;               // last: they end before what they use
};

}  // namespace vlp::data::detail
