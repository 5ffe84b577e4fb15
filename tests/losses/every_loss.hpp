/// \file
/// Inputs for each loss, by its name, for tests that are written once over all losses.
#pragma once

#include "losses/pairs.hpp"
#include "losses/scales.hpp"
#include "losses/tokens.hpp"
#include "losses/words_and_regions.hpp"
#include "support/loss_case.hpp"

#include <vlp/core/random.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/losses/loss.hpp>

#include <string_view>

namespace vlp::test {

struct LossSizes {
  Index batch, features, regions, words, vocabulary;
};

/// Random inputs of loss L, each report in a group with others where there are groups.
template <Loss L>
Arrays inputs_of(Random& random, const LossSizes& sizes) {
  const auto [batch, features, regions, words, vocabulary] = sizes;
  const WordsAndRegions local{.batch = batch,
                              .regions = regions,
                              .words = words,
                              .features = features,
                              .groups = static_cast<int>(batch) - 1,
                              .scale = 0.2};
  constexpr std::string_view name = L::name;
  if constexpr (name == "distillation") {
    return {{"student", normal(random, {batch, vocabulary})},
            {"teacher", normal(random, {batch, vocabulary})}};
  } else if constexpr (name == "info_nce" || name == "pairwise_sigmoid") {
    return random_pairs(random, batch, features, static_cast<int>(batch) - 1);
  } else if constexpr (name == "local_alignment") {
    return words_and_regions(random, local);
  } else if constexpr (name == "multi_scale") {
    return all_scales(random, batch, 2, features, local);
  } else if constexpr (name == "perturbation_sensitivity") {
    return {{"image", normal(random, {batch, features})},
            {"text", normal(random, {batch, words, features})},
            {"log_scale", number(2)}};
  } else if constexpr (name == "token_alignment") {
    WordsAndRegions ungrouped = local;
    ungrouped.groups = 0;
    return words_and_regions(random, ungrouped);
  } else {
    static_assert(name == "token_cross_entropy", "a new loss: say here what it is tested on");
    return random_tokens(random, batch, features, vocabulary);
  }
}

}  // namespace vlp::test
