/// \file
/// MIMIC-CXR and MIMIC-CXR-JPG: radiographs with reports and labels.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/text_encoding.hpp>
#include <vlp/data/chexpert_classes.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/layouts/detail/find_table.hpp>
#include <vlp/data/layouts/detail/mimic_reports.hpp>
#include <vlp/data/layouts/detail/mimic_tables.hpp>
#include <vlp/data/layouts/detail/read_files.hpp>
#include <vlp/data/layouts/detail/table_fields.hpp>
#include <vlp/data/layouts/options.hpp>
#include <vlp/io/csv.hpp>
#include <vlp/io/file.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

namespace vlp::data::layouts {

namespace detail {

/// A study of MIMIC-CXR.
struct MimicStudy {
  std::string id, patient;
  Index images = 0;  ///< those that are there and sound
  MimicReport report = {};
  std::string fault = {};  ///< what is wrong with its report or labels; empty if nothing is
};

/// Whether `id` is a number as MIMIC-CXR counts patients and studies, and so no part of a path leads
/// elsewhere.
inline bool is_mimic_number(std::string_view id) {
  return id.size() >= 2 && id.size() <= 18 &&
         std::all_of(id.begin(), id.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// Whether `id` is a name as MIMIC-CXR gives to images: five groups of hexadecimal digits.
inline bool is_mimic_image(std::string_view id) {
  constexpr std::size_t longest = 100;
  return !id.empty() && id.size() <= longest && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
  });
}

/// Reads a folder of MIMIC-CXR.
class MimicReader {
 public:
  MimicReader(const io::Path& folder, const Options& options)
      : folder_(folder), options_(options), tables_(folder) {}

  Collection read() {
    read_images();
    find_images();
    read_labels();
    read_reports();
    add_reports();
    std::stable_sort(collection_.bad.begin(), collection_.bad.end(),
                     [](const BadRow& a, const BadRow& b) { return a.line < b.line; });
    finish(collection_, with_reports_ ? "findings, no impression and no other paragraph, or is missing" : "");
    return std::move(collection_);
  }

 private:
  /// Whether images of that ViewPosition are asked for.
  [[nodiscard]] bool is_wanted(std::string_view view) const {
    return options_.projection == Projection::both ||
           (options_.projection == Projection::frontal ? view == "PA" || view == "AP"
                                                       : view == "LATERAL" || view == "LL");
  }

  void read_images() {
    const std::optional<io::Path> path = tables_.find("metadata", collection_.notes);
    ensure(path.has_value(), folder_.string(),
           ": no table mimic-cxr-2.0.0-metadata.csv, packed or not; the folder must hold the tables of "
           "MIMIC-CXR-JPG, and files/ with the images of it or of MIMIC-CXR, and with the reports");
    const io::CsvTable table = io::read_csv(
        *path, {.columns = {"dicom_id", "subject_id", "study_id", "ViewPosition"}, .stop = options_.stop});
    for (const char* name : {"dicom_id", "subject_id", "study_id", "ViewPosition"})
      static_cast<void>(table.column(name));
    collection_.path = table.path;
    std::optional<MimicSplits> splits;
    if (const auto found = tables_.find("split", collection_.notes))
      splits.emplace(*found, options_.stop);
    else
      collection_.notes.push_back(concat(folder_.string(), ": no table of splits"));
    read_rows(table, splits);
  }

