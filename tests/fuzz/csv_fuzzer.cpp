// libFuzzer target: any bytes as a CSV table.
#include "fuzzer.hpp"

#include <vlp/core/text_encoding.hpp>
#include <vlp/io/csv.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace {

using vlp::fuzz::promise;

void check_table(const vlp::io::CsvTable& table, std::string_view text) {
  promise(!table.columns.empty(), "a table has columns");
  promise(table.lines.size() == table.rows.size(), "every row has a line");
  const auto ends = [&](char c) { return std::count(text.begin(), text.end(), c); };
  vlp::Index before = 1;
  for (std::size_t row = 0; row < table.rows.size(); ++row) {
    promise(table.rows[row].size() == table.columns.size(), "every row has a field for each column");
    promise(table.lines[row] > before, "rows begin on lines that ascend, after that of the names");
    before = table.lines[row];
  }
  promise(before <= 1 + ends('\n') + ends('\r'), "lines are those of the file");
  std::size_t size = 0;
  for (const auto& row : table.rows)
    for (const std::string& field : row) {
      size += field.size();
      promise(field.empty() || vlp::utf8_text(field, "field", 2) == field, "fields are UTF-8");
    }
  promise(size <= text.size(), "fields hold no more than the file");
}

/// The table as another program would write it, every field quoted.
std::string written(const vlp::io::CsvTable& table) {
  std::string out;
  const auto write = [&](const std::vector<std::string>& row) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      out += i == 0 ? "\"" : ",\"";
      for (const char c : row[i]) out += c == '"' ? std::string("\"\"") : std::string(1, c);
      out += '"';
    }
    out += '\n';
  };
  write(table.columns);
  for (const auto& row : table.rows) write(row);
  return out;
}

/// `few` is the table with the columns alone that are called as the last.
void check_columns(const vlp::io::CsvTable& table, const vlp::io::CsvTable& few) {
  promise(few.file_columns == table.columns && few.lines == table.lines, "columns and lines are the file's");
  for (std::size_t row = 0; row < table.rows.size(); ++row) {
    std::vector<std::string> fields;
    for (std::size_t i = 0; i < table.columns.size(); ++i)
      if (table.columns[i] == table.columns.back()) fields.push_back(table.rows[row][i]);
    promise(few.rows[row] == fields, "a column reads alike alone");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = vlp::fuzz::text_of(data, size);
  vlp::fuzz::reads([&] {
    const vlp::io::CsvTable table = vlp::io::detail::CsvReader("t.csv").read(text);
    check_table(table, text);
    const vlp::io::CsvTable again = vlp::io::detail::CsvReader("t.csv").read(written(table));
    promise(again.columns == table.columns && again.rows == table.rows,
            "a table that is written reads alike");
    check_columns(table, vlp::io::detail::CsvReader("t.csv", {.columns = {table.columns.back()}}).read(text));
  });
  return 0;
}
