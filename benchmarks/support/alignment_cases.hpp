/// \file
/// Cases of the losses over words and regions, the same on every device.
#pragma once

#include "support/case.hpp"

#include <algorithm>
#include <cmath>

namespace vlp::benchmarks {

/// Flop of local alignment, with P = B sum(W_j) R attention weights: the scores A twice and a product of A's
/// gradient for words and for regions, 8 P D; contexts in the cheaper form, forward 2 P min(R, D), backward 2
/// P min(R, D) and 2 P min(R, 2 D). `words` is that of all reports.
inline double local_alignment_flop(Index batch, Index words, Index regions, Index features) {
  return as_double(batch) * as_double(words) * as_double(regions) *
         as_double(8 * features + 4 * std::min(regions, features) + 2 * std::min(regions, 2 * features));
}

inline Case local_alignment_case(Index batch, Index words, Index regions, Index features) {
  return {.sizes = {{"B", batch}, {"W", words}, {"R", regions}, {"D", features}},
          .arrays = {{"regions", normal({batch, regions, features}, 0.1)},
                     {"words", normal({batch, words, features}, 0.1)}},
          .flop = local_alignment_flop(batch, batch * words, regions, features)};
}

/// In each pair, forward takes 4 W R D for the attention and what it gathers and 2 W^2 D for the contrast,
/// backward the same once more and twice that: 16 W R D + 8 W^2 D.
inline Case token_alignment_case(Index batch, Index words, Index regions, Index features) {
  return {
      .sizes = {{"B", batch}, {"W", words}, {"R", regions}, {"D", features}},
      .arrays = {{"regions", normal({batch, regions, features})},
                 {"words", normal({batch, words, features})}},
      .flop = as_double(batch) * as_double(16 * words * regions + 8 * words * words) * as_double(features)};
}

/// The products of InfoNCE, 8 B^2 D, and of local alignment; image and words have as many features.
inline Case multi_scale_case(Index batch, Index perturbations, Index words, Index regions, Index features) {
  return {.sizes = {{"B", batch}, {"K", perturbations}, {"W", words}, {"R", regions}, {"D", features}},
          .arrays = {{"image", normal({batch, features})},
                     {"text", normal({batch, 1 + perturbations, features})},
                     {"log_scale", constant(std::log(1 / 0.07))},
                     {"perturbation_log_scale", constant(std::log(1 / 0.07))},
                     {"regions", normal({batch, regions, features}, 0.1)},
                     {"words", normal({batch, words, features}, 0.1)}},
          .flop = 8 * as_double(batch) * as_double(batch) * as_double(features) +
                  local_alignment_flop(batch, batch * words, regions, features)};
}

}  // namespace vlp::benchmarks
