/// \file
/// The adjectives of WordNet's database file data.adj (format: wndb(5WN)), and their opposites.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/text/detail/unicode.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

namespace vlp::text::detail {

/// The synsets of data.adj. Views point into the content, which must outlive it.
class WordNetAdjectives {
 public:
  struct Antonym {
    std::uint32_t synset;  ///< the offset that names it
    std::uint32_t word;    ///< counted from 1; 0: all of its words
  };
  struct Synset {
    std::vector<std::string_view> words;  ///< as in the file, without markers such as "(a)"
    std::vector<Antonym> antonyms;
    std::vector<std::uint32_t> heads;  ///< offsets of the synsets that it is a satellite of
  };

  /// Throws std::runtime_error, which names `source` and the line, for a line that is not in the form of
  /// data.adj.
  WordNetAdjectives(std::string_view content, const std::string& source) {
    std::size_t number = 0;
    for (std::size_t begin = 0; begin < content.size();) {
      const std::size_t end = std::min(content.find('\n', begin), content.size());
      ++number;
      const std::string_view line = content.substr(begin, end - begin);
      begin = end + 1;
      if (line.empty() || line.starts_with("  ") || line == "\r") continue;  // lines of the licence
      ensure(read_line(line), source, ": line ", number, " is not a synset of adjectives");
    }
    ensure(!synsets_.empty(), source, ": there are no synsets");
  }

  [[nodiscard]] const std::vector<Synset>& synsets() const noexcept { return synsets_; }

  /// The synset at `offset`, or null.
  [[nodiscard]] const Synset* find(std::uint32_t offset) const {
    const auto found = places_.find(offset);
    return found == places_.end() ? nullptr : &synsets_[found->second];
  }

 private:
  /// The fields of a line, one after the other; `good` turns false, and stays so, at one that is not there.
  struct Fields {
    std::string_view rest;
    bool good = true;

    std::string_view next() {
      const std::size_t space = rest.find(' ');
      const std::string_view field = rest.substr(0, space);
      rest.remove_prefix(space == std::string_view::npos ? rest.size() : space + 1);
      good = good && !field.empty();
      return field;
    }
    std::uint32_t number(int base) {
      const std::string_view field = next();
      std::uint32_t value = 0;
      const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value, base);
      good = good && error == std::errc() && end == field.data() + field.size();
      return value;
    }
  };

  /// offset, file, type, words (hexadecimal), word and id for each, pointers, and for each of those its
  /// symbol, offset, part of speech and the numbers of both words (two hexadecimal digits each); a gloss.
  bool read_line(std::string_view line) {
    Fields fields{line};
    Synset synset;
    const std::uint32_t offset = fields.number(10);
    fields.number(10);
    const std::string_view type = fields.next();
    if (type != "a" && type != "s") return false;
    for (std::uint32_t left = fields.number(16); left > 0 && fields.good; --left) {
      const std::string_view word = fields.next();
      synset.words.push_back(word.substr(0, word.find('(')));
      fields.number(16);
    }
    for (std::uint32_t left = fields.number(10); left > 0 && fields.good; --left) {
      const std::string_view symbol = fields.next();
      const std::uint32_t target = fields.number(10);
      const bool is_adjective = fields.next() == "a";
      const std::uint32_t words = fields.number(16);
      if (symbol == "!" && is_adjective) synset.antonyms.push_back({target, words & 0xff});
      if (symbol == "&" && type == "s") synset.heads.push_back(target);
    }
    if (!fields.good || synset.words.empty() || fields.next() != "|") return false;
    places_.emplace(offset, synsets_.size());
    synsets_.push_back(std::move(synset));
    return true;
  }

  std::vector<Synset> synsets_;
  std::unordered_map<std::uint32_t, std::size_t> places_;  ///< the index of each synset, by offset
};

