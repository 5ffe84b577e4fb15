/// \file
/// Cases of the losses over all pairs of a batch, the same on every device.
#pragma once

#include "support/case.hpp"

#include <cmath>

namespace vlp::benchmarks {

/// InfoNCE: the scores, the scores again in backward, and a product for each gradient, 8 B^2 D.
inline Case info_nce_case(Index batch, Index features) {
  return {.sizes = {{"B", batch}, {"D", features}},
          .arrays = {{"image", normal({batch, features})},
                     {"text", normal({batch, features})},
                     {"log_scale", constant(std::log(1 / 0.07))}},
          .flop = 8 * as_double(batch) * as_double(batch) * as_double(features)};
}

/// The pairwise sigmoid loss by forward_backward: the scores, and a product for each gradient, 6 B^2 D.
inline Case pairwise_sigmoid_case(Index batch, Index features) {
  Case out = info_nce_case(batch, features);
  out.arrays["log_scale"] = constant(std::log(10.0));
  out.arrays["bias"] = constant(-10);
  out.flop = 6 * as_double(batch) * as_double(batch) * as_double(features);
  return out;
}

}  // namespace vlp::benchmarks
