#include "support/loss_benchmark.hpp"

#include <vlp/losses/distillation.hpp>

namespace vlp::benchmarks {
namespace {

/// Student and teacher are read by forward and by backward, and one gradient is written.
Case shape(Index tokens, Index vocabulary) {
  return {.sizes = {{"N", tokens}, {"V", vocabulary}},
          .arrays = {{"student", normal({tokens, vocabulary})}, {"teacher", normal({tokens, vocabulary})}},
          .elements = 5 * as_double(tokens) * as_double(vocabulary)};
}

const AtStart cases([] { add<Distillation<float>>(shape(512, 30522)); });

}  // namespace
}  // namespace vlp::benchmarks
