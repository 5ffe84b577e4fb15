/// \file
/// Labels of images: what a table says of each finding.
#pragma once

#include <vlp/core/enum_names.hpp>

#include <array>
#include <cstdint>
#include <string_view>

namespace vlp::data {

/// A table's word on one finding in one image.
enum class Label : std::uint8_t {
  unknown,   ///< the table says nothing
  negative,  ///< the finding is absent
  uncertain,
  positive
};

}  // namespace vlp::data

namespace vlp {
template <>
inline constexpr std::array<std::string_view, 4> enum_names<data::Label>{"unknown", "negative", "uncertain",
                                                                         "positive"};
}  // namespace vlp
