#include "losses_cuda/support/device_allocations.hpp"

#include <cuda_runtime.h>

#include <cstddef>
#include <map>
#include <mutex>

#ifdef VLP_CUDA_EMULATION

namespace vlp::benchmarks {
std::int64_t device_allocations() noexcept {
  return static_cast<std::int64_t>(cuda_emulation::live_allocations());
}
std::int64_t live_device_bytes() noexcept {
  return static_cast<std::int64_t>(cuda_emulation::live_bytes());
}
}  // namespace vlp::benchmarks

#else

namespace {

struct Given {
  std::mutex mutex;
  std::map<void*, std::size_t> sizes;
  std::int64_t calls = 0, bytes = 0;
};
// Never destroyed: memory may be given back at the very end.
Given& given() {
  static Given& all = *new Given;
  return all;
}

}  // namespace

extern "C" cudaError_t __real_cudaMalloc(void** pointer, std::size_t bytes);
extern "C" cudaError_t __real_cudaFree(void* pointer);

extern "C" cudaError_t __wrap_cudaMalloc(void** pointer, std::size_t bytes) {
  const cudaError_t status = __real_cudaMalloc(pointer, bytes);
  const std::lock_guard lock(given().mutex);
  ++given().calls;
  if (status == cudaSuccess && *pointer != nullptr) {
    given().sizes[*pointer] = bytes;
    given().bytes += static_cast<std::int64_t>(bytes);
  }
  return status;
}

extern "C" cudaError_t __wrap_cudaFree(void* pointer) {
  {
    const std::lock_guard lock(given().mutex);
    const auto found = given().sizes.find(pointer);
    if (found != given().sizes.end()) {
      given().bytes -= static_cast<std::int64_t>(found->second);
      given().sizes.erase(found);
    }
  }
  return __real_cudaFree(pointer);
}

namespace vlp::benchmarks {
std::int64_t device_allocations() noexcept {
  return given().calls;
}
std::int64_t live_device_bytes() noexcept {
  return given().bytes;
}
}  // namespace vlp::benchmarks

#endif
