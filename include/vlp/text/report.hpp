/// \file
/// The parts of a free-text report: sections such as findings and impression, and sentences.
#pragma once

#include <vlp/core/enum_names.hpp>
#include <vlp/core/text_encoding.hpp>
#include <vlp/text/detail/section_headers.hpp>
#include <vlp/text/detail/unicode.hpp>
#include <vlp/text/normalise.hpp>
#include <vlp/text/span.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::text {

/// A section of a report.
struct Section {
  std::string name;  ///< of the header, lower case, e.g. "findings"; empty for text that has none: before
                     ///< the first header, or after a rule
  std::string_view body;  ///< what follows the header, without white space at its ends
};

/// How the names of sections are given: as the report writes them, or with usual variants and misspellings
/// ("impressions", "FINDNGS") as the name that they stand for.
enum class SectionNames { as_written, canonical };

namespace detail {

/// Whether a sentence may end at, or right after, each byte: `.`, `!`, `?` and line ends.
inline constexpr std::array<bool, 256> sentence_stops = [] {
  std::array<bool, 256> stops{};
  for (const char c : {'.', '!', '?', '\n', '\r'}) stops[static_cast<unsigned char>(c)] = true;
  return stops;
}();

[[nodiscard]] inline std::size_t next_stop(std::string_view report, std::size_t at) {
  while (at < report.size() && !sentence_stops[static_cast<unsigned char>(report[at])]) ++at;
  return at;
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
  while (at < text.size()) {
    const std::size_t blank = blank_prefix(text.substr(at));
    if (blank == 0) break;
    at += blank;
  }
  return at;
}

/// Whether a sentence that goes up to the line end at `at` ends there, and not in a later line: before a
/// blank line, a header or a rule.
[[nodiscard]] inline bool ends_at_line_end(std::string_view report, std::size_t at) {
  const std::size_t next = skip_space(report, at);
  int line_ends = 0;
  for (std::size_t i = at; i < next; ++i)
    line_ends += report[i] == '\n' || (report[i] == '\r' && report.substr(i, 2) != "\r\n");
  return line_ends > 1 || header_at(report, next).size > 0 || rule_at(report, next) > 0;
}

/// One past the last byte of the sentence that starts at byte `begin`, which is not white space.
[[nodiscard]] inline std::size_t sentence_end(std::string_view report, std::size_t begin) {
  if (const std::size_t header = header_at(report, begin).size) return begin + header;
  if (const std::size_t rule = rule_at(report, begin)) return begin + rule;
  for (std::size_t at = next_stop(report, begin); at < report.size(); at = next_stop(report, at + 1)) {
    const char c = report[at];
    if (is_line_end(c)) {
      if (ends_at_line_end(report, at)) return at;
      at = skip_space(report, at) - 1;
      continue;
    }
    std::size_t next = at + 1;
    if (c == '.' && at > begin && is_ascii_lower(report[at - 1]) && next < report.size() &&
        is_ascii_upper(report[next]))
      return next;  // "clear.Heart", a missing space
    while (next < report.size() && (report[next] == '"' || report[next] == '\'' || report[next] == ')'))
      ++next;
    if (next < report.size() && blank_prefix(report.substr(next)) == 0) continue;
    if (c == '.' && is_inner_stop(report, begin, at)) continue;
    return next;
  }
  return report.size();
}

}  // namespace detail

/// The sentences of `report` in order, as spans of its bytes. A sentence ends after `.`, `!` or `?` before
/// white space (not after abbreviations and the numbers of lists), at a blank line, and before and after a
/// section header (see sections) or a rule. Every byte that is not white space belongs to one sentence;
/// no-break spaces and byte order marks are white space. Throws std::invalid_argument for more than 2 GiB.
[[nodiscard]] inline std::vector<Span> sentences(std::string_view report) {
  detail::require_report_size("sentences", report.size());
  std::vector<Span> result;
  for (std::size_t at = detail::skip_space(report, 0); at < report.size();) {
    const std::size_t end = detail::sentence_end(report, at);
    result.push_back({static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(end)});
    at = detail::skip_space(report, end);
  }
  return result;
}

/// The sections of `report` in order. A header is a known name ("Findings:", in any case) at the start of a
/// sentence, or any words in capitals, of letters, digits, spaces and `()/-&,'#_`, at the start of a line
/// (which may be indented, as in MIMIC-CXR), followed by a colon; or a line that is FINAL REPORT, FINAL
/// ADDENDUM, PRELIMINARY REPORT or WET READ alone. A rule, which is a line of four or more of one of `_-=*`,
/// ends a section as well. Bodies point into `report`, and hold neither headers nor rules. Throws
/// std::invalid_argument for more than 2 GiB.
[[nodiscard]] inline std::vector<Section> sections(std::string_view report,
                                                   SectionNames names = SectionNames::as_written) {
  std::vector<Section> result;
  std::size_t body = 0;
  const auto close = [&](std::size_t end) {
    if (result.empty()) return;
    result.back().body = trimmed(report.substr(body, end - body));
    if (result.back().name.empty() && result.back().body.empty()) result.pop_back();
  };
  for (const Span sentence : sentences(report)) {
    const std::string_view header = detail::header_at(report, sentence.begin).words;
    const bool is_rule = header.empty() && detail::rule_at(report, sentence.begin) > 0;
    if (header.empty() && !is_rule && !result.empty()) continue;
    close(sentence.begin);
    std::string section_name = detail::header_name(header);
    if (names == SectionNames::canonical) section_name = detail::canonical_name(std::move(section_name));
    result.push_back({std::move(section_name), {}});
    body = header.empty() && !is_rule ? sentence.begin : sentence.end;
  }
  close(report.size());
  return result;
}

/// The body of the last section called `section_name` (lower case) that is not empty, or nothing: a final
/// report repeats the sections of the wet read before it.
[[nodiscard]] inline std::string_view section(std::string_view report, std::string_view section_name,
                                              SectionNames names = SectionNames::as_written) {
  std::string_view body;
  for (const Section& candidate : sections(report, names))
    if (candidate.name == section_name && !candidate.body.empty()) body = candidate.body;
  return body;
}

}  // namespace vlp::text

namespace vlp {
template <>
inline constexpr std::array<std::string_view, 2> enum_names<text::SectionNames>{"as_written", "canonical"};
}  // namespace vlp
