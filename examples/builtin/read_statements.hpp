/// \file
/// Reads what a text states of a chest: the reports of built-in studies, and whatever a model writes after
/// their like.
#pragma once

#include "builtin/detail/sentences.hpp"
#include "builtin/statement.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::builtin {

namespace detail {

/// Meaning of a word: a finding of some kind, or, without a kind, any disease at all.
struct Named {
  std::size_t word;
  std::optional<FindingKind> kind;
};

/// Reads one sentence.
class SentenceReader {
 public:
  SentenceReader(std::span<Word> words, Reading& reading) : words_(words), reading_(reading) {}

  void read() {
    mentions_heart_ = std::ranges::any_of(words_, is_heart);
    for (std::size_t i = 0; i < words_.size(); ++i)
      if (const auto named = name_at(i)) names_.push_back(*named);
    read_normal();
    read_clear_lungs();
    bool negated = false;
    for (std::size_t k = 0; k < names_.size(); ++k) {
      const auto [first, last] = range_of(k);
      const Statement statement = read_attributes(k, first, last);
      negated = is_negated(k, first, last, statement, negated);
      if (!names_[k].kind) {
        if (negated) reading_.negatives.insert(Negative::normal);
      } else if (negated) {
        reading_.negatives.insert(absence_of(*names_[k].kind));
      } else {
        add_finding(reading_, statement);
      }
    }
  }

 private:
  static bool is_heart(const Word& word) { return word.is({"heart", "cardiac", "cardiomediastinal"}); }

  [[nodiscard]] std::optional<Named> name_at(std::size_t i) const {
    const Word& word = words_[i];
    const auto names = [&](FindingKind kind) { return Named{i, kind}; };
    if (word.is({"opacity", "opacities", "consolidation", "consolidations", "pneumonia"}))
      return names(FindingKind::opacity);
    if (word.is({"nodule", "nodules"})) return names(FindingKind::nodule);
    if (word.is({"effusion", "effusions"})) return names(FindingKind::effusion);
    if (word.is({"pneumothorax", "pneumothoraces"})) return names(FindingKind::pneumothorax);
    if (word.is({"cardiomegaly"}) || (mentions_heart_ && word.is({"enlarged", "enlargement"})))
      return names(FindingKind::enlarged_heart);
    if (word.is({"tube", "tubes", "catheter", "catheters"})) return names(FindingKind::tube);
    if (word.is({"abnormality", "abnormalities", "disease", "process"})) return Named{i, {}};
    return {};
  }

  /// "normal chest radiograph"; "normal heart size", "the cardiac silhouette is normal in size".
  void read_normal() {
    constexpr std::size_t near = 5;
    for (std::size_t i = 0; i < words_.size(); ++i) {
      if (!words_[i].is({"normal"}) || (i > 0 && words_[i - 1].is({"not", "no"}))) continue;
      const auto after = words_.subspan(i + 1, std::min<std::size_t>(2, words_.size() - i - 1));
      if (std::ranges::any_of(after, [](const Word& word) {
            return word.is({"chest", "radiograph", "study", "examination", "film"});
          })) {
        reading_.negatives.insert(Negative::normal);
        continue;
      }
      const std::size_t first = i - std::min(i, near), last = std::min(i + near + 1, words_.size());
      for (std::size_t h = first; h < last; ++h)
        if (is_heart(words_[h]) && !is_name_between(h, i))
          reading_.negatives.insert(Negative::no_enlarged_heart);
    }
  }

  [[nodiscard]] bool is_name_between(std::size_t a, std::size_t b) const {
    const auto next = std::ranges::lower_bound(names_, std::min(a, b), {}, &Named::word);
    return next != names_.end() && next->word < std::max(a, b);
  }

  /// "the lungs are clear", "the left lung is clear"; the side is no attribute of a finding then.
  void read_clear_lungs() {
    for (std::size_t i = 0; i < words_.size(); ++i) {
      if (!words_[i].is({"clear"}) || (i > 0 && words_[i - 1].is({"not"}))) continue;
      for (std::size_t back = 1; back <= std::min<std::size_t>(3, i); ++back) {
        const std::size_t lung = i - back;
        if (!words_[lung].is({"lung", "lungs"})) continue;
        const bool right = lung > 0 && words_[lung - 1].is({"right"}),
                   left = lung > 0 && words_[lung - 1].is({"left"});
        if (!left) reading_.negatives.insert(Negative::right_lung_clear);
        if (!right) reading_.negatives.insert(Negative::left_lung_clear);
        if (left || right) words_[lung - 1].text = {};
        break;
      }
    }
  }

  /// The words [first, last) that belong to name k. The words between two names are divided at a conjunction,
  /// or behind a place ("in the right lung"), or else belong to the second one.
  [[nodiscard]] std::pair<std::size_t, std::size_t> range_of(std::size_t k) const {
    return {k == 0 ? 0 : cut_between(k - 1), k + 1 == names_.size() ? words_.size() : cut_between(k)};
  }

