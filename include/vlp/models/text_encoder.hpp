/// \file
/// The text encoder: BERT.
#pragma once

#include <vlp/core/buffer.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/checks.hpp>
#include <vlp/nn/embedding.hpp>
#include <vlp/nn/ops/operations.hpp>
#include <vlp/nn/tokens.hpp>
#include <vlp/nn/transformer_block.hpp>
#include <vlp/nn/types.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace vlp::models {

struct TextEncoderOptions {
  Index vocabulary = 0;
  Index positions = 128;  ///< the longest sequence
  Index types = 2;
  Index width = 128;
  Index depth = 2;  ///< transformer blocks
  Index heads = 4;
  Index hidden = 0;  ///< of the feed-forward layers; 0 = 4 width
  /// Number of layers whose outputs make the word-piece features, counted from the last; depth + 1 takes in
  /// the embedding, which tells the word itself, whatever stands around it.
  Index last_layers = 2;
  nn::Pooling layer_pooling = nn::Pooling::sum;  ///< whether those are added up or averaged
  nn::GeluForm gelu = nn::GeluForm::tanh;        ///< BERT's own weights need erf
  double epsilon = 1e-12;                        ///< of the norms
};

/// Packed sequences of word pieces, each starting with [CLS], to a feature [S, width] of each sequence, the
/// last block's output at [CLS], and word-piece features [T, width], the sum (or mean) of the outputs of the
/// last `last_layers` layers. Embedding and post-norm transformer blocks in the layout of BERT (Devlin et
/// al., 2019).
template <class Scalar, class Device = Cpu>
class TextEncoder {
 public:
  TextEncoder(const TextEncoderOptions& options, Random random)
      : options_(checked(options)),
        embedding_({options.vocabulary, options.positions, options.types, options.width, options.epsilon},
                   random),
        states_(static_cast<std::size_t>(options.depth) + 1) {
    blocks_.reserve(static_cast<std::size_t>(options.depth));
    for (Index i = 0; i < options.depth; ++i)
      blocks_.emplace_back(nn::TransformerBlockOptions{.width = options.width,
                                                       .heads = options.heads,
                                                       .hidden = options.hidden,
                                                       .norm = nn::NormPlace::after,
                                                       .gelu = options.gelu,
                                                       .epsilon = options.epsilon},
                           random);
  }

  [[nodiscard]] const TextEncoderOptions& options() const { return options_; }
  [[nodiscard]] Index width() const { return options_.width; }

  /// Either result is skipped when its view is not given. Throws std::invalid_argument for an id outside of
  /// the vocabulary and for an empty or too long sequence.
  void forward(Device& device, const nn::Tokens<Device>& tokens, MatrixView<Scalar> cls,
               MatrixView<Scalar> pieces) {
    embedding_.check(tokens);
    check(tokens, cls, pieces);
    for (auto& state : states_) state.resize(tokens.count() * width());
    embedding_.forward(device, tokens, state(0));
    for (std::size_t i = 0; i < blocks_.size(); ++i)
      blocks_[i].forward(device, state(i), tokens.sequences(), state(i + 1));
    if (cls.given())
      gather_rows<Scalar>(device, state(blocks_.size()), tokens.sequences().first_tokens(), cls);
    if (!pieces.given()) return;
    assign_scaled<Scalar>(device, layer_weight(), state(blocks_.size()), pieces);
    for (std::size_t i = blocks_.size(); i-- > first_pooled();)
      add_scaled<Scalar>(device, layer_weight(), state(i), pieces);
  }

  /// From the gradients by the results (either may be left out) to those of the parameters.
  void backward(Device& device, const nn::Tokens<Device>& tokens, MatrixView<const Scalar> d_cls,
                MatrixView<const Scalar> d_pieces) {
    check(tokens, d_cls, d_pieces);
    const auto count = tokens.count();
    require(states_[0].size() == count * width(), "TextEncoder: ", count,
            " tokens in backward but there were ", states_[0].size() / width(), " in forward");
    auto scope = device.scratch().scope();
    const auto d = scope.template take_view<Scalar>(count, width());
    fill(device, d.data(), d.size(), Scalar(0));
    if (d_cls.given()) gather_rows_gradient<Scalar>(device, d_cls, tokens.sequences().first_tokens(), d);
    for (std::size_t i = blocks_.size(); i > 0; --i) {
      if (d_pieces.given() && i >= first_pooled()) add_scaled<Scalar>(device, layer_weight(), d_pieces, d);
      blocks_[i - 1].backward(device, state(i - 1), tokens.sequences(), d, d);
    }
    if (d_pieces.given() && first_pooled() == 0) add_scaled<Scalar>(device, layer_weight(), d_pieces, d);
    embedding_.backward(device, tokens, d);
  }

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    embedding_.for_each_parameter(join_names(prefix, "embedding"), visit);
    for (std::size_t i = 0; i < blocks_.size(); ++i)
      blocks_[i].for_each_parameter(join_names(prefix, "block" + std::to_string(i)), visit);
  }

 private:
  static const TextEncoderOptions& checked(const TextEncoderOptions& options) {
    nn::detail::check_positive("TextEncoder", "depth", options.depth);
    require(options.last_layers >= 1 && options.last_layers <= options.depth + 1,
            "TextEncoder: last_layers is ", options.last_layers, " but must be from 1 to the depth + 1, ",
            options.depth + 1);
    return options;
  }

  template <class T>
  void check(const nn::Tokens<Device>& tokens, const MatrixView<T>& cls, const MatrixView<T>& pieces) const {
    const nn::Sequences<Device>& sequences = tokens.sequences();
    require(sequences.count() == 0 || sequences.shortest().value > 0, "TextEncoder: sequence ",
            sequences.shortest().at, " has no tokens");
    if (cls.given()) nn::detail::check_matrix("TextEncoder", "cls", cls, sequences.count(), width());
    if (pieces.given()) nn::detail::check_matrix("TextEncoder", "pieces", pieces, tokens.count(), width());
  }

  /// The first of states_ that is part of the word-piece features.
  [[nodiscard]] std::size_t first_pooled() const {
    return static_cast<std::size_t>(options_.depth - options_.last_layers + 1);
  }
  [[nodiscard]] Scalar layer_weight() const {
    return options_.layer_pooling == nn::Pooling::sum ? Scalar(1)
                                                      : Scalar(1) / static_cast<Scalar>(options_.last_layers);
  }
  [[nodiscard]] MatrixView<Scalar> state(std::size_t layer) const {
    return {states_[layer].data(), {states_[layer].size() / width(), width()}};
  }

  TextEncoderOptions options_;
  nn::Embedding<Scalar, Device> embedding_;
  std::vector<nn::TransformerBlock<Scalar, Device>> blocks_;
  std::vector<typename Device::template Buffer<Scalar>>
      states_;  // input of each block, and the last one's output
};

}  // namespace vlp::models
