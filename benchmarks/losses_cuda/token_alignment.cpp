#include "losses_cuda/support/device_benchmark.hpp"

#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/token_alignment.cuh>

namespace vlp::benchmarks {
namespace {

/// In each pair, forward takes 4 W R D for the attention and what it gathers and 2 W^2 D for the contrast,
/// backward the same once more and twice that: 16 W R D + 8 W^2 D. Words and regions are read each way, and
/// their gradients written.
Case shape(Index batch, Index words, Index regions, Index features) {
  return {
      .sizes = {{"B", batch}, {"W", words}, {"R", regions}, {"D", features}},
      .arrays = {{"regions", normal({batch, regions, features})},
                 {"words", normal({batch, words, features})}},
      .flop = as_double(batch) * as_double(16 * words * regions + 8 * words * words) * as_double(features),
      .elements = 3 * as_double(batch) * as_double(words + regions) * as_double(features)};
}

const AtStart cases([] {
  add<TokenAlignment<BFloat16, Cuda>>(shape(64, 97, 196, 768));
  add<TokenAlignment<float, Cuda>>(shape(64, 97, 196, 768));
  add_quick<TokenAlignment<BFloat16, Cuda>>(shape(3, 5, 7, 20));
});

}  // namespace
}  // namespace vlp::benchmarks
