/// \file
/// The devices that calls compute on: each thread has its own, made when they are first asked for.
#pragma once

#include "status.hpp"
#include "vlp_ops.h"

#include <tvm/ffi/extra/c_env_api.h>

#ifdef VLP_OPS_CUDA
#include <cuda_runtime.h>
#include <tvm/ffi/error.h>
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

namespace vlp::bindings {

struct FreeDevice {
  void operator()(VlpDevice* device) const { vlp_device_free(device); }
};

/// Devices of one thread by where they compute: a number of threads, or a CUDA device's id and stream. Keeps
/// the `most` used last, since streams come and go, and each device holds scratch memory; and beside these
/// the ones whose work was captured in CUDA graphs, which need that memory for as long as they are launched.
class ThreadDevices {
 public:
  static constexpr std::size_t most = 8;

  /// The calling thread's.
  static ThreadDevices& mine() {
    thread_local ThreadDevices devices;
    return devices;
  }

  VlpDevice* get(int id, std::intptr_t place, bool is_captured = false) {
    const auto found = std::find_if(devices_.begin(), devices_.end(),
                                    [&](const One& one) { return one.id == id && one.place == place; });
    if (found != devices_.end()) {
      std::rotate(devices_.begin(), found, found + 1);  // the one used last is the first
    } else {
      VlpDevice* made = nullptr;
      check(vlp_device_make(place, &made));
      One one{id, place, std::unique_ptr<VlpDevice, FreeDevice>(made)};
      make_room();
      devices_.insert(devices_.begin(), std::move(one));
    }
    devices_.front().was_captured |= is_captured;
    return devices_.front().device.get();
  }

 private:
  struct One {
    int id;
    std::intptr_t place;
    std::unique_ptr<VlpDevice, FreeDevice> device;
    bool was_captured = false;
  };

  void make_room() {
    const auto may_go = [](const One& one) { return !one.was_captured; };
    if (std::count_if(devices_.begin(), devices_.end(), may_go) < static_cast<std::ptrdiff_t>(most)) return;
    const auto last = std::find_if(devices_.rbegin(), devices_.rend(), may_go);
    devices_.erase(std::next(last).base());
  }

  std::vector<One> devices_;
};

#ifdef VLP_OPS_CUDA

/// Makes a CUDA device the current one, and the one before current again.
class CurrentDevice {
 public:
  explicit CurrentDevice(int id) {
    check_cuda(cudaGetDevice(&before_));
    if (before_ != id) check_cuda(cudaSetDevice(id));
    changed_ = before_ != id;
  }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;
  ~CurrentDevice() {
    if (changed_) (void)cudaSetDevice(before_);
  }

 private:
  static void check_cuda(cudaError_t status) {
    if (status != cudaSuccess) throw tvm::ffi::Error("RuntimeError", cudaGetErrorString(status), "");
  }
  int before_ = 0;
  bool changed_ = false;
};

/// Says whether work of the stream goes into a graph. The null stream's cannot, nor be asked while another
/// stream's does.
inline bool is_captured(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  if (stream == nullptr || stream == cudaStreamLegacy) return false;
  return cudaStreamIsCapturing(stream, &status) == cudaSuccess && status != cudaStreamCaptureStatusNone;
}

inline constexpr DLDeviceType library_device = kDLCUDA;

/// Does action(device) on the framework's current stream of the CUDA device `id`. The number of threads means
/// nothing here.
template <class Action>
void with_device(int id, std::int64_t /*threads*/, Action&& action) {
  const CurrentDevice current(id);
  const auto stream = static_cast<cudaStream_t>(TVMFFIEnvGetStream(kDLCUDA, id));
  action(ThreadDevices::mine().get(id, reinterpret_cast<std::intptr_t>(stream), is_captured(stream)));
}

#else

inline constexpr DLDeviceType library_device = kDLCPU;

/// Does action(device) on `threads` threads of the CPU, 0 for all.
template <class Action>
void with_device(int /*id*/, std::int64_t threads, Action&& action) {
  action(ThreadDevices::mine().get(0, threads));
}

#endif

/// Says whether tensors on such a device are in memory that the library can reach.
constexpr bool is_reachable(DLDeviceType where) {
  if constexpr (library_device == kDLCPU)
    return where == kDLCPU || where == kDLCUDAHost;
  else
    return where == kDLCUDA || where == kDLCUDAManaged;
}

}  // namespace vlp::bindings
