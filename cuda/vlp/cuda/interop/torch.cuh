/// \file
/// Losses on CUDA devices as functions of LibTorch's tensors there; see vlp/interop/torch.hpp.
///
///     vlp::TorchLoss<vlp::InfoNce<vlp::BFloat16, vlp::Cuda>> loss;   // of tensors of torch::kBFloat16
///     torch::Tensor value = loss(image, text, log_scale);            // log_scale of torch::kFloat
///
/// A call queues its work on LibTorch's current stream of the tensors' device, and waits for nothing. A value
/// that is scaled before it is differentiated, as mixed precision does, scales gradients that were rounded to
/// the loss's type before: with Half those below 1e-10 are lost, while BFloat16 has no such limit.
#pragma once

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime.h>

#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/interop/torch.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

namespace vlp::detail {

template <>
inline constexpr c10::ScalarType torch_type<Half> = c10::ScalarType::Half;
template <>
inline constexpr c10::ScalarType torch_type<BFloat16> = c10::ScalarType::BFloat16;

template <>
struct TorchDevice<Cuda> {
  static constexpr c10::DeviceType type = c10::DeviceType::CUDA;

  /// On a device of the calling thread's for LibTorch's current stream there.
  template <class Action>
  static void run(c10::Device where, Action&& action) {
    const c10::cuda::CUDAGuard current(where);
    action(device_of(where.index(), c10::cuda::getCurrentCUDAStream(where.index()).stream()));
  }

 private:
  struct One {
    c10::DeviceIndex index;
    cudaStream_t stream;
    std::unique_ptr<Cuda> device;
  };

  /// Keeps those used last, since streams come and go and each device holds scratch memory.
  static Cuda& device_of(c10::DeviceIndex index, cudaStream_t stream) {
    constexpr std::size_t most = 8;
    thread_local std::vector<One> devices;
    const auto found = std::find_if(devices.begin(), devices.end(), [&](const One& one) {
      return one.index == index && one.stream == stream;
    });
    if (found != devices.end()) {
      std::rotate(devices.begin(), found, found + 1);  // the one used last is the first
    } else {
      if (devices.size() == most) devices.pop_back();
      devices.insert(devices.begin(), {index, stream, std::make_unique<Cuda>(stream)});
    }
    return *devices.front().device;
  }
};

}  // namespace vlp::detail
