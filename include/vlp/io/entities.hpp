/// \file
/// The character references that texts taken from XML or a web page still hold, such as `&lt;`.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace vlp::io {

namespace detail {

/// Appends the UTF-8 form of `code_point`, which is no surrogate.
inline void append_utf8(std::uint32_t code_point, std::string& text) {
  const auto push = [&](std::uint32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) return push(code_point);
  const int continuations = code_point < 0x800 ? 1 : code_point < 0x10000 ? 2 : 3;
  const std::uint32_t first[] = {0, 0xc0, 0xe0, 0xf0};
  push(first[continuations] | code_point >> (6 * continuations));
  for (int left = continuations; left-- > 0;) push(0x80 | ((code_point >> (6 * left)) & 0x3f));
}

/// The character that the inside of a reference ("lt", "#39", "#xA0") stands for, if it is one.
[[nodiscard]] inline std::optional<std::uint32_t> referenced(std::string_view inside) {
  constexpr std::array<std::pair<std::string_view, std::uint32_t>, 6> names{
      {{"amp", '&'}, {"apos", '\''}, {"gt", '>'}, {"lt", '<'}, {"nbsp", 0xa0}, {"quot", '"'}}};
  for (const auto& [name, character] : names)
    if (inside == name) return character;
  if (!inside.starts_with('#')) return std::nullopt;
  inside.remove_prefix(1);
  const bool hexadecimal = inside.starts_with('x') || inside.starts_with('X');
  if (hexadecimal) inside.remove_prefix(1);
  std::uint32_t value = 0;
  const char* end = inside.data() + inside.size();
  const auto [stop, error] = std::from_chars(inside.data(), end, value, hexadecimal ? 16 : 10);
  const bool is_surrogate = value >= 0xd800 && value < 0xe000;
  if (error != std::errc() || stop != end || value == 0 || value > 0x10ffff || is_surrogate)
    return std::nullopt;
  return value;
}

}  // namespace detail

/// `text` with its character references replaced, once, by UTF-8: `&lt; &gt; &amp; &quot; &apos; &nbsp;`, and
/// characters by number (`&#39;`, `&#xA0;`). Whatever else follows an ampersand stays as it is.
[[nodiscard]] inline std::string decode_entities(std::string_view text) {
  constexpr std::size_t longest = 10;  // "#x0010FFFF"
  std::string decoded;
  decoded.reserve(text.size());
  while (!text.empty()) {
    const std::size_t plain = std::min(text.find('&'), text.size());
    decoded.append(text.substr(0, plain));
    text.remove_prefix(plain);
    if (text.empty()) break;
    const std::size_t semicolon = text.substr(0, longest + 2).find(';');
    const auto character =
        semicolon == text.npos ? std::nullopt : detail::referenced(text.substr(1, semicolon - 1));
    if (character)
      detail::append_utf8(*character, decoded);
    else
      decoded.push_back('&');
    text.remove_prefix(character ? semicolon + 1 : 1);
  }
  return decoded;
}

}  // namespace vlp::io
