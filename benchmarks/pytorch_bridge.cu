// What comparison/bridge.py asks of libvlp_ops_cuda beyond its interface.
#include "losses_cuda/support/device_allocations.hpp"

#include <cstdint>

/// Bytes of device memory that vlp holds.
extern "C" __attribute__((visibility("default"))) std::int64_t vlp_device_bytes() {
  return vlp::benchmarks::live_device_bytes();
}
