/// \file
/// The results that a finished hybrid run leaves in its folder: summary.md and its pictures.
#pragma once

#include "generate/overlays.hpp"
#include "pictures/plots.hpp"
#include "pretrain/hybrid_evaluation.hpp"
#include "pretrain/run.hpp"
#include "pretrain/scores.hpp"
#include "pretrain/summary.hpp"

#include <vlp/core/numbers.hpp>
#include <vlp/data/example.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/image.hpp>
#include <vlp/tasks/detail/markdown.hpp>

#include <cstddef>
#include <filesystem>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace vlp::pretrain {

/// The stages that a run has trained; a null one is not part of it.
struct Stages {
  const TrainedStage *first, *second;
};

namespace detail {

/// "lambda-global 1, lambda-token 1, ...", the weights of a hybrid run and how its stages are linked.
inline std::string objective_text(const Options& options) {
  std::string text;
  for_each_setting(options.hybrid, [&]<class Field>(const char* name, const Field& field, const char*) {
    text += concat(text.empty() ? "" : ", ", name, " ");
    if constexpr (std::is_same_v<Field, bool>)
      text += field ? "true" : "false";
    else if constexpr (std::is_arithmetic_v<Field>)
      text += concat(field);
    else
      text += to_text(field);
  });
  return text;
}

/// Draws where the captioner looked for each word that it wrote, into written/ of the run folder.
inline void add_written(const Session& session, const HybridEvaluation& evaluation, Pictures& pictures) {
  if (evaluation.drawn.empty()) return;
  const std::filesystem::path out = session.options.out;
  std::filesystem::create_directories(out / "written");
  io::remove_temporaries(out / "written");
  for (std::size_t i = 0; i < evaluation.drawn.size(); ++i) {
    session.stop.check();
    const WrittenAttention& written = evaluation.drawn[i];
    const data::Example& example = evaluation.examples[written.example];
    const std::string file = "written/" + std::to_string(i + 1) + ".png";
    io::write_png(out / file, generate::draw_overlay(session.dataset.images->image(example.image_id),
                                                     written.grid, written.words, written.text));
    using tasks::detail::cell;
    pictures.add_caption(
        concat(cell(example.name), ", written: ", cell(written.text), "; true: ", cell(example.report)));
    pictures.add(file, "attention while writing, " + cell(example.name));
  }
}

}  // namespace detail

/// Writes plots, overlays, scores.csv and, last, summary.md into the run folder. Returns what could not be
/// drawn and why. Throws Stopped where it was asked to stop, and then there is no new summary.md.
inline std::vector<std::string> write_summary(const Session& session, const HybridEvaluation& evaluation,
                                              const Stages& stages) {
  const Options& options = session.options;
  const std::filesystem::path out = options.out;
  Pictures pictures;
  std::string losses, speed;
  for (const auto& [number, stage] : {std::pair{"1", stages.first}, {"2", stages.second}}) {
    if (stage == nullptr) continue;
    const std::string name = concat("stage ", number);
    add_loss_plot(out, concat("losses_stage", number, ".png"), "loss terms, " + name, *stage, pictures);
    losses += "### Losses of " + name + "\n\n" + loss_table(*stage) + "\n";
    speed += "\n### " + name + "\n\n" + speed_text(stage->timing);
  }
  if (evaluation.alignment && options.hybrid.lambda_perturbation > 0)
    pictures.add("structure.png", "structure discrimination",
                 pictures::plot_structure_accuracy(out / "structure.png", evaluation.alignment->structure));
  add_overlays(out, evaluation.attended, *session.dataset.images, session.stop, pictures);
  detail::add_written(session, evaluation, pictures);

  std::string text = "# Hybrid pretraining run\n\n";
  text += concat("Data: ", options.data, "; objective ", to_text(options.objective), ": ",
                 detail::objective_text(options), "; seed ", options.pairs.seed,
                 ". All settings: [config.json](config.json).\n\n");
  text +=
      evaluated_text(*(stages.second != nullptr ? stages.second : stages.first)) + "## Held-out pairs\n\n";
  text += losses + tables(evaluation) + "\n## Speed\n" + speed;
  ScoreTable scores;
  if (evaluation.alignment) scores.add(*evaluation.alignment);
  scores.add(evaluation.written, builtin::clinical_columns(evaluation.clinical));
  io::write_file(out / "scores.csv", scores.csv());
  io::write_file(out / "summary.md", text + "\n## Pictures\n" + pictures.markdown());
  return pictures.notes();
}

}  // namespace vlp::pretrain
