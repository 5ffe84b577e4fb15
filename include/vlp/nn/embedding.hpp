/// \file
/// The token embedding of BERT.
#pragma once

#include <vlp/core/buffer.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/parameter.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/checks.hpp>
#include <vlp/nn/initialise.hpp>
#include <vlp/nn/layer_norm.hpp>
#include <vlp/nn/ops/gather.hpp>

#include <cstdint>
#include <span>
#include <string_view>

namespace vlp::nn {

/// Packed sequences of tokens: those of sequence s are offsets[s] to offsets[s + 1] - 1.
struct Tokens {
  std::span<const std::int32_t> ids;            ///< [T], in [0, vocabulary)
  std::span<const Index> offsets;               ///< [S + 1], from 0 to T
  std::span<const std::int32_t> type_ids = {};  ///< [T], in [0, types), or empty: all of type 0
};

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

  /// Throws std::invalid_argument for an id outside of its table or a sequence longer than there are
  /// positions.
  void check(const Tokens& tokens) const {
    const auto count = static_cast<Index>(tokens.ids.size());
    detail::check_offsets("Embedding", tokens.offsets, count);
    for (std::size_t s = 0; s + 1 < tokens.offsets.size(); ++s)
      require(tokens.offsets[s + 1] - tokens.offsets[s] <= position_.extents[0], "Embedding: sequence ", s,
              " has ", tokens.offsets[s + 1] - tokens.offsets[s], " tokens but there are ",
              position_.extents[0], " positions");
    check_ids("id", tokens.ids, word_.extents[0]);
    require(tokens.type_ids.empty() || tokens.type_ids.size() == tokens.ids.size(),
            "Embedding: ", tokens.type_ids.size(), " type ids for ", count, " tokens");
    check_ids("type id", tokens.type_ids, type_.extents[0]);
  }

  void forward(Device& device, const Tokens& tokens, MatrixView<Scalar> y) {
    check(tokens);
    detail::check_matrix("Embedding", "y", y, static_cast<Index>(tokens.ids.size()), width());
    const auto sums = sums_.reshape(y.rows(), width());
    embed_tokens<Scalar>(device, tokens.ids, tokens.type_ids, tokens.offsets, word_.matrix(),
                         position_.matrix(), type_.matrix(), sums);
    norm_.forward(device, sums, y);
  }

  void backward(Device& device, const Tokens& tokens, MatrixView<const Scalar> dy) {
    detail::check_matrix("Embedding", "dy", dy, static_cast<Index>(tokens.ids.size()), width());
    auto scope = device.scratch().scope();
    const auto d = scope.template take_view<Scalar>(dy.rows(), width());
    norm_.backward(device, MatrixView<const Scalar>(sums_.data(), {sums_.size() / width(), width()}), dy, d);
    pool_groups<Scalar>(device, d, tokens.ids, Pooling::sum, word_.gradient_matrix(), Into::add);
    add_position_sums<Scalar>(device, d, tokens.offsets, position_.gradient_matrix());
    add_type_sums<Scalar>(device, d, tokens.type_ids, type_.gradient_matrix());
  }

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    visit(join_names(prefix, "word"), word_);
    visit(join_names(prefix, "position"), position_);
    visit(join_names(prefix, "type"), type_);
    norm_.for_each_parameter(join_names(prefix, "norm"), visit);
  }

 private:
  static void check_ids(std::string_view name, std::span<const std::int32_t> ids, Index table) {
    for (std::size_t t = 0; t < ids.size(); ++t)
      require(ids[t] >= 0 && ids[t] < table, "Embedding: ", name, " ", ids[t], " of token ", t,
              " is outside of the table of ", table);
  }

  Parameter<Scalar, Device> word_, position_, type_;
  LayerNorm<Scalar, Device> norm_;
  typename Device::template Buffer<Scalar> sums_;
};

}  // namespace vlp::nn
