/// \file
/// Many small files, read on several threads.
#pragma once

#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/read_progress.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

namespace vlp::data::layouts::detail {

/// Calls `read(i)` for each i in [0, count), several at a time on threads of their own, and tells `progress`,
/// which may be empty, of files of that `kind`. Throws what a call of `read` or `progress` throws, after
/// which calls of no further part begin; Stopped.
template <class Read>
void read_files(std::size_t count, std::string_view kind, StopToken stop, const ReadProgress& progress,
                Read read) {
  // A disk, and all the more a network, finds several files at a time sooner than one after the other.
  constexpr std::size_t threads = 8, part = 32;
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::size_t done = 0;
  std::exception_ptr error;
  const auto work = [&] {
    try {
      for (std::size_t begin = next.fetch_add(part); begin < count; begin = next.fetch_add(part)) {
        const std::size_t end = std::min(begin + part, count);
        for (std::size_t i = begin; i < end; ++i) {
          stop.check();
          read(i);
        }
        const std::lock_guard lock(mutex);
        done += end - begin;
        if (progress) progress(kind, static_cast<Index>(done), static_cast<Index>(count));
      }
    } catch (...) {
      next = count;
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> others;
    try {
      for (std::size_t i = 1; i < threads && i * part < count; ++i) others.emplace_back(work);
    } catch (const std::system_error&) {
      // The system has no more threads; those that there are do it all.
    }
    work();
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace vlp::data::layouts::detail
