/// \file
/// A function on a stack of its own, which hands control back and forth with whoever resumes it, and tells
/// AddressSanitizer of every change of stacks.
#pragma once

#include "memory.hpp"

#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <sanitizer/common_interface_defs.h>

#include <cstddef>
#include <functional>
#include <utility>

namespace cuda_emulation {

class Fiber {
 public:
  /// `run` starts with the first resume(). It must have ended before the fiber is destroyed.
  explicit Fiber(std::function<void()> run) : run_(std::move(run)) {
    boost::context::protected_fixedsize_stack allocator(stack_bytes);
    const boost::context::stack_context stack = allocator.allocate();
    bottom_ = static_cast<char*>(stack.sp) - stack.size;
    size_ = stack.size;
    inside_ =
        boost::context::fiber(std::allocator_arg, boost::context::preallocated(stack.sp, stack.size, stack),
                              allocator, [this](boost::context::fiber&& outside) {
                                outside_ = std::move(outside);
                                arrive(nullptr, &outside_bottom_, &outside_size_);
                                run_();
                                leave(nullptr, outside_bottom_, outside_size_);
                                return std::move(outside_);
                              });
  }
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Called outside: goes on with `run` until that pauses or ends.
  void resume() {
    void* kept = nullptr;
    leave(&kept, bottom_, size_);
    inside_ = std::move(inside_).resume();
    arrive(kept, nullptr, nullptr);
  }

  /// Called by `run`: goes back to who resumed it.
  void pause() {
    void* kept = nullptr;
    leave(&kept, outside_bottom_, outside_size_);
    outside_ = std::move(outside_).resume();
    arrive(kept, &outside_bottom_, &outside_size_);
  }

 private:
  static constexpr std::size_t stack_bytes = 256 << 10;  // the system gives pages as they are used

#if VLP_EMULATION_ASAN
  static void leave(void** kept, const void* bottom, std::size_t size) {
    __sanitizer_start_switch_fiber(kept, bottom, size);
  }
  static void arrive(void* kept, const void** bottom, std::size_t* size) {
    __sanitizer_finish_switch_fiber(kept, bottom, size);
  }
#else
  static void leave(void**, const void*, std::size_t) {}
  static void arrive(void*, const void**, std::size_t*) {}
#endif

  std::function<void()> run_;
  boost::context::fiber inside_, outside_;
  const void *bottom_ = nullptr, *outside_bottom_ = nullptr;
  std::size_t size_ = 0, outside_size_ = 0;
};

}  // namespace cuda_emulation
