#include "support/loss_benchmark.hpp"

#include <vlp/losses/perturbation_sensitivity.hpp>

#include <cmath>

namespace vlp::benchmarks {
namespace {

/// Image and text are read by forward and by backward, and their gradients written.
Case shape(Index batch, Index perturbations, Index features) {
  return {.sizes = {{"B", batch}, {"K", perturbations}, {"D", features}},
          .arrays = {{"image", normal({batch, features})},
                     {"text", normal({batch, 1 + perturbations, features})},
                     {"log_scale", constant(std::log(1 / 0.07))}},
          .elements = 3 * as_double(batch) * as_double(2 + perturbations) * as_double(features)};
}

const AtStart cases([] { add<PerturbationSensitivity<float>>(shape(512, 9, 128)); });

}  // namespace
}  // namespace vlp::benchmarks
