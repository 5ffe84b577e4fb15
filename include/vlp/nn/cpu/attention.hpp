/// \file
/// Scaled dot-product attention over packed sequences on the CPU.
#pragma once

#include <Eigen/Core>

#include <vlp/core/cpu.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/cpu/rows.hpp>
#include <vlp/nn/ops/arguments.hpp>

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace vlp {

namespace nn::detail {

/// Makes scores their softmax. Returns the log of its denominator.
template <class Scalar>
Scalar softmax_in_place(Scalar* scores, Index count) {
  auto weights = as_array(scores, count);
  const Scalar highest = weights.maxCoeff();
  weights = (weights - highest).exp();
  const Scalar sum = weights.sum();
  weights *= Scalar(1) / sum;
  return highest + std::log(sum);
}

/// Attention of one head of one sequence. Queries are taken in blocks, so that the scores in memory are at
/// most query_block x keys.
template <class Scalar>
struct AttentionHead {
  static constexpr Index query_block = 256;
  using Matrix = MatrixView<Scalar>;
  using ConstMatrix = MatrixView<const Scalar>;

  ConstMatrix query;       // [queries, width]
  ConstMatrix key, value;  // [keys, width]
  AttentionMask mask;
  Scalar scale = Scalar(1) / std::sqrt(static_cast<Scalar>(query.cols()));

  /// Elements of one block of scores for sequences of up to so many queries and keys.
  static Index scores_size(Index queries, Index keys) { return std::min(queries, query_block) * keys; }

  /// Calls body(first query, queries, keys) for each block of queries.
  template <class Body>
  void for_each_block(Body&& body) const {
    for (Index first = 0; first < query.rows(); first += query_block) {
      const Index count = std::min(query_block, query.rows() - first);
      body(first, count, mask == AttentionMask::causal ? first + count : key.rows());
    }
  }

  /// Number of keys, out of `keys`, that the query at `position` sees.
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
        log_sum_exp[first + i] = softmax_in_place(&p(i, 0), seen);
        as_array(&p(i, 0) + seen, keys - seen).setZero();
      }
      vlp::detail::matmul_serial<Scalar>(p, Op::none, rows(value, 0, keys), Op::none, out.slice(first, count),
                                         1, 0);
    });
  }

  /// Adds `share` times the softmax's weights to the first columns of out [queries, at least keys].
  void add_weights(Scalar share, const Scalar* log_sum_exp, Matrix out, Scalar* memory) const {
    for_each_block([&](Index first, Index count, Index keys) {
      const Matrix p(memory, {count, keys});
      scores(first, count, keys, p);
      for (Index i = 0; i < count; ++i) {
        const Index seen = visible(first + i, keys);
        as_array(&out(first + i, 0), seen) +=
            share * (as_array(&p(i, 0), seen) - log_sum_exp[first + i]).exp();
      }
    });
  }

  /// Gradients by query, key and value (overwritten), from that by the output.
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

/// The rows and columns of one head of one sequence.
struct HeadPlace {
  Index head, width;
  Index first_query, queries, first_key, keys;

  HeadPlace(const SequenceView& of_query, const SequenceView& of_key, Index sequence, Index h, Index w)
      : head(h),
        width(w),
        first_query(of_query.offsets[sequence]),
        queries(of_query.offsets[sequence + 1] - first_query),
        first_key(of_key.offsets[sequence]),
        keys(of_key.offsets[sequence + 1] - first_key) {}

  template <class T>
  MatrixView<T> of_queries(const MatrixView<T>& m) const {
    return column_range(m.slice(first_query, queries), head * width, width);
  }
  template <class T>
  MatrixView<T> of_keys(const MatrixView<T>& m) const {
    return column_range(m.slice(first_key, keys), head * width, width);
  }
};

/// Calls body(head object, its place, memory) for each head of each sequence that has keys, in parallel, with
/// `blocks` blocks of scores as memory.
template <class Scalar, class Body>
void for_each_attention_head(Cpu& device, const AttentionInputs<Scalar>& in, Index blocks, Body&& body) {
  using Head = AttentionHead<Scalar>;
  const Index width = in.query.cols() / in.heads;
  const Index size = (blocks * Head::scores_size(in.queries.longest, in.keys.longest) + 63) / 64 * 64;
  auto scope = device.scratch().scope();
  Scalar* memory = scope.template take<Scalar>(device.threads() * size);
  const vlp::detail::SerialProducts serial;
  device.parallel_for(in.queries.count * in.heads, [&](Index task, int worker) {
    const HeadPlace at(in.queries, in.keys, task / in.heads, task % in.heads, width);
    if (at.keys == 0) return;
    const Head one{at.of_queries(in.query), at.of_keys(in.key), at.of_keys(in.value), in.mask};
    body(one, at, memory + worker * size);
  });
}

}  // namespace nn::detail

