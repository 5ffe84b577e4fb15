/// \file
/// Cells of tables in Markdown.
#pragma once

#include <vlp/core/numbers.hpp>
#include <vlp/core/printable.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace vlp::tasks::detail {

/// "61.2 %"; "-" for NaN.
inline std::string percent(double share) {
  if (share != share) return "-";
  return fixed_text(100 * share, 1) + " %";
}

/// A stranger's text as a cell of a table: on one line, printable, cut after some 400 bytes, and with nothing
/// that Markdown or HTML would obey.
inline std::string cell(std::string_view text) {
  constexpr std::size_t longest = 400;
  std::string line;
  for (const char c : text) {
    const bool is_space = c == ' ' || (c >= '\t' && c <= '\r');
    if (!is_space)
      line += c;
    else if (!line.empty() && line.back() != ' ')
      line += ' ';
  }
  line = printable(line);
  if (line.size() > longest) {
    std::size_t end = longest;
    while ((static_cast<unsigned char>(line[end]) & 0xC0) == 0x80) --end;
    line = line.substr(0, end) + " ...";
  }
  constexpr std::string_view special = "\\`*_[]<>|~#&$";
  std::string out;
  for (const char c : line) {
    if (special.find(c) != special.npos) out += '\\';
    out += c;
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

}  // namespace vlp::tasks::detail
