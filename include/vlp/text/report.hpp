/// \file
/// The parts of a free-text report: sections such as findings and impression, and sentences.
#pragma once

#include <vlp/text/detail/unicode.hpp>
#include <vlp/text/span.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::text {

/// A section of a report.
struct Section {
  std::string name;  ///< of the header, lower case, e.g. "findings"; empty for text before the first header
  std::string_view body;  ///< what follows the header, without white space at its ends
};

namespace detail {

inline constexpr std::array<std::string_view, 28> section_names{"addendum",
                                                                "clinical history",
                                                                "clinical information",
                                                                "comparison",
                                                                "comparisons",
                                                                "conclusion",
                                                                "conclusions",
                                                                "exam",
                                                                "examination",
                                                                "final report",
                                                                "findings",
                                                                "findings and impression",
                                                                "findings/impression",
                                                                "history",
                                                                "impression",
                                                                "impressions",
                                                                "indication",
                                                                "indications",
                                                                "notification",
                                                                "procedure",
                                                                "reason for exam",
                                                                "reason for examination",
                                                                "recommendation",
                                                                "recommendation(s)",
                                                                "recommendations",
                                                                "technique",
                                                                "views",
                                                                "wet read"};

inline constexpr std::size_t longest_section_name = [] {
  std::size_t longest = 0;
  for (const std::string_view section_name : section_names) longest = std::max(longest, section_name.size());
  return longest;
}();

/// Whether a sentence may end at, or right after, each byte: `.`, `!`, `?` and the line feed.
inline constexpr std::array<bool, 256> sentence_stops = [] {
  std::array<bool, 256> stops{};
  for (const unsigned char c : {'.', '!', '?', '\n'}) stops[c] = true;
  return stops;
}();

[[nodiscard]] inline std::size_t next_stop(std::string_view report, std::size_t at) {
  while (at < report.size() && !sentence_stops[static_cast<unsigned char>(report[at])]) ++at;
  return at;
}

[[nodiscard]] inline bool equal_ignoring_case(std::string_view text, std::string_view lower) {
  return text.size() == lower.size() && std::equal(text.begin(), text.end(), lower.begin(),
                                                   [](char a, char b) { return ascii_lower(a) == b; });
}

[[nodiscard]] constexpr bool is_header_byte(char c) {
  return is_ascii_letter(c) || c == ' ' || c == '(' || c == ')' || c == '/' || c == '-' || c == '&';
}

/// Whether nothing but blanks stands before `at` in its line.
[[nodiscard]] inline bool starts_line(std::string_view report, std::size_t at) {
  while (at > 0 && (report[at - 1] == ' ' || report[at - 1] == '\t')) --at;
  return at == 0 || report[at - 1] == '\n';
}

/// The words of the header (before its colon) at byte `begin` of `report`, or nothing. A header is a known
/// name in any case, or, where a line starts, any run of letters, spaces and "()/-&" in capitals.
[[nodiscard]] inline std::string_view header_at(std::string_view report, std::size_t begin) {
  constexpr std::size_t longest = 60;
  const std::string_view text = report.substr(begin);
  std::size_t colon = 0;
  bool capitals = true;
  while (colon < text.size() && colon < longest && is_header_byte(text[colon])) {
    capitals = capitals && !is_ascii_lower(text[colon]);
    if (!capitals && colon >= longest_section_name && text[colon] != ' ') return {};
    ++colon;
  }
  if (colon == 0 || colon == text.size() || text[colon] != ':' || !is_ascii_letter(text[0])) return {};
  std::string_view words = text.substr(0, colon);
  words.remove_suffix(words.size() - 1 - words.find_last_not_of(' '));
  const bool known =
      std::any_of(section_names.begin(), section_names.end(),
                  [&](std::string_view known_name) { return equal_ignoring_case(words, known_name); });
  return known || (capitals && words.size() > 2 && starts_line(report, begin)) ? words : std::string_view{};
}

/// Whether the full stop at `at` only ends an abbreviation or the number of a list item ("2. No effusion.").
[[nodiscard]] inline bool is_inner_stop(std::string_view report, std::size_t sentence_begin, std::size_t at) {
  std::size_t begin = at;
  while (begin > sentence_begin && !is_ascii_space(report[begin - 1])) --begin;
  const std::string_view word = report.substr(begin, at - begin);
  if (begin == sentence_begin && word.size() <= 2 && std::all_of(word.begin(), word.end(), is_ascii_digit))
    return true;
  constexpr std::array<std::string_view, 10> abbreviations{"dr",  "mr",  "mrs", "ms",     "vs",
                                                           "e.g", "i.e", "st",  "approx", "prof"};
  return std::any_of(abbreviations.begin(), abbreviations.end(),
                     [&](std::string_view abbreviation) { return equal_ignoring_case(word, abbreviation); });
}

[[nodiscard]] inline std::size_t skip_space(std::string_view text, std::size_t at) {
  while (at < text.size() && is_ascii_space(text[at])) ++at;
  return at;
}

/// One past the last byte of the sentence that starts at byte `begin`, which is not white space.
[[nodiscard]] inline std::size_t sentence_end(std::string_view report, std::size_t begin) {
  if (!header_at(report, begin).empty()) return report.find(':', begin) + 1;
  for (std::size_t at = next_stop(report, begin); at < report.size(); at = next_stop(report, at + 1)) {
    const char c = report[at];
    if (c == '\n') {
      const std::size_t next = skip_space(report, at);
      const auto gap = report.substr(at, next - at);
      if (std::count(gap.begin(), gap.end(), '\n') > 1) return at;
      if (!header_at(report, next).empty()) return at;
      continue;
    }
    std::size_t next = at + 1;
    if (c == '.' && at > begin && is_ascii_lower(report[at - 1]) && next < report.size() &&
        is_ascii_upper(report[next]))
      return next;  // "clear.Heart", a missing space
    while (next < report.size() && (report[next] == '"' || report[next] == '\'' || report[next] == ')'))
      ++next;
    if (next < report.size() && !is_ascii_space(report[next])) continue;
    if (c == '.' && is_inner_stop(report, begin, at)) continue;
    return next;
  }
  return report.size();
}

}  // namespace detail

