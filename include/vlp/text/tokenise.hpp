/// \file
/// The tokens that a tagger classifies: words, separated from the punctuation around them as in the Penn
/// Treebank.
#pragma once

#include <vlp/text/detail/unicode.hpp>
#include <vlp/text/span.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace vlp::text {

namespace detail {

/// Whether the punctuation at `at`, inside a run without white space, parts tokens.
[[nodiscard]] constexpr bool parts_tokens(std::string_view text, std::size_t at) {
  const char c = text[at];
  const char before = at > 0 ? text[at - 1] : ' ';
  const char after = at + 1 < text.size() ? text[at + 1] : ' ';
  if (c == ',' || c == ':') return !(is_ascii_digit(before) && is_ascii_digit(after));
  if (c == '.') return is_ascii_lower(before) && is_ascii_upper(after);
  return c == ';' || c == '(' || c == ')' || c == '[' || c == ']' || c == '{' || c == '}' || c == '"' ||
         c == '!' || c == '?' || c == '<' || c == '>' || c == '*' || c == '#' || c == '~' || c == '%';
}

/// The place where a clitic ("'s", "n't", "'ve") starts in `word`, or the size of `word` if there is none.
[[nodiscard]] constexpr std::size_t clitic(std::string_view word) {
  const std::size_t apostrophe = word.rfind('\'');
  if (apostrophe == std::string_view::npos || apostrophe == 0 || word.size() - apostrophe > 3)
    return word.size();
  if (apostrophe > 1 && apostrophe + 2 == word.size() && ascii_lower(word[apostrophe + 1]) == 't' &&
      ascii_lower(word[apostrophe - 1]) == 'n')
    return apostrophe - 1;
  return apostrophe;
}

}  // namespace detail

/// Appends the tokens of one sentence of `report`, as spans of bytes in order. Punctuation at the ends of a
/// word is a token a character; inside, numbers ("3.2", "1,000"), hyphens and slashes stay whole, and clitics
/// ("patient|'s", "do|n't") part.
inline void tokenise(std::string_view report, Span sentence, std::vector<Span>& tokens) {
  const auto push = [&](std::size_t begin, std::size_t end) {
    if (begin < end) tokens.push_back({static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)});
  };
  const auto push_word = [&](std::size_t begin, std::size_t end) {
    const std::size_t parting = begin + detail::clitic(report.substr(begin, end - begin));
    push(begin, parting);
    push(parting, end);
  };
  std::size_t at = sentence.begin;
  while (at < sentence.end) {
    if (detail::is_ascii_space(report[at])) {
      ++at;
      continue;
    }
    std::size_t end = at;
    while (end < sentence.end && !detail::is_ascii_space(report[end])) ++end;
    while (at < end && !detail::is_word_byte(report[at])) {
      push(at, at + 1);
      ++at;
    }
    std::size_t tail = end;
    while (tail > at && !detail::is_word_byte(report[tail - 1])) --tail;
    std::size_t word = at;
    for (; at < tail; ++at) {
      if (!detail::parts_tokens(report, at)) continue;
      push_word(word, at);
      push(at, at + 1);
      word = at + 1;
    }
    push_word(word, tail);
    for (at = tail; at < end; ++at) push(at, at + 1);
  }
}

}  // namespace vlp::text
