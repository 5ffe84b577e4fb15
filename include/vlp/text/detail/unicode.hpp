/// \file
/// The part of Unicode that reading reports needs, on top of utf8proc. Nothing here fails: each byte that is
/// not part of valid UTF-8 reads as U+FFFD.
#pragma once

#include <utf8proc.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace vlp::text::detail {

using CodePoint = std::int32_t;
inline constexpr CodePoint replacement_character = 0xfffd;

struct Decoded {
  CodePoint code_point;
  std::size_t length;  ///< in bytes, at least 1
};

/// The code point that starts at byte `at` of `text`. `at` < text.size().
[[nodiscard]] inline Decoded decode(std::string_view text, std::size_t at) {
  const auto byte = static_cast<unsigned char>(text[at]);
  if (byte < 0x80) return {byte, 1};
  CodePoint code_point = 0;
  const auto length = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data() + at),
                                       static_cast<utf8proc_ssize_t>(text.size() - at), &code_point);
  if (length <= 0) return {replacement_character, 1};
  return {code_point, static_cast<std::size_t>(length)};
}

/// Appends the UTF-8 form of `code_point`.
template <class Allocator>
void append(std::basic_string<char, std::char_traits<char>, Allocator>& text, CodePoint code_point) {
  if (code_point < 0x80) {
    text.push_back(static_cast<char>(code_point));
    return;
  }
  utf8proc_uint8_t bytes[4];
  const auto length = utf8proc_encode_char(code_point, bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(length));
}

[[nodiscard]] constexpr bool is_ascii_letter(int c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
[[nodiscard]] constexpr bool is_ascii_upper(int c) {
  return c >= 'A' && c <= 'Z';
}
[[nodiscard]] constexpr bool is_ascii_lower(int c) {
  return c >= 'a' && c <= 'z';
}
[[nodiscard]] constexpr bool is_ascii_digit(int c) {
  return c >= '0' && c <= '9';
}
[[nodiscard]] constexpr bool is_ascii_space(int c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}
[[nodiscard]] constexpr bool is_ascii_punctuation(int c) {
  return c > 32 && c < 127 && !is_ascii_letter(c) && !is_ascii_digit(c);
}
[[nodiscard]] constexpr char ascii_lower(char c) {
  return is_ascii_upper(c) ? static_cast<char>(c + 32) : c;
}

/// Whether a byte belongs to a word rather than to the punctuation around it: a letter, a digit, or anything
/// beyond ASCII.
[[nodiscard]] constexpr bool is_word_byte(char c) {
  return is_ascii_letter(c) || is_ascii_digit(c) || static_cast<unsigned char>(c) >= 0x80;
}

/// The ASCII part of is_white_space.
[[nodiscard]] constexpr bool is_ascii_white_space(CodePoint c) {
  return is_ascii_space(c) || (c >= 0x1c && c <= 0x1f);
}

/// White space as Unicode has it (White_Space), the four ASCII separators 1C to 1F, as in Python's str.split,
/// and the byte order mark, which joined files have between two words.
[[nodiscard]] inline bool is_white_space(CodePoint c) {
  if (c < 0x80) return is_ascii_white_space(c);
  if (c == 0x85 || c == 0xfeff) return true;
  const auto category = utf8proc_category(c);
  return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
         category == UTF8PROC_CATEGORY_ZP;
}

}  // namespace vlp::text::detail
