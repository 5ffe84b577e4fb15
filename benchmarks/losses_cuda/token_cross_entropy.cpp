#include "losses_cuda/support/device_benchmark.hpp"

#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/token_cross_entropy.cuh>

#include <cmath>

namespace vlp::benchmarks {
namespace {

/// The logits, the logits again in backward, and a product for each of the gradients of hidden and weight, 8
/// N D V. The floor of the bar takes the logits once, 6 N D V, as one call for both directions may.
Case shape(Index tokens, Index features, Index vocabulary) {
  return {.sizes = {{"N", tokens}, {"D", features}, {"V", vocabulary}},
          .arrays = {{"hidden", normal({tokens, features})},
                     {"weight", normal({vocabulary, features}, 1 / std::sqrt(as_double(features)))},
                     {"bias", normal({vocabulary}, 0.1)},
                     {"target", integers({tokens}, vocabulary)}},
          .flop = 8 * as_double(tokens) * as_double(features) * as_double(vocabulary),
          .least_flop = 6 * as_double(tokens) * as_double(features) * as_double(vocabulary)};
}

const AtStart cases([] {
  add<TokenCrossEntropy<BFloat16, Cuda>>(shape(2048, 256, 30522));
  add<TokenCrossEntropy<BFloat16, Cuda>>(shape(8192, 768, 30522), {.times_floor = 2});
  add<TokenCrossEntropy<float, Cuda>>(shape(2048, 256, 30522));
  add_quick<TokenCrossEntropy<BFloat16, Cuda>>(shape(20, 24, 300));
});

}  // namespace
}  // namespace vlp::benchmarks
