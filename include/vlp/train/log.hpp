/// \file
/// A log of numbers, kept as CSV beside the checkpoints it belongs to.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/numbers.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/io/file.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace vlp::train {

/// Rows of numbers under named columns, of which the first ("step" or "epoch") counts them: 1, 2, 3, ...
/// `save` appends to the file, so that its cost is that of the new rows. A file that a process is writing, or
/// was when it was killed, may end in a part of a row; each row with a line break behind it is whole.
class Log {
 public:
  /// Touches no file. The names must hold no comma, quote or line break.
  Log(std::string path, std::vector<std::string> columns)
      : path_(std::move(path)), columns_(std::move(columns)) {}

  /// Takes over the first `count` rows that an earlier run saved. Anything behind them, whole or not, is cut
  /// off by the next `save`. Throws std::runtime_error, naming file and line, unless all of them are there,
  /// and then leaves this as it was; a log of no rows need not have a file.
  void load(Index count) {
    std::vector<std::vector<double>> rows;
    const std::string text = count > 0 ? io::read_file(path_) : std::string();
    std::string_view rest = text;
    if (count > 0)
      ensure(take_line(rest) == heading(), path_, ":1: has other columns than this version writes (",
             heading(), ")");
    for (Index key = 1; key <= count; ++key) {
      const std::string place = concat(path_, ":", key + 1);
      const std::string_view line = take_line(rest);
      ensure(!line.empty(), place, ": the row of ", columns_.front(), " ", key, " of ", count,
             " is missing or cut off");
      rows.push_back(parsed(line, place));
      ensure(rows.back().front() == static_cast<double>(key), place, ": ", columns_.front(), " ",
             rows.back().front(), " where ", key, " belongs");
    }
    rows_ = std::move(rows);
    saved_rows_ = 0;
    saved_bytes_ = 0;
  }

  /// Adds a row. Throws std::invalid_argument unless it has a number for each column and counts on.
  void append(std::vector<double> row) {
    require(row.size() == columns_.size(), path_, ": a row of ", row.size(), " numbers for ", columns_.size(),
            " columns");
    require(row.front() == static_cast<double>(rows_.size() + 1), path_, ": a row of ", columns_.front(), " ",
            row.front(), " behind ", rows_.size(), " rows");
    rows_.push_back(std::move(row));
  }

  /// Brings all rows to the disk: by appending, or else, at the first call and where another program has
  /// changed the file, by replacing it whole. Throws std::runtime_error, naming the file.
  void save() {
    std::string text;
    for (std::size_t i = saved_rows_; i < rows_.size(); ++i) text += line_of(rows_[i]);
    const bool is_appended = saved_bytes_ > 0 && io::append_to_file(path_, saved_bytes_, text);
    if (!is_appended) {
      text = heading() + '\n';
      for (const auto& row : rows_) text += line_of(row);
      io::write_file(path_, text);
    }
    saved_bytes_ = (is_appended ? saved_bytes_ : 0) + text.size();
    saved_rows_ = rows_.size();
  }

  [[nodiscard]] const std::string& path() const { return path_; }
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
  /// Removes the first line from `text` and returns it without its line break; empty where none is whole.
  static std::string_view take_line(std::string_view& text) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return {};
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    return line;
  }

  [[nodiscard]] std::string heading() const {
    std::string text;
    for (const std::string& column : columns_) text += (text.empty() ? "" : ",") + column;
    return text;
  }

  static std::string line_of(const std::vector<double>& row) {
    std::string text;
    for (const double value : row) text += (text.empty() ? "" : ",") + number_text(value);
    return text + '\n';
  }

  [[nodiscard]] std::vector<double> parsed(std::string_view line, const std::string& place) const {
    const auto fields = static_cast<std::size_t>(1 + std::count(line.begin(), line.end(), ','));
    ensure(fields == columns_.size(), place, ": ", fields, " fields, but ", columns_.size(), " columns");
    std::vector<double> row;
    for (const std::string& column : columns_) {
      const std::string_view field = line.substr(0, line.find(','));
      line.remove_prefix(std::min(field.size() + 1, line.size()));
      double value = 0;
      const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
      ensure(error == std::errc() && end == field.data() + field.size(), place, ": the ", column, " '", field,
             "' is not a number");
      row.push_back(value);
    }
    return row;
  }

  std::string path_;
  std::vector<std::string> columns_;
  std::vector<std::vector<double>> rows_;
  std::size_t saved_rows_ = 0;     // of rows_, in the file
  std::uint64_t saved_bytes_ = 0;  // of the file that holds them; 0: it is yet to be written
};

}  // namespace vlp::train
