/// \file
/// Texts that a report decoder writes one token at a time.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/view.hpp>
#include <vlp/models/report_decoder.hpp>
#include <vlp/models/token_model.hpp>
#include <vlp/nn/checks.hpp>
#include <vlp/nn/ops/operations.hpp>
#include <vlp/nn/sequences.hpp>
#include <vlp/nn/tokens.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::models {

/// Texts that a ReportDecoder writes one token at a time without computing earlier ones again: the logits
/// that ReportDecoder::forward and logits give for the last tokens of the whole texts, up to rounding. A
/// TokenModel.
///
/// Keys and values of each token are computed once, also where several texts begin with it, and those of a
/// context once for all of its texts. A text is a list of cached rows, so texts that fork, end or change
/// places move no keys and values. A step computes what one token of each text takes, and attention to what
/// is written. The cache holds 2 width numbers for each token and block.
///
/// The decoder must outlive it and keep its weights from begin() to the last next(). A backward pass of the
/// decoder needs a new forward pass after these.
template <class Scalar, class Device = Cpu>
class ReportDecoding {
 public:
  explicit ReportDecoding(ReportDecoder<Scalar, Device>& decoder)
      : decoder_(&decoder), cache_(decoder.make_cache()) {}

  [[nodiscard]] Index vocabulary() const { return decoder_->options().vocabulary; }
  [[nodiscard]] Index positions() const { return decoder_->options().positions; }
  /// Number of texts after the last step, and of tokens that each of them has.
  [[nodiscard]] Index texts() const noexcept { return static_cast<Index>(texts_.size()); }
  [[nodiscard]] Index length() const noexcept { return length_; }
  /// Number of tokens whose keys and values are cached: all that were written since begin(), each once
  /// however many texts have it.
  [[nodiscard]] Index cached_tokens() const noexcept { return written_; }

  /// Forgets all texts and takes over the contexts [Tc, context width] of new ones, which the given branch
  /// reads. Neither is needed after the call. Throws std::invalid_argument for a context that does not fit
  /// its sequences or the decoder, and a branch that there is not; then nothing has changed.
  void begin(Device& device, MatrixView<const Scalar> context, const nn::Sequences<Device>& contexts,
             Index branch = 0) {
    nn::detail::check_columns(name, "the context", context, decoder_->context_width());
    nn::detail::check_tokens(name, "the context", contexts, context.rows());
    require(branch >= 0 && branch < decoder_->branches(), name, ": there is no branch ", branch,
            ", there are ", decoder_->branches());
    is_begun_ = false;
    contexts_.assign(device, contexts.host_offsets());
    decoder_->begin(device, context, branch, cache_);
    texts_.clear();
    length_ = written_ = 0;
    is_begun_ = true;
  }

  /// The next tokens; see TokenModel. `attention`, if its weights are given, gets those of the new tokens
  /// [texts, longest context].
  MatrixView<const Scalar> next(Device& device, std::span<const Index> parents,
                                std::span<const std::int32_t> tokens,
                                const ContextAttention<Scalar>& attention = {}) {
    check(parents, tokens, attention);
    const Index count = static_cast<Index>(parents.size());
    arrange(device, parents, tokens);
    auto scope = device.scratch().scope();
    const auto hidden = scope.template take_view<Scalar>(count, decoder_->width());
    const auto weights = attention.weights.given()
                             ? scope.template take_view<Scalar>(count, contexts_.longest().value)
                             : MatrixView<Scalar>();
    decoder_->step(device,
                   {.tokens = tokens_,
                    .rows = MatrixView<const Index>(device_rows_.data(), {count, length_ + 1}),
                    .written = written_,
                    .of_contexts = of_contexts_,
                    .contexts = contexts_},
                   cache_, hidden, {.weights = weights, .block = attention.block});
    // The step had the texts of each context side by side; the caller gets them as they were asked for.
    const VectorView<const Index> places(device_places_.data(), {count});
    const auto ordered = scope.template take_view<Scalar>(count, decoder_->width());
    gather_rows<Scalar>(device, hidden, places, ordered);
    if (weights.given()) gather_rows<Scalar>(device, weights, places, attention.weights);
    const auto logits = logits_.reshape(count, vocabulary());
    decoder_->logits(device, ordered, logits);
    std::swap(texts_, next_texts_);
    std::swap(rows_, next_rows_);
    written_ += count;
    ++length_;
    return logits;
  }

 private:
  static constexpr std::string_view name = "ReportDecoding";

