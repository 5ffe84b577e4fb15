/// \file
/// The words of a report: normalised text, where each word lies, its class and its sentence.
#pragma once

#include <vlp/text/normalise.hpp>
#include <vlp/text/perceptron_tagger.hpp>
#include <vlp/text/report.hpp>
#include <vlp/text/span.hpp>
#include <vlp/text/tagger.hpp>
#include <vlp/text/tokenise.hpp>
#include <vlp/text/word_class.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::text {

/// A normalised report. All words share one text, so that filling the object again allocates nothing once it
/// has grown.
struct Words {
  std::string text;                ///< the words, one space between two
  std::vector<Span> spans;         ///< the bytes of each word in `text`
  std::vector<Span> sources;       ///< the bytes of each word in the report it came from
  std::vector<WordClass> classes;  ///< the class of each word; empty if read with NoTagger
  std::vector<Span> sentences;     ///< the words of each sentence (none is empty); they cover all words

  [[nodiscard]] std::size_t size() const noexcept { return spans.size(); }
  [[nodiscard]] bool empty() const noexcept { return spans.empty(); }
  [[nodiscard]] std::string_view operator[](std::size_t i) const { return slice(text, spans[i]); }
};

/// Stands in for a tagger: words are read without classes (`classes` stays empty), several times as fast.
/// Words without classes suffice for shuffle_within_trigrams, shuffle_trigrams, shuffle_all_words,
/// reverse_sentence and swap_adjacent_words.
struct NoTagger {};

/// Reads reports into Words: normalises, and tags the original, cased and punctuated text. Keeps scratch
/// memory, so each thread needs a reader of its own.
template <class T = PerceptronTagger>
requires Tagger<T> || std::same_as<T, NoTagger>
class WordReader {
 public:
  /// Keeps the first `max_words` words of a report.
  explicit WordReader(std::size_t max_words = default_max_words, T tagger = {})
      : max_words_(max_words), tagger_(std::move(tagger)) {}

  /// Replaces `words` by those of `report`, which may hold any bytes. Throws std::invalid_argument for more
  /// than 2 GiB. Words beyond the limit still inform the tags of their sentence.
  void read(std::string_view report, Words& words) {
    detail::normalise(report, max_words_, words.text, words.spans, words.sources);
    words.classes.assign(tags ? words.size() : 0, WordClass::other);
    words.sentences.clear();
    std::uint32_t word = 0;
    for (std::size_t at = detail::skip_space(report, 0); at < report.size() && word < words.size();) {
      const auto end = detail::sentence_end(report, at);
      const std::uint32_t first = word;
      read_sentence(report, {static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(end)}, words, word);
      if (word > first) words.sentences.push_back({first, word});
      at = detail::skip_space(report, end);
    }
  }

  [[nodiscard]] Words read(std::string_view report) {
    Words words;
    read(report, words);
    return words;
  }

 private:
  static constexpr bool tags = !std::same_as<T, NoTagger>;

  /// Tags one sentence; `word` goes from its first word to one past its last.
  void read_sentence(std::string_view report, Span sentence, Words& words, std::uint32_t& word) {
    if (words.sources[word].begin >= sentence.end) return;
    if constexpr (!tags) {
      while (word < words.size() && words.sources[word].begin < sentence.end) ++word;
    } else {
      tag_sentence(report, sentence, words, word);
    }
  }

  void tag_sentence(std::string_view report, Span sentence, Words& words, std::uint32_t& word) {
    tokens_.clear();
    tokenise(report, sentence, tokens_);
    token_classes_.assign(tokens_.size(), WordClass::other);
    tagger_.tag(report, tokens_, token_classes_);
    std::size_t token = 0;
    for (; word < words.size() && words.sources[word].begin < sentence.end; ++word) {
      const Span source = words.sources[word];
      while (token < tokens_.size() && tokens_[token].end <= source.begin) ++token;
      // The word's class is that of its first token with letters or digits, not of the quote before it.
      for (std::size_t t = token; t < tokens_.size() && tokens_[t].begin < source.end; ++t) {
        const std::string_view token_text = slice(report, tokens_[t]);
        if (std::none_of(token_text.begin(), token_text.end(), detail::is_word_byte)) continue;
        words.classes[word] = token_classes_[t];
        break;
      }
    }
  }

  std::size_t max_words_;
  T tagger_;
  std::vector<Span> tokens_;
  std::vector<WordClass> token_classes_;
};

/// The words of one report, read with the trained tagger.
[[nodiscard]] inline Words read_words(std::string_view report, std::size_t max_words = default_max_words) {
  return WordReader<>(max_words).read(report);
}

}  // namespace vlp::text
