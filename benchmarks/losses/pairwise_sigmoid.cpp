#include "support/loss_benchmark.hpp"

#include <vlp/losses/pairwise_sigmoid.hpp>

#include <cmath>
#include <cstddef>

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

/// With all scores kept for backward: 6 B^2 D.
void add_kept(Case one) {
  one.variant = "scores_kept";
  one.flop *= 6.0 / 8;
  add<PairwiseSigmoid<float>>(one, {.kept_score_bytes = std::size_t(8) << 30});
}

const AtStart cases([] {
  add<PairwiseSigmoid<float>>(shape(4096, 512));
  add_kept(shape(4096, 512));
});

}  // namespace
}  // namespace vlp::benchmarks
