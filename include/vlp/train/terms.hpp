/// \file
/// The values that a training step reports: the terms of its objective, each with its name and weight.
#pragma once

#include <vlp/core/numbers.hpp>

#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::train {

/// One term of an objective. Columns of logs, text of progress, checks and plots derive from lists of these.
struct Term {
  std::string_view name;  ///< of a string that lives as long as the program, e.g. "local"
  double weight = 1;      ///< in the objective; 0: the term's work is skipped and its value is 0
  double value = 0;       ///< before the weight
  /// The value that a model which tells nothing apart would reach on the same examples, before the weight: a
  /// term that stays there is not learned. Absent where it is not known.
  std::optional<double> chance{};
};

/// The value of an objective and of its parts, for one batch or as a mean over several.
struct Terms {
  double total = 0;
  std::vector<Term> terms;
};

/// A number worth logging that is not part of the objective, e.g. a learned scale.
struct Reading {
  std::string_view name;
  double value = 0;
};

/// "loss 6.142 (global 2.718, local 3.424 [chance 3.466])".
[[nodiscard]] inline std::string text_of(const Terms& terms) {
  std::string text = "loss " + fixed_text(terms.total, 3), parts;
  for (const Term& term : terms.terms) {
    parts.append(parts.empty() ? " (" : ", ").append(term.name).append(" ").append(fixed_text(term.value, 3));
    if (term.chance) parts.append(" [chance ").append(fixed_text(*term.chance, 3)).append("]");
  }
  return text + parts + (parts.empty() ? "" : ")");
}

/// The column of a log that holds a term's chance level, beside that of its value: "local_chance".
[[nodiscard]] inline std::string chance_column(const Term& term) {
  return std::string(term.name) + "_chance";
}

/// The columns that terms have in a log, and the values in them: each term's, and behind it its chance level
/// where it has one.
[[nodiscard]] inline std::vector<std::string> columns_of(const Terms& terms) {
  std::vector<std::string> columns;
  for (const Term& term : terms.terms) {
    columns.emplace_back(term.name);
    if (term.chance) columns.push_back(chance_column(term));
  }
  return columns;
}
[[nodiscard]] inline std::vector<double> values_of(const Terms& terms) {
  std::vector<double> values;
  for (const Term& term : terms.terms) {
    values.push_back(term.value);
    if (term.chance) values.push_back(*term.chance);
  }
  return values;
}

/// The first term whose value is not finite, or the total ("whole"); an empty name where all are finite.
[[nodiscard]] inline Term first_not_finite(const Terms& terms) {
  for (const Term& term : terms.terms)
    if (!std::isfinite(term.value)) return term;
  return std::isfinite(terms.total) ? Term{} : Term{"whole", 1, terms.total};
}

/// Adds `weight` times the values and chance levels of `part` to those of `sum`, which takes over the list of
/// names when it is still without: means over batches of unequal sizes are made so.
inline void add_weighted(Terms& sum, const Terms& part, double weight) {
  if (sum.terms.empty()) {
    sum.terms = part.terms;
    for (Term& term : sum.terms) {
      term.value = 0;
      if (term.chance) term.chance = 0;
    }
  }
  sum.total += weight * part.total;
  for (std::size_t i = 0; i < sum.terms.size(); ++i) {
    sum.terms[i].value += weight * part.terms[i].value;
    if (part.terms[i].chance)
      sum.terms[i].chance = sum.terms[i].chance.value_or(0) + weight * *part.terms[i].chance;
  }
}

}  // namespace vlp::train
