/// \file
/// Random inputs for losses over images, reports, perturbed reports, regions and words.
#pragma once

#include "support/gradients.hpp"
#include "support/loss_case.hpp"
#include "words_and_regions.hpp"

namespace vlp::test {

/// Inputs of all three terms of the multi-scale objective; every third perturbation is not valid.
inline Arrays all_scales(Random& random, Index batch, Index perturbations, Index features,
                         WordsAndRegions local = {}) {
  local.batch = batch;
  Arrays out = words_and_regions(random, local);
  out["image"] = normal(random, {batch, features});
  out["text"] = normal(random, {batch, 1 + perturbations, features});
  out["log_scale"] = number(1.5);
  out["perturbation_log_scale"] = number(0.8);
  Array& valid = out["valid"] = {{batch, 1 + perturbations}, {}};
  for (Index b = 0; b < batch; ++b)
    for (Index k = 0; k <= perturbations; ++k) valid.values.push_back(k == 0 || (b + k) % 3 != 0 ? 1 : 0);
  return out;
}

}  // namespace vlp::test
