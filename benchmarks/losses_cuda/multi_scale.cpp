#include "losses_cuda/support/device_benchmark.hpp"

#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/multi_scale.cuh>

#include <algorithm>
#include <cmath>

namespace vlp::benchmarks {
namespace {

/// The products of the global and the local term, as in the files of theirs; image and words have as many
/// features.
Case shape(Index batch, Index perturbations, Index words, Index regions, Index features) {
  const double pairs = as_double(batch) * as_double(batch), weights = pairs * as_double(words * regions);
  const double local = weights * as_double(8 * features + 4 * std::min(regions, features) +
                                           2 * std::min(regions, 2 * features));
  return {.sizes = {{"B", batch}, {"K", perturbations}, {"W", words}, {"R", regions}, {"D", features}},
          .arrays = {{"image", normal({batch, features})},
                     {"text", normal({batch, 1 + perturbations, features})},
                     {"log_scale", constant(std::log(1 / 0.07))},
                     {"perturbation_log_scale", constant(std::log(1 / 0.07))},
                     {"regions", normal({batch, regions, features}, 0.1)},
                     {"words", normal({batch, words, features}, 0.1)}},
          .flop = 8 * pairs * as_double(features) + local};
}

const AtStart cases([] {
  add<MultiScale<BFloat16, Cuda>>(shape(64, 9, 97, 196, 768));
  add<MultiScale<BFloat16, Cuda>>(shape(512, 9, 97, 49, 768));
  add_quick<MultiScale<BFloat16, Cuda>>(shape(3, 2, 5, 6, 24));
});

}  // namespace
}  // namespace vlp::benchmarks
