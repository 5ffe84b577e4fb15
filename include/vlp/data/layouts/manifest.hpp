/// \file
/// The caller's own table of radiographs and reports.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/text_encoding.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/layouts/detail/label_fields.hpp>
#include <vlp/data/layouts/detail/table_fields.hpp>
#include <vlp/data/layouts/options.hpp>
#include <vlp/io/csv.hpp>
#include <vlp/io/file.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace vlp::data::layouts {

namespace detail {

/// The columns of a manifest that hold labels, with the labels' names.
struct ManifestLabels {
  std::vector<std::string> columns, names;

  /// Throws std::runtime_error where a column that is asked for is not there, or a label has two columns.
  ManifestLabels(const io::CsvTable& table, const std::vector<std::string>& wanted) {
    constexpr std::string_view mark = "label:";
    for (const std::string& column : table.columns)
      if (column.starts_with(mark)) add(table, column, std::string(trimmed(column.substr(mark.size()))));
    for (const std::string& column : wanted) {
      static_cast<void>(table.column(column));
      if (!column.starts_with(mark)) add(table, column, column);
    }
  }

 private:
  void add(const io::CsvTable& table, const std::string& column, std::string name) {
    ensure(!name.empty(), table.path, ": the column '", column, "' names no label");
    ensure(taken_.insert(name).second, table.path, ": two columns hold the label '", name, "'");
    columns.push_back(column);
    names.push_back(std::move(name));
  }

  std::unordered_set<std::string> taken_;
};

}  // namespace detail

/// Reads a manifest: a CSV file with the columns `image` (a path, relative to the manifest's folder) and
/// `report`, or in its place `findings` and/or `impression`, which are joined; columns of labels, which are
/// called `label:NAME` or stand in Options::label_columns (see parse_label), and of which there must be one
/// where there is no text; optionally `split`, and, to
/// say which pairs belong together, `group`, `patient` (or `patient_id` or `subject_id`) and `study` (or
/// `study_id`), or in place of these Options::group_column. Fields that hold only nan, None, NULL, NA
/// or N/A are empty. Rows whose image file is missing are left out and counted; rows without an image, with a
/// field that is no label, or, where there are columns for text, without a report are left out and stand in
/// Collection::bad. Throws std::runtime_error, naming the file and, where there is one, the line: what
/// read_csv throws; no column for image or for text and labels; two columns of one name; nothing left.
/// Throws Stopped.
[[nodiscard]] inline Collection read_manifest(const io::Path& path, const Options& options = {}) {
  const io::CsvTable csv = io::read_csv(path, options.stop);
  static_cast<void>(csv.column("image"));
  const detail::Fields image(csv, {"image"}), report(csv, {"report"}), findings(csv, {"findings"});
  const detail::Fields impression(csv, {"impression"}), split(csv, {"split"});
  const detail::ManifestLabels label_columns(csv, options.label_columns);
  const detail::LabelFields labels(csv, label_columns.columns);
  const bool has_text = report.exist() || findings.exist() || impression.exist();
  if (!has_text && !labels.any()) static_cast<void>(csv.column("report"));
  const bool one_column = !options.group_column.empty();
  if (one_column) static_cast<void>(csv.column(options.group_column));
  const detail::Fields group(csv, {one_column ? std::string_view(options.group_column) : "group"});
  const detail::Fields patient(csv, {"patient", "patient_id", "subject_id"}),
      study(csv, {"study", "study_id"});

  Collection collection;
  collection.path = csv.path;
  collection.labels = label_columns.names;
  collection.rows = static_cast<Index>(csv.rows.size());
  detail::TextReader text;
  for (std::size_t row = 0; row < csv.rows.size(); ++row) {
    options.stop.check();
    const Index line = csv.lines[row];
    Entry entry{.image = path.parent_path() / image[row],
                .report = text(report[row], line),
                .findings = text(findings[row], line),
                .impression = text(impression[row], line),
                .split = split.name(row),
                .group = group.name(row),
                .patient = one_column ? std::string() : patient.name(row),
                .study = one_column ? std::string() : study.name(row),
                .line = line};
    if (!report.exist()) entry.report = detail::join_sections(entry.findings, entry.impression);
    std::string fault = labels.read(row, entry.labels);
    if (detail::is_absent(image[row]))
      collection.bad.push_back({line, "no image"});
    else if (has_text && entry.report.empty())
      collection.bad.push_back({line, "empty report"});
    else if (!fault.empty())
      collection.bad.push_back({line, std::move(fault)});
    else if (detail::is_file(entry.image))
      collection.entries.push_back(std::move(entry));
    else
      collection.missing.push_back(std::move(entry.image));
  }
  text.add_note(collection.path, collection.notes);
  detail::finish(collection, has_text ? "text" : "");
  return collection;
}

}  // namespace vlp::data::layouts
