/// \file
/// The arguments of device operations that take many.
#pragma once

#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/types.hpp>

#include <cstdint>

namespace vlp::nn {

/// Arguments of layer_norm_forward, for x and y [T, D].
template <class Scalar>
struct LayerNormForward {
  MatrixView<const Scalar> x;
  const Scalar* gain;  ///< [D]
  const Scalar* bias;  ///< [D]
  Scalar epsilon;
  MatrixView<Scalar> y;       ///< may be x
  Scalar* mean;               ///< [T], of each row, for backward
  Scalar* inverse_deviation;  ///< [T], 1 / sqrt(variance + epsilon), for backward
};

/// Arguments of layer_norm_backward, for x, d_y and d_x [T, D].
template <class Scalar>
struct LayerNormBackward {
  MatrixView<const Scalar> x;  ///< that of forward
  const Scalar* gain;
  const Scalar* mean;
  const Scalar* inverse_deviation;
  MatrixView<const Scalar> d_y;
  Scalar* d_gain;          ///< [D], added to
  Scalar* d_bias;          ///< [D], added to
  MatrixView<Scalar> d_x;  ///< written or added to; skipped when not given; may be d_y
  Into into;
};

/// Arguments of attention. Sequence s of `queries` attends to sequence s of `keys`; both have as many
/// sequences. A sequence with queries has keys, too.
template <class Scalar>
struct AttentionInputs {
  MatrixView<const Scalar> query;  ///< [Tq, D]
  MatrixView<const Scalar> key;    ///< [Tk, D]
  MatrixView<const Scalar> value;  ///< [Tk, D]
  SequenceView queries, keys;      ///< of Tq and of Tk tokens
  Index heads;                     ///< a divisor of D
  AttentionMask mask;              ///< causal only where queries and keys have the same lengths
};

/// Gradients of attention by its inputs (overwritten).
template <class Scalar>
struct AttentionGradients {
  MatrixView<Scalar> query, key, value;
};

/// Arguments of attend_to_rows, for N queries that attend to K rows each out of T.
template <class Scalar>
struct AttentionToRows {
  MatrixView<const Scalar> query;  ///< [N, D]
  MatrixView<const Scalar> key;    ///< [T, D]
  MatrixView<const Scalar> value;  ///< [T, D]
  MatrixView<const Index> rows;    ///< [N, K] in [0, T), in the order in which sums are taken; K >= 1
  Index heads;                     ///< a divisor of D
  MatrixView<Scalar> out;          ///< [N, D]
};

/// Arguments of embed_tokens.
template <class Scalar>
struct EmbedTokens {
  VectorView<const std::int32_t> ids;       ///< [T], in [0, V)
  VectorView<const std::int32_t> type_ids;  ///< [T], in [0, K); not given: all 0
  SequenceView sequences;                   ///< of T tokens, none longer than P
  MatrixView<const Scalar> words;           ///< [V, D]
  MatrixView<const Scalar> positions;       ///< [P, D]
  MatrixView<const Scalar> types;           ///< [K, D]
  MatrixView<Scalar> out;                   ///< [T, D]
};

}  // namespace vlp::nn
