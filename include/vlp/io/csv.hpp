/// \file
/// Tables in CSV files (RFC 4180, read by libcsv): quotes, line breaks within quotes, LF, CRLF and CR line
/// ends, UTF-8 with or without a byte order mark, packed by gzip or not.
#pragma once

#include <csv.h>

#include <vlp/core/errors.hpp>
#include <vlp/core/printable.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/core/text_encoding.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/gzip.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
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
  std::vector<std::string> columns;            ///< names of the columns that were read, in file order
  std::vector<std::string> file_columns;       ///< names of all columns that the file has
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
    for (const std::string& column : file_columns) {
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

/// Options of read_csv.
struct ReadCsvOptions {
  /// Columns to read, of which the table may lack some; empty for all. A large table of which few columns are
  /// read takes less memory.
  std::vector<std::string_view> columns = {};
  std::uint64_t max_bytes = std::uint64_t{1} << 30;  ///< a file that has, or unpacks to, more is refused
  StopToken stop = {};                               ///< asked between lines
};

namespace detail {

/// libcsv's parser, with the table it has read so far.
class CsvReader {
 public:
  explicit CsvReader(const Path& path, ReadCsvOptions options = {}) : options_(std::move(options)) {
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
      options_.stop.check();
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
    static_cast<CsvReader*>(self)->guarded([=](CsvReader& reader) {
      reader.take_field({static_cast<const char*>(data), length});
    });
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

  void take_field(std::string_view field) {
    const std::size_t column = fields_++;
    if (!has_header_ || (column < is_read_.size() && is_read_[column])) row_.emplace_back(field);
  }

  void finish_row() {
    within_row_ = false;
    std::vector<std::string> row = std::exchange(row_, {});
    const std::size_t fields = std::exchange(fields_, 0);
    if (!has_header_) return take_names(std::move(row));
    ensure(fields == is_read_.size(), table_.path, ":", row_line_, ": ", fields, " fields, but ",
           is_read_.size(), " columns");
    table_.rows.push_back(std::move(row));
    table_.lines.push_back(row_line_);
    row_.reserve(table_.columns.size());
  }

  void take_names(std::vector<std::string> names) {
    has_header_ = true;
    const auto& wanted = options_.columns;
    for (const std::string& name : names) {
      is_read_.push_back(wanted.empty() || std::find(wanted.begin(), wanted.end(), name) != wanted.end());
      if (is_read_.back()) table_.columns.push_back(name);
    }
    table_.file_columns = std::move(names);
  }

  csv_parser parser_{};
  ReadCsvOptions options_;
  CsvTable table_;
  std::vector<bool> is_read_;     // for each column of the file
  std::vector<std::string> row_;  // fields of the row, those that are read
  std::size_t fields_ = 0;        // of the row, all of them
  std::exception_ptr error_;
  Index line_ = 0;
  Index row_line_ = 0;
  bool within_row_ = false;
  bool has_header_ = false;
};

}  // namespace detail

/// Reads a CSV file, packed by gzip or not, whose first row names the columns. Blank lines are skipped;
/// spaces around an unquoted field are no part of it. Throws std::runtime_error, naming the file and the
/// line, for a missing or empty file, damaged gzip data (see gunzip), text that is not UTF-8 (see utf8_text),
/// columns that are separated by semicolons, tabs or vertical bars, a row of another number of fields, or a
/// stray or unclosed quote; and Stopped.
[[nodiscard]] inline CsvTable read_csv(const Path& path, const ReadCsvOptions& options) {
  return detail::CsvReader(path, options)
      .read(read_unpacked_file(path, {.max_bytes = options.max_bytes, .stop = options.stop}));
}

/// Reads all columns of a CSV file; see above.
[[nodiscard]] inline CsvTable read_csv(const Path& path, StopToken stop = {}) {
  return read_csv(path, ReadCsvOptions{.stop = stop});
}

}  // namespace vlp::io
