/// \file
/// The trained tagger: an averaged perceptron over words, their endings and their neighbours.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/text/detail/packed_table.hpp>
#include <vlp/text/detail/perceptron_features.hpp>
#include <vlp/text/span.hpp>
#include <vlp/text/tagger.hpp>
#include <vlp/text/tagger_weights.hpp>
#include <vlp/text/word_class.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

namespace vlp::text {

/// Tags from left to right. A frequent word that only ever has one class gets it at once; for any other, the
/// weights of some thirty features are summed, and the class with the largest sum wins (Collins,
/// "Discriminative Training Methods for Hidden Markov Models", EMNLP 2002, decoded greedily). Sums are of
/// integers, so the result is the same on every platform. Copies share the weights; `tag` allocates nothing.
class PerceptronTagger {
 public:
  /// With the weights that come with vlp.
  PerceptronTagger() : PerceptronTagger(TaggerWeights::shipped()) {}

  /// With other weights, of the sizes that TaggerWeights states (otherwise throws std::invalid_argument):
  /// `PerceptronTagger(TaggerWeights::parse(io::read_file(path)))`.
  explicit PerceptronTagger(TaggerWeights weights)
      : PerceptronTagger(std::make_shared<const TaggerWeights>(std::move(weights))) {}
  explicit PerceptronTagger(std::shared_ptr<const TaggerWeights> weights) : weights_(std::move(weights)) {
    require(weights_ != nullptr, "perceptron tagger: weights are missing");
    check("features", weights_->features.size(), weights_->feature_bits);
    check("words", weights_->words.size(), weights_->word_bits);
  }

  /// Writes the class of each of the `tokens` of one sentence of `report` to `classes`, of the same size.
  void tag(std::string_view report, std::span<const Span> tokens, std::span<WordClass> classes) const {
    namespace perceptron = detail::perceptron;
    const detail::PackedTable words(weights_->words, weights_->word_bits);
    const auto facts_at = [&](std::size_t i) {
      return i < tokens.size() ? known_facts(words, slice(report, tokens[i])) : perceptron::TokenFacts{};
    };
    perceptron::Window window{{{}, {}, {}, facts_at(0), facts_at(1)}};
    const bool capitals = std::any_of(tokens.begin(), tokens.end(), [&](Span token) {
      const std::string_view text = slice(report, token);
      return std::any_of(text.begin(), text.end(), detail::is_ascii_upper);
    });
    unsigned before = perceptron::no_class, before2 = perceptron::no_class;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      std::move(window.begin() + 1, window.end(), window.begin());
      window.back() = facts_at(i + 2);
      const unsigned certain = window[2].certain;
      const unsigned decided = certain != 0 ? certain - 1 : decide(window, capitals, before, before2);
      classes[i] = static_cast<WordClass>(decided);
      before2 = std::exchange(before, decided);
    }
  }

 private:
  static void check(std::string_view table, std::size_t slots, unsigned bits) {
    require(bits <= TaggerWeights::max_bits && slots == detail::packed_bucket_slots << bits,
            "perceptron tagger: ", table, " has ", slots, " slots where 8 * 2^", bits, " are stated");
  }

  static detail::perceptron::TokenFacts known_facts(const detail::PackedTable& words,
                                                    std::string_view token) {
    detail::perceptron::TokenFacts facts = detail::perceptron::facts_of(token);
    const std::uint32_t known = words.find(facts.word);
    facts.habit = static_cast<std::uint8_t>(known & 0xff);
    facts.certain = static_cast<std::uint8_t>(known >> 8);
    return facts;
  }

  [[nodiscard]] unsigned decide(const detail::perceptron::Window& window, bool capitals, unsigned before,
                                unsigned before2) const {
    const detail::PackedTable table(weights_->features, weights_->feature_bits);
    std::array<std::int32_t, 4> scores{};  // in the order of WordClass; other stays 0
    for (const std::uint32_t feature : detail::perceptron::features_of(window, capitals, before, before2)) {
      const std::uint32_t weights = table.find(feature);
      scores[0] += static_cast<std::int32_t>(weights << 25) >> 25;
      scores[1] += static_cast<std::int32_t>(weights << 18) >> 25;
      scores[2] += static_cast<std::int32_t>(weights << 11) >> 25;
    }
    return static_cast<unsigned>(std::max_element(scores.begin(), scores.end()) - scores.begin());
  }

  std::shared_ptr<const TaggerWeights> weights_;
};
static_assert(Tagger<PerceptronTagger>);

}  // namespace vlp::text
