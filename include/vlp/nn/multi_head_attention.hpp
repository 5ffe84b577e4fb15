/// \file
/// Multi-head self-attention.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/checks.hpp>
#include <vlp/nn/key_value_cache.hpp>
#include <vlp/nn/linear.hpp>
#include <vlp/nn/ops/operations.hpp>
#include <vlp/nn/sequences.hpp>
#include <vlp/nn/types.hpp>

#include <string_view>

namespace vlp::nn {

namespace detail {

/// The common part of all forms of multi-head attention: the heads, and the projection of their outputs.
/// Keeps the heads' outputs [Tq, width] and a number per query and head.
template <class Scalar, class Device>
class AttentionHeads {
 public:
  AttentionHeads(std::string_view layer, Index width, Index heads, Random& random)
      : layer_(layer), heads_(heads), output_(width, width, random) {
    check_positive(layer, "heads", heads);
    require(width % heads == 0, layer, ": the width ", width, " is not a multiple of the ", heads, " heads");
  }

  [[nodiscard]] Index width() const { return output_.outputs(); }
  [[nodiscard]] Index heads() const { return heads_; }

  /// `weights`, if given, gets the mean over heads of the weights [Tq, longest keys].
  void forward(Device& device, const AttentionInputs<Scalar>& inputs, MatrixView<Scalar> y,
               MatrixView<const Scalar> residual, MatrixView<Scalar> weights = {}) {
    if (weights.given()) check_matrix(layer_, "attention", weights, inputs.query.rows(), inputs.keys.longest);
    const auto attended = attended_.reshape(inputs.query.rows(), width());
    log_sum_exp_.resize(heads_ * attended.rows());
    attention_forward<Scalar>(device, inputs, attended, log_sum_exp_.data());
    if (weights.given()) mean_attention_weights<Scalar>(device, inputs, log_sum_exp_.data(), weights);
    output_.forward(device, attended, y, residual);
  }

  /// The same for queries that attend to rows of a cache. Keeps nothing.
  void forward_to_rows(Device& device, MatrixView<const Scalar> query,
                       const KeyValueCache<Scalar, Device>& cache, MatrixView<const Index> rows,
                       MatrixView<Scalar> y, MatrixView<const Scalar> residual) {
    auto scope = device.scratch().scope();
    const auto attended = scope.template take_view<Scalar>(query.rows(), width());
    attend_to_rows<Scalar>(device, AttentionToRows<Scalar>{.query = query,
                                                           .key = cache.keys(),
                                                           .value = cache.values(),
                                                           .rows = rows,
                                                           .heads = heads_,
                                                           .out = attended});
    output_.forward(device, attended, y, residual);
  }

  /// Throws std::invalid_argument unless the last forward pass had so many queries.
  void check_backward(Index queries) const {
    require(queries * width() == attended_.size(), layer_, ": x of backward has ", queries,
            " rows but that of forward had ", attended_.size() / width());
  }

  void backward(Device& device, const AttentionInputs<Scalar>& inputs, MatrixView<const Scalar> d_y,
                const AttentionGradients<Scalar>& gradients) {
    const MatrixView<const Scalar> attended(attended_.data(), {inputs.query.rows(), width()});
    auto scope = device.scratch().scope();
    const auto d_attended = scope.template take_view<Scalar>(attended.rows(), width());
    output_.backward(device, attended, d_y, d_attended);
    attention_backward<Scalar>(device, inputs, log_sum_exp_.data(), d_attended, gradients);
  }

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    output_.for_each_parameter(join_names(prefix, "output"), visit);
  }

 private:
  std::string_view layer_;
  Index heads_;
  Linear<Scalar, Device> output_;
  typename Device::template Buffer<Scalar> attended_, log_sum_exp_;
};

}  // namespace detail

/// Multi-head self-attention over packed sequences (Vaswani et al., "Attention is all you need", 2017,
/// section 3.2.2): the rows of x [T, width] are the tokens of the sequences. Query, key and value come from
/// one product. Keeps those [T, 3 width], the heads' outputs [T, width] and a number per token and head.
template <class Scalar, class Device = Cpu>
class MultiHeadAttention {
 public:
  MultiHeadAttention(Index width, Index heads, Random& random, AttentionMask mask = AttentionMask::none)
      : mask_(mask),
        query_key_value_(width, 3 * width, random, 3),
        heads_("MultiHeadAttention", width, heads, random) {}

