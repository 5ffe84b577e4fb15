/// \file
/// The lines of a report that part its sections: headers, marks such as FINAL REPORT, and rules.
#pragma once

#include <vlp/core/text_encoding.hpp>
#include <vlp/text/detail/unicode.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::text::detail {

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

/// Names that say the same as another, and the one that stands for both.
inline constexpr std::array<std::pair<std::string_view, std::string_view>, 9> section_synonyms{
    {{"comparisons", "comparison"},
     {"conclusions", "conclusion"},
     {"exam", "examination"},
     {"findings/impression", "findings and impression"},
     {"impressions", "impression"},
     {"indications", "indication"},
     {"reason for exam", "reason for examination"},
     {"recommendation(s)", "recommendation"},
     {"recommendations", "recommendation"}}};

[[nodiscard]] inline bool equal_ignoring_case(std::string_view text, std::string_view lower) {
  return text.size() == lower.size() && std::equal(text.begin(), text.end(), lower.begin(),
                                                   [](char a, char b) { return ascii_lower(a) == b; });
}

[[nodiscard]] constexpr bool is_line_end(char c) {
  return c == '\n' || c == '\r';
}

/// Whether nothing but blanks stands before `at` in its line.
[[nodiscard]] inline bool starts_line(std::string_view report, std::size_t at) {
  while (at > 0 && !is_line_end(report[at - 1])) {
    const std::size_t blank = blank_suffix(report.substr(0, at));
    if (blank == 0) return false;
    at -= blank;
  }
  return true;
}

/// The bytes, besides blanks, of a header in capitals, which may name the study, its day (`___` in MIMIC-CXR)
/// and its time.
[[nodiscard]] constexpr bool is_header_byte(char c) {
  return is_ascii_letter(c) || is_ascii_digit(c) || c == '(' || c == ')' || c == '/' || c == '-' ||
         c == '&' || c == ',' || c == '\'' || c == '#' || c == '_';
}

/// A header at some place of a report.
struct Header {
  std::string_view words;  ///< before its colon
  std::size_t size = 0;    ///< its bytes, the colon included; 0 if there is none
};

/// The mark at the start of `text`, where a line starts, if the line is one: its name alone.
[[nodiscard]] inline Header mark_of(std::string_view text) {
  constexpr std::array<std::string_view, 4> marks{"final addendum", "final report", "preliminary report",
                                                  "wet read"};
  constexpr std::string_view wet_read_version = "WET READ VERSION";
  if (text.starts_with(wet_read_version)) return {text.substr(0, 8), 8};
  if (text.empty() || !is_ascii_upper(text[0])) return {};
  for (const std::string_view mark : marks) {
    if (!equal_ignoring_case(text.substr(0, mark.size()), mark)) continue;
    std::string_view rest = text.substr(mark.size());
    while (!rest.empty() && !is_line_end(rest[0]) && blank_prefix(rest) > 0)
      rest.remove_prefix(blank_prefix(rest));
    if (rest.empty() || is_line_end(rest[0])) return {text.substr(0, mark.size()), mark.size()};
  }
  return {};
}

/// The header at byte `begin` of `report`, where a sentence starts: a known name in any case before a colon,
/// or, where a line starts, any run of header bytes and blanks in capitals before a colon, or a mark. A colon
/// between digits belongs to a time of the day.
[[nodiscard]] inline Header header_at(std::string_view report, std::size_t begin) {
  const std::string_view text = report.substr(begin);
  if (text.empty() || !(is_ascii_letter(text[0]) || is_ascii_digit(text[0]))) return {};
  const bool line_start = starts_line(report, begin);
  if (line_start)
    if (const Header mark = mark_of(text); mark.size > 0) return mark;
  const auto digit_at = [&](std::size_t i) { return i < text.size() && is_ascii_digit(text[i]); };
  std::size_t colon = 0, letters = 0;
  bool capitals = line_start;
  while (colon < text.size()) {
    const char c = text[colon];
    if (c == ':' && !(digit_at(colon - 1) && digit_at(colon + 1))) break;
    const bool in_word = c == ':' || is_header_byte(c);
    const std::size_t blank = in_word || is_line_end(c) ? 0 : blank_prefix(text.substr(colon));
    if (blank == 0 && !in_word) return {};
    letters += is_ascii_letter(c);
    capitals = capitals && !is_ascii_lower(c);
    if (!capitals && colon >= longest_section_name && blank == 0) return {};
    colon += std::max<std::size_t>(blank, 1);
  }
  if (colon == text.size()) return {};
  const std::string_view words = trimmed(text.substr(0, colon));
  const bool known =
      std::any_of(section_names.begin(), section_names.end(),
                  [&](std::string_view known_name) { return equal_ignoring_case(words, known_name); });
  return known || (capitals && words.size() > 2 && letters > 1) ? Header{words, colon + 1} : Header{};
}

/// Bytes of the rule at byte `at` of `report`: a line of nothing but four or more of one of `_ - = *`. 0 if
/// there is none. (Three underscores stand for what was removed from a report of MIMIC-CXR.)
[[nodiscard]] inline std::size_t rule_at(std::string_view report, std::size_t at) {
  constexpr std::size_t shortest = 4;
  if (at >= report.size() || std::string_view("_-=*").find(report[at]) == std::string_view::npos) return 0;
  const std::size_t end = std::min(report.find_first_not_of(report[at], at), report.size());
  if (end - at < shortest || !starts_line(report, at)) return 0;
  std::size_t next = end;
  while (next < report.size() && !is_line_end(report[next])) {
    const std::size_t blank = blank_prefix(report.substr(next));
    if (blank == 0) return 0;
    next += blank;
  }
  return end - at;
}

/// The words of a header in lower case, one space between two.
[[nodiscard]] inline std::string header_name(std::string_view words) {
  std::string name;
  while (!words.empty()) {
    const std::size_t blank = blank_prefix(words);
    if (blank == 0)
      name.push_back(ascii_lower(words[0]));
    else if (!name.empty() && name.back() != ' ')
      name.push_back(' ');
    words.remove_prefix(std::max<std::size_t>(blank, 1));
  }
  return name;
}

/// The fewest letters to insert, delete, replace or swap with the next that make `a` from `b` (the optimal
/// string alignment distance).
[[nodiscard]] inline std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before2, before(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    before2 = std::exchange(before, row);
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({before[j] + 1, row[j - 1] + 1, before[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before2[j - 2] + 1);
    }
  }
  return row[b.size()];
}

/// The known name that `name`, of header_name, stands for: itself, or the nearest within one mistake, or two
/// after the first letter of a name of eight letters or more ("medication" is no "indication"); of synonyms,
/// the one that stands for both. `name` if there is none.
[[nodiscard]] inline std::string canonical_name(std::string name) {
  constexpr std::size_t shortest = 6, long_name = 8;
  std::string_view nearest = name;
  if (std::find(section_names.begin(), section_names.end(), name) == section_names.end()) {
    std::size_t least = 3;
    for (const std::string_view known : section_names) {
      const std::size_t allowed = known.size() >= long_name ? 2 : known.size() >= shortest ? 1 : 0;
      if (name.size() + allowed < known.size() || known.size() + allowed < name.size()) continue;
      const std::size_t distance = edit_distance(name, known);
      if (distance > allowed || distance >= least) continue;
      if (distance > 1 && name.front() != known.front()) continue;
      least = distance;
      nearest = known;
    }
  }
  for (const auto& [synonym, stands] : section_synonyms)
    if (nearest == synonym) nearest = stands;
  return std::string(nearest);
}

}  // namespace vlp::text::detail
