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
#include <memory>
#include <vector>

namespace vlp::bindings {

struct FreeDevice {
  void operator()(VlpDevice* device) const { vlp_device_free(device); }
};

/// Devices of one thread by where they compute: a number of threads, or a CUDA device's id and stream. Keeps
/// the `most` used last, since streams come and go, and each device holds scratch memory.
class ThreadDevices {
 public:
  static constexpr std::size_t most = 8;

  /// The calling thread's.
  static ThreadDevices& mine() {
    thread_local ThreadDevices devices;
    return devices;
  }

  VlpDevice* get(int id, std::intptr_t place) {
    const auto found = std::find_if(devices_.begin(), devices_.end(),
                                    [&](const One& one) { return one.id == id && one.place == place; });
    if (found != devices_.end()) {
      std::rotate(devices_.begin(), found, found + 1);  // the one used last is the first
    } else {
      VlpDevice* made = nullptr;
      check(vlp_device_make(place, &made));
      if (devices_.size() == most) devices_.pop_back();
      devices_.insert(devices_.begin(), {id, place, std::unique_ptr<VlpDevice, FreeDevice>(made)});
    }
    return devices_.front().device.get();
  }

 private:
  struct One {
    int id;
    std::intptr_t place;
    std::unique_ptr<VlpDevice, FreeDevice> device;
  };
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

inline constexpr DLDeviceType library_device = kDLCUDA;

/// Does action(device) on the framework's current stream of the CUDA device `id`. The number of threads means
/// nothing here.
template <class Action>
void with_device(int id, int /*threads*/, Action&& action) {
  const CurrentDevice current(id);
  action(ThreadDevices::mine().get(id, reinterpret_cast<std::intptr_t>(TVMFFIEnvGetStream(kDLCUDA, id))));
}

#else

inline constexpr DLDeviceType library_device = kDLCPU;

/// Does action(device) on `threads` threads of the CPU, 0 for all.
template <class Action>
void with_device(int /*id*/, int threads, Action&& action) {
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
