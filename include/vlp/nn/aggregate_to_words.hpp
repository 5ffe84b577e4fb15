/// \file
/// From word-piece features to word features.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/checks.hpp>
#include <vlp/nn/ops/operations.hpp>
#include <vlp/nn/types.hpp>
#include <vlp/nn/word_slots.hpp>

#include <type_traits>

namespace vlp::nn {

namespace detail {
template <class Device>
void check_slots(const WordSlots<Device>& slots, Index pieces, Index words) {
  require(slots.count() == pieces, "aggregate_to_words: ", slots.count(), " slots for ", pieces,
          " word pieces");
  require(slots.count() == 0 || slots.largest().value < words, "aggregate_to_words: slot ",
          slots.largest().value, " of word piece ", slots.largest().at, " is not in -1 to ", words - 1);
}
}  // namespace detail

/// words[w] = the sum (or mean) of the rows pieces[t] with slots[t] = w: pieces [T, D], slots [T], words [N,
/// D]. A slot of -1 leaves a piece ([CLS], [SEP]) out; a word without pieces is zero (so a padded batch of
/// words [B, W, D] is a matrix of B*W rows). Throws std::invalid_argument for a slot of N or above.
template <class Scalar, class Device>
void aggregate_to_words(Device& device, std::type_identity_t<MatrixView<const Scalar>> pieces,
                        const WordSlots<Device>& slots, Pooling pooling, MatrixView<Scalar> words) {
  detail::check_slots(slots, pieces.rows(), words.rows());
  detail::check_columns("aggregate_to_words", "words", words, pieces.cols());
  pool_groups<Scalar>(device, pieces, slots.slots(), pooling, words, Into::overwrite);
}

/// The gradient of aggregate_to_words by pieces [T, D] (overwritten), from that by words [N, D].
template <class Scalar, class Device>
void aggregate_to_words_gradient(Device& device, std::type_identity_t<MatrixView<const Scalar>> d_words,
                                 const WordSlots<Device>& slots, Pooling pooling,
                                 MatrixView<Scalar> d_pieces) {
  detail::check_slots(slots, d_pieces.rows(), d_words.rows());
  detail::check_columns("aggregate_to_words", "d_pieces", d_pieces, d_words.cols());
  pool_groups_gradient<Scalar>(device, d_words, slots.slots(), pooling, d_pieces);
}

}  // namespace vlp::nn
