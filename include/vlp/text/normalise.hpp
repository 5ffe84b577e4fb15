/// \file
/// Normalisation: a report as the plain sequence of words that perturbations and word pieces work on.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/text/detail/unicode.hpp>
#include <vlp/text/span.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::text {

/// The value of `max_words` that sets no limit.
inline constexpr std::size_t all_words = std::numeric_limits<std::size_t>::max();

/// The published length of a report, in words.
inline constexpr std::size_t default_max_words = 50;

namespace detail {

/// The punctuation that normalisation turns into a space.
[[nodiscard]] constexpr bool is_separator(int c) {
  return c == '.' || c == '!' || c == '"' || c == '(' || c == ')' || c == '*' || c == '#' || c == ':' ||
         c == ';' || c == '~';
}

/// The table maps plain ASCII to its lower case, and every other byte to one of these two, which no word
/// holds.
inline constexpr char word_gap = ' ', beyond_ascii = '.';
inline constexpr std::array<char, 256> normalised_bytes = [] {
  std::array<char, 256> bytes{};
  for (int c = 0; c < 256; ++c)
    bytes[static_cast<std::size_t>(c)] = c >= 0x80 ? beyond_ascii
                                         : is_separator(c) || is_ascii_white_space(c)
                                             ? word_gap
                                             : ascii_lower(static_cast<char>(c));
  return bytes;
}();

[[nodiscard]] inline char normalised(char byte) {
  return normalised_bytes[static_cast<unsigned char>(byte)];
}

/// Appends the lower-case form of the plain ASCII from `at` on; returns where it ends.
inline std::size_t append_plain(std::string_view report, std::size_t at, std::string& text) {
  std::array<char, 32> block;  // appended as a whole, so that the string tests its capacity once a block
  std::size_t filled = 0;
  for (; at < report.size(); ++at) {
    const char c = normalised(report[at]);
    if (c == word_gap || c == beyond_ascii) break;
    block[filled++] = c;
    if (filled == block.size()) {
      text.append(block.data(), filled);
      filled = 0;
    }
  }
  text.append(block.data(), filled);
  return at;
}

/// Appends the lower-case form of the word that starts at `at`; returns where it ends.
inline std::size_t append_word(std::string_view report, std::size_t at, std::string& text) {
  for (;;) {
    at = append_plain(report, at, text);
    if (at == report.size() || normalised(report[at]) == word_gap) return at;
    const auto [code_point, length] = decode(report, at);
    if (is_white_space(code_point)) return at;
    append(text, utf8proc_tolower(code_point));
    at += length;
  }
}

/// The start of the next word at or after `at`, or the size.
[[nodiscard]] inline std::size_t skip_gap(std::string_view report, std::size_t at) {
  while (at < report.size()) {
    const char c = normalised(report[at]);
    if (c == word_gap) {
      ++at;
      continue;
    }
    if (c != beyond_ascii) break;
    const auto [code_point, length] = decode(report, at);
    if (!is_white_space(code_point)) break;
    at += length;
  }
  return at;
}

/// Throws std::invalid_argument unless spans can number the bytes of a report and of its normalised form.
inline void require_report_size(std::string_view function, std::size_t bytes) {
  require(bytes <= std::numeric_limits<std::uint32_t>::max() / 2, function, ": a report of ", bytes,
          " bytes is longer than 2 GiB");
}

/// Normalises into `text`, with the place of each word there (`spans`) and in the report (`sources`).
inline void normalise(std::string_view report, std::size_t max_words, std::string& text,
                      std::vector<Span>& spans, std::vector<Span>& sources) {
  require_report_size("normalise", report.size());
  const auto span = [](std::size_t begin, std::size_t end) {
    return Span{static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)};
  };
  text.clear();
  spans.clear();
  sources.clear();
  for (std::size_t at = skip_gap(report, 0); at < report.size() && spans.size() < max_words;) {
    if (!spans.empty()) text.push_back(' ');
    const std::size_t begin = text.size();
    const std::size_t end = append_word(report, at, text);
    spans.push_back(span(begin, text.size()));
    sources.push_back(span(at, end));
    at = skip_gap(report, end);
  }
}

}  // namespace detail

/// Lower-cases `report` (Unicode's simple mapping), turns each of `. ! " ( ) * # : ; ~` and any run of white
/// space (no-break spaces and byte order marks included) into one space, and keeps the first `max_words`
/// words; `all_words` keeps the whole text. Other punctuation stays with its word. The result has no space at
/// either end and no white space except single spaces; bytes that are not UTF-8 become U+FFFD. Normalising
/// twice changes nothing. Throws std::invalid_argument for more than 2 GiB.
[[nodiscard]] inline std::string normalise(std::string_view report,
                                           std::size_t max_words = default_max_words) {
  std::string text;
  std::vector<Span> spans, sources;
  detail::normalise(report, max_words, text, spans, sources);
  return text;
}

/// Number of words of a report that `normalise` made.
[[nodiscard]] inline std::size_t count_words(std::string_view normalised) {
  const auto spaces = static_cast<std::size_t>(std::count(normalised.begin(), normalised.end(), ' '));
  return normalised.empty() ? 0 : spaces + 1;
}

/// The first `max_words` words of a report that `normalise` made: what it would have made with that limit.
[[nodiscard]] inline std::string_view first_words(std::string_view normalised, std::size_t max_words) {
  if (max_words == 0) return {};
  for (std::size_t end = 0, words = 0; (end = normalised.find(' ', end)) != normalised.npos; ++end)
    if (++words == max_words) return normalised.substr(0, end);
  return normalised;
}

}  // namespace vlp::text