/// The sentences of `report` in order, as spans of its bytes. A sentence ends after `.`, `!` or `?` before
/// white space (not after abbreviations and the numbers of lists), at a blank line, and before and after a
/// section header. Every byte that is not white space belongs to one sentence.
[[nodiscard]] inline std::vector<Span> sentences(std::string_view report) {
  std::vector<Span> result;
  for (std::size_t at = detail::skip_space(report, 0); at < report.size();) {
    const std::size_t end = detail::sentence_end(report, at);
    result.push_back({static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(end)});
    at = detail::skip_space(report, end);
  }
  return result;
}

/// The sections of `report` in order. A header is a known name ("Findings:", in any case) at the start of a
/// sentence, or any words in capitals at the start of a line (which may be indented, as in MIMIC-CXR),
/// followed by a colon. Bodies point into `report`.
[[nodiscard]] inline std::vector<Section> sections(std::string_view report) {
  std::vector<Section> result;
  const auto close = [&](std::size_t end) {
    std::string_view& body = result.back().body;
    body = {body.data(), static_cast<std::size_t>(report.data() + end - body.data())};
    while (!body.empty() && detail::is_ascii_space(body.front())) body.remove_prefix(1);
    while (!body.empty() && detail::is_ascii_space(body.back())) body.remove_suffix(1);
  };
  for (const Span sentence : sentences(report)) {
    const std::string_view header = detail::header_at(report, sentence.begin);
    if (header.empty() && !result.empty()) continue;
    if (!result.empty()) close(sentence.begin);
    std::string section_name(header);
    std::transform(section_name.begin(), section_name.end(), section_name.begin(), detail::ascii_lower);
    result.push_back(
        {std::move(section_name), report.substr(header.empty() ? sentence.begin : sentence.end)});
  }
  if (!result.empty()) close(report.size());
  return result;
}

/// The body of the first section called `section_name` (lower case), or nothing.
[[nodiscard]] inline std::string_view section(std::string_view report, std::string_view section_name) {
  for (const Section& candidate : sections(report))
    if (candidate.name == section_name) return candidate.body;
  return {};
}

}  // namespace vlp::text
