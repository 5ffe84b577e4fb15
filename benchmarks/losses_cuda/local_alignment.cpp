#include "losses_cuda/support/device_benchmark.hpp"
#include "support/alignment_cases.hpp"

#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/local_alignment.cuh>

#include <utility>
#include <vector>

namespace vlp::benchmarks {
namespace {

/// Reports of `least` to `words` words, long beside short, whose number in all the loss is told.
Case ragged(Index batch, Index least, Index words, Index regions, Index features) {
  Case out = local_alignment_case(batch, words, regions, features);
  std::vector<double> counts;
  Index sum = 0;
  for (Index j = 0; j < batch; ++j) {
    const Index count = least + (words - least) * (j * 7 % batch) / (batch - 1);
    counts.push_back(as_double(count));
    sum += count;
  }
  out.arrays["word_count"] = given(std::move(counts));
  out.sizes.emplace_back("words", sum);
  out.flop = local_alignment_flop(batch, sum, regions, features);
  out.variant = "ragged";
  return out;
}

const AtStart cases([] {
  add<LocalAlignment<BFloat16, Cuda>>(local_alignment_case(64, 97, 196, 768), {.times_floor = 2.5});
  add<LocalAlignment<BFloat16, Cuda>>(ragged(64, 10, 97, 196, 768));
  add<LocalAlignment<BFloat16, Cuda>>(local_alignment_case(512, 97, 49, 768), {.times_floor = 2.7});
  add<LocalAlignment<BFloat16, Cuda>>(ragged(512, 10, 97, 49, 768));
  Case published = local_alignment_case(12, 40, 361, 768);
  published.variant = "published";
  add<LocalAlignment<BFloat16, Cuda>>(published, {}, LocalAlignmentOptions::published());
  add<LocalAlignment<float, Cuda>>(local_alignment_case(64, 97, 196, 768));
  add_quick<LocalAlignment<BFloat16, Cuda>>(local_alignment_case(4, 5, 9, 24));
  add_quick<LocalAlignment<float, Cuda>>(ragged(4, 2, 6, 7, 20));
});

}  // namespace
}  // namespace vlp::benchmarks
