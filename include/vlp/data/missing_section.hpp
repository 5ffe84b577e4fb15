/// \file
/// Findings and impression as two texts, and reports that lack one of them.
#pragma once

#include <vlp/core/enum_names.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/example.hpp>
#include <vlp/text/normalise.hpp>
#include <vlp/text/report.hpp>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::data {

/// The policy for a report that lacks its findings, its impression or both, where each is a text of its own.
/// A section is missing if there is no text of it or one without words (text::normalise).
enum class MissingSection {
  leave_out,     ///< the pair is left out
  whole_report,  ///< the whole report stands in for what is missing
  other_section  ///< the section that is there stands in; a pair with neither is left out
};

namespace detail {

inline bool has_words(const std::string& report) {
  return !text::normalise(report, 1).empty();
}

/// Whether a text has more words than are read of it.
inline bool is_longer(const std::string& report, Index max_words) {
  const auto most = static_cast<std::size_t>(max_words);
  return text::count_words(text::normalise(report, most + 1)) > most;
}

/// A section that a table may give separately, else that of the report under such a header; empty where there
/// is none with words.
inline std::string section_with_words(const std::string& separate, const std::string& report,
                                      std::string_view name) {
  if (has_words(separate)) return separate;
  std::string section(text::section(report, name));
  return has_words(section) ? section : std::string();
}

/// Counts what reports lack, and how that is dealt with.
class SectionCounts {
 public:
  explicit SectionCounts(MissingSection policy) : policy_(policy) {}

  void add(bool no_findings, bool no_impression) { ++lacking_[no_findings][no_impression]; }
  void add_empty() { ++empty_; }

  /// Adds a note for each lack that there is.
  void add_notes(std::size_t pairs, std::vector<std::string>& notes) const {
    struct Lack {
      std::size_t count;
      std::string_view section, other;
    };
    for (const Lack& lack :
         {Lack{lacking_[1][0], "findings", "impression"}, Lack{lacking_[0][1], "impression", "findings"},
          Lack{lacking_[1][1], "findings and no impression", ""}}) {
      if (lack.count == 0) continue;
      const bool is_whole = policy_ == MissingSection::whole_report;
      const bool is_out = policy_ == MissingSection::leave_out || (!is_whole && lack.other.empty());
      if (is_out)
        notes.push_back(
            concat(lack.count, " of ", pairs, " pairs are left out, for their report has no ", lack.section));
      else
        notes.push_back(concat(lack.count, " of ", pairs, " reports have no ", lack.section, ", for which ",
                               is_whole ? "the whole report" : concat("the text of the ", lack.other),
                               " stands in"));
    }
    if (empty_ > 0)
      notes.push_back(concat(empty_, " of ", pairs, " pairs are left out, for they have no report"));
  }

 private:
  MissingSection policy_;
  std::array<std::array<std::size_t, 2>, 2> lacking_{};  // [no findings][no impression]
  std::size_t empty_ = 0;
};

/// Makes each example's report its impression, and fills findings and impression by the policy. `kept` [N]
/// becomes 0 for examples that are left out, and notes count what is missing. A report that has text but no
/// words at all stays as it is: that is a fault of its row and no missing section.
inline void take_sections(std::vector<Example>& examples, MissingSection policy, std::vector<char>& kept,
                          std::vector<std::string>& notes, StopToken stop) {
  SectionCounts counts(policy);
  for (std::size_t i = 0; i < examples.size(); ++i) {
    stop.check();
    Example& example = examples[i];
    std::string findings = section_with_words(example.findings, example.report, "findings");
    std::string impression = section_with_words(example.impression, example.report, "impression");
    const bool no_findings = findings.empty(), no_impression = impression.empty(),
               neither = no_findings && no_impression;
    if (neither && !has_words(example.report)) {
      kept[i] = !example.report.empty();
      if (example.report.empty()) counts.add_empty();
      continue;
    }
    kept[i] = 1;
    if (no_findings || no_impression) {
      counts.add(no_findings, no_impression);
      kept[i] =
          policy == MissingSection::whole_report || (policy == MissingSection::other_section && !neither);
      // A table may give one section and no report.
      const bool is_whole = policy == MissingSection::whole_report && has_words(example.report);
      const std::string stand_in = is_whole ? example.report : no_findings ? impression : findings;
      if (no_findings) findings = stand_in;
      if (no_impression) impression = stand_in;
    }
    example.findings = std::move(findings);
    example.report = example.impression = std::move(impression);
  }
  counts.add_notes(examples.size(), notes);
}

}  // namespace detail
}  // namespace vlp::data

namespace vlp {
template <>
inline constexpr std::array<std::string_view, 3> enum_names<data::MissingSection>{"leave-out", "whole-report",
                                                                                  "other-section"};
}  // namespace vlp
