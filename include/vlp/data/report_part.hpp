/// \file
/// The part of a report that a model reads.
#pragma once

#include <vlp/core/enum_names.hpp>
#include <vlp/data/example.hpp>
#include <vlp/text/report.hpp>

#include <array>
#include <string>
#include <string_view>

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