template <class Scalar>
void attention_forward(Cpu& device, const nn::AttentionInputs<Scalar>& inputs,
                       std::type_identity_t<MatrixView<Scalar>> out, Scalar* log_sum_exp) {
  nn::detail::for_each_attention_head<Scalar>(
      device, inputs, 1, [&](const auto& one, const auto& at, Scalar* memory) {
        one.forward(at.of_queries(out), log_sum_exp + at.head * out.rows() + at.first_query, memory);
      });
}

template <class Scalar>
void attention_backward(Cpu& device, const nn::AttentionInputs<Scalar>& inputs, const Scalar* log_sum_exp,
                        std::type_identity_t<MatrixView<const Scalar>> d_out,
                        const nn::AttentionGradients<Scalar>& gradients) {
  nn::detail::for_each_attention_head<Scalar>(
      device, inputs, 2, [&](const auto& one, const auto& at, Scalar* memory) {
        one.backward(at.of_queries(d_out), log_sum_exp + at.head * d_out.rows() + at.first_query,
                     at.of_queries(gradients.query), at.of_keys(gradients.key), at.of_keys(gradients.value),
                     memory);
      });
}

template <class Scalar>
void mean_attention_weights(Cpu& device, const nn::AttentionInputs<Scalar>& in, const Scalar* log_sum_exp,
                            std::type_identity_t<MatrixView<Scalar>> weights) {
  using Head = nn::detail::AttentionHead<Scalar>;
  const Index width = in.query.cols() / in.heads;
  const Index size = (Head::scores_size(in.queries.longest, in.keys.longest) + 63) / 64 * 64;
  const Scalar share = Scalar(1) / static_cast<Scalar>(in.heads);
  auto scope = device.scratch().scope();
  Scalar* memory = scope.template take<Scalar>(device.threads() * size);
  const detail::SerialProducts serial;
  device.parallel_for(in.queries.count, [&](Index sequence, int worker) {
    for (Index h = 0; h < in.heads; ++h) {
      const nn::detail::HeadPlace at(in.queries, in.keys, sequence, h, width);
      const auto out = weights.slice(at.first_query, at.queries);
      if (h == 0) detail::as_eigen(out).setZero();
      const Head one{at.of_queries(in.query), at.of_keys(in.key), at.of_keys(in.value), in.mask};
      one.add_weights(share, log_sum_exp + h * weights.rows() + at.first_query, out, memory + worker * size);
    }
  });
}

template <class Scalar>
void attend_to_rows(Cpu& device, const nn::AttentionToRows<Scalar>& a) {
  using nn::detail::as_array;
  const Index keys = a.rows.cols(), width = a.query.cols() / a.heads;
  const Scalar scale = Scalar(1) / std::sqrt(static_cast<Scalar>(width));
  auto scope = device.scratch().scope();
  Scalar* memory = scope.template take<Scalar>(a.rows.rows() * keys);
  const auto attend = [&](Index i, Index column) {
    Scalar* weights = memory + i * keys;
    const auto query = as_array(&a.query(i, column), width);
    for (Index j = 0; j < keys; ++j)
      weights[j] = scale * (query * as_array(&a.key(a.rows(i, j), column), width)).sum();
    nn::detail::softmax_in_place(weights, keys);
    auto out = as_array(&a.out(i, column), width);
    out.setZero();
    for (Index j = 0; j < keys; ++j) out += weights[j] * as_array(&a.value(a.rows(i, j), column), width);
  };
  device.parallel_ranges(a.rows.rows(), nn::detail::row_grain(keys * a.query.cols()),
                         [&](Index begin, Index end) {
                           for (Index i = begin; i < end; ++i)
                             for (Index h = 0; h < a.heads; ++h) attend(i, h * width);
                         });
}

}  // namespace vlp
