/// \file
/// Tables in CSV files (RFC 4180, read by libcsv): quotes, line breaks within quotes, LF, CRLF and CR line
/// ends, a UTF-8 byte order mark.
#pragma once

#include <csv.h>

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/io/file.hpp>

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
  /// columns that exist.
  [[nodiscard]] Index column(std::string_view name) const {
    if (const std::optional<Index> found = find_column(name)) return *found;
    std::string present;
    for (const std::string& column : columns) present += (present.empty() ? "" : ", ") + column;
    throw std::runtime_error(concat(path, ": no column '", name, "' (columns: ", present, ")"));
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
  explicit CsvReader(const Path& path) {
    table_.path = path.string();
    ensure(csv_init(&parser_, CSV_STRICT | CSV_STRICT_FINI) == 0, table_.path,
           ": cannot start the CSV parser");
  }
  CsvReader(const CsvReader&) = delete;
  CsvReader& operator=(const CsvReader&) = delete;
  ~CsvReader() { csv_free(&parser_); }

  CsvTable read(std::string_view text) {
    constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
    if (text.substr(0, byte_order_mark.size()) == byte_order_mark) text.remove_prefix(byte_order_mark.size());
    // Lines are passed one at a time, since libcsv does not report its position.
    while (!text.empty()) {
      const std::string_view line = text.substr(0, line_length(text));
      text.remove_prefix(line.size());
      ++line_;
      ensure(line.find('\0') == line.npos, table_.path, ":", line_,
             ": a zero byte (is this a text file, in UTF-8?)");
      if (!within_row_) row_line_ = line_;
      within_row_ = within_row_ || line.find_first_not_of("\r\n\t ") != line.npos;
      check(csv_parse(&parser_, line.data(), line.size(), on_field, on_row, this) == line.size());
    }
    check(csv_fini(&parser_, on_field, on_row, this) == 0);
    ensure(has_header_, table_.path, ": empty, not even a row of column names");
    return std::move(table_);
  }

 private:
  /// Length of the first line of `text`, its line end included.
  static std::size_t line_length(std::string_view text) {
    const std::size_t end = text.find_first_of("\r\n");
    if (end == text.npos) return text.size();
    return end + (text.substr(end, 2) == "\r\n" ? 2 : 1);
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
/// file, a row of another number of fields, a stray or unclosed quote, or a zero byte.
[[nodiscard]] inline CsvTable read_csv(const Path& path) {
  return detail::CsvReader(path).read(read_file(path));
}

}  // namespace vlp::io
