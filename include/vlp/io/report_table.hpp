/// \file
/// Pairs of a radiograph and its report, from the caller's own table (a manifest) or from the Indiana
/// University collection as published (Open-I).
#pragma once

#include <vlp/core/enum_names.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/io/csv.hpp>
#include <vlp/io/file.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
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
  std::string group;  ///< pairs of one group (patient, study) belong on one side of a split; empty if unknown
  Index line = 0;     ///< line of the table, counted from 1
};

/// The pairs of a table, and an account of the rows that were left out.
struct ReportTable {
  std::string path;                    ///< the table, for messages
  std::vector<ReportImagePair> pairs;  ///< in file order; never empty
  Index rows = 0;                  ///< images that the table names (for Open-I: of the projection asked for)
  Index without_report = 0;        ///< rows left out because they have no text
  std::vector<Path> missing;       ///< image files that are not there; their rows are left out
  std::vector<std::string> notes;  ///< sentences for the user about the numbers above
};

/// How to read a manifest.
struct ManifestOptions {
  std::string group_column;  ///< empty: `group` if there is such a column, else `patient` if there is
};

/// Which images of a study to take from the Open-I collection.
enum class Projection { frontal, lateral, both };

namespace detail {

inline bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n\v\f") == text.npos;
}

/// Joins findings and impression, either of which may be blank, to one text.
inline std::string join_sections(const std::string& findings, const std::string& impression) {
  if (is_blank(findings)) return is_blank(impression) ? std::string() : impression;
  return is_blank(impression) ? findings : findings + " " + impression;
}

inline bool is_file(const Path& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

/// A field of a table by column, empty where the table has no such column.
class Fields {
 public:
  Fields(const CsvTable& table, std::string_view column)
      : table_(table), column_(table.find_column(column)) {}

  [[nodiscard]] bool exist() const noexcept { return column_.has_value(); }
  [[nodiscard]] const std::string& operator[](std::size_t row) const {
    static const std::string none;
    return column_ ? table_.rows[row][static_cast<std::size_t>(*column_)] : none;
  }

 private:
  const CsvTable& table_;
  std::optional<Index> column_;
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
         table.notes.empty() ? "the table has no rows" : table.notes.front(), ")");
  table.notes.push_back(concat(table.path, ": ", table.pairs.size(), " pairs of an image and a report"));
}

}  // namespace detail

/// Reads a manifest: a CSV file with the columns `image` (a path, relative to the manifest's folder) and
/// `report`, or in its place `findings` and/or `impression`, which are joined; optionally `split` and a group
/// (see ManifestOptions). Image files that are missing are counted and left out. Throws std::runtime_error,
/// naming the file and, where there is one, the line: what read_csv throws; no column for image or text; an
/// empty image or report; no pair left.
[[nodiscard]] inline ReportTable read_manifest(const Path& path, const ManifestOptions& options = {}) {
  const CsvTable csv = read_csv(path);
  static_cast<void>(csv.column("image"));
  const detail::Fields image(csv, "image"), report(csv, "report"), findings(csv, "findings");
  const detail::Fields impression(csv, "impression"), split(csv, "split");
  if (!report.exist() && !findings.exist() && !impression.exist()) static_cast<void>(csv.column("report"));
  if (!options.group_column.empty()) static_cast<void>(csv.column(options.group_column));
  const std::string_view default_group = csv.find_column("group") ? "group" : "patient";
  const detail::Fields group(csv, options.group_column.empty() ? default_group : options.group_column);

  ReportTable table;
  table.path = csv.path;
  table.rows = static_cast<Index>(csv.rows.size());
  for (std::size_t row = 0; row < csv.rows.size(); ++row) {
    const std::string where = csv.where(static_cast<Index>(row));
    ensure(!detail::is_blank(image[row]), where, ": no image");
    ReportImagePair pair{
        .image = path.parent_path() / image[row],
        .report = report.exist() ? report[row] : detail::join_sections(findings[row], impression[row]),
        .findings = findings[row],
        .impression = impression[row],
        .split = split[row],
        .group = group[row],
        .line = csv.lines[row]};
    ensure(!detail::is_blank(pair.report), where, ": empty report");
    if (detail::is_file(pair.image))
      table.pairs.push_back(std::move(pair));
    else
      table.missing.push_back(std::move(pair.image));
  }
  detail::finish(table, "text");
  return table;
}

/// Reads the Indiana University collection (Demner-Fushman et al., "Preparing a collection of radiology
/// examinations for distribution and retrieval", JAMIA 2016) from the folder that holds
/// `indiana_reports.csv`, `indiana_projections.csv` and the images in `images_normalized/`. Rows join on
/// `uid`, which is also the group. Any part of the images may be missing; reports with neither findings nor
/// impression are left out. The marks of de-identification, `XXXX`, stay as they are. Throws
/// std::runtime_error, naming the file, when a table is missing or malformed, when a uid has no report or
/// two, or when no pair is left.
[[nodiscard]] inline ReportTable read_open_i(const Path& folder,
                                             Projection projection = Projection::frontal) {
  const CsvTable reports = read_csv(folder / "indiana_reports.csv");
  const CsvTable images = read_csv(folder / "indiana_projections.csv");
  for (const char* name : {"uid", "findings", "impression"}) static_cast<void>(reports.column(name));
  for (const char* name : {"uid", "filename", "projection"}) static_cast<void>(images.column(name));
  const detail::Fields report_uid(reports, "uid"), findings(reports, "findings");
  const detail::Fields impression(reports, "impression");
  const detail::Fields image_uid(images, "uid"), filename(images, "filename"), view(images, "projection");

  std::unordered_map<std::string_view, std::size_t> report_of;
  for (std::size_t row = 0; row < reports.rows.size(); ++row)
    ensure(report_of.emplace(report_uid[row], row).second, reports.where(static_cast<Index>(row)),
           ": a second report of uid ", report_uid[row]);

  ReportTable table;
  table.path = images.path;
  for (std::size_t row = 0; row < images.rows.size(); ++row) {
    const std::string where = images.where(static_cast<Index>(row));
    const bool frontal = view[row] == "Frontal", lateral = view[row] == "Lateral";
    ensure(frontal || lateral, where, ": projection '", view[row], "' is neither Frontal nor Lateral");
    if (projection != Projection::both && frontal != (projection == Projection::frontal)) continue;
    ++table.rows;
    const auto found = report_of.find(image_uid[row]);
    ensure(found != report_of.end(), where, ": no report of uid ", image_uid[row], " in ", reports.path);
    ensure(!detail::is_blank(filename[row]), where, ": no filename");
    const std::size_t at = found->second;
    ReportImagePair pair{.image = folder / "images_normalized" / filename[row],
                         .report = detail::join_sections(findings[at], impression[at]),
                         .findings = findings[at],
                         .impression = impression[at],
                         .split = {},
                         .group = image_uid[row],
                         .line = images.lines[row]};
    if (!detail::is_file(pair.image))
      table.missing.push_back(std::move(pair.image));
    else if (pair.report.empty())
      ++table.without_report;
    else
      table.pairs.push_back(std::move(pair));
  }
  detail::finish(table, "findings and no impression");
  return table;
}

}  // namespace vlp::io

namespace vlp {
template <>
inline constexpr std::array<std::string_view, 3> enum_names<io::Projection>{"frontal", "lateral", "both"};
}  // namespace vlp
