#include "support/loss_benchmark.hpp"

#include <vlp/losses/token_alignment.hpp>

namespace vlp::benchmarks {
namespace {

/// In each pair, forward takes 4 W R D for the attention and what it gathers and 2 W^2 D for the contrast,
/// backward the same once more and twice that: 16 W R D + 8 W^2 D.
Case shape(Index batch, Index words, Index regions, Index features) {
  return {
      .sizes = {{"B", batch}, {"W", words}, {"R", regions}, {"D", features}},
      .arrays = {{"regions", normal({batch, regions, features})},
                 {"words", normal({batch, words, features})}},
      .flop = as_double(batch) * as_double(16 * words * regions + 8 * words * words) * as_double(features)};
}

const AtStart cases([] { add<TokenAlignment<float>>(shape(64, 40, 49, 768)); });

}  // namespace
}  // namespace vlp::benchmarks