  [[nodiscard]] std::size_t cut_between(std::size_t k) const {
    const std::size_t first = names_[k].word + 1, last = names_[k + 1].word;
    for (std::size_t i = first; i < last; ++i)
      if (words_[i].after_comma || words_[i].is({"and", "or", "nor", "but", "with", "no", "without"}))
        return i;
    if (words_[last].after_comma) return last;
    const auto gap = words_.subspan(first, last - first);
    const auto in = std::ranges::find_if(gap, [](const Word& word) {
      return word.is({"in", "at", "over", "on", "above"});
    });
    const auto place = std::find_if(in, gap.end(), [](const Word& word) {
      return word.is({"lung", "lobe", "zone", "base", "apex", "side", "position", "place", "carina"});
    });
    return place == gap.end() ? first : first + static_cast<std::size_t>(place - gap.begin());
  }

  /// Attributes of name k: those before it, the nearest first, then those behind it.
  [[nodiscard]] Statement read_attributes(std::size_t k, std::size_t first, std::size_t last) const {
    Statement out;
    if (!names_[k].kind) return out;
    out.kind = *names_[k].kind;
    for (std::size_t i = names_[k].word; i-- > first;) add_attribute(words_[i], out);
    for (std::size_t i = names_[k].word + 1; i < last; ++i) add_attribute(words_[i], out);
    if (out.kind == FindingKind::tube) add_device(k, first, out);
    return out;
  }

  static void add_attribute(const Word& word, Statement& out) {
    const auto set = [](auto& attribute, auto value) {
      if (!attribute) attribute = value;
    };
    if (word.is({"right"})) set(out.side, Side::right);
    if (word.is({"left"})) set(out.side, Side::left);
    if (word.is({"upper"})) set(out.zone, Zone::upper);
    if (word.is({"middle"})) set(out.zone, Zone::middle);
    if (word.is({"lower"})) set(out.zone, Zone::lower);
    if (word.is({"small"})) set(out.size, Size::small);
    if (word.is({"large"})) set(out.size, Size::large);
    if (word.is({"mild", "mildly", "faint"})) set(out.severity, Severity::mild);
    if (word.is({"severe", "severely", "dense"})) set(out.severity, Severity::severe);
  }

  /// Side and zone of a tube by its name; a word that tells another stands.
  void add_device(std::size_t k, std::size_t first, Statement& out) const {
    const std::size_t noun = names_[k].word;
    std::optional<Zone> zone;
    if (words_[noun].is({"catheter", "catheters"})) zone = Zone::upper;
    for (std::size_t i = noun; i-- > first && !zone;) {
      if (words_[i].is({"chest"})) zone = Zone::lower;
      if (!words_[i].is({"endotracheal"})) continue;
      zone = Zone::upper;
      if (!out.side) out.side = Side::middle;
    }
    if (!out.zone) out.zone = zone;
  }

  /// Whether name k is denied: by a word of its own, or by that of the name before it ("no effusion or
  /// pneumothorax"), except for one with attributes behind "and": nobody tells the size of what is absent.
  [[nodiscard]] bool is_negated(std::size_t k, std::size_t first, std::size_t last,
                                const Statement& statement, bool is_last_negated) const {
    const std::size_t noun = names_[k].word;
    for (std::size_t i = first; i < noun; ++i)
      if (words_[i].is({"no", "not", "without", "negative", "free"})) return true;
    for (std::size_t i = noun + 1; i < last; ++i)
      if (words_[i].is({"not", "absent", "excluded", "resolved"})) return true;
    if (!is_last_negated) return false;
    bool joined = words_[noun].after_comma;
    for (std::size_t i = names_[k - 1].word + 1; i < noun; ++i) {
      if (words_[i].is({"or", "nor"})) return true;
      joined = joined || words_[i].after_comma || words_[i].is({"and"});
    }
    const bool is_plain = statement == Statement{.kind = statement.kind};
    return joined && is_plain;
  }

  std::span<Word> words_;
  Reading& reading_;
  std::vector<Named> names_;
  bool mentions_heart_ = false;
};

}  // namespace detail

/// All that a text states in the words of the built-in reports: findings with side, zone, size and severity
/// as far as they are told, and what is said to be normal or absent. Any bytes are read, in time that grows
/// with their number; whatever is none of these words is passed over, so garbled text states what its words
/// state:
///
/// - A finding is named by its noun ("pneumonia" and "consolidation" are opacities; an enlarged heart is
///   "cardiomegaly", or "enlarged" beside "heart"). Attributes before the noun count before those behind it,
///   and nearer ones before farther ones: "right left effusion" is a left one.
/// - Between two findings, words behind "and", "or", "with" or a comma belong to the second one.
/// - "no", "without", "not" or "negative" before a noun deny it, and what "or" joins to it; what "and" or a
///   comma joins to it only if it has no attributes.
/// - Sentences end at a full stop, a semicolon and a line end, and nothing is carried over.
[[nodiscard]] inline Reading read_statements(std::string_view text) {
  Reading reading;
  detail::Sentences sentences(text);
  for (const std::span<detail::Word> sentence : sentences) detail::SentenceReader(sentence, reading).read();
  return reading;
}

}  // namespace vlp::builtin
