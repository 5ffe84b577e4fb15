/// \file
/// Choices and descriptions that layers and device operations share.
#pragma once

#include <vlp/core/scalar.hpp>

namespace vlp::nn {

/// The way in which rows that belong together become one: added up or averaged.
enum class Pooling { sum, mean };

/// The tokens of its sequence that a token attends to: all, or those up to itself.
enum class AttentionMask { none, causal };

/// The Gaussian error linear unit: by tanh, which vectorises, or by erf, as BERT's weights were trained.
enum class GeluForm { tanh, erf };

/// A square window that moves over an image padded with zeros.
struct Window {
  Index size = 3, stride = 1, padding = 1;

  /// Number of positions that the window takes along `extent` pixels.
  [[nodiscard]] Index positions(Index extent) const { return (extent + 2 * padding - size) / stride + 1; }
};

/// Packed sequences as operations get them: the tokens of sequence s are offsets[s] to offsets[s + 1] - 1.
struct SequenceView {
  const Index* offsets = nullptr;  ///< [count + 1] in device memory, from 0 to tokens
  Index count = 0;                 ///< number of sequences
  Index tokens = 0;                ///< of all sequences together
  Index longest = 0;               ///< tokens of the longest sequence
};

/// A number of a list and where in the list it stands.
struct Extreme {
  Index value = 0, at = 0;
};

}  // namespace vlp::nn
