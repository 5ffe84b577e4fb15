/// \file
/// Device memory and launches of the hardware probe, checked.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace hardware {

inline void check(cudaError_t status, const std::string& what) {
  if (status != cudaSuccess)
    throw std::runtime_error(what + ": " + cudaGetErrorName(status) + ": " + cudaGetErrorString(status));
}

/// An array on the device.
template <class T>
class Array {
 public:
  /// All bytes are `fill`.
  explicit Array(std::size_t size, int fill = 0) : size_(size) {
    check(cudaMalloc(&data_, size * sizeof(T)), "asking for memory");
    check(cudaMemsetAsync(data_, fill, size * sizeof(T)), "filling memory");
  }
  explicit Array(const std::vector<T>& values) : Array(values.size()) {
    check(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice),
          "copying to the device");
  }
  ~Array() { cudaFree(data_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  [[nodiscard]] T* data() const { return data_; }
  /// Waits for the device.
  [[nodiscard]] std::vector<T> host() const {
    std::vector<T> out(size_);
    check(cudaMemcpy(out.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost),
          "copying from the device");
    return out;
  }

 private:
  T* data_ = nullptr;
  std::size_t size_;
};

/// Runs a kernel to its end and returns the error of its launch or of its instructions.
template <class... Parameters, class... Arguments>
cudaError_t status_of(void (*kernel)(Parameters...), unsigned blocks, unsigned threads,
                      std::size_t shared_bytes, Arguments&&... arguments) {
  if (shared_bytes > std::size_t{48} * 1024)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared_bytes)),
          "asking for shared memory");
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(blocks);
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared_bytes;
  const cudaError_t status = cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...);
  return status != cudaSuccess ? status : cudaDeviceSynchronize();
}
/// The same; throws std::runtime_error when there is an error.
template <class... Parameters, class... Arguments>
void run(void (*kernel)(Parameters...), unsigned blocks, unsigned threads, std::size_t shared_bytes,
         Arguments&&... arguments) {
  check(status_of(kernel, blocks, threads, shared_bytes, std::forward<Arguments>(arguments)...),
        "running a kernel");
}

}  // namespace hardware
