/// \file
/// What the emulation's own tests have in common: device arrays and launches.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace cuda_emulation::testing {

/// Device memory with a copy on the host.
template <class T>
class Array {
 public:
  explicit Array(std::size_t size) : host_(size) { cudaMalloc(&data_, size * sizeof(T)); }
  explicit Array(const std::vector<T>& values) : Array(values.size()) {
    cudaMemcpy(data_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice);
  }
  ~Array() { cudaFree(data_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  T* data() { return data_; }
  const std::vector<T>& host() {
    cudaMemcpy(host_.data(), data_, host_.size() * sizeof(T), cudaMemcpyDeviceToHost);
    return host_;
  }

 private:
  T* data_ = nullptr;
  std::vector<T> host_;
};

/// An order of threads and blocks for as long as it lives.
struct Order {
  explicit Order(std::uint64_t seed) { set_order(seed); }
  ~Order() { set_order(0); }
};

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
                   Arguments... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

/// The message of what the launch throws.
template <class Kernel, class... Arguments>
std::string message_of(Kernel kernel, dim3 block, std::size_t shared_bytes, Arguments... arguments) {
  try {
    launch(+kernel, 1, block, shared_bytes, arguments...);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

inline constexpr unsigned full = ~0u;

}  // namespace cuda_emulation::testing
