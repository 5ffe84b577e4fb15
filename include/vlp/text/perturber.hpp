/// \file
/// Perturbs reports: the same words in an order that no longer says what the image shows.
#pragma once

#include <vlp/core/enum_names.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/random.hpp>
#include <vlp/text/antonyms.hpp>
#include <vlp/text/detail/arrangements.hpp>
#include <vlp/text/detail/join_words.hpp>
#include <vlp/text/perturbation.hpp>
#include <vlp/text/span.hpp>
#include <vlp/text/word_class.hpp>
#include <vlp/text/words.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::text {

/// The unit within which words move: the whole report (as published), or each of its sentences.
enum class PerturbationScope { report, sentence };

struct PerturberOptions {
  std::uint64_t seed = 0;
  PerturbationScope scope = PerturbationScope::report;
};

/// A perturbed report. As many words as the original; filling it again allocates nothing once it has grown.
struct PerturbedReport {
  bool changed = false;              ///< whether `text` differs from the original's
  std::string text;                  ///< the words, one space between two
  std::vector<Span> spans;           ///< the bytes of each word in `text`
  std::vector<std::uint32_t> order;  ///< order[i]: the index, in the original, of the word at position i

  [[nodiscard]] std::size_t size() const noexcept { return spans.size(); }
  [[nodiscard]] std::string_view operator[](std::size_t i) const { return slice(text, spans[i]); }
};

/// A report in the course of a perturbation, as the caller's own perturbation sees and changes it.
struct Draft {
  std::vector<std::uint32_t> order;  ///< which original word stands at each position; at first the identity
  std::vector<std::string_view> replacements;  ///< what replaces the original word i (punctuation at its ends
                                               ///< stays); empty: nothing

  void reset(std::size_t words) {
    order.resize(words);
    std::iota(order.begin(), order.end(), 0u);
    replacements.assign(words, {});
  }
};

/// The caller's own perturbation: `own(words, range, random, draft)` rearranges draft.order within the
/// positions `range`, or sets draft.replacements. It is called for the whole report, or once a sentence.
template <class F>
concept OwnPerturbation = std::invocable<F&, const Words&, Span, Random&, Draft&>;

/// Draws perturbations of reports. Each depends on nothing but (seed, perturbation, epoch, report index), the
/// words and the antonyms: it is the same on every platform and thread. Keeps scratch memory, so each thread
/// needs a perturber of its own.
///
/// Perturbations 1 to 7 and 9 keep the words; 1, 2 and 7 move only words of their classes; 8 changes
/// adjectives only. The result differs from the original whenever the perturbation has an arrangement that
/// does: equal draws are drawn again, each at most half of all draws. Otherwise `changed` is false.
template <AntonymSource Antonyms = AntonymTable>
class Perturber {
 public:
  explicit Perturber(PerturberOptions options = {}) requires std::same_as<Antonyms, AntonymTable>
      : Perturber(options, radiology_antonyms()) {}
  Perturber(PerturberOptions options, Antonyms antonyms)
      : options_(options), antonyms_(std::move(antonyms)) {}

  /// Writes the draw of `perturbation` for the report `report_index` in `epoch` to `out`. Words read without
  /// classes serve the perturbations that ask for none (needs_word_classes); the others throw
  /// std::invalid_argument for them.
  void operator()(const Words& words, Perturbation perturbation, std::uint32_t epoch,
                  std::uint32_t report_index, PerturbedReport& out) {
    require(number(perturbation) >= 1 && number(perturbation) <= 9, "perturbation: number ",
            number(perturbation), " is not within 1 to 9");
    if (needs_word_classes(perturbation) || !words.classes.empty()) check_classes(words);
    draw_ranges(words, number(perturbation), epoch, report_index,
                [&](Span range, Random& random) { draw(words, perturbation, range, random); });
    compose(words, out);
  }

  /// Does the same with the caller's own perturbation, drawn from the stream `own_number`, 10 or more. Throws
  /// std::invalid_argument if words have no classes, or if it leaves an order that is not one word index for
  /// each word, or a replacement with white space.
  template <OwnPerturbation F>
  void operator()(const Words& words, F&& own, std::uint32_t own_number, std::uint32_t epoch,
                  std::uint32_t report_index, PerturbedReport& out) {
    require(own_number >= 10, "perturbation: numbers below 10 belong to the built-in ones, but ", own_number,
            " was given");
    check_classes(words);
    draw_ranges(words, own_number, epoch, report_index,
                [&](Span range, Random& random) { own(words, range, random, draft_); });
    check_draft(words);
    compose(words, out);
  }

 private:
  static void check_classes(const Words& words) {
    require(words.classes.size() == words.size(), "perturbation: ", words.classes.size(), " classes for ",
            words.size(), " words");
  }

