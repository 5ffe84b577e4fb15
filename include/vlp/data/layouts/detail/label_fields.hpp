/// \file
/// Columns of tables that hold a label each.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/labels.hpp>
#include <vlp/data/layouts/detail/table_fields.hpp>
#include <vlp/io/csv.hpp>

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::data::layouts::detail {

/// The columns of a table that hold the labels of a collection; labels without a column are unknown.
class LabelFields {
 public:
  /// `columns`: one for each label of the collection. Throws std::runtime_error where two columns of the
  /// table have one of these names.
  template <class Names>
  LabelFields(const io::CsvTable& table, const Names& columns) {
    for (const std::string_view column : columns) {
      names_.emplace_back(column);
      fields_.emplace_back(table, std::initializer_list<std::string_view>{column});
    }
  }

  /// The columns that the table does not have, separated by commas.
  [[nodiscard]] std::string absent() const {
    std::string text;
    for (std::size_t i = 0; i < fields_.size(); ++i)
      if (!fields_[i].exist()) text.append(text.empty() ? "" : ", ").append(names_[i]);
    return text;
  }
  [[nodiscard]] bool any() const {
    return std::any_of(fields_.begin(), fields_.end(), [](const Fields& field) { return field.exist(); });
  }

  /// Reads the labels of a row. Returns what is wrong with them, with column and value; empty if nothing is.
  [[nodiscard]] std::string read(std::size_t row, std::vector<Label>& labels) const {
    constexpr std::size_t most = 3;
    std::string fault;
    std::size_t faults = 0;
    labels.clear();
    for (std::size_t i = 0; i < fields_.size(); ++i) {
      const std::string& field = fields_[i][row];
      const std::optional<Label> label = is_absent(field) ? Label::unknown : parse_label(field);
      labels.push_back(label.value_or(Label::unknown));
      if (!label && ++faults <= most)
        fault += concat(faults == 1 ? "" : " and ", data::detail::shown(names_[i]), " is ",
                        data::detail::shown(field));
    }
    if (faults > most) fault += concat(" and so on in ", faults - most, " more columns");
    return fault.empty() ? fault : fault + ", but a label is 1, 0, -1 or empty";
  }

 private:
  std::vector<std::string> names_;
  std::vector<Fields> fields_;
};

}  // namespace vlp::data::layouts::detail
