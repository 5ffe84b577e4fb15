/// \file
/// Calls from Python's threads, and the end of its interpreter.
#pragma once

#include <atomic>
#include <chrono>
#include <thread>

namespace vlp::bindings {

/// A call, from the first that it does to the last. Python's threads call without its lock, and before
/// Python 3.14 a daemon thread that takes the lock again while the interpreter ends is made to exit, through
/// destructors that need the lock, so that the process aborts. Therefore, once the interpreter is about to
/// end, threads other than the one that ends it stay asleep in their calls, where Python 3.14 has them sleep
/// too.
class InCall {
 public:
  InCall() {
    if (ends_interpreter()) return;
    Presence::mine().set_outside(false);
    if (is_ending()) stay();
  }
  InCall(const InCall&) = delete;
  InCall& operator=(const InCall&) = delete;
  ~InCall() {
    if (ends_interpreter()) return;
    Presence::mine().set_outside(
        true);  // before it asks, so that interpreter_ends() sees it or it sees the end
    if (is_ending()) {
      Presence::mine().set_outside(false);
      stay();
    }
  }

  /// Lets no other thread leave a call from now on, and gives those that have just left one the time to take
  /// Python's lock, which the caller has not. Threads that have ended or are in calls are not waited for.
  static void interpreter_ends() {
    ends_interpreter() = true;
    Presence::mine().set_outside(false);
    is_ending() = true;
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
    while (outside() > 0 && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

 private:
  /// Whether a thread is outside, having been in a call.
  class Presence {
   public:
    static Presence& mine() {
      thread_local Presence presence;
      return presence;
    }
    ~Presence() { set_outside(false); }

    void set_outside(bool is_outside) {
      if (is_outside == is_outside_) return;
      is_outside_ = is_outside;
      outside() += is_outside ? 1 : -1;
    }

   private:
    Presence() = default;
    bool is_outside_ = false;
  };

  static std::atomic<bool>& is_ending() {
    static std::atomic<bool> value = false;
    return value;
  }
  static std::atomic<int>& outside() {
    static std::atomic<int> value = 0;
    return value;
  }
  static bool& ends_interpreter() {
    thread_local bool value = false;
    return value;
  }
  [[noreturn]] static void stay() {
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  }
};

}  // namespace vlp::bindings
