/// \file
/// Normalisation: a report as the plain sequence of words that perturbations and word pieces work on.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/text/detail/unicode.hpp>
#include <vlp/text/span.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::text {

/// As many words as `max_words` can ask for: no limit.
inline constexpr std::size_t all_words = std::numeric_limits<std::size_t>::max();

/// The published length of a report, in words.
inline constexpr std::size_t default_max_words = 50;

namespace detail {

/// The punctuation that normalisation turns into a space.
[[nodiscard]] constexpr bool is_separator(int c) {
  return c == '.' || c == '!' || c == '"' || c == '(' || c == ')' || c == '*' || c == '#' || c == ':' ||
         c == ';' || c == '~';
}

/// Normalises into `text`, with the place of each word there (`spans`) and in the report (`sources`).
inline void normalise(std::string_view report, std::size_t max_words, std::string& text,
                      std::vector<Span>& spans, std::vector<Span>& sources) {
  require(report.size() <= std::numeric_limits<std::uint32_t>::max() / 2, "normalise: a report of ",
          report.size(), " bytes is longer than 2 GiB");
  text.clear();
  spans.clear();
  sources.clear();
  bool in_word = false;
  std::size_t at = 0;
  const auto end_word = [&] {
    spans.back().end = static_cast<std::uint32_t>(text.size());
    sources.back().end = static_cast<std::uint32_t>(at);
    in_word = false;
  };
  while (at < report.size()) {
    const auto [code_point, length] = decode(report, at);
    if (is_separator(code_point) || is_white_space(code_point)) {
      if (in_word) end_word();
    } else {
      if (!in_word) {
        if (spans.size() == max_words) return;
        if (!spans.empty()) text.push_back(' ');
        spans.push_back({static_cast<std::uint32_t>(text.size()), 0});
        sources.push_back({static_cast<std::uint32_t>(at), 0});
        in_word = true;
      }
      if (code_point < 0x80)
        text.push_back(ascii_lower(static_cast<char>(code_point)));
      else
        append(text, utf8proc_tolower(code_point));
    }
    at += length;
  }
  if (in_word) end_word();
}

}  // namespace detail

/// Lower-cases `report` (Unicode's simple mapping), turns each of `. ! " ( ) * # : ; ~` and any run of white
/// space into one space, and keeps the first `max_words` words. Other punctuation stays with its word. The
/// result has no space at either end and no white space but single spaces; bytes that are not UTF-8 become
/// U+FFFD. Normalising twice changes nothing.
[[nodiscard]] inline std::string normalise(std::string_view report,
                                           std::size_t max_words = default_max_words) {
  std::string text;
  std::vector<Span> spans, sources;
  detail::normalise(report, max_words, text, spans, sources);
  return text;
}

}  // namespace vlp::text
