/// \file
/// Characters of UTF-8 text.
#pragma once

#include <cstddef>
#include <string_view>

namespace vlp::detail {

/// The character at the start of a text.
struct CodePoint {
  char32_t value;
  std::size_t length;  // in bytes; 0: the text does not begin with valid UTF-8, and value has no meaning
};

/// Decodes the first character of a text that is not empty. Not valid are a stray or missing continuation, an
/// overlong form, a surrogate, and a code point beyond U+10FFFF.
[[nodiscard]] constexpr CodePoint first_code_point(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const char32_t first = byte(0);
  if (first < 0x80) return {first, 1};
  const std::size_t length = first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
  if (length == 0 || text.size() < length) return {first, 0};
  char32_t value = first & (0x7FU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {first, 0};
    value = value << 6 | (byte(i) & 0x3FU);
  }
  const bool is_overlong = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
  const bool is_character = value < 0xD800 || (value > 0xDFFF && value <= 0x10FFFF);
  return {value, is_overlong || !is_character ? 0 : length};
}

}  // namespace vlp::detail
