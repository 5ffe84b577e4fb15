/// \file
/// Batches made ahead, on a thread of their own.
#pragma once

#include <vlp/core/scalar.hpp>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>

namespace vlp::data {

/// Calls `make(i)` for i = first, first + 1, ... , last - 1 on a thread of its own, a few ahead of `next`.
template <class Batch>
class Prefetcher {
 public:
  Prefetcher(Index first, Index last, std::function<Batch(Index)> make)
      : thread_([this, first, last, make = std::move(make)](const std::stop_token& stop) {
          for (Index i = first; i < last && !stop.stop_requested(); ++i) {
            try {
              push({make(i), nullptr}, stop);
            } catch (...) {
              push({{}, std::current_exception()}, stop);
              return;
            }
          }
        }) {}

  /// Returns the next batch; throws what making it threw. To be called at most last - first times.
  Batch next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !ready_.empty(); });
    Item item = std::move(ready_.front());
    ready_.pop_front();
    changed_.notify_all();
    if (item.error) std::rethrow_exception(item.error);
    return std::move(item.batch);
  }

 private:
  static constexpr std::size_t ahead = 3;
  struct Item {
    Batch batch;
    std::exception_ptr error;
  };

  void push(Item item, const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, stop, [&] { return ready_.size() < ahead; });
    ready_.push_back(std::move(item));
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<Item> ready_;
  std::jthread thread_;  // last: it ends before what it uses
};

}  // namespace vlp::data
