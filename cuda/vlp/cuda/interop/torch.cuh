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

#include <vlp/cuda/core/check.cuh>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/interop/torch.hpp>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <memory>
#include <utility>
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
    bool was_captured = false;
  };

  /// Keeps those used last, since streams come and go and each device holds scratch memory; and those whose
  /// work was captured in CUDA graphs, which need that memory for as long as they are launched.
  static Cuda& device_of(c10::DeviceIndex index, cudaStream_t stream) {
    constexpr std::ptrdiff_t most = 8;
    thread_local std::vector<One> devices;
    const auto found = std::find_if(devices.begin(), devices.end(), [&](const One& one) {
      return one.index == index && one.stream == stream;
    });
    if (found != devices.end()) {
      std::rotate(devices.begin(), found, found + 1);  // the one used last is the first
    } else {
      One one{index, stream, std::make_unique<Cuda>(stream)};
      const auto may_go = [](const One& other) { return !other.was_captured; };
      if (std::count_if(devices.begin(), devices.end(), may_go) == most)
        devices.erase(std::next(std::find_if(devices.rbegin(), devices.rend(), may_go)).base());
      devices.insert(devices.begin(), std::move(one));
    }
    One& front = devices.front();
    front.was_captured = front.was_captured || is_captured(stream);
    return *front.device;
  }

  /// Says whether work of the stream goes into a graph. The null stream's cannot, nor be asked while another
  /// stream's does.
  static bool is_captured(cudaStream_t stream) {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    if (stream == nullptr || stream == cudaStreamLegacy) return false;
    cuda::check(cudaStreamIsCapturing(stream, &status), "asking whether the stream is capturing");
    return status != cudaStreamCaptureStatusNone;
  }
};

}  // namespace vlp::detail
