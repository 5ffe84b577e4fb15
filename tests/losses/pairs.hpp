/// \file
/// Random inputs for losses over image-report pairs.
#pragma once

#include "support/loss_case.hpp"

#include <cmath>
#include <vector>

namespace vlp::test {

inline const std::vector<DuplicatePolicy> policies{DuplicatePolicy::negatives, DuplicatePolicy::positives,
                                                   DuplicatePolicy::ignore};

/// image, text [B, D], log_scale, bias; with `groups` > 0 as many group ids, drawn at random.
inline Arrays random_pairs(Random& random, Index batch, Index features, int groups = 0,
                           double scale = 1 / 0.07) {
  Arrays out{{"image", normal(random, {batch, features})},
             {"text", normal(random, {batch, features})},
             {"log_scale", number(std::log(scale))},
             {"bias", number(-0.7)}};
  if (groups > 0) {
    Array ids{{batch}, {}};
    for (Index i = 0; i < batch; ++i)
      ids.values.push_back(static_cast<double>(random.below(static_cast<std::uint32_t>(groups))) - 1);
    out["group"] = ids;
  }
  return out;
}

}  // namespace vlp::test
