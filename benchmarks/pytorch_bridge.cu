// vlp's losses on a CUDA device, for comparison/bridge.py.
#include "losses_cuda/support/device_allocations.hpp"
#include "support/bridge.hpp"

#include <cuda_runtime.h>

#include <vlp/core/errors.hpp>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/all.cuh>

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

namespace vlp::benchmarks {
namespace {

template <class Scalar>
std::unique_ptr<AnyLoss> make(std::string_view name, cudaStream_t stream,
                              std::span<const VlpOption> options) {
  std::unique_ptr<AnyLoss> out;
  const auto offer = [&]<class L>(std::type_identity<L>) {
    if (name != L::name) return;
    auto device = std::make_unique<Cuda>(stream);
    (void)device->cublas();  // takes its workspace now: it is not a step's memory, as PyTorch's own is not
    out = std::make_unique<OneLoss<L>>(std::move(device), options);
  };
  AllLosses<Scalar, Cuda>::for_each(offer);
  require(out != nullptr, "there is no loss ", name, " on CUDA devices");
  return out;
}

}  // namespace

std::unique_ptr<AnyLoss> make_loss(std::string_view name, std::string_view type, std::intptr_t stream,
                                   std::span<const VlpOption> options) {
  // The null stream has the number 0.
  const auto handle = reinterpret_cast<cudaStream_t>(stream);
  if (type == "float32") return make<float>(name, handle, options);
  if (type == "float16") return make<Half>(name, handle, options);
  require(type == "bfloat16", name, ": is not there for numbers of type ", type);
  return make<BFloat16>(name, handle, options);
}

}  // namespace vlp::benchmarks

VLP_BRIDGE const char* vlp_backend() {
  return "cuBLAS";
}

/// Bytes of device memory that vlp holds: scratch, and what losses keep.
VLP_BRIDGE std::int64_t vlp_device_bytes() {
  return vlp::benchmarks::live_device_bytes();
}
