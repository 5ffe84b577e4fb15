/// \file
/// Numbers as text and back, the same in every locale.
#pragma once

#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace vlp {

/// Returns the shortest decimal text that reads back as the same number.
[[nodiscard]] inline std::string number_text(double value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

/// Returns a number with `digits` decimals, 0 to 20, as printf's "%.3f" does in the C locale: "3.142".
[[nodiscard]] inline std::string fixed_text(double value, int digits) {
  std::array<char, std::numeric_limits<double>::max_exponent10 + 32> text{};
  const auto end =
      std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed, digits).ptr;
  return {text.data(), end};
}

/// Returns the number that the whole text spells, in decimal; nothing for any other text, and for NaN and
/// infinity.
[[nodiscard]] inline std::optional<double> parse_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

}  // namespace vlp
