/// \file
/// A text as sentences of lower-case words, whatever bytes it holds.
#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::builtin::detail {

/// A word: letters a to z in a row.
struct Word {
  std::string_view text;
  bool after_comma = false;

  /// Whether it is one of these.
  [[nodiscard]] bool is(std::initializer_list<std::string_view> words) const {
    return std::find(words.begin(), words.end(), text) != words.end();
  }
};

/// The sentences of a text that have words: spans of Words, which live as long as this object.
class Sentences {
 public:
  explicit Sentences(std::string_view text) : text_(text) {
    for (char& c : text_)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    std::vector<std::size_t> ends;
    bool after_comma = false;
    for (std::size_t at = 0; at < text_.size();) {
      std::size_t end = at;
      while (end < text_.size() && text_[end] >= 'a' && text_[end] <= 'z') ++end;
      if (end > at) {
        words_.push_back({std::string_view(text_).substr(at, end - at), after_comma});
        after_comma = false;
        at = end;
        continue;
      }
      after_comma = after_comma || text_[at] == ',';
      constexpr std::string_view stops = ".!?;\n\r";
      if (stops.find(text_[at]) != stops.npos) {
        after_comma = false;
        if (words_.size() > (ends.empty() ? 0 : ends.back())) ends.push_back(words_.size());
      }
      ++at;
    }
    ends.push_back(words_.size());
    std::size_t begin = 0;
    for (const std::size_t end : ends) {
      if (end > begin) sentences_.push_back(std::span(words_).subspan(begin, end - begin));
      begin = end;
    }
  }
  Sentences(const Sentences&) = delete;
  Sentences& operator=(const Sentences&) = delete;

  [[nodiscard]] auto begin() const { return sentences_.begin(); }
  [[nodiscard]] auto end() const { return sentences_.end(); }

 private:
  std::string text_;
  std::vector<Word> words_;
  std::vector<std::span<Word>> sentences_;
};

}  // namespace vlp::builtin::detail
