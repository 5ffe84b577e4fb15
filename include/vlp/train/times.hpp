/// \file
/// Where the seconds of a run go.
#pragma once

#include <algorithm>
#include <chrono>
#include <string_view>
#include <vector>

namespace vlp::train {

/// Seconds spent, by what was done, in the order in which the kinds of work came first.
class Times {
 public:
  struct Entry {
    std::string_view work;  ///< of a string that lives as long as the program, e.g. "optimiser"
    double seconds = 0;
  };

  /// Adds the time of its own life to a kind of work. The Times must outlive it.
  class Stopwatch {
   public:
    Stopwatch(Times& times, std::string_view work) : times_(times), work_(work) {}
    Stopwatch(const Stopwatch&) = delete;
    Stopwatch& operator=(const Stopwatch&) = delete;
    ~Stopwatch() { times_.add(work_, std::chrono::duration<double>(Clock::now() - start_).count()); }

   private:
    using Clock = std::chrono::steady_clock;
    Times& times_;
    std::string_view work_;
    Clock::time_point start_ = Clock::now();
  };

  /// Measures until the end of the scope: `const auto stopwatch = times.measure("optimiser");`.
  [[nodiscard]] Stopwatch measure(std::string_view work) { return {*this, work}; }

  void add(std::string_view work, double seconds) {
    const auto entry = std::ranges::find(entries_, work, &Entry::work);
    if (entry != entries_.end())
      entry->seconds += seconds;
    else
      entries_.push_back({work, seconds});
  }

  [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
};

}  // namespace vlp::train
