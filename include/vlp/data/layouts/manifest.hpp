/// \file
/// The caller's own table of radiographs and reports.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/layouts/detail/table_fields.hpp>
#include <vlp/data/layouts/options.hpp>
#include <vlp/io/csv.hpp>
#include <vlp/io/file.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace vlp::data::layouts {

/// Reads a manifest: a CSV file with the columns `image` (a path, relative to the manifest's folder) and
/// `report`, or in its place `findings` and/or `impression`, which are joined; optionally `split`, and, to
/// say which pairs belong together, `group`, `patient` (or `patient_id` or `subject_id`) and `study` (or
/// `study_id`), or in place of these Options::group_column. Fields that hold only nan, None, NULL, NA
/// or N/A are empty. Rows whose image file is missing are left out and counted; rows without an image or a
/// report are left out and stand in Collection::bad. Throws std::runtime_error, naming the file and, where
/// there is one, the line: what read_csv throws; no column for image or text; no pair left. Throws Stopped.
[[nodiscard]] inline Collection read_manifest(const io::Path& path, const Options& options = {}) {
  const io::CsvTable csv = io::read_csv(path, options.stop);
  static_cast<void>(csv.column("image"));
  const detail::Fields image(csv, {"image"}), report(csv, {"report"}), findings(csv, {"findings"});
  const detail::Fields impression(csv, {"impression"}), split(csv, {"split"});
  if (!report.exist() && !findings.exist() && !impression.exist()) static_cast<void>(csv.column("report"));
  const bool one_column = !options.group_column.empty();
  if (one_column) static_cast<void>(csv.column(options.group_column));
  const detail::Fields group(csv, {one_column ? std::string_view(options.group_column) : "group"});
  const detail::Fields patient(csv, {"patient", "patient_id", "subject_id"}),
      study(csv, {"study", "study_id"});

  Collection collection;
  collection.path = csv.path;
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
    if (detail::is_absent(image[row]))
      collection.bad.push_back({line, "no image"});
    else if (entry.report.empty())
      collection.bad.push_back({line, "empty report"});
    else if (detail::is_file(entry.image))
      collection.entries.push_back(std::move(entry));
    else
      collection.missing.push_back(std::move(entry.image));
  }
  text.add_note(collection.path, collection.notes);
  detail::finish(collection, "text");
  return collection;
}

}  // namespace vlp::data::layouts
