/// \file
/// Memory of a CUDA device, as the kind of memory that vlp::Buffer and vlp::BasicArena hold.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/buffer.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/check.cuh>

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace vlp::cuda {

/// Makes a device the calling thread's current one for as long as it lives, and then the one before again.
class CurrentDevice {
 public:
  explicit CurrentDevice(int device) : device_(device) {
    check(cudaGetDevice(&before_), "looking for the current device");
    if (before_ != device_) check(cudaSetDevice(device_), "changing the current device");
  }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;
  ~CurrentDevice() {
    if (before_ != device_) cudaSetDevice(before_);
  }

 private:
  int device_, before_ = 0;
};

/// Says whether work of a stream is captured in CUDA graphs, as far as a Cuda was told.
enum class Capture {
  never,   ///< no call was captured so far
  before,  ///< some call before this one was, and its graph may be launched again
  now      ///< this call is
};

namespace detail {
/// State of the call that this thread is in (Cuda::Call). Outside of calls it is Capture::never.
inline thread_local Capture capture_of_call = Capture::never;
}  // namespace detail

/// Memory of the device that is current when it is asked for, aligned to 256 bytes. Asking for it and giving
/// it back may wait for the device and cannot be captured in a graph: vlp does so only while buffers grow to
/// their size.
///
/// It may be given back while work that uses it is still queued: it is cudaMalloc's, for which cudaFree
/// waits. (The runtime's documentation of cudaFree excepts only memory of cudaMallocAsync and of pools.)
struct DeviceMemory {
  static constexpr bool is_host = false;
  /// Alignment of memory from cudaMalloc. cuBLAS may choose another order of sums for another alignment of
  /// its operands, so all scratch memory has this one, wherever in the arena it lies.
  static constexpr std::size_t alignment = 256;

  struct Delete {
    void operator()(std::byte* p) const noexcept { cudaFree(p); }
  };
  using Bytes = std::unique_ptr<std::byte[], Delete>;

  /// Throws std::runtime_error when the device has not that much left.
  static Bytes allocate(std::size_t bytes) {
    void* out = nullptr;
    const cudaError_t status = cudaMalloc(&out, bytes);
    if (status != cudaSuccess) cudaGetLastError();  // or the next launch would report it again
    check(status, concat("asking for ", bytes, " bytes of device memory"));
    return Bytes(static_cast<std::byte*>(out));
  }

  /// Says whether the call that the thread is in is captured in a graph.
  static bool is_recorded() noexcept { return detail::capture_of_call == Capture::now; }

  /// Memory that was replaced by more in a call on a device whose calls were captured: graphs may point into
  /// it, so it stays.
  class Outgrown {
   public:
    void add(Bytes memory) {
      if (memory && detail::capture_of_call != Capture::never) kept_.push_back(std::move(memory));
    }

   private:
    std::vector<Bytes> kept_;
  };
};

/// Device memory that outlives one call.
template <class T>
using Buffer = vlp::Buffer<T, DeviceMemory>;

}  // namespace vlp::cuda
