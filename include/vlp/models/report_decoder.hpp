/// \file
/// The decoder that writes reports.
#pragma once

#include <vlp/core/buffer.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/op.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/checks.hpp>
#include <vlp/nn/decoder_block.hpp>
#include <vlp/nn/embedding.hpp>
#include <vlp/nn/initialise.hpp>
#include <vlp/nn/layer_norm.hpp>
#include <vlp/nn/ops/operations.hpp>
#include <vlp/nn/sequences.hpp>
#include <vlp/nn/tokens.hpp>
#include <vlp/nn/types.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::models {

struct ReportDecoderOptions {
  Index vocabulary = 0;
  Index positions = 128;  ///< the longest sequence
  Index width = 128;
  Index depth = 2;  ///< blocks
  Index heads = 4;
  Index hidden = 0;                                 ///< of the feed-forward layers; 0 = 4 width
  Index context_width = 0;                          ///< features of the contexts; 0 = width
  std::vector<std::string> branches = {"context"};  ///< see nn::DecoderBlock
  bool tied_output = true;  ///< whether the output matrix is the embedding of the words
  nn::GeluForm gelu = nn::GeluForm::tanh;
};

/// The weights with which tokens attend to their contexts in one block, the mean over its heads: an optional
/// result. The weights of a token are those by which the token after it was chosen: to see where the model
/// looked for the second token of a text, take the row of the first.
template <class Scalar>
struct ContextAttention {
  MatrixView<Scalar> weights = {};  ///< [tokens, longest context], zeros behind shorter ones; or not given
  Index block = -1;                 ///< the block, from 0; -1 = the last
};

/// Packed sequences of tokens, each beginning with the token that begins all, and a context for each, to a
/// feature of each token, from which output_weight() and output_bias() make the logits of the token after it:
///
///   hidden = norm(blocks(embedding(tokens), context)),  logits = hidden W^T + b
///
/// with nn::Embedding and blocks as in nn::DecoderBlock, whose branches read contexts of different kinds with
/// the same weights except for their attention to the context. The feature of a token depends on the tokens
/// up to it alone, so texts can also be written a token at a time: see ReportDecoding.
template <class Scalar, class Device = Cpu>
class ReportDecoder {
 public:
  struct Inputs {
    const nn::Tokens<Device>& tokens;       ///< T tokens in S sequences
    MatrixView<const Scalar> context;       ///< [Tc, context width]
    const nn::Sequences<Device>& contexts;  ///< of the context, S
    Index branch = 0;                       ///< the branch that reads it
  };

  /// Keys and values of texts that are written a token at a time, for each block.
  using Cache = std::vector<typename nn::DecoderBlock<Scalar, Device>::Cache>;

  /// The next token of each of N texts; see nn::DecoderBlock::StepInputs.
  struct StepInputs {
    const nn::Tokens<Device>& tokens;          ///< N sequences of one token each
    MatrixView<const Index> rows;              ///< [N, K], cached rows of all tokens of a text
    Index written = 0;                         ///< cached rows of earlier tokens
    const nn::Sequences<Device>& of_contexts;  ///< which of the N belong to each context
    const nn::Sequences<Device>& contexts;     ///< of the context that begin() was given
  };

  ReportDecoder(const ReportDecoderOptions& options, Random random)
      : options_(checked(options)),
        embedding_({.vocabulary = options.vocabulary,
                    .positions = options.positions,
                    .types = 1,
                    .width = options.width},
                   random),
        norm_(options.width),
        output_bias_({options.vocabulary}),
        states_(static_cast<std::size_t>(options.depth) + 1) {
    blocks_.reserve(static_cast<std::size_t>(options.depth));
    for (Index i = 0; i < options.depth; ++i)
      blocks_.emplace_back(nn::DecoderBlockOptions{.width = options.width,
                                                   .heads = options.heads,
                                                   .hidden = options.hidden,
                                                   .context_width = options.context_width,
                                                   .branches = options.branches,
                                                   .gelu = options.gelu},
                           random);
    if (options.tied_output) return;
    output_weight_ = Parameter<Scalar, Device>({options.vocabulary, options.width}, WeightDecay::yes);
    nn::initialise_truncated_normal(output_weight_, 0.02f, random);
  }

