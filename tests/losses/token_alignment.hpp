/// \file
/// Inputs and options that the tests of token alignment share.
#pragma once

#include "support/device.hpp"
#include "support/loss_case.hpp"
#include "words_and_regions.hpp"

#include <vlp/losses/token_alignment.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace vlp::test {

/// Words of report b.
inline Index word_count(const Arrays& in, Index b) {
  return in.contains("word_count")
             ? static_cast<Index>(in.at("word_count").values[static_cast<std::size_t>(b)])
             : in.at("words").shape[1];
}

/// The attention that forward writes, to rows that lie `gap` elements apart. Empty if it wrote between them.
template <class L>
Array attention_of(const Arrays& arrays, const TokenAlignmentOptions& options, int variation = 2,
                   Index gap = 0) {
  using Scalar = typename L::Scalar;
  LossCase<L> given(arrays);
  const Index batch = given.inputs.words.extent(0), words = given.inputs.words.extent(1),
              regions = given.inputs.regions.extent(1), stride = regions + gap;
  DeviceArray<Scalar, typename L::Device> memory(
      std::vector<Scalar>(static_cast<std::size_t>(batch * words * stride), not_a_result<Scalar>()));
  auto device = make_device<typename L::Device>(variation);
  L(options).forward(
      device, given.inputs,
      {nullptr, BatchView<Scalar>(memory.data(), {batch, words, regions}, {words * stride, stride, 1})});
  wait_for(device);
  memory.download();
  Array out{{batch, words, regions}, {}};
  for (std::size_t k = 0; k < memory.host().size(); ++k) {
    const double value = to_double(memory.host()[k]);
    if (static_cast<Index>(k) % stride < regions)
      out.values.push_back(value);
    else if (!std::isnan(value))
      return {};
  }
  return out;
}

/// Largest relative error of any row of any matrix, each relative to its own largest number.
inline double row_error(const Arrays& got, const Arrays& want) {
  double error = 0;
  for (const auto& [name, array] : want) {
    const std::vector<double>& other = got.at(name).values;
    const auto width = static_cast<std::ptrdiff_t>(array.shape.back());
    for (std::ptrdiff_t at = 0; at < static_cast<std::ptrdiff_t>(other.size()); at += width) {
      const Array row{{width}, {array.values.begin() + at, array.values.begin() + at + width}};
      error =
          std::max(error, relative_error({{width}, {other.begin() + at, other.begin() + at + width}}, row));
    }
  }
  return error;
}

/// A word and a region without length, a word that is shorter than the smallest, and an image whose regions
/// are so short that what words see is.
inline Arrays zero_tokens() {
  Random random(10);
  Arrays arrays =
      words_and_regions(random, {.batch = 4, .regions = 5, .words = 3, .features = 6, .ragged = false});
  std::fill_n(arrays.at("words").values.begin(), 6, 0.0);
  for (std::size_t d = 18; d < 24; ++d) arrays.at("words").values[d] *= 1e-13;
  std::fill_n(arrays.at("regions").values.begin() + 60 + 6, 6, 0.0);
  for (std::size_t d = 90; d < 120; ++d) arrays.at("regions").values[d] *= 1e-25;
  return arrays;
}

}  // namespace vlp::test
