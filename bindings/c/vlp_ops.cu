// vlp's losses on a CUDA device for other languages: the library libvlp_ops_cuda.
#include "any_loss.hpp"
#include "arrays.hpp"

#include <cuda_runtime.h>

#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/all.cuh>

#include <cstdint>
#include <memory>
#include <string_view>

namespace vlp::bindings {

template <>
inline constexpr ElementType element_type<Half>{2, 16, "float16"};
template <>
inline constexpr ElementType element_type<BFloat16>{4, 16, "bfloat16"};

struct Place {
  using Device = Cuda;
  using Scalars = TypeList<float, Half, BFloat16>;

  static std::unique_ptr<Cuda> make(std::intptr_t stream) {
    auto device = std::make_unique<Cuda>(reinterpret_cast<cudaStream_t>(stream));  // the null stream is 0
    (void)device->cublas();  // takes its workspace now: no call does so later
    return device;
  }
  static std::string_view name() { return "cuda"; }
  static std::string_view products() { return "cuBLAS"; }
};

}  // namespace vlp::bindings

#include "functions.hpp"
