/// \file
/// Fields of tables and the account of their rows, common to all layouts.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/text_encoding.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/io/csv.hpp>
#include <vlp/io/file.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace vlp::data::layouts::detail {

/// Whether a field says nothing: it is blank, or holds only the word by which programs write an absent value.
inline bool is_absent(std::string_view field) {
  field = trimmed(field);
  constexpr std::size_t longest = 4;
  if (field.size() > longest) return false;
  std::string word(field);
  std::transform(word.begin(), word.end(), word.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  constexpr std::array<std::string_view, 8> words{"", "nan", "none", "null", "na", "n/a", "<na>", "#n/a"};
  return std::find(words.begin(), words.end(), word) != words.end();
}

/// Joins findings and impression, either of which may be empty, to one text.
inline std::string join_sections(const std::string& findings, const std::string& impression) {
  return findings + (findings.empty() || impression.empty() ? "" : " ") + impression;
}

inline bool is_file(const io::Path& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

/// The fields of one column of a table, of the first of several names that there is; all empty where the
/// table has none of them.
class Fields {
 public:
  /// Throws std::runtime_error where two columns have that name.
  Fields(const io::CsvTable& table, std::initializer_list<std::string_view> columns) : table_(table) {
    for (const std::string_view column : columns) {
      if (!column_) column_ = table_.find_column(column);
      ensure(std::count(table.columns.begin(), table.columns.end(), column) <= 1, table.path,
             ": two columns are called '", column, "'");
    }
  }

  [[nodiscard]] bool exist() const noexcept { return column_.has_value(); }
  /// The field as it stands.
  [[nodiscard]] const std::string& operator[](std::size_t row) const {
    static const std::string none;
    return column_ ? table_.rows[row][static_cast<std::size_t>(*column_)] : none;
  }
  /// The field as a name, without white space at its ends; empty for an absent value.
  [[nodiscard]] std::string name(std::size_t row) const {
    const std::string& field = (*this)[row];
    return is_absent(field) ? std::string() : std::string(trimmed(field));
  }

 private:
  const io::CsvTable& table_;
  std::optional<Index> column_;
};

/// Takes texts and keeps count of those that hold nothing except a word for an absent value.
class TextReader {
 public:
  /// The text of a field; empty for an absent value.
  std::string operator()(std::string field, Index line) {
    if (!is_absent(field)) return field;
    if (!trimmed(field).empty() && ++absent_ == 1) first_line_ = line;
    return {};
  }
  void add_note(const std::string& path, std::vector<std::string>& notes) const {
    if (absent_ > 0)
      notes.push_back(concat(path, ": ", absent_,
                             " fields of reports that hold only nan, None, NULL or N/A are taken for empty, "
                             "the first on line ",
                             first_line_));
  }

 private:
  Index absent_ = 0, first_line_ = 0;
};

/// Adds notes about the rows that were left out. `text_columns` says where reports stand; it is empty for a
/// collection of images that have labels alone. Throws std::runtime_error if nothing is left, or no label.
inline void finish(Collection& collection, std::string_view text_columns) {
  const std::string_view kind = text_columns.empty() ? "image with labels" : "pair of an image and a report";
  const std::string_view kinds =
      text_columns.empty() ? "images with labels" : "pairs of an image and a report";
  const auto missing = static_cast<Index>(collection.missing.size());
  std::string reason;
  const auto note = [&](std::string sentence) {
    if (reason.empty()) reason = sentence;
    collection.notes.push_back(std::move(sentence));
  };
  if (missing > 0)
    note(concat(collection.path, ": ", missing, " of ", collection.rows, " images are missing, the first is ",
                collection.missing.front().string()));
  if (collection.without_report > 0)
    note(concat(collection.path, ": ", collection.without_report, " of ", collection.rows,
                " images are left out, for their report has no ", text_columns));
  if (!collection.bad.empty()) reason = describe(collection.path, collection.bad);
  ensure(!collection.entries.empty(), collection.path, ": no ", kind, " (",
         reason.empty() ? "there are no rows, or none of the projection asked for" : reason, ")");
  ensure(!text_columns.empty() || !collection.labels.empty(), collection.path, ": ",
         collection.entries.size(), " images, of which none has a label");
  collection.notes.push_back(concat(collection.path, ": ", collection.entries.size(), " ", kinds));
}

}  // namespace vlp::data::layouts::detail