  [[nodiscard]] const ReportDecoderOptions& options() const { return options_; }
  [[nodiscard]] Index width() const { return options_.width; }
  [[nodiscard]] Index branches() const { return static_cast<Index>(options_.branches.size()); }
  [[nodiscard]] Index context_width() const {
    return options_.context_width == 0 ? options_.width : options_.context_width;
  }

  /// W [V, width] and b [V] of the logits. The code that computes a loss of the logits adds the loss's
  /// gradients by these to the parameters' gradients.
  [[nodiscard]] Parameter<Scalar, Device>& output_weight() {
    return options_.tied_output ? embedding_.word() : output_weight_;
  }
  [[nodiscard]] Parameter<Scalar, Device>& output_bias() { return output_bias_; }

  /// hidden [T, width], and the tokens' attention to their contexts where it is asked for. Throws
  /// std::invalid_argument for an id outside of the vocabulary, an empty or too long sequence and a sequence
  /// without a context; then backward still follows the forward before.
  void forward(Device& device, const Inputs& in, MatrixView<Scalar> hidden,
               const ContextAttention<Scalar>& attention = {}) {
    embedding_.check(in.tokens);
    check(in, "hidden", hidden);
    check(attention, in.tokens.count(), in.contexts);
    // The first block's input is not there yet, but its shape is known.
    const MatrixView<const Scalar> shape_of_x(nullptr, {in.tokens.count(), width()});
    blocks_.front().check({shape_of_x, in.tokens.sequences(), in.context, in.contexts, in.branch});
    for (auto& state : states_) state.resize(in.tokens.count() * width());
    embedding_.forward(device, in.tokens, state(0));
    for (std::size_t i = 0; i < blocks_.size(); ++i)
      blocks_[i].forward(device, inputs(in, i), state(i + 1), of_block(attention, i));
    norm_.forward(device, state(blocks_.size()), hidden);
  }

  /// A cache for begin() to fill.
  [[nodiscard]] Cache make_cache() const {
    Cache cache;
    cache.reserve(blocks_.size());
    for (std::size_t i = 0; i < blocks_.size(); ++i) cache.emplace_back(width());
    return cache;
  }

  /// Fills a cache for texts that have contexts [Tc, context width], read by the given branch.
  void begin(Device& device, MatrixView<const Scalar> context, Index branch, Cache& cache) {
    check(cache);
    for (std::size_t i = 0; i < blocks_.size(); ++i) blocks_[i].begin(device, context, branch, cache[i]);
  }

  /// hidden [N, width] of one more token of each text: what forward makes of the last tokens of whole texts.
  /// `attention` likewise, [N, longest context]. Backward does not follow.
  void step(Device& device, const StepInputs& in, Cache& cache, MatrixView<Scalar> hidden,
            const ContextAttention<Scalar>& attention = {}) {
    const Index count = in.tokens.count();
    for (const nn::Extreme& text : {in.tokens.sequences().shortest(), in.tokens.sequences().longest()})
      require(count == 0 || text.value == 1, "ReportDecoder: a step takes one token of each text, but text ",
              text.at, " has ", text.value);
    nn::detail::check_matrix("ReportDecoder", "hidden", hidden, count, width());
    check(attention, count, in.contexts);
    check(cache);
    auto scope = device.scratch().scope();
    const auto x = scope.template take_view<Scalar>(count, width());
    embedding_.forward(device, in.tokens, x, in.rows.cols() - 1);
    for (std::size_t i = 0; i < blocks_.size(); ++i)
      blocks_[i].step(device, {x, in.rows, in.written, in.of_contexts, in.contexts}, cache[i], x,
                      of_block(attention, i));
    norm_.forward(device, x, hidden);
  }

  /// logits [T, V] of hidden features [T, width].
  void logits(Device& device, MatrixView<const Scalar> hidden, MatrixView<Scalar> out) {
    nn::detail::check_columns("ReportDecoder", "hidden", hidden, width());
    nn::detail::check_matrix("ReportDecoder", "logits", out, hidden.rows(), options_.vocabulary);
    broadcast_bias<Scalar>(device, output_bias_.value().data(), MatrixView<const Scalar>(), out);
    matmul<Scalar>(device, hidden, Op::none, output_weight().matrix(), Op::transpose, out, Scalar(1),
                   Scalar(1));
  }

