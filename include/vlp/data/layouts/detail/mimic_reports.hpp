/// \file
/// The reports of MIMIC-CXR: files of their own, or a table of their sections.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/core/text_encoding.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/layouts/detail/table_fields.hpp>
#include <vlp/io/csv.hpp>
#include <vlp/io/file.hpp>
#include <vlp/text/report.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace vlp::data::layouts::detail {

/// A report of MIMIC-CXR.
struct MimicReport {
  std::string findings, impression;
  std::string other;     ///< the last paragraph of a report that has neither
  bool is_read = false;  ///< whether there is such a report

  [[nodiscard]] std::string text() const {
    return findings.empty() && impression.empty() ? other : join_sections(findings, impression);
  }
};

/// The last paragraph of `text`, which has no white space at its ends; all of it if there is one alone.
[[nodiscard]] inline std::string_view last_paragraph(std::string_view text) {
  std::string_view rest = text, paragraph = text;
  bool after_blank = false;
  while (!rest.empty()) {
    const std::string_view from_here = rest;
    const bool is_blank = trimmed(next_line(rest)).empty();
    if (!is_blank && after_blank) paragraph = from_here;
    after_blank = is_blank;
  }
  return trimmed(paragraph);
}

/// Tells whether a section says why, how or of whom the images were taken. A paragraph after it has lost its
/// header.
[[nodiscard]] inline bool is_context(std::string_view section) {
  constexpr std::array<std::string_view, 11> names{"clinical history",
                                                   "clinical information",
                                                   "comparison",
                                                   "examination",
                                                   "history",
                                                   "indication",
                                                   "notification",
                                                   "procedure",
                                                   "reason for examination",
                                                   "technique",
                                                   "views"};
  return std::find(names.begin(), names.end(), section) != names.end();
}

/// The findings and the impression of a report: of several sections of one name the last that is not empty.
/// "Findings and impression" is taken for the findings and "conclusion" for the impression where there is no
/// section of that name. Names may be misspelt (see text::SectionNames::canonical). In a report with neither,
/// the last paragraph stands for it, except for the first paragraph of a section such as the indication.
[[nodiscard]] inline MimicReport parse_mimic_report(std::string_view text) {
  std::string_view findings, impression, both, conclusion, other;
  for (const text::Section& section : text::sections(text, text::SectionNames::canonical)) {
    if (section.body.empty()) continue;
    if (section.name == "findings") findings = section.body;
    if (section.name == "impression") impression = section.body;
    if (section.name == "findings and impression") both = section.body;
    if (section.name == "conclusion") conclusion = section.body;
    const std::string_view paragraph = last_paragraph(section.body);
    if (!is_context(section.name) || paragraph.size() < section.body.size()) other = paragraph;
  }
  if (findings.empty()) findings = both;
  if (impression.empty()) impression = conclusion;
  if (!findings.empty() || !impression.empty()) other = {};
  return {std::string(findings), std::string(impression), std::string(other), true};
}

/// The sections of reports as `mimic_cxr_sectioned.csv` has them, by study.
class MimicSections {
 public:
  MimicSections(const io::Path& path, StopToken stop)
      : table_(io::read_csv(
            path, {.columns = {"study", "findings", "impression", "last_paragraph"}, .stop = stop})),
        findings_(table_, {"findings"}),
        impression_(table_, {"impression"}),
        paragraph_(table_, {"last_paragraph"}) {
    for (const char* name : {"study", "findings", "impression"}) static_cast<void>(table_.column(name));
    const Fields study(table_, {"study"});
    for (std::size_t row = 0; row < table_.rows.size(); ++row) {
      std::string_view id = trimmed(study[row]);
      if (id.starts_with('s')) id.remove_prefix(1);
      const auto [found, is_new] = rows_.try_emplace(id, Row{row, 0});
      if (!is_new && found->second.second_line == 0) found->second.second_line = table_.lines[row];
    }
  }

  MimicSections(const MimicSections&) = delete;
  MimicSections& operator=(const MimicSections&) = delete;

  [[nodiscard]] bool has(const std::string& study) const { return rows_.contains(study); }

  /// Puts the report of `study`, which the table has, into `report`. Returns what is wrong, or nothing.
  [[nodiscard]] std::string read(const std::string& study, MimicReport& report) {
    const Row& row = rows_.at(study);
    if (row.second_line > 0)
      return concat("study ", data::detail::shown(study), " has a second row, ", table_.path, ":",
                    row.second_line);
    const auto text = [&](const Fields& fields) {
      return text_(std::string(trimmed(fields[row.row])), table_.lines[row.row]);
    };
    report = {text(findings_), text(impression_), {}, true};
    if (report.findings.empty() && report.impression.empty()) report.other = text(paragraph_);
    return {};
  }

  [[nodiscard]] const std::string& path() const { return table_.path; }
  void add_note(std::vector<std::string>& notes) const { text_.add_note(table_.path, notes); }

 private:
  struct Row {
    std::size_t row;
    Index second_line;  // of another row of the same study; 0 if there is none
  };

  io::CsvTable table_;
  Fields findings_, impression_, paragraph_;
  std::unordered_map<std::string_view, Row> rows_;
  TextReader text_;
};

/// Reads the file of a report into `report`. Returns what is wrong, or nothing. Throws Stopped.
[[nodiscard]] inline std::string read_mimic_report(const io::Path& path, StopToken stop,
                                                   MimicReport& report) {
  constexpr std::uint64_t most = 1 << 20;  // a report has a few thousand bytes
  try {
    const std::string bytes = io::read_file(path, {.max_bytes = most, .stop = stop});
    report = parse_mimic_report(utf8_text(bytes, path.string()));
  } catch (const Stopped&) {
    throw;
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return {};
}

}  // namespace vlp::data::layouts::detail
