/// \file
/// The token embedding of BERT.
#pragma once

#include <vlp/core/buffer.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/checks.hpp>
#include <vlp/nn/initialise.hpp>
#include <vlp/nn/layer_norm.hpp>
#include <vlp/nn/ops/operations.hpp>
#include <vlp/nn/tokens.hpp>
#include <vlp/nn/types.hpp>

#include <string_view>

namespace vlp::nn {

struct EmbeddingOptions {
  Index vocabulary = 0;
  Index positions = 128;  ///< the longest sequence
  Index types = 2;
  Index width = 128;
  double epsilon = 1e-12;  ///< of the norm
};

/// y[t] = norm(word[id] + position[place in its sequence] + type[type id]), [T, width] (Devlin et al.,
/// "BERT", 2019). Keeps the sums [T, width].
template <class Scalar, class Device = Cpu>
class Embedding {
 public:
  Embedding(const EmbeddingOptions& options, Random& random) : norm_(options.width, options.epsilon) {
    detail::check_positive("Embedding", "vocabulary", options.vocabulary);
    detail::check_positive("Embedding", "positions", options.positions);
    detail::check_positive("Embedding", "types", options.types);
    word_ = Parameter<Scalar, Device>({options.vocabulary, options.width}, WeightDecay::yes);
    position_ = Parameter<Scalar, Device>({options.positions, options.width});
    type_ = Parameter<Scalar, Device>({options.types, options.width});
    for (auto* table : {&word_, &position_, &type_}) initialise_truncated_normal(*table, 0.02f, random);
  }

  [[nodiscard]] Index width() const { return norm_.width(); }
  /// The table of words [V, width], for output layers that are tied to it.
  [[nodiscard]] Parameter<Scalar, Device>& word() { return word_; }

  /// Throws std::invalid_argument for an id outside of its table or a sequence longer than there are
  /// positions. `written` tokens of each sequence come before those that are given.
  void check(const Tokens<Device>& tokens, Index written = 0) const {
    const Extreme longest = tokens.sequences().longest();
    require(written >= 0 && longest.value <= position_.extents()[0] - written, "Embedding: sequence ",
            longest.at, " has ", written + longest.value, " tokens but there are ", position_.extents()[0],
            " positions");
    if (tokens.count() == 0) return;
    check_id("id", tokens.smallest_id(), word_.extents()[0]);
    check_id("id", tokens.largest_id(), word_.extents()[0]);
    check_id("type id", tokens.smallest_type_id(), type_.extents()[0]);
    check_id("type id", tokens.largest_type_id(), type_.extents()[0]);
  }

  /// Where `written` tokens come before those of each sequence, backward does not follow.
  void forward(Device& device, const Tokens<Device>& tokens, MatrixView<Scalar> y, Index written = 0) {
    check(tokens, written);
    detail::check_matrix("Embedding", "y", y, tokens.count(), width());
    const auto sums = sums_.reshape(y.rows(), width());
    const auto positions = position_.matrix();
    embed_tokens<Scalar>(
        device, EmbedTokens<Scalar>{.ids = tokens.ids(),
                                    .type_ids = tokens.type_ids(),
                                    .sequences = tokens.sequences().view(),
                                    .words = word_.matrix(),
                                    .positions = positions.slice(written, positions.rows() - written),
                                    .types = type_.matrix(),
                                    .out = sums});
    norm_.forward(device, sums, y);
  }

  void backward(Device& device, const Tokens<Device>& tokens, MatrixView<const Scalar> d_y) {
    detail::check_matrix("Embedding", "d_y", d_y, tokens.count(), width());
    auto scope = device.scratch().scope();
    const auto d = scope.template take_view<Scalar>(d_y.rows(), width());
    norm_.backward(device, MatrixView<const Scalar>(sums_.data(), {sums_.size() / width(), width()}), d_y, d);
    pool_groups<Scalar>(device, d, tokens.ids(), Pooling::sum, word_.gradient_matrix(), Into::add);
    add_position_sums<Scalar>(device, d, tokens.sequences().view(), position_.gradient_matrix());
    add_type_sums<Scalar>(device, d, tokens.type_ids(), type_.gradient_matrix());
  }

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    visit(join_names(prefix, "word"), word_);
    visit(join_names(prefix, "position"), position_);
    visit(join_names(prefix, "type"), type_);
    norm_.for_each_parameter(join_names(prefix, "norm"), visit);
  }

 private:
  static void check_id(std::string_view name, const Extreme& id, Index table) {
    require(id.value >= 0 && id.value < table, "Embedding: ", name, " ", id.value, " of token ", id.at,
            " is outside of the table of ", table);
  }

  Parameter<Scalar, Device> word_, position_, type_;
  LayerNorm<Scalar, Device> norm_;
  typename Device::template Buffer<Scalar> sums_;
};

}  // namespace vlp::nn
