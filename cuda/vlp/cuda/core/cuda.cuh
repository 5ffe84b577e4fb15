/// \file
/// A CUDA device as a device of the library: a stream, a cuBLAS handle and scratch memory.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <vlp/core/buffer.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/check.cuh>
#include <vlp/cuda/core/memory.cuh>

#include <cstddef>
#include <memory>
#include <type_traits>

namespace vlp {

/// What a Cuda device may be told.
struct CudaOptions {
  /// Scores of all pairs, of all tokens, or of all words and regions, and gradients by them, exist a block at
  /// a time. A block of gradients takes about this many bytes: enough to fill the card, few enough to stay in
  /// its cache.
  std::size_t score_block_bytes = std::size_t{16} << 20;
  /// Memory for cuBLAS to split products in, asked for with the first product: what NVIDIA recommends for its
  /// largest cards. With memory of its own it is deterministic and may be captured.
  std::size_t product_workspace_bytes = std::size_t{32} << 20;
};

/// Runs work on one stream of the device that is current when it is made, and owns the scratch arena. All
/// pointers that losses and layers are given with it, single numbers included, are in that device's memory.
///
/// Calls return when the work is queued; nothing waits for the device but the growth of buffers, which ends
/// after the second step of each size. From then on a step may be captured in a CUDA graph. Results do not
/// change from run to run. One `Cuda` serves one caller at a time; make one per stream, and losses and layers
/// of its own for each: what they keep is used in the order of one stream.
class Cuda {
 public:
  /// Type of memory kept between calls.
  template <class T>
  using Buffer = cuda::Buffer<T>;

  /// `stream` stays the caller's; it is not null for work that is to be captured. Throws std::runtime_error
  /// where there is no device.
  explicit Cuda(cudaStream_t stream = nullptr, CudaOptions options = {})
      : options_(options), stream_(stream) {
    int device = 0;
    cuda::check(cudaGetDevice(&device), "looking for a device");
    cuda::check(cudaDeviceGetAttribute(&multiprocessors_, cudaDevAttrMultiProcessorCount, device),
                "asking for the number of multiprocessors");
    cublasHandle_t handle = nullptr;
    cuda::check(cublasCreate(&handle), "making a handle");
    cublas_.reset(handle);
    cuda::check(cublasSetStream(handle, stream), "setting the stream");
    cuda::check(cudaMemsetAsync(arrived_.resize(1), 0, sizeof(unsigned), stream), "clearing a counter");
  }

  [[nodiscard]] const CudaOptions& options() const noexcept { return options_; }

  [[nodiscard]] cudaStream_t stream() const noexcept { return stream_; }
  /// On this device's stream; its settings are the library's.
  [[nodiscard]] cublasHandle_t cublas() {
    if (workspace_.size() == 0 && options_.product_workspace_bytes > 0) {
      workspace_.resize(static_cast<Index>(options_.product_workspace_bytes));
      cuda::check(cublasSetWorkspace(cublas_.get(), workspace_.data(), options_.product_workspace_bytes),
                  "setting the workspace");
    }
    return cublas_.get();
  }
  [[nodiscard]] int multiprocessors() const noexcept { return multiprocessors_; }

  /// Scratch memory for the duration of one call: the next call on this stream may use the same.
  [[nodiscard]] BasicArena<cuda::DeviceMemory>& scratch() noexcept { return scratch_; }

  /// Where the blocks of the kernel that runs count themselves (last_block.cuh); 0 between kernels.
  [[nodiscard]] unsigned* arrived() const noexcept { return arrived_.data(); }

  /// Waits until all queued work is done. Throws std::runtime_error if some of it failed.
  void synchronize() const { cuda::check(cudaStreamSynchronize(stream_), "waiting for the stream"); }

 private:
  struct Destroy {
    void operator()(cublasHandle_t handle) const noexcept { cublasDestroy(handle); }
  };

  CudaOptions options_;
  cudaStream_t stream_;
  int multiprocessors_ = 0;
  cuda::Buffer<std::byte> workspace_;  // outlives the handle
  std::unique_ptr<std::remove_pointer_t<cublasHandle_t>, Destroy> cublas_;
  BasicArena<cuda::DeviceMemory> scratch_;
  cuda::Buffer<unsigned> arrived_;
};

}  // namespace vlp