  [[nodiscard]] Index width() const { return heads_.width(); }

  /// y = attention (+ residual), [T, width].
  void forward(Device& device, MatrixView<const Scalar> x, const Sequences<Device>& sequences,
               MatrixView<Scalar> y, MatrixView<const Scalar> residual = {}) {
    detail::check_tokens("MultiHeadAttention", "x", sequences, x.rows());
    const auto packed = packed_.reshape(x.rows(), 3 * width());
    query_key_value_.forward(device, x, packed);
    heads_.forward(device, inputs(packed, sequences), y, residual);
  }

  /// The last row of y for N sequences that are written a token at a time, for x [N, width], their last
  /// tokens, and y [N, width]. Keys and values of those become rows `written` to written + N - 1 of the
  /// cache, which holds those of earlier tokens before that; the tokens of sequence i are its rows rows[i, 0]
  /// to rows[i, K - 1], the last of which is written + i. Only for causal attention, where earlier tokens do
  /// not change by later ones. Keeps nothing for backward.
  void step(Device& device, MatrixView<const Scalar> x, MatrixView<const Index> rows, Index written,
            KeyValueCache<Scalar, Device>& cache, MatrixView<Scalar> y,
            MatrixView<const Scalar> residual = {}) {
    require(mask_ == AttentionMask::causal,
            "MultiHeadAttention: sequences are written a token at a time by causal attention alone");
    require(cache.width() == width(), "MultiHeadAttention: the cache is of width ", cache.width(),
            " but must be of ", width());
    require(rows.rows() == x.rows() && rows.cols() >= 1, "MultiHeadAttention: x has ", x.rows(),
            " rows but there are ", rows.cols(), " rows of the cache for each of ", rows.rows(),
            " sequences");
    auto scope = device.scratch().scope();
    const auto packed = scope.template take_view<Scalar>(x.rows(), 3 * width());
    query_key_value_.forward(device, x, packed);
    assign_scaled<Scalar>(device, Scalar(1), column_range(packed, width(), 2 * width()),
                          cache.append(device, written, x.rows()));
    heads_.forward_to_rows(device, part(packed, 0), cache, rows, y, residual);
  }

  /// d_x may be d_y when it is added to.
  void backward(Device& device, MatrixView<const Scalar> x, const Sequences<Device>& sequences,
                MatrixView<const Scalar> d_y, MatrixView<Scalar> d_x, Into into = Into::overwrite) {
    detail::check_tokens("MultiHeadAttention", "x", sequences, x.rows());
    heads_.check_backward(x.rows());
    const MatrixView<Scalar> packed(packed_.data(), {x.rows(), 3 * width()});
    auto scope = device.scratch().scope();
    const auto d_packed = scope.template take_view<Scalar>(x.rows(), 3 * width());
    heads_.backward(device, inputs(packed, sequences), d_y,
                    {part(d_packed, 0), part(d_packed, 1), part(d_packed, 2)});
    query_key_value_.backward(device, x, d_packed, d_x, into);
  }

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    query_key_value_.for_each_parameter(join_names(prefix, "query_key_value"), visit);
    heads_.for_each_parameter(prefix, visit);
  }

 private:
  MatrixView<Scalar> part(const MatrixView<Scalar>& packed, Index third) const {
    return column_range(packed, third * width(), width());
  }

  AttentionInputs<Scalar> inputs(const MatrixView<Scalar>& packed, const Sequences<Device>& sequences) const {
    return {.query = part(packed, 0),
            .key = part(packed, 1),
            .value = part(packed, 2),
            .queries = sequences.view(),
            .keys = sequences.view(),
            .heads = heads_.heads(),
            .mask = mask_};
  }

  AttentionMask mask_;
  Linear<Scalar, Device> query_key_value_;
  detail::AttentionHeads<Scalar, Device> heads_;
  typename Device::template Buffer<Scalar> packed_;
};

}  // namespace vlp::nn
