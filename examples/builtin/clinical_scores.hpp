/// \file
/// Clinical scores of written impressions: which findings they name, with which attributes, and what they
/// deny, against what the true impressions state.
#pragma once

#include "builtin/read_statements.hpp"
#include "builtin/statement.hpp"

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/tasks/detail/markdown.hpp>
#include <vlp/tasks/generation_evaluation.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace vlp::builtin {

/// How many of the things that are told are true, and how many of those that are true are told.
struct Agreement {
  Index right = 0;     ///< told, and true
  Index told = 0;      ///< by the text under test
  Index expected = 0;  ///< told by the true text

  /// Shares in [0, 1]; NaN of nothing. F1 is the harmonic mean, 2 right / (told + expected).
  [[nodiscard]] double precision() const { return share(right, told); }
  [[nodiscard]] double recall() const { return share(right, expected); }
  [[nodiscard]] double f1() const { return share(2 * right, told + expected); }

  Agreement& operator+=(const Agreement& other) {
    right += other.right;
    told += other.told;
    expected += other.expected;
    return *this;
  }
  friend bool operator==(const Agreement&, const Agreement&) = default;

 private:
  static double share(Index part, Index whole) {
    return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole)
                     : std::numeric_limits<double>::quiet_NaN();
  }
};

/// Clinical scores over N texts, sums over all of them (micro averages).
///
/// Statements of a text are matched with those of its true text of the same kind, each at most once, so that
/// as many as possible are; of several, those that agree in most attributes. A matched finding is rightly
/// named.
///
/// - `kinds`: a finding told counts as right if it is matched.
/// - `side`, `zone`, `size`, `severity`: over matched findings alone. An attribute is told, or expected, if
/// the
///   text, or the true text, says it in words (the device tells the zone of a tube, and that an endotracheal
///   tube has no side), and right if both say the same. So an attribute that is added costs precision, one
///   that is left out recall, and a wrong one both.
/// - `whole`: a finding told counts as right if it is matched and all four attributes are as in the true
/// text,
///   those that neither tells included.
/// - `negatives`: what is said to be normal or absent (Negative), each once a text.
///
/// The true text is the measure, and not the picture: a finding that the picture has and the true impression
/// leaves out counts as wrong. So a copy of the true text scores 1, wherever there is anything to score.
struct ClinicalScores {
  Index texts = 0;
  std::array<Agreement, finding_kind_count> kinds{};
  Agreement side, zone, size, severity;
  Agreement whole;
  Agreement negatives;

  /// Over all kinds.
  [[nodiscard]] Agreement findings() const {
    Agreement sum;
    for (const Agreement& kind : kinds) sum += kind;
    return sum;
  }
};

namespace detail {

/// How many of the four attributes are alike, told or not.
inline int alike(const Statement& a, const Statement& b) {
  return (a.side == b.side) + (a.zone == b.zone) + (a.size == b.size) + (a.severity == b.severity);
}

template <class Value>
void add_attribute(const std::optional<Value>& told, const std::optional<Value>& expected, Agreement& out) {
  out.told += told.has_value();
  out.expected += expected.has_value();
  out.right += told.has_value() && told == expected;
}

/// Matches statements of one kind, and counts their attributes.
inline void add_kind(std::vector<Statement> told, std::vector<Statement> expected, Agreement& kind,
                     ClinicalScores& out) {
  const Agreement sizes{0, static_cast<Index>(told.size()), static_cast<Index>(expected.size())};
  kind += sizes;
  out.whole += sizes;
  while (!told.empty() && !expected.empty()) {
    std::size_t best_told = 0, best_expected = 0;
    for (std::size_t i = 0; i < told.size(); ++i)
      for (std::size_t j = 0; j < expected.size(); ++j)
        if (alike(told[i], expected[j]) > alike(told[best_told], expected[best_expected]))
          std::tie(best_told, best_expected) = std::pair(i, j);
    const Statement a = told[best_told], b = expected[best_expected];
    ++kind.right;
    out.whole.right += a == b;
    add_attribute(a.side, b.side, out.side);
    add_attribute(a.zone, b.zone, out.zone);
    add_attribute(a.size, b.size, out.size);
    add_attribute(a.severity, b.severity, out.severity);
    told.erase(told.begin() + static_cast<std::ptrdiff_t>(best_told));
    expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(best_expected));
  }
}