  void read_rows(const io::CsvTable& table, const std::optional<MimicSplits>& splits) {
    const Fields id(table, {"dicom_id"}), patient(table, {"subject_id"}), study(table, {"study_id"}),
        view(table, {"ViewPosition"});
    std::map<std::string, Index> left_out;                // images, by view
    std::unordered_map<std::string_view, Index> line_of;  // of each image
    line_of.reserve(table.rows.size());
    for (std::size_t row = 0; row < table.rows.size(); ++row) {
      options_.stop.check();
      const Index line = table.lines[row];
      const auto [first, is_first] = line_of.try_emplace(trimmed(id[row]), line);
      if (std::string position = view.name(row); !is_wanted(position)) {
        ++left_out[std::move(position)];
        continue;
      }
      ++collection_.rows;
      Entry entry{.patient = patient.name(row), .study = study.name(row), .line = line};
      std::string name = id.name(row), fault;
      if (!is_mimic_image(name))
        fault = concat("dicom_id ", data::detail::shown(name), " is not letters, digits and hyphens");
      else if (!is_mimic_number(entry.patient))
        fault =
            concat("subject_id ", data::detail::shown(entry.patient), " is not a number of 2 to 18 digits");
      else if (!is_mimic_number(entry.study))
        fault = concat("study_id ", data::detail::shown(entry.study), " is not a number of 2 to 18 digits");
      else if (!is_first)
        fault = concat("dicom_id ", data::detail::shown(name), " stands on line ", first->second, " too");
      else if (splits)
        fault = splits->read(name, entry.split);
      if (fault.empty()) fault = add_image(std::move(entry), name);
      if (!fault.empty()) collection_.bad.push_back({.line = line, .what = std::move(fault)});
    }
    note_left_out(left_out);
  }

  /// Adds the image `name`, whose file is still to be found. Returns what is wrong, or nothing.
  std::string add_image(Entry entry, const std::string& name) {
    const auto [found, is_new] = study_of_id_.try_emplace(entry.study, studies_.size());
    if (is_new) studies_.push_back({.id = entry.study, .patient = entry.patient});
    const MimicStudy& study = studies_[found->second];
    if (study.patient != entry.patient)
      return concat("study_id ", data::detail::shown(entry.study), " has subject_id ",
                    data::detail::shown(study.patient), " in a row before");
    entry.image = path_of(study, "files") + "/" + name;
    entries_.push_back(std::move(entry));
    study_of_.push_back(found->second);
    return {};
  }

  /// Keeps the images that are there, as JPEG or else as DICOM.
  void find_images() {
    std::vector<char> is_there(entries_.size());
    read_files(entries_.size(), "images", options_.stop, {}, [&](std::size_t i) {
      io::Path& image = entries_[i].image;
      const std::string stem = image.string();
      image = stem + ".jpg";
      is_there[i] = is_file(image);
      if (is_there[i]) return;
      io::Path original = stem + ".dcm";
      is_there[i] = is_file(original);
      if (is_there[i]) image = std::move(original);
    });
    std::size_t kept = 0;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (!is_there[i]) {
        collection_.missing.push_back(std::move(entries_[i].image));
        continue;
      }
      ++studies_[study_of_[i]].images;
      if (kept < i) entries_[kept] = std::move(entries_[i]);
      study_of_[kept++] = study_of_[i];
    }
    if (kept == 0 && !entries_.empty())
      ensure(false, folder_.string(), ": none of the ", entries_.size(), " images that ", collection_.path,
             " names is there; the first would be ", collection_.missing.front().string(),
             ", or .dcm in place of .jpg");
    entries_.resize(kept);
    study_of_.resize(kept);
  }

  /// Where a study's images are, and its report with ".txt" behind.
  [[nodiscard]] std::string path_of(const MimicStudy& study, const char* root) const {
    return (folder_ / root).string() + "/p" + study.patient.substr(0, 2) + "/p" + study.patient + "/s" +
           study.id;
  }

  void note_left_out(const std::map<std::string, Index>& views) {
    Index images = 0;
    for (const auto& [view, count] : views) images += count;
    if (images > 0)
      collection_.notes.push_back(
          concat(collection_.path, ": ", images,
                 " images are left out by their ViewPosition: ", data::detail::list_counts(views)));
  }

