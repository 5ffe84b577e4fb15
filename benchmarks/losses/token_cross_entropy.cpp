#include "support/loss_benchmark.hpp"

#include <vlp/losses/token_cross_entropy.hpp>

#include <cmath>

namespace vlp::benchmarks {
namespace {

/// By forward_backward: the logits, and a product for each of the gradients of hidden and weight, 6 N D V.
Case shape(Index tokens, Index features, Index vocabulary) {
  return {.sizes = {{"N", tokens}, {"D", features}, {"V", vocabulary}},
          .arrays = {{"hidden", normal({tokens, features})},
                     {"weight", normal({vocabulary, features}, 1 / std::sqrt(as_double(features)))},
                     {"bias", normal({vocabulary}, 0.1)},
                     {"target", integers({tokens}, vocabulary)}},
          .flop = 6 * as_double(tokens) * as_double(features) * as_double(vocabulary)};
}

/// By forward and backward, which computes the logits again: 8 N D V.
class InTwoCalls : public TokenCrossEntropy<float> {
 public:
  using TokenCrossEntropy<float>::TokenCrossEntropy;

 private:
  void forward_backward();
};

void add_two_calls(Case one) {
  one.variant = "two_calls";
  one.flop *= 8.0 / 6;
  add<InTwoCalls>(one);
}

const AtStart cases([] {
  add<TokenCrossEntropy<float>>(shape(2048, 256, 30522));
  add_two_calls(shape(2048, 256, 30522));
});

}  // namespace
}  // namespace vlp::benchmarks
