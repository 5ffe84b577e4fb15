#include "losses_cuda/support/device_benchmark.hpp"

#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/distillation.cuh>

namespace vlp::benchmarks {
namespace {

/// Student and teacher are read by forward and by backward, and one gradient is written.
Case shape(Index tokens, Index vocabulary) {
  return {.sizes = {{"N", tokens}, {"V", vocabulary}},
          .arrays = {{"student", normal({tokens, vocabulary})}, {"teacher", normal({tokens, vocabulary})}},
          .elements = 5 * as_double(tokens) * as_double(vocabulary)};
}

const AtStart cases([] {
  add<Distillation<BFloat16, Cuda>>(shape(2048, 30522));
  add<Distillation<float, Cuda>>(shape(2048, 30522));
  add_quick<Distillation<BFloat16, Cuda>>(shape(9, 300));
});

}  // namespace
}  // namespace vlp::benchmarks
