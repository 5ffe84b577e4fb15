/// \file
/// Ctrl-C and SIGTERM: the first asks the program to stop, the second ends it.
#pragma once

#include <signal.h>

#include <vlp/core/stop.hpp>

#include <atomic>

namespace vlp::cli {

/// Exit status of a program that a signal has stopped.
inline constexpr int interrupted = 130;

namespace detail {
inline std::atomic<bool> stop_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may touch it");
}  // namespace detail

/// From now on, the first SIGINT or SIGTERM raises the flag of the token that is returned, and the next one
/// has the system's usual effect, which ends the process at once. A call of the system that waits, such as
/// reading from a pipe, is interrupted and may look at the token.
inline StopToken stop_on_signals() {
  struct sigaction action {};
  sigemptyset(&action.sa_mask);
  action.sa_flags = 0;  // no SA_RESTART
  action.sa_handler = [](int) {
    detail::stop_requested = true;
    for (const int signal : {SIGINT, SIGTERM}) ::signal(signal, SIG_DFL);
  };
  for (const int signal : {SIGINT, SIGTERM}) ::sigaction(signal, &action, nullptr);
  return StopToken(detail::stop_requested);
}

}  // namespace vlp::cli
