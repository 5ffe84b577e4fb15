#include "support/loss_benchmark.hpp"

#include <vlp/losses/info_nce.hpp>

#include <cmath>

namespace vlp::benchmarks {
namespace {

/// The scores, the scores again in backward, and a product for each gradient: 8 B^2 D.
Case shape(Index batch, Index features) {
  return {.sizes = {{"B", batch}, {"D", features}},
          .arrays = {{"image", normal({batch, features})},
                     {"text", normal({batch, features})},
                     {"log_scale", constant(std::log(1 / 0.07))}},
          .flop = 8 * as_double(batch) * as_double(batch) * as_double(features)};
}

const AtStart cases([] {
  for (const auto& [batch, features] : {std::pair(4096, 512), std::pair(16384, 256)}) {
    add<InfoNce<float>>(shape(batch, features));
    add_with_scores_kept<InfoNce<float>>(shape(batch, features));
  }
  for (Index batch = 512; batch <= 65536; batch *= 2) add_to_scaling<InfoNce<float>>(shape(batch, 256));
});

}  // namespace
}  // namespace vlp::benchmarks
