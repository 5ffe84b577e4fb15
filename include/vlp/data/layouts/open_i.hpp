/// \file
/// The Indiana University collection of radiographs and reports (Open-I).
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/layouts/detail/table_fields.hpp>
#include <vlp/data/layouts/options.hpp>
#include <vlp/io/csv.hpp>
#include <vlp/io/entities.hpp>
#include <vlp/io/file.hpp>

#include <cstddef>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace vlp::data::layouts {

namespace detail {

/// Open-I's reports by their uid.
class OpenIReports {
 public:
  explicit OpenIReports(const io::CsvTable& csv) : path_(csv.path) {
    for (const char* name : {"uid", "findings", "impression"}) static_cast<void>(csv.column(name));
    const Fields uid(csv, {"uid"}), findings(csv, {"findings"}), impression(csv, {"impression"});
    for (std::size_t row = 0; row < csv.rows.size(); ++row) {
      const Index line = csv.lines[row];
      const auto [report, is_new] = reports_.try_emplace(uid.name(row));
      if (is_new)
        report->second = {text_(io::decode_entities(findings[row]), line),
                          text_(io::decode_entities(impression[row]), line), 0};
      else if (report->second.second_line == 0)
        report->second.second_line = line;
    }
  }

  /// Puts the report of `uid` into `entry`. Returns what is wrong, or nothing.
  [[nodiscard]] std::string read(const std::string& uid, Entry& entry) const {
    const auto found = reports_.find(uid);
    if (found == reports_.end()) return concat("no report of uid ", data::detail::shown(uid), " in ", path_);
    const Report& report = found->second;
    if (report.second_line > 0)
      return concat("uid ", data::detail::shown(uid), " has a second report, ", path_, ":",
                    report.second_line);
    entry.findings = report.findings;
    entry.impression = report.impression;
    entry.report = join_sections(report.findings, report.impression);
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
/// impression are left out; character references such as `&lt;` are decoded (see io::decode_entities). The
/// marks of de-identification, `XXXX`, stay as they are. Rows with a projection that is neither Frontal nor
/// Lateral, without a filename, or whose uid has no report or two, are left out and stand in
/// Collection::bad. Throws std::runtime_error, naming the file, when a table is missing or malformed, or
/// when no pair is left. Throws Stopped.
[[nodiscard]] inline Collection read_open_i(const io::Path& folder, const Options& options = {}) {
  const io::CsvTable report_rows = io::read_csv(folder / "indiana_reports.csv", options.stop);
  const io::CsvTable images = io::read_csv(folder / "indiana_projections.csv", options.stop);
  const detail::OpenIReports reports(report_rows);
  for (const char* name : {"uid", "filename", "projection"}) static_cast<void>(images.column(name));
  const detail::Fields uid(images, {"uid"}), filename(images, {"filename"}), view(images, {"projection"});

  Collection collection;
  collection.path = images.path;
  for (std::size_t row = 0; row < images.rows.size(); ++row) {
    options.stop.check();
    const bool frontal = view[row] == "Frontal", lateral = view[row] == "Lateral", known = frontal || lateral;
    if (known && options.projection != Projection::both &&
        frontal != (options.projection == Projection::frontal))
      continue;
    ++collection.rows;
    Entry entry{.image = folder / "images_normalized" / filename[row],
                .study = uid.name(row),
                .line = images.lines[row]};
    std::string fault;
    if (!known)
      fault = concat("projection ", data::detail::shown(view[row]), " is neither Frontal nor Lateral");
    else if (detail::is_absent(filename[row]))
      fault = "no filename";
    else
      fault = reports.read(entry.study, entry);
    if (!fault.empty())
      collection.bad.push_back({entry.line, std::move(fault)});
    else if (!detail::is_file(entry.image))
      collection.missing.push_back(std::move(entry.image));
    else if (entry.report.empty())
      ++collection.without_report;
    else
      collection.entries.push_back(std::move(entry));
  }
  reports.add_note(collection.notes);
  detail::finish(collection, "findings and no impression");
  return collection;
}

}  // namespace vlp::data::layouts