  void read_labels() {
    std::optional<io::Path> path = tables_.find("chexpert", collection_.notes);
    if (!path) path = tables_.find("negbio", collection_.notes);
    if (!path) return;
    const auto labels = read_mimic_labels(*path, options_.stop, collection_.notes);
    collection_.labels.assign(chexpert_labels.begin(), chexpert_labels.end());
    Index without = 0;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      const auto found = labels.find(entries_[i].study);
      without += found == labels.end();
      entries_[i].labels =
          found == labels.end() ? std::vector<Label>(chexpert_labels.size()) : found->second.labels;
      if (found != labels.end()) studies_[study_of_[i]].fault = found->second.fault;
    }
    collection_.notes.push_back(concat(path->string(), ": the labels",
                                       without == 0
                                           ? ""
                                           : concat("; ", without, " of ", entries_.size(),
                                                    " images have no row, and their labels are unknown")));
  }

  /// Reads the report of every study that has images, once.
  void read_reports() {
    std::vector<MimicStudy*> from_files;
    const bool has_sections = read_sections(from_files);
    std::error_code ignored;
    const bool second_root = std::filesystem::is_directory(folder_ / "mimic-cxr-reports/files", ignored);
    std::vector<char> is_there(from_files.size());
    read_files(from_files.size(), "reports", options_.stop, options_.progress, [&](std::size_t i) {
      MimicStudy& study = *from_files[i];
      io::Path path = report_of(study);
      if (second_root && !is_file(path)) path = report_of(study, "mimic-cxr-reports/files");
      is_there[i] = is_file(path);
      if (is_there[i]) study.fault = read_mimic_report(path, options_.stop, study.report);
    });
    std::vector<const MimicStudy*> absent;
    for (std::size_t i = 0; i < from_files.size(); ++i)
      if (!is_there[i]) absent.push_back(from_files[i]);
    if (!absent.empty() && absent.size() == from_files.size() && !has_sections)
      return go_without_reports(static_cast<Index>(absent.size()), report_of(*absent.front()));
    note_studies(absent, "studies have no report, the first is that of ");
    note_texts();
  }

  /// Goes on with the labels alone where no report is there, or throws where there are no labels either.
  void go_without_reports(Index studies, const io::Path& first) {
    const std::string what = concat(folder_.string(), ": none of the reports of ", studies,
                                    " studies is there; the first would be ", first.string(),
                                    ", as it is where mimic-cxr-reports.zip is unpacked in this folder");
    ensure(!collection_.labels.empty(), what);
    collection_.notes.push_back(what + "; the images have labels alone");
    with_reports_ = false;
  }

  /// Notes how many reports have no section of findings or impression.
  void note_texts() {
    std::vector<const MimicStudy*> other, empty;
    for (const MimicStudy& study : studies_) {
      if (study.images == 0 || !study.fault.empty() || !study.report.is_read) continue;
      const MimicReport& report = study.report;
      if (report.findings.empty() && report.impression.empty())
        (report.other.empty() ? empty : other).push_back(&study);
    }
    note_studies(other,
                 "reports have neither findings nor impression, and their last paragraph is taken; "
                 "the first is that of ");
    note_studies(empty, "reports have no text that is taken, the first is that of ");
  }

  void note_studies(const std::vector<const MimicStudy*>& studies, std::string_view what) {
    if (!studies.empty())
      collection_.notes.push_back(concat(folder_.string(), ": ", studies.size(), " ", what, "study ",
                                         studies.front()->id, " of subject ", studies.front()->patient));
  }

  [[nodiscard]] io::Path report_of(const MimicStudy& study, const char* root = "files") const {
    return path_of(study, root) + ".txt";
  }

