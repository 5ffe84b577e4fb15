/// \file
/// Pairs of a radiograph and its report, from the caller's own table (a manifest) or from the Indiana
/// University collection as published (Open-I).
#pragma once

#include <vlp/core/enum_names.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/core/text_encoding.hpp>
#include <vlp/io/csv.hpp>
#include <vlp/io/entities.hpp>
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
#include <unordered_map>
#include <utility>
#include <vector>

namespace vlp::io {

/// A radiograph and its report.
struct ReportImagePair {
  Path image;              ///< an image file that was there when the table was read
  std::string report;      ///< the whole text; never empty
  std::string findings;    ///< the findings; empty if the table does not give them separately
  std::string impression;  ///< the conclusion; empty if the table does not give it separately
  std::string split;       ///< "train", "test", ... as the table says; empty if it does not
  std::string group;       ///< the caller's own sets of pairs that belong together; empty if unknown
  std::string patient;     ///< name of the patient; empty if unknown
  std::string study;       ///< name of the study, unique in the table or within its patient; empty if unknown
  Index line = 0;          ///< line of the table, counted from 1
};

/// A row of a table that cannot be used.
struct BadRow {
  Index line = 0;    ///< of the table, counted from 1
  std::string what;  ///< what is wrong, e.g. "empty report"
};

/// The pairs of a table, and an account of the rows that were left out.
struct ReportTable {
  std::string path;                    ///< the table, for messages
  std::vector<ReportImagePair> pairs;  ///< in file order; never empty
  Index rows = 0;                  ///< images that the table names (for Open-I: of the projection asked for)
  Index without_report = 0;        ///< rows left out because they have no text
  std::vector<Path> missing;       ///< image files that are not there; their rows are left out
  std::vector<BadRow> bad;         ///< rows left out because they are faulty, in file order
  std::vector<std::string> notes;  ///< sentences for the user about the numbers above
};

/// How to read a manifest.
struct ManifestOptions {
  std::string group_column;  ///< if not empty, the one column that says which pairs belong together
};

/// Which images of a study to take from the Open-I collection.
enum class Projection { frontal, lateral, both };

/// The rows in the order of their lines, for a message: "pairs.csv:4: empty report; line 7: no image; and 12
/// more rows". Names the first 20 at most.
[[nodiscard]] inline std::string describe(const std::string& path, std::vector<BadRow> rows) {
  constexpr std::size_t most = 20, longest = 3000;
  std::stable_sort(rows.begin(), rows.end(),
                   [](const BadRow& a, const BadRow& b) { return a.line < b.line; });
  std::string text;
  std::size_t named = 0;
  for (; named < rows.size() && named < most && text.size() < longest; ++named)
    text += named == 0 ? concat(path, ":", rows[named].line, ": ", rows[named].what)
                       : concat("; line ", rows[named].line, ": ", rows[named].what);
  if (named < rows.size()) text += concat("; and ", rows.size() - named, " more rows");
  return text;
}

namespace detail {

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

/// A field's value as a message shows it.
inline std::string shown(const std::string& value) {
  constexpr std::size_t most = 60;
  return "'" + (value.size() <= most ? value : value.substr(0, most) + "...") + "'";
}

inline bool is_file(const Path& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

/// The fields of one column of a table, of the first of several names that there is; all empty where the
/// table has none of them.
class Fields {
 public:
  /// Throws std::runtime_error where two columns have that name.
  Fields(const CsvTable& table, std::initializer_list<std::string_view> columns) : table_(table) {
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
  const CsvTable& table_;
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

/// Adds notes about the rows that were left out. Throws if no pair is left.
inline void finish(ReportTable& table, std::string_view text_columns) {
  const auto missing = static_cast<Index>(table.missing.size());
  if (missing > 0)
    table.notes.push_back(concat(table.path, ": ", missing, " of ", table.rows,
                                 " images are missing, the first is ", table.missing.front().string()));
  if (table.without_report > 0)
    table.notes.push_back(concat(table.path, ": ", table.without_report, " of ", table.rows,
                                 " images are left out, for their report has no ", text_columns));
  ensure(!table.pairs.empty(), table.path, ": no pair of an image and a report (",
         !table.bad.empty()    ? describe(table.path, table.bad)
         : table.notes.empty() ? "the table has no rows"
                               : table.notes.front(),
         ")");
  table.notes.push_back(concat(table.path, ": ", table.pairs.size(), " pairs of an image and a report"));
}

}  // namespace detail

/// Reads a manifest: a CSV file with the columns `image` (a path, relative to the manifest's folder) and
/// `report`, or in its place `findings` and/or `impression`, which are joined; optionally `split`, and, to
/// say which pairs belong together, `group`, `patient` (or `patient_id` or `subject_id`) and `study` (or
/// `study_id`), or in place of these ManifestOptions::group_column. Fields that hold only nan, None, NULL, NA
/// or N/A are empty. Rows whose image file is missing are left out and counted; rows without an image or a
/// report are left out and stand in ReportTable::bad. Throws std::runtime_error, naming the file and, where
/// there is one, the line: what read_csv throws; no column for image or text; no pair left. Throws Stopped.
[[nodiscard]] inline ReportTable read_manifest(const Path& path, const ManifestOptions& options = {},
                                               StopToken stop = {}) {
  const CsvTable csv = read_csv(path, stop);
  static_cast<void>(csv.column("image"));
  const detail::Fields image(csv, {"image"}), report(csv, {"report"}), findings(csv, {"findings"});
  const detail::Fields impression(csv, {"impression"}), split(csv, {"split"});
  if (!report.exist() && !findings.exist() && !impression.exist()) static_cast<void>(csv.column("report"));
  const bool one_column = !options.group_column.empty();
  if (one_column) static_cast<void>(csv.column(options.group_column));
  const detail::Fields group(csv, {one_column ? std::string_view(options.group_column) : "group"});
  const detail::Fields patient(csv, {"patient", "patient_id", "subject_id"}),
      study(csv, {"study", "study_id"});

  ReportTable table;
  table.path = csv.path;
  table.rows = static_cast<Index>(csv.rows.size());
  detail::TextReader text;
  for (std::size_t row = 0; row < csv.rows.size(); ++row) {
    stop.check();
    const Index line = csv.lines[row];
    ReportImagePair pair{.image = path.parent_path() / image[row],
                         .report = text(report[row], line),
                         .findings = text(findings[row], line),
                         .impression = text(impression[row], line),
                         .split = split.name(row),
                         .group = group.name(row),
                         .patient = one_column ? std::string() : patient.name(row),
                         .study = one_column ? std::string() : study.name(row),
                         .line = line};
    if (!report.exist()) pair.report = detail::join_sections(pair.findings, pair.impression);
    if (detail::is_absent(image[row]))
      table.bad.push_back({line, "no image"});
    else if (pair.report.empty())
      table.bad.push_back({line, "empty report"});
    else if (detail::is_file(pair.image))
      table.pairs.push_back(std::move(pair));
    else
      table.missing.push_back(std::move(pair.image));
  }
  text.add_note(table.path, table.notes);
  detail::finish(table, "text");
  return table;
}

namespace detail {

/// Open-I's reports by their uid.
class OpenIReports {
 public:
  explicit OpenIReports(const CsvTable& csv) : path_(csv.path) {
    for (const char* name : {"uid", "findings", "impression"}) static_cast<void>(csv.column(name));
    const Fields uid(csv, {"uid"}), findings(csv, {"findings"}), impression(csv, {"impression"});
    for (std::size_t row = 0; row < csv.rows.size(); ++row) {
      const Index line = csv.lines[row];
      const auto [report, is_new] = reports_.try_emplace(uid.name(row));
      if (is_new)
        report->second = {text_(decode_entities(findings[row]), line),
                          text_(decode_entities(impression[row]), line), 0};
      else if (report->second.second_line == 0)
        report->second.second_line = line;
    }
  }

  /// Puts the report of `uid` into `pair`. Returns what is wrong, or nothing.
  [[nodiscard]] std::string read(const std::string& uid, ReportImagePair& pair) const {
    const auto found = reports_.find(uid);
    if (found == reports_.end()) return concat("no report of uid ", shown(uid), " in ", path_);
    const Report& report = found->second;
    if (report.second_line > 0)
      return concat("uid ", shown(uid), " has a second report, ", path_, ":", report.second_line);
    pair.findings = report.findings;
    pair.impression = report.impression;
    pair.report = join_sections(report.findings, report.impression);
    return {};
  }
  void add_note(std::vector<std::string>& notes) const { text_.add_note(path_, notes); }

 private:
  struct Report {
    std::string findings, impression;
    Index second_line = 0;  // of another report with the same uid
  };

  std::string path_;
  std::unordered_map<std::string, Report> reports_;
  TextReader text_;
};

}  // namespace detail

/// Reads the Indiana University collection (Demner-Fushman et al., "Preparing a collection of radiology
/// examinations for distribution and retrieval", JAMIA 2016) from the folder that holds
/// `indiana_reports.csv`, `indiana_projections.csv` and the images in `images_normalized/`. Rows join on
/// `uid`, which is also the study. Any part of the images may be missing; reports with neither findings nor
/// impression are left out; character references such as `&lt;` are decoded (see decode_entities). The marks
/// of de-identification, `XXXX`, stay as they are. Rows with a projection that is neither Frontal nor
/// Lateral, without a filename, or whose uid has no report or two, are left out and stand in
/// ReportTable::bad. Throws std::runtime_error, naming the file, when a table is missing or malformed, or
/// when no pair is left. Throws Stopped.
[[nodiscard]] inline ReportTable read_open_i(const Path& folder, Projection projection = Projection::frontal,
                                             StopToken stop = {}) {
  const CsvTable report_rows = read_csv(folder / "indiana_reports.csv", stop);
  const CsvTable images = read_csv(folder / "indiana_projections.csv", stop);
  const detail::OpenIReports reports(report_rows);
  for (const char* name : {"uid", "filename", "projection"}) static_cast<void>(images.column(name));
  const detail::Fields uid(images, {"uid"}), filename(images, {"filename"}), view(images, {"projection"});

  ReportTable table;
  table.path = images.path;
  for (std::size_t row = 0; row < images.rows.size(); ++row) {
    stop.check();
    const bool frontal = view[row] == "Frontal", lateral = view[row] == "Lateral", known = frontal || lateral;
    if (known && projection != Projection::both && frontal != (projection == Projection::frontal)) continue;
    ++table.rows;
    ReportImagePair pair{.image = folder / "images_normalized" / filename[row],
                         .report = {},
                         .findings = {},
                         .impression = {},
                         .split = {},
                         .group = {},
                         .patient = {},
                         .study = uid.name(row),
                         .line = images.lines[row]};
    std::string fault;
    if (!known)
      fault = concat("projection ", detail::shown(view[row]), " is neither Frontal nor Lateral");
    else if (detail::is_absent(filename[row]))
      fault = "no filename";
    else
      fault = reports.read(pair.study, pair);
    if (!fault.empty())
      table.bad.push_back({pair.line, std::move(fault)});
    else if (!detail::is_file(pair.image))
      table.missing.push_back(std::move(pair.image));
    else if (pair.report.empty())
      ++table.without_report;
    else
      table.pairs.push_back(std::move(pair));
  }
  reports.add_note(table.notes);
  detail::finish(table, "findings and no impression");
  return table;
}

}  // namespace vlp::io

namespace vlp {
template <>
inline constexpr std::array<std::string_view, 3> enum_names<io::Projection>{"frontal", "lateral", "both"};
}  // namespace vlp
