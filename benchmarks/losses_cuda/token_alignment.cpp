#include "losses_cuda/support/device_benchmark.hpp"
#include "support/alignment_cases.hpp"

#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/token_alignment.cuh>

namespace vlp::benchmarks {
namespace {

/// Words and regions are read each way, and their gradients written. Both ways at once, what forward
/// multiplies is not multiplied again: a quarter less.
Case shape(Index batch, Index words, Index regions, Index features) {
  Case out = token_alignment_case(batch, words, regions, features);
  out.flop *= 0.75;
  out.elements = 3 * as_double(batch) * as_double(words + regions) * as_double(features);
  return out;
}

const AtStart cases([] {
  add<TokenAlignment<BFloat16, Cuda>>(shape(64, 97, 196, 768));
  add<TokenAlignment<float, Cuda>>(shape(64, 97, 196, 768));
  add_quick<TokenAlignment<BFloat16, Cuda>>(shape(3, 5, 7, 20));
});

}  // namespace
}  // namespace vlp::benchmarks
