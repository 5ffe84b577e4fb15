/// \file
/// Inputs and options that the tests of local alignment share.
#pragma once

#include "support/device.hpp"
#include "support/loss_case.hpp"
#include "words_and_regions.hpp"

#include <vlp/losses/local_alignment.hpp>

#include <cmath>
#include <cstddef>
#include <vector>

namespace vlp::test {

inline constexpr LocalAlignmentForm forms[] = {LocalAlignmentForm::gram, LocalAlignmentForm::direct};

inline LocalAlignmentOptions with_form(LocalAlignmentForm form, LocalAlignmentOptions options = {}) {
  options.form = form;
  return options;
}

/// Scores of 1e4 and more.
inline Arrays large_scores() {
  Random random(16);
  Arrays arrays =
      words_and_regions(random, {.batch = 4, .regions = 5, .words = 3, .features = 6, .scale = 100});
  for (double& v : arrays.at("words").values) v *= 100;
  return arrays;
}

/// Everything that forward can tell, S and A2 in rows that lie `gap` elements apart.
template <class L>
struct Told {
  Told(const Arrays& arrays, const LocalAlignmentOptions& options, Index gap = 0) {
    using Scalar = typename L::Scalar;
    using Accumulator = typename L::Accumulator;
    LossCase<L> given(arrays);
    const Index images = given.inputs.regions.extent(0), reports = given.inputs.words.extent(0),
                words = given.inputs.words.extent(1), regions = given.inputs.regions.extent(1),
                width = reports + gap, depth = regions + gap, size = words * depth + gap;
    const auto nothing = [](Index count) {
      return std::vector<Scalar>(static_cast<std::size_t>(count), not_a_result<Scalar>());
    };
    DeviceArray<Accumulator, typename L::Device> value({not_a_result<Accumulator>()});
    DeviceArray<Scalar, typename L::Device> scores(nothing(images * width)), weights(nothing(images * size));
    auto device = make_device<typename L::Device>(2);
    L(options).forward(device, given.inputs,
                       {value.data(),
                        {scores.data(), {images, reports}, {width, 1}},
                        {weights.data(), {images, words, regions}, {size, depth, 1}}});
    wait_for(device);
    value.download();
    scores.download();
    weights.download();
    loss = to_double(value.host()[0]);
    similarity = {{images, reports}, {}};
    attention = {{images, words, regions}, {}};
    const auto at = [](auto& array, Index k) { return to_double(array.host()[static_cast<std::size_t>(k)]); };
    for (Index i = 0; i < images; ++i)
      for (Index j = 0; j < width; ++j)
        if (j < reports)
          similarity.values.push_back(at(scores, i * width + j));
        else
          gaps_untouched = gaps_untouched && std::isnan(at(scores, i * width + j));
    for (Index k = 0; k < images * size; ++k)
      if (k % size < words * depth && k % size % depth < regions)
        attention.values.push_back(at(weights, k));
      else
        gaps_untouched = gaps_untouched && std::isnan(at(weights, k));
  }

  double loss = 0;
  Array similarity, attention;
  bool gaps_untouched = true;
};

}  // namespace vlp::test