/// `lemma` in lower case, or nothing if it is not one word of letters and inner hyphens.
[[nodiscard]] inline std::string plain_word(std::string_view lemma) {
  std::string word;
  for (std::size_t i = 0; i < lemma.size(); ++i) {
    const bool inner_hyphen = lemma[i] == '-' && i > 0 && i + 1 < lemma.size() && lemma[i - 1] != '-';
    if (!is_ascii_letter(lemma[i]) && !inner_hyphen) return {};
    word.push_back(ascii_lower(lemma[i]));
  }
  return word;
}

/// The opposites of each word.
struct WordNetOpposites {
  std::map<std::string, std::vector<std::string>, std::less<>> of;

  [[nodiscard]] std::vector<std::pair<std::string_view, std::string_view>> directed() const {
    std::vector<std::pair<std::string_view, std::string_view>> result;
    for (const auto& [word, opposites] : of)
      for (const std::string& opposite : opposites) result.emplace_back(word, opposite);
    return result;
  }
};

/// Collects every word's antonyms: those of all its synsets or, if there are none and `through_heads` is set,
/// those of their heads.
class WordNetCollector {
 public:
  /// Throws std::runtime_error, which names `source`, for a file whose synsets name one another so often that
  /// the lists would grow with the square of its size. (The adjectives of WordNet 3.0 take 60,000 look-ups.)
  WordNetCollector(const WordNetAdjectives& adjectives, bool through_heads, const std::string& source)
      : adjectives_(adjectives), source_(source) {
    std::map<std::string, std::vector<const WordNetAdjectives::Synset*>, std::less<>> synsets_of;
    for (const WordNetAdjectives::Synset& synset : adjectives.synsets())
      for (const std::string_view lemma : synset.words)
        if (std::string word = plain_word(lemma); !word.empty())
          synsets_of[std::move(word)].push_back(&synset);
    for (const auto& [word, synsets] : synsets_of) {
      std::vector<std::string> opposites;
      for (const auto* synset : synsets) add_antonyms(*synset, word, opposites);
      if (opposites.empty() && through_heads)
        for (const auto* synset : synsets) add_antonyms_of_heads(*synset, word, opposites);
      if (!opposites.empty()) opposites_.of.emplace(word, std::move(opposites));
    }
  }

  [[nodiscard]] const WordNetOpposites& opposites() const noexcept { return opposites_; }

 private:
  static constexpr std::size_t most_look_ups = 2'000'000;

  void count_look_up() {
    ensure(++look_ups_ <= most_look_ups, source_, ": the synsets name one another more than ", most_look_ups,
           " times, which WordNet's do not");
  }

  /// Adds the antonyms of the words of `from` to those of `word`.
  void add_antonyms(const WordNetAdjectives::Synset& from, const std::string& word,
                    std::vector<std::string>& opposites) {
    for (const auto& antonym : from.antonyms) {
      count_look_up();
      const WordNetAdjectives::Synset* target = adjectives_.find(antonym.synset);
      if (target == nullptr) continue;
      std::span<const std::string_view> words(target->words);
      if (antonym.word > words.size()) continue;
      if (antonym.word != 0) words = words.subspan(antonym.word - 1, 1);
      for (const std::string_view lemma : words) {
        count_look_up();
        std::string opposite = plain_word(lemma);
        if (!opposite.empty() && opposite != word) opposites.push_back(std::move(opposite));
      }
    }
  }

  void add_antonyms_of_heads(const WordNetAdjectives::Synset& from, const std::string& word,
                             std::vector<std::string>& opposites) {
    for (const std::uint32_t head : from.heads) {
      count_look_up();
      if (const auto* of_head = adjectives_.find(head); of_head != nullptr)
        add_antonyms(*of_head, word, opposites);
    }
  }

  const WordNetAdjectives& adjectives_;
  const std::string& source_;
  std::size_t look_ups_ = 0;
  WordNetOpposites opposites_;
};

}  // namespace vlp::text::detail
