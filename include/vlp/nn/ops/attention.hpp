/// \file
/// Device operation: scaled dot-product self-attention over packed sequences.
#pragma once

#include <Eigen/Core>

#include <vlp/core/cpu.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/ops/rows.hpp>
#include <vlp/nn/types.hpp>

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace vlp {

namespace nn::detail {

/// Attention of one head of one sequence of `length` tokens. Queries are taken in blocks, so that the scores
/// in memory are at most query_block x length.
template <class Scalar>
struct AttentionHead {
  static constexpr Index query_block = 256;
  using Matrix = MatrixView<Scalar>;
  using ConstMatrix = MatrixView<const Scalar>;

  ConstMatrix query, key, value;  // [length, width]
  AttentionMask mask;
  Scalar scale;

  AttentionHead(ConstMatrix query_key_value, Index begin, Index length, Index head, Index heads,
                AttentionMask m)
      : mask(m) {
    const Index width = query_key_value.cols() / (3 * heads);
    query = vlp::detail::block(query_key_value, begin, head * width, length, width);
    key = vlp::detail::block(query_key_value, begin, (heads + head) * width, length, width);
    value = vlp::detail::block(query_key_value, begin, (2 * heads + head) * width, length, width);
    scale = Scalar(1) / std::sqrt(static_cast<Scalar>(width));
  }

  /// Elements of one block of scores for sequences of up to `longest` tokens.
  static Index scores_size(Index longest) { return std::min(longest, query_block) * longest; }

  /// Calls body(first query, queries, keys) for each block of queries.
  template <class Body>
  void for_each_block(Body&& body) const {
    for (Index first = 0; first < query.rows(); first += query_block) {
      const Index count = std::min(query_block, query.rows() - first);
      body(first, count, mask == AttentionMask::causal ? first + count : query.rows());
    }
  }

  /// How many of `keys` keys the query at `position` sees.
  Index visible(Index position, Index keys) const {
    return mask == AttentionMask::causal ? position + 1 : keys;
  }

  static ConstMatrix rows(const ConstMatrix& m, Index first, Index count) { return m.slice(first, count); }

  void scores(Index first, Index count, Index keys, Matrix out) const {
    vlp::detail::matmul_serial<Scalar>(rows(query, first, count), Op::none, rows(key, 0, keys), Op::transpose,
                                       out, scale, 0);
  }

  /// out = softmax(query keyT / sqrt(width)) value, and the log of each softmax's denominator.
  void forward(Matrix out, Scalar* log_sum_exp, Scalar* memory) const {
    for_each_block([&](Index first, Index count, Index keys) {
      const Matrix p(memory, {count, keys});
      scores(first, count, keys, p);
      for (Index i = 0; i < count; ++i) {
        const Index seen = visible(first + i, keys);
        auto weights = as_array(&p(i, 0), seen);
        const Scalar highest = weights.maxCoeff();
        weights = (weights - highest).exp();
        const Scalar sum = weights.sum();
        weights *= Scalar(1) / sum;
        as_array(&p(i, 0) + seen, keys - seen).setZero();
        log_sum_exp[first + i] = highest + std::log(sum);
      }
      vlp::detail::matmul_serial<Scalar>(p, Op::none, rows(value, 0, keys), Op::none, out.slice(first, count),
                                         1, 0);
    });
  }

  /// Gradients by query, key and value [length, width] (overwritten), from that by the output.
  void backward(ConstMatrix d_out, const Scalar* log_sum_exp, Matrix d_query, Matrix d_key, Matrix d_value,
                Scalar* memory) const {
    vlp::detail::as_eigen(d_key).setZero();
    vlp::detail::as_eigen(d_value).setZero();
    for_each_block([&](Index first, Index count, Index keys) {
      const Matrix p(memory, {count, keys}), dp(memory + count * keys, {count, keys});
      const ConstMatrix upstream = rows(d_out, first, count);
      scores(first, count, keys, p);
      vlp::detail::matmul_serial<Scalar>(upstream, Op::none, rows(value, 0, keys), Op::transpose, dp, 1, 0);
      for (Index i = 0; i < count; ++i) {
        const Index seen = visible(first + i, keys);
        auto weights = as_array(&p(i, 0), seen), gradient = as_array(&dp(i, 0), seen);
        weights = (weights - log_sum_exp[first + i]).exp();
        const Scalar mean = (weights * gradient).sum();
        gradient = scale * weights * (gradient - mean);
        as_array(&p(i, 0) + seen, keys - seen).setZero();
        as_array(&dp(i, 0) + seen, keys - seen).setZero();
      }
      using vlp::detail::matmul_serial;
      matmul_serial<Scalar>(dp, Op::none, rows(key, 0, keys), Op::none, d_query.slice(first, count), 1, 0);
      matmul_serial<Scalar>(dp, Op::transpose, rows(query, first, count), Op::none, d_key.slice(0, keys), 1,
                            1);
      matmul_serial<Scalar>(p, Op::transpose, upstream, Op::none, d_value.slice(0, keys), 1, 1);
    });
  }
};

/// Calls body(head object, sequence, head, begin, length, memory) for each head of each sequence, in
/// parallel, with `blocks` blocks of scores as memory.
template <class Scalar, class Body>
void for_each_attention_head(Cpu& device, MatrixView<const Scalar> query_key_value,
                             const SequenceView& sequences, Index heads, AttentionMask mask, Index blocks,
                             Body&& body) {
  const Index* offsets = sequences.offsets;
  const Index size = (blocks * AttentionHead<Scalar>::scores_size(sequences.longest) + 63) / 64 * 64;
  auto scope = device.scratch().scope();
  Scalar* memory = scope.template take<Scalar>(device.threads() * size);
  const vlp::detail::SerialProducts serial;
  device.parallel_for(sequences.count * heads, [&](Index task, int worker) {
    const Index s = task / heads;
    const Index head = task % heads, begin = offsets[s], length = offsets[s + 1] - begin;
    if (length == 0) return;
    const AttentionHead<Scalar> one(query_key_value, begin, length, head, heads, mask);
    body(one, head, begin, length, memory + worker * size);
  });
}

}  // namespace nn::detail

/// For each sequence s of tokens [offsets[s], offsets[s + 1]) and each head h, with Q, K, V = columns h*d to
/// (h+1)*d of the three thirds of query_key_value [T, 3D], d = D / heads: out = softmax(Q K^T / sqrt(d)) V in
/// those columns of out [T, D] (Vaswani et al., "Attention is all you need", 2017, eq. 1).
///
/// Sequences are packed: no work is done on padding. Probabilities are not kept; log_sum_exp [heads, T] is,
/// from which backward recomputes them at the price of one small product: memory stays O(T heads) whatever
/// the lengths.
template <class Scalar>
void attention_forward(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> query_key_value,
                       const nn::SequenceView& sequences, Index heads, nn::AttentionMask mask,
                       std::type_identity_t<MatrixView<Scalar>> out, Scalar* log_sum_exp) {
  const Index width = out.cols() / heads, tokens = out.rows();
  nn::detail::for_each_attention_head<Scalar>(
      device, query_key_value, sequences, heads, mask, 1,
      [&](const auto& one, Index head, Index begin, Index length, Scalar* memory) {
        one.forward(vlp::detail::block(out, begin, head * width, length, width),
                    log_sum_exp + head * tokens + begin, memory);
      });
}

/// The gradient of attention_forward by query_key_value [T, 3D] (overwritten), from that by out [T, D].
template <class Scalar>
void attention_backward(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> query_key_value,
                        const nn::SequenceView& sequences, Index heads, nn::AttentionMask mask,
                        const Scalar* log_sum_exp, std::type_identity_t<MatrixView<const Scalar>> d_out,
                        std::type_identity_t<MatrixView<Scalar>> d_query_key_value) {
  const Index width = d_out.cols() / heads, tokens = d_out.rows();
  nn::detail::for_each_attention_head<Scalar>(
      device, query_key_value, sequences, heads, mask, 2,
      [&](const auto& one, Index head, Index begin, Index length, Scalar* memory) {
        const auto gradient = [&](Index third) {
          return vlp::detail::block(d_query_key_value, begin, (third * heads + head) * width, length, width);
        };
        one.backward(vlp::detail::block(d_out, begin, head * width, length, width),
                     log_sum_exp + head * tokens + begin, gradient(0), gradient(1), gradient(2), memory);
      });
}

}  // namespace vlp
