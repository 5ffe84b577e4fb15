/// \file
/// Random inputs for losses over the words of reports and the regions of images.
#pragma once

#include "support/loss_case.hpp"

#include <algorithm>
#include <limits>

namespace vlp::test {

struct WordsAndRegions {
  Index batch = 3, regions = 4, words = 5, features = 6;
  bool ragged = true;  ///< reports of 1 to `words` words, one of them full; padding is NaN
  int groups = 0;      ///< as many group ids, drawn at random, if above 0
  double scale = 1;    ///< of the regions
};

/// regions [B, R, D], words [B, W, D], word_count [B], perhaps group [B].
inline Arrays words_and_regions(Random& random, const WordsAndRegions& shape) {
  Arrays out{{"regions", normal(random, {shape.batch, shape.regions, shape.features}, shape.scale)},
             {"words", normal(random, {shape.batch, shape.words, shape.features})}};
  Array& count = out["word_count"] = {{shape.batch}, {}};
  for (Index j = 0; j < shape.batch; ++j) {
    const Index words =
        shape.ragged && j != 1 ? 1 + random.below(static_cast<std::uint32_t>(shape.words)) : shape.words;
    count.values.push_back(static_cast<double>(words));
    const auto report = out.at("words").values.begin() + j * shape.words * shape.features;
    std::fill(report + words * shape.features, report + shape.words * shape.features,
              std::numeric_limits<double>::quiet_NaN());
  }
  if (shape.groups > 0) {
    Array& group = out["group"] = {{shape.batch}, {}};
    for (Index j = 0; j < shape.batch; ++j)
      group.values.push_back(static_cast<double>(random.below(static_cast<std::uint32_t>(shape.groups))));
  }
  return out;
}

}  // namespace vlp::test
