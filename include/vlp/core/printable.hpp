/// \file
/// Foreign text made fit for a terminal, a log or a message.
#pragma once

#include <vlp/core/detail/utf8.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace vlp {

namespace detail {

/// Tells whether a terminal acts on the character instead of showing it: controls, which begin escape
/// sequences, line breaks, and marks that turn the direction of what follows.
[[nodiscard]] constexpr bool is_control(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x200E || c == 0x200F || (c >= 0x2028 && c <= 0x202E) ||
         (c >= 0x2066 && c <= 0x2069);
}

/// `\n`, `\x1b`, `\u202e`.
[[nodiscard]] inline std::string escape_of(char32_t c) {
  if (c == '\n') return "\\n";
  if (c == '\r') return "\\r";
  if (c == '\t') return "\\t";
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out = c < 0x100 ? "\\x" : "\\u";
  for (int shift = c < 0x100 ? 4 : 12; shift >= 0; shift -= 4) out += digits[c >> shift & 0xF];
  return out;
}

/// Leaves out the middle of a text of more than 4000 bytes, not cutting through a character.
[[nodiscard]] inline std::string shortened(std::string text) {
  constexpr std::size_t longest = 4000, end_kept = 900;
  if (text.size() <= longest) return text;
  const auto boundary = [&](std::size_t at) {
    while ((static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
    return at;
  };
  const std::size_t head = boundary(longest - end_kept - 50), tail = boundary(text.size() - end_kept);
  return text.substr(0, head) + " [... " + std::to_string(tail - head) + " bytes ...] " + text.substr(tail);
}

}  // namespace detail

/// Returns `text` as valid UTF-8 without characters that a terminal obeys: controls, line breaks, marks of
/// direction and bytes that are no UTF-8 are replaced by `\n`, `\x1b` or `\u202e`. A text of more than 4000
/// bytes loses its middle. Names that come from files (of files, tensors, columns) are shown so.
[[nodiscard]] inline std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto [value, length] = detail::first_code_point(text);
    if (length == 0 || detail::is_control(value))
      out += detail::escape_of(length == 0 ? static_cast<unsigned char>(text.front()) : value);
    else
      out += text.substr(0, length);
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return detail::shortened(std::move(out));
}

}  // namespace vlp
