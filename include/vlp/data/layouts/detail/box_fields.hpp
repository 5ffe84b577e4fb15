/// \file
/// Boxes in tables: the left and upper edge, width and height, in pixels.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/numbers.hpp>
#include <vlp/core/text_encoding.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/layouts/detail/table_fields.hpp>
#include <vlp/eval/pointing_game.hpp>
#include <vlp/io/csv.hpp>

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace vlp::data::layouts::detail {

/// The four columns of a table that hold a box.
class BoxFields {
 public:
  BoxFields(const Fields& left, const Fields& top, const Fields& width, const Fields& height)
      : fields_{left, top, width, height} {}

  /// Whether all four fields are empty.
  [[nodiscard]] bool empty(std::size_t row) const {
    for (const Fields& field : fields_)
      if (!is_absent(field[row])) return false;
    return true;
  }

  /// Reads the box of a row. Returns what is wrong with it, with the value; empty if nothing is.
  [[nodiscard]] std::string read(std::size_t row, eval::Box& box) const {
    // No radiograph is larger, and floats tell all halves of pixels apart up to here.
    constexpr double most = 1 << 20;
    constexpr std::array<std::string_view, 4> names{"x", "y", "width", "height"};
    std::array<double, 4> values{};
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::string& field = fields_[i][row];
      const std::optional<double> value = parse_number(trimmed(field));
      const bool is_extent = i >= 2;
      if (!value || *value < 0 || *value > most || (is_extent && *value == 0))
        return concat("the box's ", names[i], " is ", data::detail::shown(field),
                      ", but must be a number of ", is_extent ? "pixels above 0" : "pixels from 0");
      values[i] = *value;
    }
    box = {static_cast<float>(values[0]), static_cast<float>(values[1]),
           static_cast<float>(values[0] + values[2]), static_cast<float>(values[1] + values[3])};
    if (box.left < box.right && box.top < box.bottom) return {};
    return "the box is too small to have an area";
  }

 private:
  std::array<Fields, 4> fields_;
};

}  // namespace vlp::data::layouts::detail
