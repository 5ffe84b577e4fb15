/// \file
/// The values that a training step reports: the terms of its objective, each with its name and weight.
#pragma once

#include <vlp/core/numbers.hpp>

#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::train {

/// One term of an objective. Columns of logs, text of progress, checks and plots derive from lists of these.
struct Term {
  std::string_view name;  ///< of a string that lives as long as the program, e.g. "local"
  double weight = 1;      ///< in the objective; 0: the term's work is skipped and its value is 0
  double value = 0;       ///< before the weight
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

/// "loss 3.142 (global 2.718, local 0.424)".
[[nodiscard]] inline std::string text_of(const Terms& terms) {
  std::string text = "loss " + fixed_text(terms.total, 3), parts;
  for (const Term& term : terms.terms)
    parts.append(parts.empty() ? " (" : ", ").append(term.name).append(" ").append(fixed_text(term.value, 3));
  return text + parts + (parts.empty() ? "" : ")");
}

/// The first term whose value is not finite, or the total ("whole"); an empty name where all are finite.
[[nodiscard]] inline Term first_not_finite(const Terms& terms) {
  for (const Term& term : terms.terms)
    if (!std::isfinite(term.value)) return term;
  return std::isfinite(terms.total) ? Term{} : Term{"whole", 1, terms.total};
}

/// Adds `weight` times the values of `part` to those of `sum`, which takes over the list of names when it is
/// still without: means over batches of unequal sizes are made so.
inline void add_weighted(Terms& sum, const Terms& part, double weight) {
  if (sum.terms.empty()) {
    sum.terms = part.terms;
    for (Term& term : sum.terms) term.value = 0;
  }
  sum.total += weight * part.total;
  for (std::size_t i = 0; i < sum.terms.size(); ++i) sum.terms[i].value += weight * part.terms[i].value;
}

}  // namespace vlp::train
