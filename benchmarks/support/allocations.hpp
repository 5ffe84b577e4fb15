/// \file
/// Counts what the program asks of operator new. A program that uses this links allocations.cpp, which
/// replaces it.
///
/// Packing buffers that Eigen's products take from malloc for the length of a call are not among them.
#pragma once

#include <cstdint>

namespace vlp::benchmarks {

/// How often operator new was called so far, with alignment or without.
[[nodiscard]] std::int64_t allocations() noexcept;

/// Bytes that new has given and delete has not yet taken back, as malloc rounds them.
[[nodiscard]] std::int64_t live_bytes() noexcept;

}  // namespace vlp::benchmarks
