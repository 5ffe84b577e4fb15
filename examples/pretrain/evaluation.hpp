/// \file
/// What is measured on held-out pairs, and its tables.
#pragma once

#include <vlp/eval/pointing_game.hpp>
#include <vlp/eval/retrieval.hpp>
#include <vlp/eval/structure_discrimination.hpp>

#include <cstdio>
#include <string>

namespace vlp::pretrain {

struct Evaluation {
  Index pairs = 0;
  eval::StructureDiscrimination structure;
  eval::Retrieval retrieval;
  eval::PointingGame pointing;  ///< empty where the data has no true boxes
};

namespace detail {
inline std::string percent(double share) {
  if (share != share) return "-";
  char text[16];
  std::snprintf(text, sizeof text, "%.1f %%", 100 * share);
  return text;
}

inline std::string table_row(const std::string& what, const eval::Accuracy& accuracy,
                             const std::string& unit) {
  return "| " + what + " | " + percent(accuracy.value()) + " | " + percent(accuracy.chance) + " | " +
         std::to_string(accuracy.count) + " " + unit + " |\n";
}
}  // namespace detail

/// The tables of an evaluation in Markdown, chance levels beside the figures.
inline std::string tables(const Evaluation& evaluation) {
  using detail::percent;
  using detail::table_row;
  const std::string header = "| accuracy | chance | of |\n|---|---:|---:|---:|\n";
  std::string text =
      "### Structure discrimination\n\nIs the report preferred to its perturbations? A tie counts as "
      "wrong.\n\n";
  text += "| against " + header + table_row("**all at once**", evaluation.structure.overall, "reports");
  for (const auto& perturbation : evaluation.structure.perturbations)
    text += table_row(perturbation.name, perturbation.accuracy, "reports");

  text += "\n### Retrieval among " + std::to_string(evaluation.pairs) +
          " pairs\n\nEqual reports answer each other's query.\n\n| | image to report | report to image | "
          "chance |\n"
          "|---|---:|---:|---:|\n";
  for (std::size_t i = 0; i < evaluation.retrieval.image_to_text.size(); ++i) {
    const auto& of_image = evaluation.retrieval.image_to_text[i];
    text += "| R@" + std::to_string(of_image.k) + " | " + percent(of_image.recall) + " | " +
            percent(evaluation.retrieval.text_to_image[i].recall) + " | " + percent(of_image.chance) + " |\n";
  }

  if (evaluation.pointing.overall().count > 0) {
    text +=
        "\n### Pointing game\n\nDoes the attention of a finding's word peak inside the finding's box?\n\n| "
        "finding " +
        header;
    text += table_row("**all**", evaluation.pointing.overall(), "findings");
    for (const auto& row : evaluation.pointing.kinds()) text += table_row(row.kind, row.accuracy, "findings");
  }
  return text;
}

}  // namespace vlp::pretrain
