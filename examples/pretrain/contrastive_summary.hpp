/// \file
/// The results that a finished run of the multi-scale objective leaves in its folder: summary.md, plots and
/// attention overlays.
#pragma once

#include "pictures/plots.hpp"
#include "pretrain/options.hpp"
#include "pretrain/scores.hpp"
#include "pretrain/summary.hpp"

#include <vlp/core/numbers.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/images.hpp>
#include <vlp/io/file.hpp>
#include <vlp/tasks/pair_evaluation.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace vlp::pretrain {

/// Writes plots, overlays of attention on `images`, scores.csv and, last, summary.md into options.out.
/// Returns what could not be drawn and why. Throws Stopped where it was asked to stop, and then there is no
/// new summary.md.
inline std::vector<std::string> write_summary(const Options& options, const tasks::PairEvaluation& evaluation,
                                              const TrainedStage& stage,
                                              const std::vector<tasks::AttendedPair>& attended,
                                              const data::Images& images, StopToken stop = {}) {
  const std::filesystem::path out = options.out;
  Pictures pictures;
  add_loss_plot(out, "losses.png", "loss terms", stage, pictures);
  pictures.add("structure.png", "structure discrimination",
               pictures::plot_structure_accuracy(out / "structure.png", evaluation.structure));
  add_overlays(out, attended, images, stop, pictures);

  const tasks::ContrastiveObjectiveOptions& objective = options.contrastive;
  std::string text = "# Pretraining run\n\n";
  text += concat("Data: ", options.data, "; alpha ", objective.alpha, ", beta ", objective.beta,
                 objective.perturbed_as_negatives ? ", perturbed reports as negatives" : "", ", seed ",
                 options.pairs.seed, ". All settings: [config.json](config.json).\n\n");
  text += evaluated_text(stage) + "## Held-out pairs\n\n";
  text +=
      "### Losses\n\nOver batches as in training; chance is the loss of a model that tells nothing "
      "apart.\n\n" +
      loss_table(stage) + "\n";
  text += tables(evaluation) + "\n## Speed\n\n" + speed_text(stage.timing);
  ScoreTable scores;
  scores.add(evaluation);
  io::write_file(out / "scores.csv", scores.csv());
  io::write_file(out / "summary.md", text + "\n## Pictures\n" + pictures.markdown());
  return pictures.notes();
}

}  // namespace vlp::pretrain
