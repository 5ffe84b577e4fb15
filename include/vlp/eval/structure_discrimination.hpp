/// \file
/// Structure discrimination: does the model prefer a report to the same report with its structure broken?
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/eval/accuracy.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace vlp::eval {

/// The result of structure_discrimination().
struct StructureDiscrimination {
  /// The original against one perturbation alone, over the reports where that is valid.
  struct Perturbation {
    std::string name;
    Accuracy accuracy;
  };

  Accuracy overall;  ///< the original against all its valid perturbations at once
  std::vector<Perturbation> perturbations;
};

/// Computes how often a report wins over K perturbations of it, from their similarities to its image.
///
/// `scores` [N, 1+K]: row n holds the similarity of image n to its own report (slot 0) and to the
/// perturbations of that report (slots 1..K); larger is more similar, any scale. `valid` [N, 1+K]: 0 drops a
/// candidate, as in the perturbation sensitivity loss (a perturbation that left the report unchanged is no
/// wrong answer); without it all count. `names`: the K perturbations; without it "1", "2", ...
///
/// The original is right when its score is strictly above that of every valid perturbation (overall), or
/// above that of the one perturbation (per perturbation): a tie is wrong, and so is a NaN on either side. A
/// report whose slot 0 is not valid, or without a valid perturbation, is not counted. Chance is 1/2 for one
/// perturbation, and the mean over the counted reports of 1 / (1 + valid perturbations) overall. Throws
/// std::invalid_argument unless the extents agree and scores has at least one column.
template <class T>
[[nodiscard]] StructureDiscrimination structure_discrimination(MatrixView<T> scores,
                                                               MatrixView<const std::uint8_t> valid = {},
                                                               std::span<const std::string> names = {}) {
  const Index reports = scores.rows();
  require(scores.cols() >= 1, "structure_discrimination: scores is ", reports, " x ", scores.cols(),
          " but slot 0, the original, is needed");
  const Index perturbations = scores.cols() - 1;
  require(!valid.given() || (valid.rows() == reports && valid.cols() == scores.cols()),
          "structure_discrimination: scores is ", reports, " x ", scores.cols(), " but valid is ",
          valid.rows(), " x ", valid.cols());
  require(names.empty() || static_cast<Index>(names.size()) == perturbations,
          "structure_discrimination: ", perturbations, " perturbations have scores but ", names.size(),
          " have names");

  StructureDiscrimination out;
  for (Index k = 0; k < perturbations; ++k)
    out.perturbations.push_back(
        {names.empty() ? std::to_string(k + 1) : names[static_cast<std::size_t>(k)], {}});

  const auto counts = [&](Index n, Index slot) { return !valid.given() || valid(n, slot) != 0; };
  for (Index n = 0; n < reports; ++n) {
    if (!counts(n, 0)) continue;
    Index candidates = 0, beaten = 0;
    for (Index k = 0; k < perturbations; ++k) {
      if (!counts(n, k + 1)) continue;
      const bool wins = scores(n, 0) > scores(n, k + 1);
      out.perturbations[static_cast<std::size_t>(k)].accuracy.add(wins, 0.5);
      ++candidates;
      beaten += wins;
    }
    if (candidates > 0) out.overall.add(beaten == candidates, 1.0 / static_cast<double>(1 + candidates));
  }
  return out;
}

}  // namespace vlp::eval
