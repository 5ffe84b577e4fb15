/// \file
/// A log of numbers, kept as CSV beside the checkpoints it belongs to.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/io/csv.hpp>
#include <vlp/io/file.hpp>

#include <array>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace vlp::train {

/// The shortest decimal text that reads back as the same number.
inline std::string number_text(double value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

/// Rows of numbers under named columns, of which the first ("step" or "epoch") rises from row to row. `save`
/// replaces the file whole, so that a reader, or a run that is killed, never meets half a row.
class Log {
 public:
  Log(std::string path, std::vector<std::string> columns)
      : path_(std::move(path)), columns_(std::move(columns)) {}

  /// Takes over the rows that an earlier run saved, up to and including the key `last`; later ones are
  /// written anew.
  void load(double last) {
    rows_.clear();
    if (!std::filesystem::exists(path_)) return;
    const io::CsvTable table = io::read_csv(path_);
    ensure(table.columns == columns_, path_, ": has other columns than this version writes");
    for (const auto& fields : table.rows) {
      std::vector<double> row;
      for (const auto& field : fields) row.push_back(std::strtod(field.c_str(), nullptr));
      if (row.front() <= last) rows_.push_back(std::move(row));
    }
  }

  void append(std::vector<double> row) {
    require(row.size() == columns_.size(), path_, ": a row of ", row.size(), " numbers for ", columns_.size(),
            " columns");
    rows_.push_back(std::move(row));
  }

  void save() const {
    std::string text;
    for (std::size_t c = 0; c < columns_.size(); ++c) text += (c == 0 ? "" : ",") + columns_[c];
    text += '\n';
    for (const auto& row : rows_) {
      for (std::size_t c = 0; c < row.size(); ++c) text += (c == 0 ? "" : ",") + number_text(row[c]);
      text += '\n';
    }
    io::write_file(path_, text);
  }

  [[nodiscard]] const std::vector<std::string>& columns() const { return columns_; }
  [[nodiscard]] const std::vector<std::vector<double>>& rows() const { return rows_; }

  /// One column, top to bottom.
  [[nodiscard]] std::vector<double> column(std::string_view name) const {
    std::vector<double> values;
    for (std::size_t c = 0; c < columns_.size(); ++c)
      if (columns_[c] == name)
        for (const auto& row : rows_) values.push_back(row[c]);
    return values;
  }

 private:
  std::string path_;
  std::vector<std::string> columns_;
  std::vector<std::vector<double>> rows_;
};

}  // namespace vlp::train
