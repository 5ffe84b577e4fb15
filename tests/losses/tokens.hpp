/// \file
/// Random inputs for losses over tokens.
#pragma once

#include "support/loss_case.hpp"

#include <cstdint>

namespace vlp::test {

/// hidden [N, D], weight [V, D], bias [V] and target [N], every `ignored`-th of which is -100.
inline Arrays random_tokens(Random& random, Index rows, Index features, Index vocabulary, bool biased = true,
                            Index ignored = 0) {
  Arrays out{{"hidden", normal(random, {rows, features})},
             {"weight", normal(random, {vocabulary, features})},
             {"target", {{rows}, {}}}};
  if (biased) out["bias"] = normal(random, {vocabulary});
  for (Index n = 0; n < rows; ++n)
    out["target"].values.push_back(
        ignored > 0 && n % ignored == 0
            ? -100.0
            : static_cast<double>(random.below(static_cast<std::uint64_t>(vocabulary))));
  return out;
}

}  // namespace vlp::test
