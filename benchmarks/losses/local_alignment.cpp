#include "support/loss_benchmark.hpp"

#include <vlp/losses/local_alignment.hpp>

#include <algorithm>

namespace vlp::benchmarks {
namespace {

/// With P = B^2 W R attention weights: the scores A twice and a product of A's gradient for words and for
/// regions, 8 P D; contexts in the cheaper form, forward 2 P min(R, D), backward 2 P min(R, D) and 2 P min(R,
/// 2 D).
Case shape(Index batch, Index words, Index regions, Index features) {
  const double weights = as_double(batch) * as_double(batch) * as_double(words) * as_double(regions);
  return {.sizes = {{"B", batch}, {"W", words}, {"R", regions}, {"D", features}},
          .arrays = {{"regions", normal({batch, regions, features}, 0.1)},
                     {"words", normal({batch, words, features}, 0.1)}},
          .flop = weights * as_double(8 * features + 4 * std::min(regions, features) +
                                      2 * std::min(regions, 2 * features))};
}

const AtStart cases([] {
  for (const Case& one : {shape(32, 40, 49, 768), shape(12, 40, 361, 768), shape(64, 50, 196, 128)})
    add<LocalAlignment<float>>(one);
  for (Index batch = 8; batch <= 512; batch *= 2)
    add_to_scaling<LocalAlignment<float>>(shape(batch, 40, 49, 256));
});

}  // namespace
}  // namespace vlp::benchmarks
