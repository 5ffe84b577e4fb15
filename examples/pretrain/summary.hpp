/// \file
/// The results that a finished run leaves in its folder: summary.md, plots and attention overlays.
#pragma once

#include "pictures/attention_picture.hpp"
#include "pictures/plots.hpp"
#include "pretrain/options.hpp"

#include <vlp/core/numbers.hpp>
#include <vlp/core/printable.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/images.hpp>
#include <vlp/io/file.hpp>
#include <vlp/tasks/pair_evaluation.hpp>
#include <vlp/train/log.hpp>
#include <vlp/train/progress.hpp>
#include <vlp/train/terms.hpp>
#include <vlp/train/trainer.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::pretrain {

namespace detail {

inline pictures::Curve curve_of(const train::Log& log, std::string_view column, const std::string& name) {
  return {name, log.column("step"), log.column(column)};
}

/// Mean of each `window` consecutive points, so that a long noisy log shows its course.
inline pictures::Curve smoothed(pictures::Curve curve, std::size_t points) {
  const std::size_t window = curve.x.size() / points + 1;
  pictures::Curve out{curve.name, {}, {}};
  for (std::size_t begin = 0; begin + window <= curve.x.size(); begin += window) {
    double x = 0, y = 0;
    for (std::size_t i = begin; i < begin + window; ++i) {
      x += curve.x[i];
      y += curve.y[i];
    }
    out.x.push_back(x / static_cast<double>(window));
    out.y.push_back(y / static_cast<double>(window));
  }
  return out;
}

/// The course of every term that has a weight.
inline std::vector<pictures::Curve> loss_curves(const train::Terms& terms, const train::Log& log,
                                                const train::Log& held_out) {
  std::vector<pictures::Curve> curves;
  for (const train::Term& term : terms.terms) {
    if (term.weight == 0) continue;
    const std::string name(term.name);
    curves.push_back(smoothed(curve_of(log, name, name), 200));
    curves.push_back(curve_of(held_out, name, name + ", held out"));
    if (term.chance)
      curves.push_back(smoothed(curve_of(log, train::chance_column(term), name + ", chance"), 200));
  }
  return curves;
}

/// The held-out losses after the best step, with their weights and chance levels.
inline std::string loss_table(const train::Terms& terms, const train::Log& held_out, Index best_step) {
  const std::vector<double> steps = held_out.column("step");
  const auto row =
      static_cast<std::size_t>(std::ranges::find(steps, static_cast<double>(best_step)) - steps.begin());
  const auto value = [&](const std::string& column) {
    return fixed_text(held_out.column(column).at(row), 3);
  };
  std::string text = "| loss term | weight | value | chance |\n|---|---:|---:|---:|\n";
  for (const train::Term& term : terms.terms)
    if (term.weight != 0)
      text += concat("| ", term.name, " | ", term.weight, " | ", value(std::string(term.name)), " | ",
                     term.chance ? value(train::chance_column(term)) : "-", " |\n");
  return text;
}

inline std::string time_table(const train::Timing& timing) {
  std::string text = "| part | share of the time |\n|---|---:|\n";
  double measured = 0;
  for (const auto& entry : timing.parts.entries()) measured += entry.seconds;
  const auto share = [&](double seconds) {
    return tasks::detail::percent(measured > 0 ? seconds / measured : 0);
  };
  for (const auto& entry : timing.parts.entries())
    text += concat("| ", entry.work, " | ", share(entry.seconds), " |\n");
  return text + concat("\nImages, perturbations and word pieces are made ahead on a thread of their own: ",
                       share(timing.input_thread), " of the time.\n");
}

}  // namespace detail

/// Writes plots, overlays of attention on `images` and, last, summary.md into options.out. Returns what could
/// not be drawn and why.
/// Throws Stopped where it was asked to stop, and then there is no new summary.md.
template <class Trainer>
std::vector<std::string> write_summary(const Options& options, const tasks::PairEvaluation& evaluation,
                                       const train::Terms& terms, const Trainer& trainer,
                                       const std::vector<tasks::AttendedPair>& attended,
                                       const data::Images& images, StopToken stop = {}) {
  std::vector<std::string> notes;
  std::string pictures;
  const auto picture = [&](const std::string& file, const std::string& title, const std::string& note) {
    if (note.empty())
      pictures += "\n![" + title + "](" + file + ")\n";
    else
      notes.push_back(note);
  };
  const std::filesystem::path out = options.out;
  picture("losses.png", "loss terms",
          pictures::plot_losses(out / "losses.png",
                                detail::loss_curves(terms, trainer.log(), trainer.held_out_log())));
  picture("structure.png", "structure discrimination",
          pictures::plot_structure_accuracy(out / "structure.png", evaluation.structure));
  std::filesystem::create_directories(out / "overlays");
  io::remove_temporaries(out / "overlays");
  for (std::size_t i = 0; i < attended.size(); ++i) {
    stop.check();
    const tasks::AttendedPair& pair = attended[i];
    std::vector<pictures::AttentionPanel> panels;
    for (const auto& word : pair.words) {
      if (panels.size() == 3) break;
      panels.push_back(
          {word.word, MatrixView<const float>(word.attention.data(), {pair.grid, pair.grid}), word.box});
    }
    const std::string file = "overlays/" + std::to_string(i + 1) + ".png";
    io::write_png(out / file, pictures::draw_attention(images.image(pair.example->image_id), panels,
                                                       pair.example->report));
    picture(file, "attention, " + printable(pair.example->name), "");
  }

  std::string text = "# Pretraining run\n\n";
  text += concat("Data: ", options.data, "; alpha ", options.task.objective.alpha, ", beta ",
                 options.task.objective.beta,
                 options.task.objective.perturbed_as_negatives ? ", perturbed reports as negatives" : "",
                 ", seed ", options.task.pairs.seed, ". All settings: [config.json](config.json).\n\n");
  text += concat("Evaluated: best.safetensors, the checkpoint of step ", trainer.progression().best_step,
                 " of ", trainer.progression().step, ", where the held-out loss was lowest (",
                 trainer.progression().best_loss, ").\n\n## Held-out pairs\n\n");
  text +=
      "### Losses\n\nOver batches as in training; chance is the loss of a model that tells nothing "
      "apart.\n\n" +
      detail::loss_table(terms, trainer.held_out_log(), trainer.progression().best_step) + "\n";
  text += tables(evaluation) + "\n## Speed\n\n";
  if (trainer.timing().seconds > 0)
    text += concat("Trained for ", train::duration_text(trainer.timing().seconds), " in this session, ",
                   static_cast<Index>(trainer.timing().examples_per_second), " examples/s.\n\n",
                   detail::time_table(trainer.timing()));
  else
    text += "Nothing was left to train.\n";
  io::write_file(out / "summary.md", text + "\n## Pictures\n" + pictures);
  return notes;
}

}  // namespace vlp::pretrain
