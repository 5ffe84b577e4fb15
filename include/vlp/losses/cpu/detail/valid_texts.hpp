/// \file
/// Texts of a contrastive batch of which some are left out.
#pragma once

#include <vlp/core/buffer.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/contrast.hpp>

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace vlp::detail {

/// The own text of each image of the batch is valid. Throws std::invalid_argument, naming the image, where it
/// is not.
inline void check_own_texts(std::string_view loss, const PairBlock& block,
                            VectorView<const std::uint8_t> valid) {
  for (Index i = 0; valid.given() && i < block.images; ++i)
    require(valid[block.text_of(i)] != 0, loss, ": text ", block.text_of(i), ", which is image ", i,
            "'s own, is not valid");
}

/// The texts [n, D] of a loss over pairs as they may be multiplied: themselves or, where some are not valid
/// and may hold anything, a copy with zeros in their place.
template <class Inputs>
auto readable_texts(Arena::Scope& scratch, const Inputs& inputs) {
  using Texts = decltype(inputs.text);
  using Scalar = typename Texts::value_type;
  const Texts& text = inputs.text;
  const Index first = inputs.block.first_text;
  const auto is_valid = [&](Index j) { return !inputs.valid.given() || inputs.valid[first + j] != 0; };
  Index valid = 0;
  for (Index j = 0; j < text.rows(); ++j) valid += is_valid(j) ? 1 : 0;
  if (valid == text.rows()) return text;
  const auto copy = scratch.take_view<Scalar>(text.rows(), text.cols());
  for (Index j = 0; j < text.rows(); ++j) {
    if (is_valid(j))
      std::copy_n(text[j].data(), text.cols(), copy[j].data());
    else
      std::fill_n(copy[j].data(), text.cols(), Scalar(0));
  }
  return Texts(copy);
}

}  // namespace vlp::detail
