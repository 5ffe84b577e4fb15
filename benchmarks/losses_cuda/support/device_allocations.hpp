/// \file
/// Counts what the program asks of cudaMalloc. A program that uses this links device_allocations.cpp with
/// --wrap=cudaMalloc and --wrap=cudaFree. Memory that cuBLAS takes for itself is not counted.
#pragma once

#include <cstdint>

namespace vlp::benchmarks {

/// How often cudaMalloc was called so far (emulated: pieces that it gave and that were not given back).
[[nodiscard]] std::int64_t device_allocations() noexcept;

/// Bytes that were asked for and have not been given back.
[[nodiscard]] std::int64_t live_device_bytes() noexcept;

}  // namespace vlp::benchmarks
