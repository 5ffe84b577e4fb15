/// \file
/// Trains the weights of vlp::text::PerceptronTagger.
#pragma once

#include "tagger/corpus.hpp"
#include "tagger/lexicon.hpp"
#include "tagger/packing.hpp"

#include <vlp/core/random.hpp>
#include <vlp/text/detail/packed_table.hpp>
#include <vlp/text/detail/perceptron_features.hpp>
#include <vlp/text/tagger_weights.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace tagger {

struct TrainingOptions {
  unsigned feature_bits = 14;
  unsigned word_bits = 12;
  int epochs = 6;
  /// A feature that occurs less often, over both writings of every sentence, or in fewer than min_blocks
  /// blocks, is left out.
  int min_count = 4;
  std::uint64_t seed = 1;
};

/// Averaged perceptron (Collins 2002) with greedy decoding, in integers throughout: equal to the byte
/// wherever it is compiled. Sentences are seen as written and in lower case, by turns.
class PerceptronTrainer {
 public:
  PerceptronTrainer(const Corpus& corpus, TrainingOptions options) : options_(options) {
    weights_.feature_bits = options.feature_bits;
    weights_.word_bits = options.word_bits;
    weights_.words = build_lexicon(corpus, options.word_bits);
    for (const Sentence& sentence : corpus) examples_.push_back(example_of(sentence));
  }

  /// Twice over: with all features, then with only those that fit the table, so that they learn to do without
  /// the others.
  [[nodiscard]] vlp::text::TaggerWeights train() {
    count_features();
    learn();
    std::vector<PackedEntry> entries = entries_of_features();
    keep_what_fits(entries, options_.feature_bits);
    std::fill(feature_numbers_.begin(), feature_numbers_.end(), 0);
    parameters_.assign(1, {});
    for (const PackedEntry& entry : entries) add_feature(entry.key);
    learn();
    weights_.features = pack(entries_of_features(), options_.feature_bits);
    return weights_;
  }

  [[nodiscard]] std::size_t features() const { return parameters_.size() - 1; }

 private:
  using Facts = std::vector<vlp::text::detail::perceptron::TokenFacts>;
  struct Example {
    std::array<Facts, 2> facts;  ///< as written, in lower case
    std::vector<std::uint8_t> classes;
  };
  /// The weights of a feature, and their sums over all steps until `step`.
  struct Parameter {
    std::uint32_t key = 0;
    std::uint32_t step = 0;
    std::array<std::int32_t, 4> weight{};
    std::array<std::int64_t, 4> total{};

    void advance(std::uint32_t now) {
      for (std::size_t c = 0; c < 4; ++c) total[c] += std::int64_t{now - step} * weight[c];
      step = now;
    }
  };

  Example example_of(const Sentence& sentence) const {
    const vlp::text::detail::PackedTable words(weights_.words, weights_.word_bits);
    Example example;
    for (const TaggedToken& token : sentence) {
      for (std::size_t writing = 0; writing < 2; ++writing) {
        auto facts =
            vlp::text::detail::perceptron::facts_of(writing == 0 ? token.token : lower_case(token.token));
        const std::uint32_t known = words.find(facts.word);
        facts.habit = static_cast<std::uint8_t>(known & 0xff);
        facts.certain = static_cast<std::uint8_t>(known >> 8);
        example.facts[writing].push_back(facts);
      }
      example.classes.push_back(static_cast<std::uint8_t>(class_of(token.tag).value()));
    }
    return example;
  }

  void add_feature(std::uint32_t key) {
    feature_numbers_[key] = static_cast<std::int32_t>(parameters_.size());
    parameters_.emplace_back().key = key;
  }

  /// Goes through a sentence as the tagger does: `decide(i, features)` gives the class of each token that is
  /// not certain.
  template <class Decide>
  static void walk(const Facts& facts, Decide&& decide) {
    using namespace vlp::text::detail::perceptron;
    const auto facts_at = [&](std::size_t i) { return i < facts.size() ? facts[i] : TokenFacts{}; };
    Window window{{{}, {}, {}, facts_at(0), facts_at(1)}};
    const bool capitals = std::any_of(facts.begin(), facts.end(), [](const TokenFacts& token) {
      return (token.shape & (starts_upper | more_upper)) != 0;
    });
    unsigned before = no_class, before2 = no_class;
    for (std::size_t i = 0; i < facts.size(); ++i) {
      std::move(window.begin() + 1, window.end(), window.begin());
      window.back() = facts_at(i + 2);
      const unsigned certain = facts[i].certain;
      const unsigned decided =
          certain != 0 ? certain - 1 : decide(i, features_of(window, capitals, before, before2));
      before2 = std::exchange(before, decided);
    }
  }

