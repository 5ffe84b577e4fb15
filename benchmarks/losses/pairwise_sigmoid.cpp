#include "support/loss_benchmark.hpp"

#include <vlp/losses/pairwise_sigmoid.hpp>

#include <cmath>

namespace vlp::benchmarks {
namespace {

/// As InfoNce: 8 B^2 D.
Case shape(Index batch, Index features) {
  return {.sizes = {{"B", batch}, {"D", features}},
          .arrays = {{"image", normal({batch, features})},
                     {"text", normal({batch, features})},
                     {"log_scale", constant(std::log(10.0))},
                     {"bias", constant(-10)}},
          .flop = 8 * as_double(batch) * as_double(batch) * as_double(features)};
}

const AtStart cases([] {
  add<PairwiseSigmoid<float>>(shape(4096, 512));
  add_with_scores_kept<PairwiseSigmoid<float>>(shape(4096, 512));
});

}  // namespace
}  // namespace vlp::benchmarks
