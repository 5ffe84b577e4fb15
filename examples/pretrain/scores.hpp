/// \file
/// The figures of an evaluation for programs that compare runs: scores.csv.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/numbers.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/eval/accuracy.hpp>
#include <vlp/eval/retrieval.hpp>
#include <vlp/eval/text_scores.hpp>
#include <vlp/tasks/generation_evaluation.hpp>
#include <vlp/tasks/pair_evaluation.hpp>

#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::pretrain {

/// A table with a row for each figure: the model or the texts that it is of, the name of the score, and its
/// value, of which shares are from 0 to 1.
class ScoreTable {
 public:
  /// Adds a row. What was not measured (NaN) has none.
  void add(std::string_view of, std::string_view score, double value) {
    if (!std::isnan(value))
      rows_.append(of).append(",").append(score).append(",").append(number_text(value)).append("\n");
  }

  /// Adds the figures of the alignment of images and reports.
  void add(const tasks::PairEvaluation& evaluation) {
    constexpr std::string_view of = "alignment";
    add(of, "structure", evaluation.structure.overall.value());
    for (const auto& perturbation : evaluation.structure.perturbations)
      add(of, "structure " + std::string(perturbation.name), perturbation.accuracy.value());
    const auto add_recall = [&](const std::vector<eval::RecallAt>& recalls, const char* direction) {
      for (const eval::RecallAt& recall : recalls)
        add(of, concat("R@", recall.k, " ", direction), recall.recall);
    };
    add_recall(evaluation.retrieval.image_to_text, "image to report");
    add_recall(evaluation.retrieval.text_to_image, "report to image");
    add(of, "pointing", evaluation.pointing.overall().value());
  }

  /// Adds the scores of written texts, with the columns that their table has beside them.
  void add(const tasks::GenerationEvaluation& written, std::span<const tasks::ScoreColumn> further) {
    for (std::size_t row = 0; row < written.rows.size(); ++row) {
      const auto& [of, scores] = written.rows[row];
      for (std::size_t n = 0; n < scores.bleu.score.size(); ++n)
        add(of, concat("BLEU-", n + 1), scores.bleu.score[n]);
      add(of, "ROUGE-L", scores.rouge.f);
      add(of, "exact", scores.exact_match);
      for (const tasks::ScoreColumn& column : further) add(of, column.name, column.values[row]);
    }
  }

  [[nodiscard]] std::string csv() const { return "of,score,value\n" + rows_; }

 private:
  std::string rows_;
};

}  // namespace vlp::pretrain
