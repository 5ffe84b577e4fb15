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

/// Packed sequences of tokens, each beginning with the token that begins all, and a context for each, to a
/// feature of each token, from which output_weight() and output_bias() make the logits of the token after it:
///
///   hidden = norm(blocks(embedding(tokens), context)),  logits = hidden W^T + b
///
/// with nn::Embedding and blocks as in nn::DecoderBlock, whose branches read contexts of different kinds with
/// the same weights but for their attention to the context. A token's feature depends on the tokens up to
/// itself alone.
template <class Scalar, class Device = Cpu>
class ReportDecoder {
 public:
  struct Inputs {
    const nn::Tokens<Device>& tokens;       ///< T tokens in S sequences
    MatrixView<const Scalar> context;       ///< [Tc, context width]
    const nn::Sequences<Device>& contexts;  ///< of the context, S
    Index branch = 0;                       ///< which reads it
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

  /// W [V, width] and b [V] of the logits. Gradients of a loss by them are added to their gradients by
  /// whoever computes that loss.
  [[nodiscard]] Parameter<Scalar, Device>& output_weight() {
    return options_.tied_output ? embedding_.word() : output_weight_;
  }
  [[nodiscard]] Parameter<Scalar, Device>& output_bias() { return output_bias_; }

  /// hidden [T, width]. Throws std::invalid_argument for an id outside of the vocabulary, an empty or too
  /// long sequence and a sequence without a context.
  void forward(Device& device, const Inputs& in, MatrixView<Scalar> hidden) {
    check(in, hidden);
    for (auto& state : states_) state.resize(in.tokens.count() * width());
    embedding_.forward(device, in.tokens, state(0));
    for (std::size_t i = 0; i < blocks_.size(); ++i) blocks_[i].forward(device, inputs(in, i), state(i + 1));
    norm_.forward(device, state(blocks_.size()), hidden);
  }

  /// logits [T, V] of hidden features [T, width].
  void logits(Device& device, MatrixView<const Scalar> hidden, MatrixView<Scalar> out) {
    nn::detail::check_columns("ReportDecoder", "hidden", hidden, width());
    nn::detail::check_matrix("ReportDecoder", "logits", out, hidden.rows(), options_.vocabulary);
    broadcast_bias<Scalar>(device, output_bias_.value().data(), MatrixView<const Scalar>(), out);
    matmul<Scalar>(device, hidden, Op::none, output_weight().matrix(), Op::transpose, out, Scalar(1),
                   Scalar(1));
  }

  /// From the gradient by `hidden` of the last forward, whose inputs were `in`, to those of the parameters
  /// and, added to it where it is given, by the context [Tc, context width].
  void backward(Device& device, const Inputs& in, MatrixView<const Scalar> d_hidden,
                MatrixView<Scalar> d_context = {}) {
    check(in, d_hidden);
    require(states_[0].size() == in.tokens.count() * width(), "ReportDecoder: ", in.tokens.count(),
            " tokens in backward but there were ", states_[0].size() / width(), " in forward");
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
  void check(const Inputs& in, const MatrixView<T>& hidden) const {
    const nn::Sequences<Device>& sequences = in.tokens.sequences();
    require(sequences.count() == 0 || sequences.shortest().value > 0, "ReportDecoder: sequence ",
            sequences.shortest().at, " has no tokens");
    nn::detail::check_matrix("ReportDecoder", "hidden", hidden, in.tokens.count(), width());
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
