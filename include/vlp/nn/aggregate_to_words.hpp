/// \file
/// From word-piece features to word features.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/checks.hpp>
#include <vlp/nn/ops/gather.hpp>

#include <cstdint>
#include <span>
#include <type_traits>

namespace vlp::nn {

namespace detail {
inline void check_slots(std::span<const std::int32_t> slots, Index pieces, Index words) {
  require(static_cast<Index>(slots.size()) == pieces, "aggregate_to_words: ", slots.size(), " slots for ",
          pieces, " word pieces");
  for (std::size_t t = 0; t < slots.size(); ++t)
    require(slots[t] >= -1 && slots[t] < words, "aggregate_to_words: slot ", slots[t], " of word piece ", t,
            " is not in -1 to ", words - 1);
}
}  // namespace detail

/// words[w] = the sum (or mean) of the rows pieces[t] with slots[t] = w: pieces [T, D], slots [T], words [N,
/// D]. A slot of -1 leaves a piece ([CLS], [SEP]) out; a word without pieces is zero (so a padded batch of
/// words [B, W, D] is a matrix of B*W rows). Throws std::invalid_argument for a slot beyond N.
template <class Scalar, class Device>
void aggregate_to_words(Device& device, std::type_identity_t<MatrixView<const Scalar>> pieces,
                        std::span<const std::int32_t> slots, Pooling pooling, MatrixView<Scalar> words) {
  detail::check_slots(slots, pieces.rows(), words.rows());
  detail::check_columns("aggregate_to_words", "words", words, pieces.cols());
  pool_groups<Scalar>(device, pieces, slots, pooling, words, Into::overwrite);
}

/// The gradient of aggregate_to_words by pieces [T, D] (overwritten), from that by words [N, D].
template <class Scalar, class Device>
void aggregate_to_words_gradient(Device& device, std::type_identity_t<MatrixView<const Scalar>> dwords,
                                 std::span<const std::int32_t> slots, Pooling pooling,
                                 MatrixView<Scalar> dpieces) {
  detail::check_slots(slots, dpieces.rows(), dwords.rows());
  detail::check_columns("aggregate_to_words", "dpieces", dpieces, dwords.cols());
  pool_groups_gradient<Scalar>(device, dwords, slots, pooling, dpieces);
}

}  // namespace vlp::nn
