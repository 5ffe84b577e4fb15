#include "losses_cuda/support/device_benchmark.hpp"

#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/local_alignment.cuh>

#include <algorithm>
#include <utility>
#include <vector>

namespace vlp::benchmarks {
namespace {

/// With P = B sum(W_j) R attention weights: the scores A twice and a product of A's gradient for words and
/// for regions, 8 P D; contexts in the cheaper form, forward 2 P min(R, D), backward 2 P min(R, D) and 2 P
/// min(R, 2 D).
double flop(Index batch, Index words, Index regions, Index features) {
  return as_double(batch) * as_double(words) * as_double(regions) *
         as_double(8 * features + 4 * std::min(regions, features) + 2 * std::min(regions, 2 * features));
}

Case shape(Index batch, Index words, Index regions, Index features) {
  return {.sizes = {{"B", batch}, {"W", words}, {"R", regions}, {"D", features}},
          .arrays = {{"regions", normal({batch, regions, features}, 0.1)},
                     {"words", normal({batch, words, features}, 0.1)}},
          .flop = flop(batch, batch * words, regions, features)};
}

/// Reports of `least` to `words` words, long beside short, whose number in all the loss is told.
Case ragged(Index batch, Index least, Index words, Index regions, Index features) {
  Case out = shape(batch, words, regions, features);
  std::vector<double> counts;
  Index sum = 0;
  for (Index j = 0; j < batch; ++j) {
    const Index count = least + (words - least) * (j * 7 % batch) / (batch - 1);
    counts.push_back(as_double(count));
    sum += count;
  }
  out.arrays["word_count"] = given(std::move(counts));
  out.sizes.emplace_back("words", sum);
  out.flop = flop(batch, sum, regions, features);
  out.variant = "ragged";
  return out;
}

const AtStart cases([] {
  add<LocalAlignment<BFloat16, Cuda>>(shape(64, 97, 196, 768), {.times_floor = 4});
  add<LocalAlignment<BFloat16, Cuda>>(ragged(64, 10, 97, 196, 768));
  add<LocalAlignment<BFloat16, Cuda>>(shape(512, 97, 49, 768), {.times_floor = 3});
  add<LocalAlignment<BFloat16, Cuda>>(ragged(512, 10, 97, 49, 768));
  Case published = shape(12, 40, 361, 768);
  published.variant = "published";
  add<LocalAlignment<BFloat16, Cuda>>(published, {}, LocalAlignmentOptions::published());
  add<LocalAlignment<float, Cuda>>(shape(64, 97, 196, 768));
  add_quick<LocalAlignment<BFloat16, Cuda>>(shape(4, 5, 9, 24));
  add_quick<LocalAlignment<float, Cuda>>(ragged(4, 2, 6, 7, 20));
});

}  // namespace
}  // namespace vlp::benchmarks