  /// Turns the gradient by `hidden` of the last forward, whose inputs were `in`, into gradients by the
  /// parameters, and by the context [Tc, context width]: that is added to `d_context`, or skipped where it is
  /// not given.
  void backward(Device& device, const Inputs& in, MatrixView<const Scalar> d_hidden,
                MatrixView<Scalar> d_context = {}) {
    check(in, "d_hidden", d_hidden);
    require(states_[0].size() == in.tokens.count() * width(), "ReportDecoder: ", in.tokens.count(),
            " tokens in backward but there were ", states_[0].size() / width(), " in forward");
    if (d_context.given())
      nn::detail::check_matrix("ReportDecoder", "d_context", d_context, in.context.rows(), context_width());
    auto scope = device.scratch().scope();
    const auto d = scope.template take_view<Scalar>(in.tokens.count(), width());
    norm_.backward(device, state(blocks_.size()), d_hidden, d);
    for (std::size_t i = blocks_.size(); i-- > 0;)
      blocks_[i].backward(device, inputs(in, i), d, d, d_context);
    embedding_.backward(device, in.tokens, d);
  }

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    embedding_.for_each_parameter(join_names(prefix, "embedding"), visit);
    for (std::size_t i = 0; i < blocks_.size(); ++i)
      blocks_[i].for_each_parameter(join_names(prefix, "block" + std::to_string(i)), visit);
    norm_.for_each_parameter(join_names(prefix, "norm"), visit);
    if (!options_.tied_output) visit(join_names(prefix, "output.weight"), output_weight_);
    visit(join_names(prefix, "output.bias"), output_bias_);
  }

 private:
  static const ReportDecoderOptions& checked(const ReportDecoderOptions& options) {
    nn::detail::check_positive("ReportDecoder", "depth", options.depth);
    return options;
  }

  template <class T>
  void check(const Inputs& in, std::string_view name, const MatrixView<T>& hidden) const {
    const nn::Sequences<Device>& sequences = in.tokens.sequences();
    require(sequences.count() == 0 || sequences.shortest().value > 0, "ReportDecoder: sequence ",
            sequences.shortest().at, " has no tokens");
    nn::detail::check_matrix("ReportDecoder", name, hidden, in.tokens.count(), width());
  }
  void check(const ContextAttention<Scalar>& attention, Index tokens,
             const nn::Sequences<Device>& contexts) const {
    require(attention.block >= -1 && attention.block < options_.depth, "ReportDecoder: there is no block ",
            attention.block, ", there are ", options_.depth);
    if (attention.weights.given())
      nn::detail::check_matrix("ReportDecoder", "attention", attention.weights, tokens,
                               contexts.longest().value);
  }

  void check(const Cache& cache) const {
    require(cache.size() == blocks_.size(), "ReportDecoder: the cache is for ", cache.size(),
            " blocks but there are ", blocks_.size());
  }

  /// The weights that block `i` is to write.
  [[nodiscard]] MatrixView<Scalar> of_block(const ContextAttention<Scalar>& attention, std::size_t i) const {
    const Index block = attention.block == -1 ? options_.depth - 1 : attention.block;
    return static_cast<Index>(i) == block ? attention.weights : MatrixView<Scalar>();
  }

  [[nodiscard]] typename nn::DecoderBlock<Scalar, Device>::Inputs inputs(const Inputs& in,
                                                                         std::size_t block) const {
    return {.x = state(block),
            .sequences = in.tokens.sequences(),
            .context = in.context,
            .contexts = in.contexts,
            .branch = in.branch};
  }
  [[nodiscard]] MatrixView<Scalar> state(std::size_t layer) const {
    return {states_[layer].data(), {states_[layer].size() / width(), width()}};
  }

  ReportDecoderOptions options_;
  nn::Embedding<Scalar, Device> embedding_;
  std::vector<nn::DecoderBlock<Scalar, Device>> blocks_;
  nn::LayerNorm<Scalar, Device> norm_;
  Parameter<Scalar, Device> output_weight_, output_bias_;
  std::vector<typename Device::template Buffer<Scalar>>
      states_;  // input of each block, and the last one's output
};

}  // namespace vlp::models
