/// \file
/// Multi-head attention from one set of sequences to another.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/checks.hpp>
#include <vlp/nn/linear.hpp>
#include <vlp/nn/multi_head_attention.hpp>
#include <vlp/nn/ops/operations.hpp>
#include <vlp/nn/sequences.hpp>
#include <vlp/nn/types.hpp>

#include <string_view>

namespace vlp::nn {

/// Multi-head attention in which the tokens of sequence s of x [Tq, width] attend to those of sequence s of
/// a context [Tk, context width], of any other length (Vaswani et al., "Attention is all you need", 2017,
/// section 3.2.3, encoder-decoder attention). A sequence that has queries must have a context, not the
/// reverse. Keeps the queries [Tq, width], keys and values [Tk, 2 width], the heads' outputs [Tq, width] and
/// a number per query and head.
template <class Scalar, class Device = Cpu>
class CrossAttention {
 public:
  struct Inputs {
    MatrixView<const Scalar> x;        ///< [Tq, width]
    const Sequences<Device>& queries;  ///< of x
    MatrixView<const Scalar> context;  ///< [Tk, context width]
    const Sequences<Device>& keys;     ///< of the context, as many
  };
  /// Each is written or added to, or skipped when it is not given.
  struct Gradients {
    MatrixView<Scalar> x = {};        ///< [Tq, width]; may be d_y when it is added to
    MatrixView<Scalar> context = {};  ///< [Tk, context width]
    Into into_x = Into::overwrite;
    Into into_context = Into::overwrite;
  };

  CrossAttention(Index width, Index context_width, Index heads, Random& random)
      : query_(width, width, random),
        key_value_(context_width, 2 * width, random, 2),
        heads_("CrossAttention", width, heads, random) {}

  [[nodiscard]] Index width() const { return heads_.width(); }
  [[nodiscard]] Index context_width() const { return key_value_.inputs(); }

  /// Throws std::invalid_argument unless inputs fit the layer and each other.
  void check(const Inputs& in) const {
    detail::check_columns("CrossAttention", "x", in.x, width());
    detail::check_columns("CrossAttention", "the context", in.context, context_width());
    check_sequences(in.x.rows(), in.queries, in.context.rows(), in.keys);
  }

  /// y = attention (+ residual), [Tq, width]. `weights`, if given, gets the weight of each row of its
  /// sequence's context for each row of x, the mean over heads, [Tq, longest context], with zeros behind
  /// shorter contexts.
  void forward(Device& device, const Inputs& in, MatrixView<Scalar> y, MatrixView<const Scalar> residual = {},
               MatrixView<Scalar> weights = {}) {
    check(in);
    const auto packed = packed_.reshape(in.context.rows(), 2 * width());
    project_context(device, in.context, packed);
    attend(device, in.x, in.queries, packed, in.keys, y, residual, weights);
  }

  /// The two halves of forward, for callers that attend to one context again and again: the keys and values
  /// [Tk, 2 width] of a context, and attention to those.
  void project_context(Device& device, MatrixView<const Scalar> context, MatrixView<Scalar> keys_values) {
    key_value_.forward(device, context, keys_values);
  }
  void attend(Device& device, MatrixView<const Scalar> x, const Sequences<Device>& queries,
              MatrixView<const Scalar> keys_values, const Sequences<Device>& keys, MatrixView<Scalar> y,
              MatrixView<const Scalar> residual = {}, MatrixView<Scalar> weights = {}) {
    detail::check_columns("CrossAttention", "the projected context", keys_values, 2 * width());
    check_sequences(x.rows(), queries, keys_values.rows(), keys);
    const auto query = queries_.reshape(x.rows(), width());
    query_.forward(device, x, query);
    heads_.forward(device, inputs(query, queries, keys_values, keys), y, residual, weights);
  }

  void backward(Device& device, const Inputs& in, MatrixView<const Scalar> d_y, const Gradients& gradients) {
    check(in);
    heads_.check_backward(in.x.rows());
    require(in.context.rows() * 2 * width() == packed_.size(), "CrossAttention: the context of backward has ",
            in.context.rows(), " rows but that of forward had ", packed_.size() / (2 * width()));
    const MatrixView<Scalar> query(queries_.data(), {in.x.rows(), width()});
    const MatrixView<Scalar> packed(packed_.data(), {in.context.rows(), 2 * width()});
    auto scope = device.scratch().scope();
    const auto d_query = scope.template take_view<Scalar>(in.x.rows(), width());
    const auto d_packed = scope.template take_view<Scalar>(in.context.rows(), 2 * width());
    heads_.backward(device, inputs(query, in.queries, packed, in.keys), d_y,
                    {d_query, column_range(d_packed, 0, width()), column_range(d_packed, width(), width())});
    query_.backward(device, in.x, d_query, gradients.x, gradients.into_x);
    key_value_.backward(device, in.context, d_packed, gradients.context, gradients.into_context);
  }

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    query_.for_each_parameter(join_names(prefix, "query"), visit);
    key_value_.for_each_parameter(join_names(prefix, "key_value"), visit);
    heads_.for_each_parameter(prefix, visit);
  }

 private:
  static void check_sequences(Index x_rows, const Sequences<Device>& queries, Index context_rows,
                              const Sequences<Device>& keys) {
    detail::check_tokens("CrossAttention", "x", queries, x_rows);
    detail::check_tokens("CrossAttention", "the context", keys, context_rows);
    require(queries.count() == keys.count(), "CrossAttention: x has ", queries.count(),
            " sequences but the context has ", keys.count());
    const auto of_x = queries.host_offsets(), of_context = keys.host_offsets();
    for (std::size_t s = 0; s < static_cast<std::size_t>(queries.count()); ++s)
      require(of_x[s] == of_x[s + 1] || of_context[s] < of_context[s + 1], "CrossAttention: sequence ", s,
              " has ", of_x[s + 1] - of_x[s], " tokens but no context");
  }

  AttentionInputs<Scalar> inputs(MatrixView<const Scalar> query, const Sequences<Device>& queries,
                                 MatrixView<const Scalar> keys_values, const Sequences<Device>& keys) const {
    return {.query = query,
            .key = column_range(keys_values, 0, width()),
            .value = column_range(keys_values, width(), width()),
            .queries = queries.view(),
            .keys = keys.view(),
            .heads = heads_.heads(),
            .mask = AttentionMask::none};
  }

  Linear<Scalar, Device> query_, key_value_;
  detail::AttentionHeads<Scalar, Device> heads_;
  typename Device::template Buffer<Scalar> queries_, packed_;
};

}  // namespace vlp::nn
