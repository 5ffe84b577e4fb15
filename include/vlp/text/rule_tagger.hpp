/// \file
/// A small tagger by rules: it needs no data and reads radiology's telegraphic style.
#pragma once

#include <vlp/text/detail/rule_lexicon.hpp>
#include <vlp/text/detail/unicode.hpp>
#include <vlp/text/tagger.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string_view>

namespace vlp::text {

namespace detail::rules {

struct SuffixRule {
  std::string_view suffix;
  Readings readings;
};

/// What the end of an unknown word says; the first that fits decides.
inline constexpr SuffixRule suffix_rules[] = {{"megaly", noun},
                                              {"ectomy", noun},
                                              {"ostomy", noun},
                                              {"otomy", noun},
                                              {"plasty", noun},
                                              {"graphy", noun},
                                              {"scopy", noun},
                                              {"opathy", noun},
                                              {"ology", noun},
                                              {"ward", other},
                                              {"wards", other},
                                              {"ly", other},
                                              {"ness", noun},
                                              {"ment", noun},
                                              {"ments", noun},
                                              {"tion", noun},
                                              {"sion", noun},
                                              {"ity", noun},
                                              {"ism", noun},
                                              {"ance", noun},
                                              {"ence", noun},
                                              {"osis", noun},
                                              {"itis", noun},
                                              {"asis", noun},
                                              {"oma", noun},
                                              {"emia", noun},
                                              {"graph", noun},
                                              {"gram", noun},
                                              {"sized", adjective},
                                              {"sided", adjective},
                                              {"shaped", adjective},
                                              {"defined", adjective},
                                              {"like", adjective},
                                              {"less", adjective},
                                              {"free", adjective},
                                              {"oid", adjective},
                                              {"ous", adjective},
                                              {"ious", adjective},
                                              {"ic", adjective},
                                              {"ical", adjective},
                                              {"al", adjective},
                                              {"ar", adjective},
                                              {"ary", adjective},
                                              {"ive", adjective},
                                              {"ible", adjective},
                                              {"able", adjective},
                                              {"ful", adjective},
                                              {"iform", adjective},
                                              {"ish", adjective},
                                              {"ant", adjective},
                                              {"ent", adjective},
                                              {"ate", noun | verb},
                                              {"ates", noun | verb},
                                              {"ize", verb},
                                              {"izes", verb},
                                              {"ise", noun | verb},
                                              {"ify", verb},
                                              {"ifies", verb},
                                              {"ized", verb | adjective},
                                              {"ed", verb | adjective},
                                              {"ing", noun | verb | adjective},
                                              {"est", adjective}};

/// A token as the rules see it: lower-cased, shortened to what matters.
class LowerWord {
 public:
  explicit LowerWord(std::string_view word) : size_(std::min(word.size(), letters_.size())) {
    // The end of a long word says more than its start.
    word.remove_prefix(word.size() - size_);
    std::transform(word.begin(), word.end(), letters_.begin(), ascii_lower);
  }
  [[nodiscard]] std::string_view view() const { return {letters_.data(), size_}; }

