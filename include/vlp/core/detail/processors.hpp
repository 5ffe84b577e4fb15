/// \file
/// How many threads are worth having: the processors that this process may use.
#pragma once

#ifdef __linux__
#include <sched.h>
#endif

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <system_error>
#include <thread>

namespace vlp::detail {

/// The most threads that a Cpu takes.
inline constexpr int most_threads = 1024;

/// The processors that a container's quota of time (of control groups, version 2) amounts to, rounded up;
/// most_threads without a quota.
inline int processors_of_quota() {
  struct Close {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
  };
  const std::unique_ptr<std::FILE, Close> file(std::fopen("/sys/fs/cgroup/cpu.max", "r"));
  long long quota = 0, period = 0;  // microseconds
  if (!file || std::fscanf(file.get(), "%lld %lld", &quota, &period) != 2 || quota <= 0 || period <= 0)
    return most_threads;
  return static_cast<int>(std::min<long long>((quota - 1) / period + 1, most_threads));
}

/// The processors that this process may run on, at least 1.
inline int usable_processors() {
  int count = static_cast<int>(std::thread::hardware_concurrency());
#ifdef __linux__
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) count = CPU_COUNT(&allowed);
#endif
  return std::max(1, std::min(count, processors_of_quota()));
}

/// The number of threads that `text`, an OMP_NUM_THREADS ("4", or "4,2" of which the first counts), asks for,
/// at most most_threads; 0 if it asks for none or cannot be read.
inline int asked_threads(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  int count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  const std::string_view rest(end, static_cast<std::size_t>(text.data() + text.size() - end));
  if (!rest.empty() && rest.front() != ',' && rest.find_first_not_of(" \t") != std::string_view::npos)
    return 0;
  if (error == std::errc::result_out_of_range) return text.starts_with('-') ? 0 : most_threads;
  return error == std::errc() && count > 0 ? std::min(count, most_threads) : 0;
}

/// The threads of a Cpu that is not told how many: OMP_NUM_THREADS where it makes sense, as programs around
/// vlp understand it, else all usable processors.
inline int default_threads() {
  const char* const text = std::getenv("OMP_NUM_THREADS");  // NOLINT(concurrency-mt-unsafe)
  const int asked = text == nullptr ? 0 : asked_threads(text);
  return asked > 0 ? asked : std::min(usable_processors(), most_threads);
}

}  // namespace vlp::detail
