/// \file
/// Labels of images: what a table says of each finding.
#pragma once

#include <vlp/core/enum_names.hpp>
#include <vlp/core/numbers.hpp>
#include <vlp/core/text_encoding.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace vlp::data {

/// A table's word on one finding in one image.
enum class Label : std::uint8_t {
  unknown,   ///< the table says nothing
  negative,  ///< the finding is absent
  uncertain,
  positive
};

/// The label that a field of a table says: positive for 1, negative for 0, uncertain for -1, the numbers in
/// any spelling ("1.0"), and positive and negative for "true" and "false" in capitals or not, as programs
/// write them; unknown for an empty field. Nothing for any other text.
[[nodiscard]] inline std::optional<Label> parse_label(std::string_view field) {
  field = trimmed(field);
  if (field.empty()) return Label::unknown;
  const auto is = [&](std::string_view word) {
    return std::equal(field.begin(), field.end(), word.begin(), word.end(),
                      [](char a, char b) { return (a | 0x20) == b; });
  };
  if (is("true")) return Label::positive;
  if (is("false")) return Label::negative;
  const std::optional<double> value = parse_number(field);
  if (value == 1) return Label::positive;
  if (value == 0) return Label::negative;
  if (value == -1) return Label::uncertain;
  return std::nullopt;
}

}  // namespace vlp::data

namespace vlp {
template <>
inline constexpr std::array<std::string_view, 4> enum_names<data::Label>{"unknown", "negative", "uncertain",
                                                                         "positive"};
}  // namespace vlp
