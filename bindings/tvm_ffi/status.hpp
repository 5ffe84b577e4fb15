/// \file
/// Statuses of vlp_ops.h as Python's exceptions.
#pragma once

#include "vlp_ops.h"

#include <tvm/ffi/error.h>

#include <string>

namespace vlp::bindings {

/// Throws what a call of the C interface left, with its sentence: ValueError, MemoryError or RuntimeError.
inline void check(VlpStatus status) {
  if (status == VLP_OK) [[likely]]
    return;
  const char* kind = status == VLP_BAD_ARGUMENT ? "ValueError"
                     : status == VLP_NO_MEMORY  ? "MemoryError"
                                                : "RuntimeError";
  throw tvm::ffi::Error(kind, vlp_ops_error(), "");
}

}  // namespace vlp::bindings
