/// \file
/// Random inputs for losses over the words of reports and the regions of images.
#pragma once

#include "support/catch.hpp"
#include "support/device.hpp"
#include "support/gradients.hpp"
#include "support/loss_case.hpp"
#include "support/sparse_memory.hpp"

#include <algorithm>
#include <cstddef>
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

/// Offsets beyond 2^31 elements: the same results (on the CPU, bits) with 3 images of 2 regions, and reports
/// of 2 words, that lie `image_stride` and `row_stride` elements apart.
template <Loss L>
void check_far_apart(Index image_stride, Index row_stride) {
  constexpr Index rows = 2, features = 3;
  const SparseMemory<float> memory(3 * image_stride), gradients(3 * image_stride);
  const auto batch = [&](const SparseMemory<float>& m, Index offset) {
    return BatchView<float>(m.data() + offset, {3, rows, features}, {image_stride, row_stride, 1});
  };
  Random random(11);
  const Arrays arrays = words_and_regions(
      random, {.batch = 3, .regions = rows, .words = rows, .features = features, .ragged = false});
  LossCase<L> near(arrays), far(arrays);
  for (Index i = 0; i < 3; ++i)
    for (Index r = 0; r < rows; ++r)
      for (Index d = 0; d < features; ++d) {
        const auto at = static_cast<std::size_t>((i * rows + r) * features + d);
        batch(memory, 0)(i, r, d) = near.values("regions")[at];
        batch(memory, 64)(i, r, d) = near.values("words")[at];
      }
  far.inputs.regions = batch(memory, 0);
  far.inputs.words = batch(memory, 64);
  far.gradients.regions = batch(gradients, 0);
  far.gradients.words = batch(gradients, 64);
  // On another device rows may be read another way for where they lie.
  constexpr double tolerance = on_cpu ? 0 : 1e-6;
  CHECK(relative_error(number(to_double(far.run({}))), number(to_double(near.run({})))) <= tolerance);
  CHECK(relative_error(far.gradient_values(), near.gradient_values()) <= tolerance);
}

}  // namespace vlp::test
