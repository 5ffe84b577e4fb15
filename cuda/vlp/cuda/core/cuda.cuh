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
#include <utility>

namespace vlp {

/// Options of a Cuda device.
struct CudaOptions {
  /// Scores of all pairs, of all tokens, or of all words and regions, and gradients by them, exist a block at
  /// a time. A block of gradients takes about this many bytes: enough to fill the card, few enough to stay in
  /// its cache. Local alignment takes twice as many. InfoNCE and token cross-entropy take up to four times as
  /// many where they need more memory than that anyway, for sums over the blocks of a large batch or
  /// vocabulary.
  std::size_t score_block_bytes = std::size_t{16} << 20;
  /// Memory for cuBLAS to split products in, asked for with the first product: what NVIDIA recommends for its
  /// largest cards. With memory of its own it is deterministic and may be captured.
  std::size_t product_workspace_bytes = std::size_t{32} << 20;
};

/// Runs work on one stream of the device that is current when it is made, and owns the scratch arena. All
/// pointers that losses and layers are given with it, single numbers included, are in that device's memory.
/// Any other device may be current in later calls, and is again when they return.
///
/// Calls return when the work is queued; nothing waits for the device but the growth of buffers, which ends
/// after the second step of each size. From then on a step may be captured in a CUDA graph. Results do not
/// change from run to run. One `Cuda` serves one caller at a time; make one per stream, and losses and layers
/// of its own for each: what they keep is used in the order of one stream. A loss whose passes are given
/// `saved` keeps nothing, and may serve all of them.
///
/// A captured graph may be launched for as long as the `Cuda`, the losses and layers and the caller's own
/// memory that it was captured with exist, whatever sizes these are used with later: what they outgrow once a
/// call was captured is not freed before they are.
class Cuda {
 public:
  /// Kind of its memory.
  using Memory = cuda::DeviceMemory;
  /// Type of memory kept between calls.
  template <class T>
  using Buffer = cuda::Buffer<T>;

  /// `stream` stays the caller's; it is not null for work that is to be captured. Throws std::runtime_error
  /// where there is no device.
  explicit Cuda(cudaStream_t stream = nullptr, CudaOptions options = {})
      : options_(options), stream_(stream) {
    cuda::check(cudaGetDevice(&device_), "looking for a device");
    cuda::check(cudaDeviceGetAttribute(&multiprocessors_, cudaDevAttrMultiProcessorCount, device_),
                "asking for the number of multiprocessors");
    int major = 0, minor = 0;
    cuda::check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device_),
                "asking for the compute capability");
    cuda::check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device_),
                "asking for the compute capability");
    is_hopper_ = major == 9 && minor == 0;
    cublasHandle_t handle = nullptr;
    cuda::check(cublasCreate(&handle), "making a handle");
    cublas_.reset(handle);
    cuda::check(cublasSetStream(handle, stream), "setting the stream");
    cuda::check(cudaMemsetAsync(arrived_.resize(1), 0, sizeof(unsigned), stream), "clearing a counter");
  }

  /// A call of a loss or a layer, which begins by making one of these: the device is current while it lives,
  /// and memory knows whether the call is captured.
  class Call {
   public:
    explicit Call(Cuda& device)
        : current_(device.device_),
          before_(std::exchange(cuda::detail::capture_of_call, device.look_for_capture())) {}
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call() { cuda::detail::capture_of_call = before_; }

   private:
    cuda::CurrentDevice current_;
    cuda::Capture before_;
  };

  [[nodiscard]] const CudaOptions& options() const noexcept { return options_; }

  [[nodiscard]] cudaStream_t stream() const noexcept { return stream_; }
  /// On this device's stream; its settings are the library's.
  [[nodiscard]] cublasHandle_t cublas() {
    if (workspace_.size() == 0 && options_.product_workspace_bytes > 0) {
      const cuda::CurrentDevice current(device_);
      workspace_.resize(static_cast<Index>(options_.product_workspace_bytes));
      cuda::check(cublasSetWorkspace(cublas_.get(), workspace_.data(), options_.product_workspace_bytes),
                  "setting the workspace");
    }
    return cublas_.get();
  }
  [[nodiscard]] int multiprocessors() const noexcept { return multiprocessors_; }
  /// Says whether the device has compute capability 9.0. Its kernels may then have been compiled for
  /// wgmma.cuh.
  [[nodiscard]] bool is_hopper() const noexcept { return is_hopper_; }

  /// Scratch memory for the duration of one call: the next call on this stream may use the same.
  [[nodiscard]] BasicArena<cuda::DeviceMemory>& scratch() noexcept { return scratch_; }

  /// Where the blocks of the kernel that runs count themselves (last_block.cuh); 0 between kernels.
  [[nodiscard]] unsigned* arrived() const noexcept { return arrived_.data(); }

  /// Waits until all queued work is done. Throws std::runtime_error if some of it failed.
  void synchronize() const {
    const cuda::CurrentDevice current(device_);  // which the null stream is of
    cuda::check(cudaStreamSynchronize(stream_), "waiting for the stream");
  }

 private:
  struct Destroy {
    void operator()(cublasHandle_t handle) const noexcept { cublasDestroy(handle); }
  };

  cuda::Capture look_for_capture() {
    // The null stream cannot be captured, nor asked while another stream is.
    if (stream_ == nullptr || stream_ == cudaStreamLegacy) return cuda::Capture::never;
    cudaStreamCaptureStatus status{};
    cuda::check(cudaStreamIsCapturing(stream_, &status), "asking whether the stream is capturing");
    if (status != cudaStreamCaptureStatusNone) {
      was_captured_ = true;
      return cuda::Capture::now;
    }
    return was_captured_ ? cuda::Capture::before : cuda::Capture::never;
  }

  CudaOptions options_;
  cudaStream_t stream_;
  int device_ = 0;
  bool was_captured_ = false;
  int multiprocessors_ = 0;
  bool is_hopper_ = false;
  cuda::Buffer<std::byte> workspace_;  // outlives the handle
  std::unique_ptr<std::remove_pointer_t<cublasHandle_t>, Destroy> cublas_;
  BasicArena<cuda::DeviceMemory> scratch_;
  cuda::Buffer<unsigned> arrived_;
};

}  // namespace vlp
