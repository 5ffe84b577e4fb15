/// \file
/// The encoding of text files: UTF-8 with or without a byte order mark, and lines that end in LF, CRLF or CR.
/// Every reader of a foreign text file begins here, so that all of them take and refuse the same.
#pragma once

#include <vlp/core/detail/utf8.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace vlp {

namespace detail {

/// The name of the encoding, other than UTF-8, that the first bytes of a file give away: by a byte order
/// mark, or by a zero byte beside each of two plain characters. Empty if they do not.
[[nodiscard]] constexpr std::string_view foreign_encoding(std::string_view bytes) {
  using namespace std::string_view_literals;
  if (bytes.starts_with("\xff\xfe\0\0"sv) || bytes.starts_with("\0\0\xfe\xff"sv)) return "UTF-32";
  if (bytes.starts_with("\xff\xfe") || bytes.starts_with("\xfe\xff")) return "UTF-16";
  if (bytes.size() < 4) return {};
  const bool zero[] = {bytes[0] == 0, bytes[1] == 0, bytes[2] == 0, bytes[3] == 0};
  if (zero[0] != zero[1] && zero[0] == zero[2] && zero[1] == zero[3]) return "UTF-16";
  const int zeros = zero[0] + zero[1] + zero[2] + zero[3];
  return zeros == 3 && !(zero[0] && zero[3]) ? "UTF-32" : std::string_view{};
}

/// Where the first byte lies that is zero or not part of UTF-8, or the size.
[[nodiscard]] inline std::size_t first_foreign_byte(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    // Eight plain bytes at a time: those without a high bit and, by the borrow, without a zero.
    if (std::uint64_t block = 0; at + sizeof(block) <= text.size()) {
      std::memcpy(&block, text.data() + at, sizeof(block));
      if (((block | (block - 0x0101010101010101u)) & 0x8080808080808080u) == 0) {
        at += sizeof(block);
        continue;
      }
    }
    const std::size_t length = text[at] == 0 ? 0 : first_code_point(text.substr(at)).length;
    if (length == 0) return at;
    at += length;
  }
  return text.size();
}

}  // namespace detail

/// Removes the first line from `text`, which is not empty, and returns it with its line end: LF, CRLF or CR.
[[nodiscard]] inline std::string_view next_line(std::string_view& text) {
  const std::size_t end = text.find_first_of("\r\n");
  const std::size_t length = end == text.npos ? text.size() : end + (text.substr(end, 2) == "\r\n" ? 2 : 1);
  const std::string_view line = text.substr(0, length);
  text.remove_prefix(length);
  return line;
}

/// A line of next_line without its line end.
[[nodiscard]] inline std::string_view without_line_end(std::string_view line) {
  return line.substr(0, line.find_last_not_of("\r\n") + 1);
}

/// The text of a file's `bytes`: what follows the byte order mark, if there is one. Throws
/// std::runtime_error, which names `source` and, where there is one, the line, counted from `first_line`, for
/// UTF-16 and UTF-32, a zero byte, and bytes that are not UTF-8, such as those of Latin-1. A stream is read
/// piece by piece with the number of each piece's first line; only the piece with line 1 has a mark.
[[nodiscard]] inline std::string_view utf8_text(std::string_view bytes, std::string_view source,
                                                Index first_line = 1) {
  constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
  if (first_line == 1) {
    const std::string_view foreign = detail::foreign_encoding(bytes);
    ensure(foreign.empty(), source, ": this is ", foreign, " text, and only UTF-8 is read");
    if (bytes.starts_with(byte_order_mark)) bytes.remove_prefix(byte_order_mark.size());
  }
  const std::size_t bad = detail::first_foreign_byte(bytes);
  if (bad == bytes.size()) return bytes;
  Index line = first_line;
  for (std::string_view before = bytes.substr(0, bad); !before.empty();) {
    const std::string_view whole = next_line(before);
    line += whole.size() != without_line_end(whole).size();
  }
  ensure(bytes[bad] != 0, source, ":", line, ": a zero byte (is this a text file, in UTF-8?)");
  constexpr std::string_view digits = "0123456789ABCDEF";
  const auto byte = static_cast<unsigned char>(bytes[bad]);
  const char hexadecimal[] = {digits[byte >> 4], digits[byte & 15], '\0'};
  ensure(false, source, ":", line, ": the byte ", hexadecimal,
         " is not UTF-8 (text in Latin-1 or Windows-1252 must be converted)");
  return {};
}

namespace detail {

/// Blanks beyond ASCII: the no-break spaces U+00A0 and U+202F, and the byte order mark U+FEFF.
inline constexpr std::array<std::string_view, 3> wide_blanks{"\xc2\xa0", "\xe2\x80\xaf", "\xef\xbb\xbf"};

[[nodiscard]] constexpr bool is_ascii_blank(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

}  // namespace detail

/// Length in bytes of the white space character that `text` begins with, or 0. White space is that of ASCII,
/// the no-break spaces U+00A0 and U+202F, and the byte order mark U+FEFF, which joined files have in their
/// middle.
[[nodiscard]] constexpr std::size_t blank_prefix(std::string_view text) {
  if (text.empty()) return 0;
  if (static_cast<unsigned char>(text.front()) < 0x80) return detail::is_ascii_blank(text.front()) ? 1 : 0;
  for (const std::string_view blank : detail::wide_blanks)
    if (text.starts_with(blank)) return blank.size();
  return 0;
}

/// Length in bytes of the white space character (see blank_prefix) that `text` ends with, or 0.
[[nodiscard]] constexpr std::size_t blank_suffix(std::string_view text) {
  if (text.empty()) return 0;
  if (static_cast<unsigned char>(text.back()) < 0x80) return detail::is_ascii_blank(text.back()) ? 1 : 0;
  for (const std::string_view blank : detail::wide_blanks)
    if (text.ends_with(blank)) return blank.size();
  return 0;
}

/// `text` without the white space (see blank_prefix) at its ends.
[[nodiscard]] constexpr std::string_view trimmed(std::string_view text) {
  while (const std::size_t length = blank_prefix(text)) text.remove_prefix(length);
  while (const std::size_t length = blank_suffix(text)) text.remove_suffix(length);
  return text;
}

}  // namespace vlp