  /// A text as the caller numbers it.
  struct Text {
    Index context;  // that it has
    Index place;    // among the texts in the order of their contexts
  };

  void check(std::span<const Index> parents, std::span<const std::int32_t> tokens,
             const ContextAttention<Scalar>& attention) const {
    require(is_begun_, name, ": there are no contexts yet; call begin before next");
    require(!parents.empty() && parents.size() == tokens.size(), name, ": there are ", parents.size(),
            " parents and ", tokens.size(), " tokens; there must be as many, and at least one");
    require(length_ < positions(), name, ": the texts have ", length_,
            " tokens, as many as the decoder has positions");
    const Index most = length_ == 0 ? contexts_.count() : texts();
    for (std::size_t i = 0; i < parents.size(); ++i) {
      require(parents[i] >= 0 && parents[i] < most, name, ": ", length_ == 0 ? "context " : "parent ",
              parents[i], " of text ", i, " is not one of the ", most);
      require(tokens[i] >= 0 && tokens[i] < vocabulary(), name, ": token ", tokens[i], " of text ", i,
              " is not in the vocabulary of ", vocabulary());
      if (length_ > 0) continue;
      const auto offsets = contexts_.host_offsets().subspan(static_cast<std::size_t>(parents[i]), 2);
      require(offsets[0] < offsets[1], name, ": context ", parents[i], " of text ", i, " is empty");
    }
    if (attention.weights.given())
      nn::detail::check_matrix(name, "attention", attention.weights, static_cast<Index>(parents.size()),
                               contexts_.longest().value);
  }

  /// Lays out the step: the texts in the order of their contexts, the new tokens, and the cached rows of each
  /// text, the last of which is the one that the step writes.
  void arrange(Device& device, std::span<const Index> parents, std::span<const std::int32_t> tokens) {
    const auto at = [](Index i) { return static_cast<std::size_t>(i); };
    const std::size_t count = parents.size();
    next_texts_.resize(count);
    starts_.assign(at(contexts_.count()) + 1, 0);
    for (std::size_t i = 0; i < count; ++i) {
      next_texts_[i].context = length_ == 0 ? parents[i] : texts_[at(parents[i])].context;
      ++starts_[at(next_texts_[i].context) + 1];
    }
    for (std::size_t c = 1; c < starts_.size(); ++c) starts_[c] += starts_[c - 1];
    of_contexts_.assign(device, starts_);

    const std::size_t length = at(length_);
    places_.resize(count);
    ids_.resize(count);
    next_rows_.resize(count * (length + 1));
    for (std::size_t i = 0; i < count; ++i) {
      const Index place = next_texts_[i].place = places_[i] = starts_[at(next_texts_[i].context)]++;
      ids_[at(place)] = tokens[i];
      auto row = next_rows_.begin() + static_cast<std::ptrdiff_t>(at(place) * (length + 1));
      if (length > 0) {
        const auto before =
            rows_.begin() + static_cast<std::ptrdiff_t>(at(texts_[at(parents[i])].place) * length);
        row = std::copy_n(before, length, row);
      }
      *row = written_ + place;
    }
    ones_.resize(count + 1);
    for (std::size_t i = 0; i <= count; ++i) ones_[i] = static_cast<Index>(i);
    tokens_.assign(device, ids_, ones_);
    upload(device, std::span<const Index>(next_rows_),
           device_rows_.resize(static_cast<Index>(next_rows_.size())));
    upload(device, std::span<const Index>(places_), device_places_.resize(static_cast<Index>(count)));
  }

  ReportDecoder<Scalar, Device>* decoder_;
  typename ReportDecoder<Scalar, Device>::Cache cache_;
  nn::Sequences<Device> contexts_;
  bool is_begun_ = false;
  Index length_ = 0, written_ = 0;  // tokens of each text, and all cached rows
  // The texts of the last step. Those of the step at work are built in next_..., and take their place when it
  // is done.
  std::vector<Text> texts_, next_texts_;
  std::vector<Index> rows_, next_rows_;  // [texts, length], by place
  // Scratch memory of one step.
  std::vector<Index> starts_, places_, ones_;
  std::vector<std::int32_t> ids_;
  nn::Sequences<Device> of_contexts_;  // the texts of each context
  nn::Tokens<Device> tokens_;
  typename Device::template Buffer<Index> device_rows_, device_places_;
  typename Device::template Buffer<Scalar> logits_;
};

static_assert(TokenModel<ReportDecoding<float>, float, Cpu>);

}  // namespace vlp::models
