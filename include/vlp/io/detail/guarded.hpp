/// \file
/// The one place where errors of C libraries that end in a long jump are caught.
#pragma once

#include <csetjmp>

namespace vlp::io::detail {

/// Calls `step()`, which may jump to `jump` instead of returning. Returns whether it returned. Since a jump
/// runs no destructors, neither `step` nor what it calls may hold an object that has one.
template <class Step>
[[nodiscard]] bool guarded(std::jmp_buf& jump, const Step& step) {
  if (setjmp(jump) != 0) return false;
  step();
  return true;
}

}  // namespace vlp::io::detail