  void count_features() {
    std::vector<std::int32_t> counts(std::size_t{table_key(~0u, options_.feature_bits)} + 1);
    std::vector<std::uint16_t> blocks(counts.size()), last(counts.size());
    for (std::size_t number = 0; number < examples_.size(); ++number) {
      const Example& example = examples_[number];
      const auto block = static_cast<std::uint16_t>(block_of(number));
      for (const Facts& facts : example.facts)
        walk(facts, [&](std::size_t i, const auto& features) {
          for (const std::uint32_t feature : features) {
            const std::uint32_t key = table_key(feature, options_.feature_bits);
            ++counts[key];
            if (std::exchange(last[key], block) != block) ++blocks[key];
          }
          return unsigned{example.classes[i]};
        });
    }
    feature_numbers_.assign(counts.size(), 0);
    parameters_.assign(1, {});  // number 0: no such feature
    for (std::size_t key = 0; key < counts.size(); ++key)
      if (counts[key] >= options_.min_count && blocks[key] >= min_blocks)
        add_feature(static_cast<std::uint32_t>(key));
  }

  /// Makes one uncertain word in twenty a word never seen, so that endings and neighbours learn to do without
  /// it.
  static void forget_words(Facts& facts, vlp::Random& random) {
    for (auto& token : facts) {
      if (token.certain != 0 || random.below(20) != 0) continue;
      token.word = random();
      token.habit = 0;
    }
  }

  void learn() {
    step_ = 0;
    std::vector<std::uint32_t> order(examples_.size());
    std::iota(order.begin(), order.end(), 0u);
    for (int epoch = 0; epoch < options_.epochs; ++epoch) {
      vlp::Random random(options_.seed, static_cast<std::uint32_t>(epoch));
      random.shuffle(order.begin(), order.end());
      for (const std::uint32_t number : order) {
        const Example& example = examples_[number];
        Facts facts = example.facts[(number + static_cast<std::uint32_t>(epoch)) % 2];
        forget_words(facts, random);
        walk(facts, [&](std::size_t i, const auto& features) { return learn(features, example.classes[i]); });
      }
    }
    for (Parameter& parameter : parameters_) parameter.advance(step_);
  }

  /// One token: returns the class that the weights give it, then moves them if another class comes up to the
  /// true one.
  unsigned learn(const vlp::text::detail::perceptron::Features& features, unsigned truth) {
    std::array<std::int32_t, vlp::text::detail::perceptron::feature_count> numbers{};
    std::array<std::int32_t, 4> scores{};
    for (std::size_t f = 0; f < features.size(); ++f) {
      numbers[f] = feature_numbers_[table_key(features[f], options_.feature_bits)];
      const Parameter& parameter = parameters_[static_cast<std::size_t>(numbers[f])];
      for (std::size_t c = 0; c < 4; ++c) scores[c] += parameter.weight[c];
    }
    const auto best = static_cast<unsigned>(std::max_element(scores.begin(), scores.end()) - scores.begin());
    unsigned rival = truth == 0 ? 1 : 0;
    for (unsigned c = 0; c < 4; ++c)
      if (c != truth && scores[c] > scores[rival]) rival = c;
    ++step_;
    if (scores[truth] > scores[rival]) return best;
    for (const std::int32_t number : numbers) {
      if (number == 0) continue;
      Parameter& parameter = parameters_[static_cast<std::size_t>(number)];
      parameter.advance(step_);
      ++parameter.weight[truth];
      --parameter.weight[rival];
    }
    return best;
  }

  /// The features with their averaged weights against those of the class other, as seven bits each. What the
  /// unit is matters little: only sums are compared. It is chosen so that one weight in a thousand is
  /// clipped.
  [[nodiscard]] std::vector<PackedEntry> entries_of_features() const {
    const auto relative = [](const Parameter& parameter, std::size_t c) {
      return parameter.total[c] - parameter.total[static_cast<std::size_t>(WordClass::other)];
    };
    std::vector<std::int64_t> sizes;
    for (const Parameter& parameter : parameters_)
      for (std::size_t c = 0; c < 3; ++c) sizes.push_back(std::abs(relative(parameter, c)));
    const auto large = sizes.begin() + static_cast<std::ptrdiff_t>(sizes.size() - 1 - sizes.size() / 1000);
    std::nth_element(sizes.begin(), large, sizes.end());
    const std::int64_t unit = std::max<std::int64_t>(*large / 63, 1);
    std::vector<PackedEntry> entries;
    for (std::size_t number = 1; number < parameters_.size(); ++number) {
      const Parameter& parameter = parameters_[number];
      const auto [least, most] = std::minmax_element(parameter.total.begin(), parameter.total.end());
      PackedEntry entry{parameter.key, 0, *most - *least};
      for (std::size_t c = 0; c < 3; ++c) {
        const std::int64_t weight = relative(parameter, c);
        const std::int64_t rounded = (std::abs(weight) + unit / 2) / unit;
        const std::int64_t clipped = std::clamp<std::int64_t>(weight < 0 ? -rounded : rounded, -64, 63);
        entry.value |= (static_cast<std::uint32_t>(clipped) & 0x7f) << (7 * c);
      }
      if (entry.value != 0) entries.push_back(entry);
    }
    return entries;
  }

  TrainingOptions options_;
  vlp::text::TaggerWeights weights_;
  std::vector<Example> examples_;
  std::vector<std::int32_t> feature_numbers_;  ///< by key; 0 where there is no feature
  std::vector<Parameter> parameters_;          ///< by number
  std::uint32_t step_ = 0;
};

}  // namespace tagger
