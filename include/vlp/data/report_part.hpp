/// \file
/// The part of a report that a model reads.
#pragma once

#include <vlp/core/enum_names.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/example.hpp>
#include <vlp/text/report.hpp>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::data {

/// Which part of a report is read as its text.
enum class ReportPart {
  report,                  ///< all of it
  findings,                ///< the findings alone
  impression,              ///< the impression alone
  findings_and_impression  ///< both, or the one that there is
};

/// A part of an example's report, taken from its findings and impression, or, where these are empty, from the
/// sections of its report. Empty if the report has no such part.
[[nodiscard]] inline std::string part_of(const Example& example, ReportPart part) {
  if (part == ReportPart::report) return example.report;
  const auto section = [&](const std::string& separate, std::string_view name) {
    return separate.empty() ? std::string(text::section(example.report, name)) : separate;
  };
  const bool with_findings = part != ReportPart::impression, with_impression = part != ReportPart::findings;
  std::string text = with_findings ? section(example.findings, "findings") : std::string();
  const std::string impression = with_impression ? section(example.impression, "impression") : std::string();
  if (!text.empty() && !impression.empty()) text += ' ';
  return text + impression;
}

}  // namespace vlp::data

namespace vlp {
template <>
inline constexpr std::array<std::string_view, 4> enum_names<data::ReportPart>{
    "report", "findings", "impression", "findings+impression"};
}  // namespace vlp

namespace vlp::data::detail {

/// Leaves out examples without the part of their reports that is wanted, which `kept` [N] says, with a note.
inline void take_part(std::vector<Example>& examples, ReportPart part, std::vector<char>& kept,
                      std::vector<std::string>& notes, StopToken stop) {
  std::size_t without = 0;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    stop.check();
    examples[i].report = part_of(examples[i], part);
    kept[i] = !examples[i].report.empty();
    without += kept[i] == 0;
  }
  if (without > 0 && part == ReportPart::report)
    notes.push_back(concat(without, " of ", examples.size(), " pairs are left out, for they have no report"));
  else if (without > 0)
    notes.push_back(
        concat(without, " of ", examples.size(), " pairs are left out, for their report has no ",
               part == ReportPart::findings_and_impression ? "findings and no impression" : to_text(part)));
}

}  // namespace vlp::data::detail
