/// \file
/// The operations that layers need from a device: the contract that each device fulfils.
///
/// They are free functions in the device's namespace, found by argument-dependent lookup (see
/// core/device.hpp), so that a layer is written once and runs on every device that has them. All pointers
/// and views are device memory, numbers and extents are the host's. Arguments are valid: layers have checked
/// shapes, ids and offsets from what the host knows of them. Results and arguments do not overlap unless it
/// says so. Results do not depend on the number of threads.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/op.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/ops/arguments.hpp>
#include <vlp/nn/types.hpp>

#include <cstdint>

namespace vlp::nn {

/// Products and operations on rows, with a scalar `s`, a bias or sum `v` [N], and matrices of N columns.
///
/// matmul(device, a, op_a, b, op_b, c, alpha, beta): c = alpha op(a) op(b) + beta c. With beta = 0, c is
///   overwritten whatever it held.
/// broadcast_bias(device, bias, addend, y): y[t] = bias + addend[t]. An addend that is not given counts as
///   zeros; it may be y.
/// add_scaled(device, s, x, y): y += s x.  assign_scaled(device, s, x, y): y = s x.
/// add_column_sums(device, x, v): adds the sum of the rows of x to v.
/// mean_of_rows(device, x, mean): mean[b] = the mean of the rows of x[b], for x [B, R, N], mean [B, N].
/// mean_of_rows_gradient(device, d_mean, d_x): d_x[b, r] += d_mean[b] / R.
/// unit_rows(device, x, y, inverse): inverse[t] = 1 / max(|x[t]|, 1e-12), y[t] = inverse[t] x[t]; y may be x.
/// unit_rows_gradient(device, x, inverse, d_y, d_x): d_x[t] = inverse[t] (d_y[t] - y[t] <y[t], d_y[t]>), and
///   inverse[t] d_y[t] where the norm was below 1e-12, for x is scaled linearly there. d_x may be d_y.
template <class D, class Scalar>
concept RowOperations = requires(D& device, MatrixView<const Scalar> x, MatrixView<Scalar> y,
                                 BatchView<const Scalar> batch, BatchView<Scalar> d_batch, const Scalar* bias,
                                 Scalar* v, Scalar s) {
  matmul<Scalar>(device, x, Op::none, x, Op::transpose, y, s, s);
  broadcast_bias<Scalar>(device, bias, x, y);
  add_scaled<Scalar>(device, s, x, y);
  assign_scaled<Scalar>(device, s, x, y);
  add_column_sums<Scalar>(device, x, v);
  mean_of_rows<Scalar>(device, batch, y);
  mean_of_rows_gradient<Scalar>(device, x, d_batch);
  unit_rows<Scalar>(device, x, y, v);
  unit_rows_gradient<Scalar>(device, x, bias, x, y);
};

/// Operations of transformer layers.
///
/// gelu_forward(device, form, x, y, size): y = GELU(x) for `size` adjacent elements; y may be x. In the erf
///   form GELU(x) = x (1 + erf(x / sqrt(2))) / 2, in the tanh form x (1 + tanh(sqrt(2 / pi) (x + 0.044715
///   x^3))) / 2 (Hendrycks & Gimpel, "Gaussian error linear units", 2016), which is within 5e-4 of it.
/// gelu_backward(device, form, x, d_y, d_x, y, size): d_x = d_y GELU'(x); d_x may be d_y. Where y is not
/// null,
///   also y = GELU(x), which costs little here and so need not be kept; y may be x.
/// layer_norm_forward(device, arguments): y = (x - mean) / sqrt(variance + epsilon) * gain + bias for each
///   row, with the biased variance.
/// layer_norm_backward(device, arguments): its gradient.
/// attention_forward(device, inputs, out, log_sum_exp): for each sequence and each head h, with Q, K, V = the
///   columns h d to (h + 1) d of its rows of query, key and value, d = D / heads: out = softmax(Q K^T /
///   sqrt(d)) V in those columns of out [Tq, D] (Vaswani et al., "Attention is all you need", 2017, eq. 1).
///   No probabilities are kept, but log_sum_exp [heads, Tq], from which backward computes them again: memory
///   stays O(T heads) whatever the lengths.
/// attention_backward(device, inputs, log_sum_exp, d_out, gradients): its gradient. Keys of a sequence
///   without queries get zeros.
/// mean_attention_weights(device, inputs, log_sum_exp, weights): after attention_forward of these inputs,
///   weights[t, j] = the mean over heads of the softmax's weight of key j of the sequence of query t, for
///   weights [Tq, C] with C at least the keys of the longest sequence; 0 for keys that the query does not
///   see and in columns behind the sequence's keys.
/// attend_to_rows(device, arguments): the same attention of each query i to the rows rows[i, 0] to
///   rows[i, K - 1] of key and value, wherever those stand; several queries may share rows. For tokens that
///   are written one at a time: no gradient.
template <class D, class Scalar>
concept TransformerOperations = requires(D& device, MatrixView<const Scalar> x, MatrixView<Scalar> y,
                                         const Scalar* in, Scalar* out, Index size,
                                         const LayerNormForward<Scalar>& norm,
                                         const LayerNormBackward<Scalar>& norm_gradient,
                                         const AttentionInputs<Scalar>& attention,
                                         const AttentionGradients<Scalar>& gradients,
                                         const AttentionToRows<Scalar>& to_rows) {
  gelu_forward<Scalar>(device, GeluForm::tanh, in, out, size);
  gelu_backward<Scalar>(device, GeluForm::erf, in, in, out, out, size);
  layer_norm_forward<Scalar>(device, norm);
  layer_norm_backward<Scalar>(device, norm_gradient);
  attention_forward<Scalar>(device, attention, y, out);
  attention_backward<Scalar>(device, attention, in, x, gradients);
  mean_attention_weights<Scalar>(device, attention, in, y);
  attend_to_rows<Scalar>(device, to_rows);
};

/// Operations that go by lists of numbers: tokens, groups, rows.
///
/// embed_tokens(device, arguments): out[t] = words[ids[t]] + positions[t's place in its sequence] +
///   types[type_ids[t]].
/// add_positions(device, positions, sequences, x): x[t] += positions[t's place in its sequence].
/// add_position_sums(device, d_x, sequences, d_positions): adds to d_positions [P, D] the sum over sequences
///   of d_x at each position.
/// add_type_sums(device, d_x, type_ids, d_types): adds to d_types [K, D] the sum of d_x over the tokens of
///   each type, all of type 0 where type_ids is not given.
/// pool_groups(device, x, group, pooling, out, into): out[g] = (or +=) the sum (mean) of the rows x[t] with
///   group[t] = g, in ascending order of t; zeros for a group without rows. x [T, D], out [G, D], group [T]
///   in [-1, G), where -1 leaves the row out.
/// pool_groups_gradient(device, d_out, group, pooling, d_x): d_x[t] = d_out[group[t]] (divided by the group's
///   size for means), zero for group -1.
/// gather_rows(device, x, rows, y): y[i] = x[rows[i]].
/// gather_rows_gradient(device, d_y, rows, d_x): d_x[rows[i]] += d_y[i]. No row is named twice.
template <class D, class Scalar>
concept IndexedOperations = requires(D& device, MatrixView<const Scalar> x, MatrixView<Scalar> y,
                                     VectorView<const Index> rows, VectorView<const std::int32_t> numbers,
                                     const SequenceView& sequences, const EmbedTokens<Scalar>& embedding) {
  embed_tokens<Scalar>(device, embedding);
  add_positions<Scalar>(device, x, sequences, y);
  add_position_sums<Scalar>(device, x, sequences, y);
  add_type_sums<Scalar>(device, x, numbers, y);
  pool_groups<Scalar>(device, x, numbers, Pooling::mean, y, Into::add);
  pool_groups_gradient<Scalar>(device, x, numbers, Pooling::mean, y);
  gather_rows<Scalar>(device, x, rows, y);
  gather_rows_gradient<Scalar>(device, x, rows, y);
};

/// Operations of convolutions, on contiguous images [B, H, W, C].
///
/// im2col(device, images, window, patches): patches [B Ho Wo, k k C], where row (b, oy, ox) holds the pixels
///   under the window there in the order (ky, kx, c), zeros outside of the image; k = window.size, Ho =
///   window.positions(H).
/// col2im(device, patches, window, d_images): its gradient; d_images (overwritten) is the sum of the patch
///   elements that each pixel went to.
template <class D, class Scalar>
concept ImageOperations = requires(D& device, ImageView<const Scalar> images, ImageView<Scalar> d_images,
                                   MatrixView<const Scalar> patches, MatrixView<Scalar> d_patches,
                                   const Window& window) {
  im2col<Scalar>(device, images, window, d_patches);
  col2im<Scalar>(device, patches, window, d_images);
};

/// All that a device owes to the layers, for numbers of type `Scalar`.
template <class D, class Scalar>
concept Operations = Device<D> && RowOperations<D, Scalar> && TransformerOperations<D, Scalar> &&
    IndexedOperations<D, Scalar> && ImageOperations<D, Scalar>;

}  // namespace vlp::nn

// Layers work out of the box on the default device. Code compiled for CUDA brings operations of its own and
// is spared Eigen.
#ifndef __CUDACC__
#include <vlp/nn/cpu/operations.hpp>
#endif
