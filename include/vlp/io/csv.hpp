/// \file
/// Tables in CSV files (RFC 4180, read by libcsv): quotes, line breaks within quotes, LF, CRLF and CR line
/// ends, UTF-8 with or without a byte order mark.
#pragma once

#include <csv.h>

#include <vlp/core/errors.hpp>
#include <vlp/core/printable.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/core/text_encoding.hpp>
#include <vlp/io/file.hpp>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::io {

/// A table whose first row names the columns. Every row has as many fields as there are columns.
struct CsvTable {
  std::string path;                            ///< where it was read, for messages
  std::vector<std::string> columns;            ///< names, in file order
  std::vector<std::vector<std::string>> rows;  ///< fields of each row, without the header
  std::vector<Index> lines;                    ///< line of the file on which each row begins, counted from 1

  /// Index of the column of that name, if there is one.
  [[nodiscard]] std::optional<Index> find_column(std::string_view name) const {
    for (std::size_t i = 0; i < columns.size(); ++i)
      if (columns[i] == name) return static_cast<Index>(i);
    return std::nullopt;
  }

  /// Index of the column of that name. Throws std::runtime_error that names the file, the column and the
  /// columns that exist, the first of them where there are many.
  [[nodiscard]] Index column(std::string_view name) const {
    if (const std::optional<Index> found = find_column(name)) return *found;
    constexpr std::size_t most = 1000;
    std::string present;
    for (const std::string& column : columns) {
      if (present.size() + column.size() > most) {
        present += ", ...";
        break;
      }
      present += (present.empty() ? "" : ", ") + column;
    }
    throw std::runtime_error(printable(concat(path, ": no column '", name, "' (columns: ", present, ")")));
  }

  /// "path:line" of a row, to begin a message with.
  [[nodiscard]] std::string where(Index row) const {
    return concat(path, ":", lines[static_cast<std::size_t>(row)]);
  }
};

namespace detail {

/// libcsv's parser, with the table it has read so far.
class CsvReader {
 public:
  explicit CsvReader(const Path& path, StopToken stop = {}) : stop_(stop) {
    table_.path = path.string();
    ensure(csv_init(&parser_, CSV_STRICT | CSV_STRICT_FINI) == 0, table_.path,
           ": cannot start the CSV parser");
  }
  CsvReader(const CsvReader&) = delete;
  CsvReader& operator=(const CsvReader&) = delete;
  ~CsvReader() { csv_free(&parser_); }

  CsvTable read(std::string_view text) {
    text = utf8_text(text, table_.path);
    // Lines are passed one at a time, since libcsv does not report its position.
    while (!text.empty()) {
      const std::string_view line = next_line(text);
      ++line_;
      const bool is_blank = line.find_first_not_of("\r\n\t ") == line.npos;
      if (!within_row_) row_line_ = line_;
      if (!within_row_ && !is_blank && !has_header_) check_separator(line);
      within_row_ = within_row_ || !is_blank;
      parse(line);
    }
    check(csv_fini(&parser_, on_field, on_row, this) == 0);
    ensure(has_header_, table_.path, ": empty, not even a row of column names");
    return std::move(table_);
  }

 private:
  /// Passes a line to libcsv, a long one in pieces, since any of them may be where to stop.
  void parse(std::string_view line) {
    constexpr std::size_t piece = 1 << 20;
    for (; !line.empty(); line.remove_prefix(std::min(piece, line.size()))) {
      stop_.check();
      const std::size_t size = std::min(piece, line.size());
      check(csv_parse(&parser_, line.data(), size, on_field, on_row, this) == size);
    }
  }

  /// Throws if the line of column names has no comma, but another character that separates columns.
  void check_separator(std::string_view names) const {
    bool quoted = false;
    char found = 0;
    for (const char c : trimmed(names)) {
      if (c == '"') quoted = !quoted;
      if (quoted) continue;
      if (c == ',') return;
      if (found == 0 && (c == ';' || c == '\t' || c == '|')) found = c;
    }
    ensure(found == 0, table_.path, ":", line_, ": columns are separated by ",
           found == ';'    ? "semicolons"
           : found == '\t' ? "tabs"
                           : "vertical bars",
           ", but must be by commas");
  }

  /// Throws the exception that a callback caught, or, if the parser stopped, one that names the row.
  void check(bool parsed) {
    if (error_) std::rethrow_exception(error_);
    ensure(parsed, table_.path, ":", row_line_,
           ": a quote where none may be, or one that is never closed, in the row that begins here (a quote "
           "within a field is doubled, the field quoted)");
  }

  // The parser is C: no exception may pass through it.
  static void on_field(void* data, std::size_t length, void* self) noexcept {
    static_cast<CsvReader*>(self)->guarded(
        [=](CsvReader& reader) { reader.row_.emplace_back(static_cast<const char*>(data), length); });
  }
  static void on_row(int, void* self) noexcept {
    static_cast<CsvReader*>(self)->guarded([](CsvReader& reader) { reader.finish_row(); });
  }
  template <class Action>
  void guarded(Action action) noexcept {
    try {
      if (!error_) action(*this);
    } catch (...) {
      error_ = std::current_exception();
    }
  }

  void finish_row() {
    within_row_ = false;
    std::vector<std::string> row = std::exchange(row_, {});
    if (!has_header_) {
      has_header_ = true;
      table_.columns = std::move(row);
      return;
    }
    ensure(row.size() == table_.columns.size(), table_.path, ":", row_line_, ": ", row.size(),
           " fields, but ", table_.columns.size(), " columns");
    table_.rows.push_back(std::move(row));
    table_.lines.push_back(row_line_);
  }

  csv_parser parser_{};
  StopToken stop_;
  CsvTable table_;
  std::vector<std::string> row_;
  std::exception_ptr error_;
  Index line_ = 0;
  Index row_line_ = 0;
  bool within_row_ = false;
  bool has_header_ = false;
};

}  // namespace detail

/// Reads a CSV file whose first row names the columns. Blank lines are skipped; spaces around an unquoted
/// field are no part of it. Throws std::runtime_error, naming the file and the line, for a missing or empty
/// file, text that is not UTF-8 (see utf8_text), columns that are separated by semicolons, tabs or vertical
/// bars, a row of another number of fields, or a stray or unclosed quote; and Stopped.
[[nodiscard]] inline CsvTable read_csv(const Path& path, StopToken stop = {}) {
  return detail::CsvReader(path, stop).read(read_file(path, {.stop = stop}));
}

}  // namespace vlp::io
