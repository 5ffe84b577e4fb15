#include "losses_cuda/support/device_benchmark.hpp"

#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/perturbation_sensitivity.cuh>

#include <cmath>

namespace vlp::benchmarks {
namespace {

/// Image and text are read, and their gradients written; what backward reads again is in the cache.
Case shape(Index batch, Index perturbations, Index features) {
  return {.sizes = {{"B", batch}, {"K", perturbations}, {"D", features}},
          .arrays = {{"image", normal({batch, features})},
                     {"text", normal({batch, 1 + perturbations, features})},
                     {"log_scale", constant(std::log(1 / 0.07))}},
          .elements = 2 * as_double(batch) * as_double(2 + perturbations) * as_double(features)};
}

const AtStart cases([] {
  add<PerturbationSensitivity<BFloat16, Cuda>>(shape(512, 9, 768), {.launches = 2});
  add<PerturbationSensitivity<float, Cuda>>(shape(512, 9, 768), {.launches = 2});
  add_quick<PerturbationSensitivity<BFloat16, Cuda>>(shape(7, 3, 20));
});

}  // namespace
}  // namespace vlp::benchmarks
