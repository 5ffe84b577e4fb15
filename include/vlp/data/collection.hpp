/// \file
/// Collections of radiographs, with their reports and labels, as tables list them: files to be read, whatever
/// the layout of the folder they come from.
#pragma once

#include <vlp/core/enum_names.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/data/labels.hpp>
#include <vlp/eval/pointing_game.hpp>
#include <vlp/io/file.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace vlp::data {

/// The place of a finding in an image.
struct LabelBox {
  std::size_t label = 0;  ///< which of Collection::labels
  eval::Box box;          ///< in pixels of the image file
};

/// An image of a collection, with its report and its labels. Images with several reports have several
/// entries.
struct Entry {
  io::Path image = {};          ///< an image file that was there when the table was read
  std::string report = {};      ///< the whole text; empty where the collection has labels alone
  std::string findings = {};    ///< the findings; empty if the table does not give them separately
  std::string impression = {};  ///< the conclusion; empty if the table does not give it separately
  std::string split = {};       ///< "train", "test", ... as the table says; empty if it does not
  std::string group = {};       ///< the caller's own sets of entries that belong together; empty if unknown
  std::string patient = {};     ///< name of the patient; empty if unknown
  std::string study = {};  ///< name of the study, unique in the table or within its patient; empty if unknown
  std::vector<Label> labels = {};    ///< [Collection::labels]
  std::vector<LabelBox> boxes = {};  ///< where findings are; empty where that is not known
  Index line = 0;                    ///< line of the table, counted from 1
  std::string table = {};            ///< the table; empty where it is Collection::path
};

/// A row of a table that cannot be used.
struct BadRow {
  Index line = 0;          ///< of the table, counted from 1
  std::string what;        ///< what is wrong, e.g. "empty report"
  std::string table = {};  ///< the table; empty where it is Collection::path
};

/// The policy for faulty rows of a table.
enum class BadRows {
  stop,  ///< reading ends with an error that names them
  skip   ///< they are left out, and a note names them
};

/// The entries of a collection, and an account of the rows that were left out.
struct Collection {
  std::string path;  ///< the table that lists the images, or the folder of several such, for messages
  std::vector<Entry> entries;       ///< in file order; never empty as a layout returns it
  std::vector<std::string> labels;  ///< names of the labels; empty where the collection has none
  Index rows = 0;                   ///< images that the table names, of the projection asked for
  Index without_report = 0;         ///< rows left out because they have no text
  std::vector<io::Path> missing;    ///< image files that are not there; their rows are left out
  std::vector<BadRow> bad;          ///< rows left out because they are faulty, in file order
  std::vector<std::string> notes;   ///< sentences for the user about the numbers above
};

/// The rows in the order of their tables and lines, for a message: "pairs.csv:4: empty report; line 7: no
/// image; and 12 more rows". Rows that name no table are of `path`. Names the first 20 at most. Where rows
/// are counted by another unit than lines: "answers.json: entry 4: no question".
[[nodiscard]] inline std::string describe(const std::string& path, std::vector<BadRow> rows,
                                          std::string_view unit = "line") {
  constexpr std::size_t most = 20, longest = 3000;
  std::stable_sort(rows.begin(), rows.end(), [](const BadRow& a, const BadRow& b) {
    return std::tie(a.table, a.line) < std::tie(b.table, b.line);
  });
  std::string text;
  std::size_t named = 0;
  for (; named < rows.size() && named < most && text.size() < longest; ++named) {
    const BadRow& row = rows[named];
    const std::string& table = row.table.empty() ? path : row.table;
    const bool same_table = named > 0 && row.table == rows[named - 1].table;
    text += concat(named == 0 ? "" : "; ",
                   same_table       ? concat(unit, " ")
                   : unit == "line" ? concat(table, ":")
                                    : concat(table, ": ", unit, " "),
                   row.line, ": ", row.what);
  }
  if (named < rows.size()) text += concat("; and ", rows.size() - named, " more rows");
  return text;
}

namespace detail {

/// A field's value as a message shows it.
inline std::string shown(const std::string& value) {
  constexpr std::size_t most = 60;
  return "'" + (value.size() <= most ? value : value.substr(0, most) + "...") + "'";
}

/// Values with their numbers for a message, "'AP' 80, 'PA' 20 and 3 other values", 20 at most; an empty value
/// is "none".
inline std::string list_counts(const std::map<std::string, Index>& counts) {
  constexpr std::size_t most = 20;
  std::string text;
  std::size_t named = 0;
  for (auto value = counts.begin(); value != counts.end() && named < most; ++value, ++named)
    text += concat(named == 0 ? "" : ", ", value->first.empty() ? "none" : shown(value->first), " ",
                   value->second);
  if (named < counts.size()) text += concat(" and ", counts.size() - named, " other values");
  return text;
}

}  // namespace detail

}  // namespace vlp::data

namespace vlp {
template <>
inline constexpr std::array<std::string_view, 2> enum_names<data::BadRows>{"stop", "skip"};
}  // namespace vlp