inline std::vector<Statement> of_kind(const Reading& reading, FindingKind kind) {
  std::vector<Statement> out;
  std::ranges::copy_if(reading.findings, std::back_inserter(out),
                       [&](const Statement& statement) { return statement.kind == kind; });
  return out;
}

}  // namespace detail

/// Scores of what N texts state against what their true texts state. Throws std::invalid_argument for numbers
/// that differ.
[[nodiscard]] inline ClinicalScores clinical_scores(std::span<const Reading> told,
                                                    std::span<const Reading> expected) {
  require(told.size() == expected.size(), "clinical_scores: there are ", told.size(), " texts but ",
          expected.size(), " true ones");
  ClinicalScores out;
  out.texts = static_cast<Index>(told.size());
  for (std::size_t i = 0; i < told.size(); ++i) {
    for (std::size_t k = 0; k < finding_kind_count; ++k) {
      const auto kind = static_cast<FindingKind>(k);
      detail::add_kind(detail::of_kind(told[i], kind), detail::of_kind(expected[i], kind), out.kinds[k], out);
    }
    const auto &ours = told[i].negatives, &theirs = expected[i].negatives;
    out.negatives += {static_cast<Index>(std::ranges::count_if(
                          ours, [&](Negative negative) { return theirs.contains(negative); })),
                      static_cast<Index>(ours.size()), static_cast<Index>(theirs.size())};
  }
  return out;
}

/// The same of texts, which are read by read_statements: the true impression of a built-in study states what
/// it was written from, so its text is the truth.
[[nodiscard]] inline ClinicalScores clinical_scores(std::span<const std::string> texts,
                                                    std::span<const std::string> true_texts) {
  const auto read = [](std::span<const std::string> all) {
    std::vector<Reading> out;
    out.reserve(all.size());
    for (const std::string& text : all) out.push_back(read_statements(text));
    return out;
  };
  return clinical_scores(read(texts), read(true_texts));
}

/// The scores in Markdown: a row for each kind of finding, attribute, and the rest, with its counts.
[[nodiscard]] inline std::string table(const ClinicalScores& scores) {
  std::string text = "| | precision | recall | F1 | told | true |\n|---|---:|---:|---:|---:|---:|\n";
  const auto add = [&](std::string_view name, const Agreement& agreement) {
    using tasks::detail::percent;
    text += concat("| ", name, " | ", percent(agreement.precision()), " | ", percent(agreement.recall()),
                   " | ", percent(agreement.f1()), " | ", agreement.told, " | ", agreement.expected, " |\n");
  };
  add("**finding named**", scores.findings());
  for (std::size_t k = 0; k < finding_kind_count; ++k) add(finding_kind_names[k], scores.kinds[k]);
  add("**side of findings named**", scores.side);
  add("**zone**", scores.zone);
  add("**size**", scores.size);
  add("**severity**", scores.severity);
  add("**finding with all of these**", scores.whole);
  add("**normal or absent**", scores.negatives);
  return text;
}

/// F1 of several writers' texts as further columns of tasks::table; no columns for no writers, as where the
/// data are not built in.
[[nodiscard]] inline std::vector<tasks::ScoreColumn> clinical_columns(
    std::span<const ClinicalScores> writers) {
  std::vector<tasks::ScoreColumn> columns;
  if (writers.empty()) return columns;
  const auto add = [&](std::string name, auto&& agreement_of) {
    tasks::ScoreColumn column{std::move(name), {}};
    for (const ClinicalScores& scores : writers) column.values.push_back(agreement_of(scores).f1());
    columns.push_back(std::move(column));
  };
  add("finding F1", [](const ClinicalScores& scores) { return scores.findings(); });
  add("side", [](const ClinicalScores& scores) { return scores.side; });
  add("zone", [](const ClinicalScores& scores) { return scores.zone; });
  add("size", [](const ClinicalScores& scores) { return scores.size; });
  add("severity", [](const ClinicalScores& scores) { return scores.severity; });
  add("whole finding F1", [](const ClinicalScores& scores) { return scores.whole; });
  add("normal F1", [](const ClinicalScores& scores) { return scores.negatives; });
  return columns;
}

}  // namespace vlp::builtin