 private:
  std::array<char, 40> letters_;
  std::size_t size_;
};

[[nodiscard]] inline Readings suffix_readings(std::string_view word) {
  for (const SuffixRule& rule : suffix_rules)
    if (word.size() > rule.suffix.size() + 1 && word.ends_with(rule.suffix)) return rule.readings;
  return noun;
}

/// Whether a word starts with a punctuation mark or sign beyond ASCII: a dash, a curly quote, a degree sign.
[[nodiscard]] inline bool is_symbol(std::string_view word) {
  if (static_cast<unsigned char>(word.front()) < 0x80) return false;
  const auto category = utf8proc_category(decode(word, 0).code_point);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_SO;
}

/// The readings that a word has on its own, whatever its neighbours.
[[nodiscard]] inline Readings readings_of(std::string_view word) {
  if (std::none_of(word.begin(), word.end(), is_word_byte) || is_symbol(word)) return other;
  if (const Readings known = RuleLexicon::instance().find(word)) return known;
  if (is_ascii_digit(word.front())) {
    const bool ordinal =
        word.ends_with("st") || word.ends_with("nd") || word.ends_with("rd") || word.ends_with("th");
    if (ordinal || word.find('-') != std::string_view::npos) return adjective;
    return word.ends_with("mm") || word.ends_with("cm") ? noun : other;
  }
  const std::size_t joint = word.find_last_of("-/");
  if (joint != std::string_view::npos && joint + 1 < word.size())
    return readings_of(word.substr(joint + 1)) & any_class;
  return suffix_readings(word);
}

[[nodiscard]] constexpr WordClass class_of(Readings reading) {
  return (reading & noun) != 0        ? WordClass::noun
         : (reading & adjective) != 0 ? WordClass::adjective
         : (reading & verb) != 0      ? WordClass::verb
                                      : WordClass::other;
}

/// What stands before and after a word that has several readings.
struct Neighbours {
  Readings before = 0;  ///< of the word before, narrowed to what was decided; 0 at the start of a clause
  Readings after = 0;   ///< of the word after; 0 at the end of a clause
  bool verb_seen = false;
};

[[nodiscard]] inline Readings decide(Readings readings, const Neighbours& near) {
  const bool nominal_after = (near.after & (noun | adjective)) != 0 && (near.after & other) == 0;
  const bool phrase_before = (near.before & (determiner | adjective)) != 0;
  switch (readings & any_class) {
    case noun | adjective:
      if (nominal_after) return adjective;
      return (near.before & (determiner | preposition)) != 0 ? noun : adjective;
    case noun | verb:
      if ((near.before & before_verb) != 0) return verb;
      if (phrase_before || near.before == 0 || (near.before & preposition) != 0 || near.verb_seen)
        return noun;
      return (near.before & noun) != 0 && (near.after & (determiner | adjective)) != 0 ? verb : noun;
    case adjective | verb:
      if ((near.before & before_verb) != 0) return verb;
      if ((near.before & auxiliary) != 0) return verb;
      if (nominal_after) return adjective;
      return near.before == 0 || (near.before & determiner) != 0 ? adjective : verb;
    case noun | adjective | verb:  // a word in -ing
      if ((near.before & auxiliary) != 0) return verb;
      if ((near.before & preposition) != 0 && (near.after & determiner) != 0) return verb;
      if (phrase_before || (near.before & noun) != 0)
        return nominal_after && (near.before & determiner) != 0     ? adjective
               : near.after == 0 || (near.after & preposition) != 0 ? noun
                                                                    : verb;
      return nominal_after ? adjective : noun;
    default:
      return readings & any_class;
  }
}

}  // namespace detail::rules

/// Decides a word's class by a lexicon of closed-class words and radiology's vocabulary, by suffixes, and,
/// for words of several readings ("left", "change", "calcified"), by the words on either side. No state, no
/// allocation; the result depends on nothing but the sentence.
class RuleTagger {
 public:
  void tag(std::string_view report, std::span<const Span> tokens, std::span<WordClass> classes) const {
    using detail::rules::Readings;
    detail::rules::Neighbours near;
    Readings next = tokens.empty() ? Readings{0} : readings_of(report, tokens[0]);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const Readings now = next;
      next = i + 1 < tokens.size() ? readings_of(report, tokens[i + 1]) : Readings{0};
      near.after = next;
      const Readings decided = detail::rules::decide(now, near);
      classes[i] = detail::rules::class_of(decided);
      if (is_punctuation(report, tokens[i])) {
        near = {};  // a new clause
        continue;
      }
      // A bare adverb is looked through: "are well seen" reads as "are seen".
      const auto marks = static_cast<Readings>(now & ~detail::rules::any_class);
      if (decided != detail::rules::other || marks != 0) near.before = static_cast<Readings>(decided | marks);
      near.verb_seen = near.verb_seen || decided == detail::rules::verb;
    }
  }

 private:
  static bool is_punctuation(std::string_view report, Span token) {
    return token.size() == 1 && !detail::is_word_byte(report[token.begin]);
  }
  static detail::rules::Readings readings_of(std::string_view report, Span token) {
    if (is_punctuation(report, token)) return 0;
    return detail::rules::readings_of(detail::rules::LowerWord(slice(report, token)).view());
  }
};
static_assert(Tagger<RuleTagger>);

}  // namespace vlp::text