  /// Takes reports from the table of their sections and returns whether there is one. Adds the others to
  /// `from_files`.
  bool read_sections(std::vector<MimicStudy*>& from_files) {
    std::optional<MimicSections> sections;
    if (const auto path = find_table(folder_, "mimic_cxr_sectioned.csv", collection_.notes))
      sections.emplace(*path, options_.stop);
    for (MimicStudy& study : studies_) {
      if (study.images == 0 || !study.fault.empty()) continue;
      if (!sections || !sections->has(study.id))
        from_files.push_back(&study);
      else
        study.fault = sections->read(study.id, study.report);
    }
    if (!sections) return false;
    sections->add_note(collection_.notes);
    collection_.notes.push_back(concat(sections->path(), ": the reports, except for those of ",
                                       from_files.size(), " studies, which are read from their files"));
    return true;
  }

  /// Gives each entry the report of its study, or the account of why it is left out.
  void add_reports() {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      Entry& entry = entries_[i];
      MimicStudy& study = studies_[study_of_[i]];
      const bool is_last = --study.images == 0;
      if (!study.fault.empty()) {
        collection_.bad.push_back({.line = entry.line, .what = study.fault});
        continue;
      }
      entry.report = study.report.text();
      if (with_reports_ && entry.report.empty()) {
        ++collection_.without_report;
        continue;
      }
      entry.findings = is_last ? std::move(study.report.findings) : study.report.findings;
      entry.impression = is_last ? std::move(study.report.impression) : study.report.impression;
      if (kept < i) entries_[kept] = std::move(entry);
      ++kept;
    }
    entries_.resize(kept);
    collection_.entries = std::move(entries_);
  }

  io::Path folder_;
  const Options& options_;
  MimicTables tables_;
  Collection collection_;
  std::vector<MimicStudy> studies_;
  std::unordered_map<std::string, std::size_t> study_of_id_;
  std::vector<Entry> entries_;         // images that are there, without reports
  std::vector<std::size_t> study_of_;  // of each entry
  bool with_reports_ = true;           // whether some reports are there
};

}  // namespace detail

/// Reads MIMIC-CXR-JPG (Johnson et al., "MIMIC-CXR-JPG, a large publicly available database of labeled chest
/// radiographs", arXiv:1901.07042, 2019) or MIMIC-CXR (Johnson et al., "MIMIC-CXR, a de-identified publicly
/// available database of chest radiographs with free-text reports", Scientific Data 6, 2019), or both side by
/// side, from a folder with:
///
/// - the tables of MIMIC-CXR-JPG, `mimic-cxr-2.0.0-metadata.csv` and, where they are there, `-split.csv` and
///   `-chexpert.csv`, or else `-negbio.csv`, packed by gzip or not; of several versions the newest is read;
/// - the images, `files/p10/p10000032/s50414267/DICOM_ID.jpg`, or `.dcm` where there is no JPEG;
/// - the reports, `files/p10/p10000032/s50414267.txt`, or under `mimic-cxr-reports/`; or the table
///   `mimic_cxr_sectioned.csv`, which goes before files.
///
/// Options::projection tells images by ViewPosition: frontal is AP and PA, lateral LATERAL and LL, both all.
/// A note counts what is left out. The report is findings and impression, or the one that there is, or else
/// the last paragraph (see detail::parse_mimic_report); it is shared by the images of a study. Patient and
/// study are `subject_id` and `study_id`. Labels are chexpert_labels, unknown for studies without a row.
/// Where no report at all is there, images have labels alone, which a note says.
///
/// Images whose file is missing, and those without a report, are left out and counted. Rows with other
/// identifiers than MIMIC-CXR's, with an image of a row before or a study of another patient, without a split
/// or with two, with unsound labels, and with a report that cannot be read, stand in Collection::bad. Throws
/// std::runtime_error, naming the file and, where there is one, the line: what read_csv throws, no metadata,
/// no image at all, neither reports nor labels, nothing left. Throws Stopped.
[[nodiscard]] inline Collection read_mimic_cxr(const io::Path& folder, const Options& options = {}) {
  return detail::MimicReader(folder, options).read();
}

}  // namespace vlp::data::layouts