  template <class Draw>
  void draw_ranges(const Words& words, std::uint32_t stream, std::uint32_t epoch, std::uint32_t report_index,
                   Draw draw_range) {
    draft_.reset(words.size());
    Random random(options_.seed, stream, epoch, report_index);
    if (options_.scope == PerturbationScope::sentence) {
      for (const Span sentence : words.sentences) draw_range(sentence, random);
    } else if (!words.empty()) {
      draw_range({0, static_cast<std::uint32_t>(words.size())}, random);
    }
  }

  void draw(const Words& words, Perturbation perturbation, Span range, Random& random) {
    const auto is = [&](WordClass word_class) {
      return [&words, word_class](std::uint32_t i) { return words.classes[i] == word_class; };
    };
    const auto is_content = [&](std::uint32_t i) {
      return words.classes[i] == WordClass::noun || words.classes[i] == WordClass::adjective;
    };
    detail::Arranger arranger(words, range, random, draft_.order, positions_);
    switch (perturbation) {
      case Perturbation::shuffle_nouns_and_adjectives:
        arranger.shuffle_sets(is(WordClass::noun), is(WordClass::adjective));
        break;
      case Perturbation::shuffle_all_but_nouns_and_adjectives:
        arranger.shuffle_sets([&](std::uint32_t i) { return !is_content(i); });
        break;
      case Perturbation::shuffle_within_trigrams:
        arranger.shuffle_within_trigrams();
        break;
      case Perturbation::shuffle_trigrams:
        arranger.shuffle_trigrams();
        break;
      case Perturbation::shuffle_all_words:
        arranger.shuffle_sets([](std::uint32_t) { return true; });
        break;
      case Perturbation::reverse_sentence:
        arranger.reverse();
        break;
      case Perturbation::shuffle_nouns_verbs_and_adjectives:
        arranger.shuffle_sets([&](std::uint32_t i) { return words.classes[i] != WordClass::other; });
        break;
      case Perturbation::replace_adjectives_with_antonyms:
        replace_adjectives(words, range, random);
        break;
      case Perturbation::swap_adjacent_words:
        arranger.swap_adjacent();
        break;
    }
  }

  void replace_adjectives(const Words& words, Span range, Random& random) {
    for (std::uint32_t i = range.begin; i < range.end; ++i) {
      if (words.classes[i] != WordClass::adjective) continue;
      const std::string_view bare = slice(words[i], detail::without_punctuation(words[i]));
      const std::span<const std::string_view> choices = antonyms_.antonyms(bare);
      if (choices.empty()) continue;
      const std::string_view choice = choices[random.below(static_cast<std::uint32_t>(choices.size()))];
      if (choice != bare) draft_.replacements[i] = choice;
    }
  }

  /// Checks the draft that the caller's own perturbation left.
  void check_draft(const Words& words) const {
    require(draft_.order.size() == words.size() && draft_.replacements.size() == words.size(),
            "perturbation: an order of ", draft_.order.size(), " words for a report of ", words.size());
    for (const std::uint32_t i : draft_.order)
      require(i < words.size(), "perturbation: word ", i, " of a report of ", words.size());
    for (const std::string_view replacement : draft_.replacements)
      require(replacement.find_first_of(" \t\n\v\f\r") == std::string_view::npos, "perturbation: \"",
              replacement, "\" is not one word");
  }

  void compose(const Words& words, PerturbedReport& out) const {
    out.order.assign(draft_.order.begin(), draft_.order.end());
    const bool replaces = std::any_of(draft_.replacements.begin(), draft_.replacements.end(),
                                      [](std::string_view replacement) { return !replacement.empty(); });
    if (replaces)
      compose_with_replacements(words, out);
    else
      detail::join_words(words.text, words.spans, draft_.order, out.text, out.spans);
    out.changed = out.text != words.text;
  }

  void compose_with_replacements(const Words& words, PerturbedReport& out) const {
    out.text.clear();
    out.spans.clear();
    for (const std::uint32_t i : draft_.order) {
      if (!out.spans.empty()) out.text.push_back(' ');
      const auto begin = static_cast<std::uint32_t>(out.text.size());
      const std::string_view word = words[i];
      if (draft_.replacements[i].empty()) {
        out.text.append(word);
      } else {
        const Span bare = detail::without_punctuation(word);
        out.text.append(word.substr(0, bare.begin))
            .append(draft_.replacements[i])
            .append(word.substr(bare.end));
      }
      out.spans.push_back({begin, static_cast<std::uint32_t>(out.text.size())});
    }
  }

  PerturberOptions options_;
  Antonyms antonyms_;
  Draft draft_;
  std::vector<std::uint32_t> positions_;
};

}  // namespace vlp::text

namespace vlp {
template <>
inline constexpr std::array<std::string_view, 2> enum_names<text::PerturbationScope>{"report", "sentence"};
}  // namespace vlp
