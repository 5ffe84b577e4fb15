/// \file
/// What a finished run leaves in its folder: summary.md, plots and attention overlays.
#pragma once

#include "pretrain/attention_picture.hpp"
#include "pretrain/checkpoint.hpp"
#include "pretrain/evaluate.hpp"
#include "pretrain/log.hpp"
#include "pretrain/options.hpp"
#include "pretrain/plots.hpp"
#include "pretrain/progress.hpp"

#include <vlp/io/file.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace vlp::pretrain {

/// Seconds that a run spent, by what it did; the input thread's run beside the others.
struct Timing {
  double seconds = 0, encoders = 0, losses = 0, optimiser = 0, waiting_for_input = 0, evaluation = 0,
         input_thread = 0;
  double examples_per_second = 0;
};

namespace detail {

inline Curve curve_of(const Log& log, const char* column, const std::string& name) {
  return {name, log.column("step"), log.column(column)};
}

/// Mean of each `window` consecutive points, so that a long noisy log shows its course.
inline Curve smoothed(Curve curve, std::size_t points) {
  const std::size_t window = curve.x.size() / points + 1;
  Curve out{curve.name, {}, {}};
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

inline std::vector<Curve> loss_curves(const Options& options, const Log& log, const Log& held_out) {
  std::vector<Curve> curves;
  for (const auto& [column, weight] :
       {std::pair{"global", 1.0}, {"local", options.alpha}, {"perturbation", options.beta}}) {
    if (weight == 0) continue;
    curves.push_back(smoothed(curve_of(log, column, column), 200));
    curves.push_back(curve_of(held_out, column, std::string(column) + ", held out"));
  }
  return curves;
}

inline std::string time_table(const Timing& t) {
  std::string text = "| part | share of the time |\n|---|---:|\n";
  const double measured = t.encoders + t.losses + t.optimiser + t.waiting_for_input + t.evaluation;
  const auto row = [&](const char* name, double seconds) {
    text += concat("| ", name, " | ", percent(measured > 0 ? seconds / measured : 0), " |\n");
  };
  row("encoders, forward and backward", t.encoders);
  row("losses, forward and backward", t.losses);
  row("optimiser", t.optimiser);
  row("held-out losses and best checkpoint", t.evaluation);
  row("waiting for input", t.waiting_for_input);
  return text + concat("\nImages, perturbations and word pieces are made ahead on a thread of their own: ",
                       percent(measured > 0 ? t.input_thread / measured : 0), " of the time.\n");
}

}  // namespace detail

/// Writes plots, overlays and, last, summary.md into options.out. Returns what could not be drawn and why.
inline std::vector<std::string> write_summary(const Options& options, const Evaluation& evaluation,
                                              const Log& log, const Log& held_out, const Timing& timing,
                                              const Progression& progression,
                                              const std::vector<AttendedPair>& attended) {
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
          plot_losses(out / "losses.png", detail::loss_curves(options, log, held_out)));
  picture("structure.png", "structure discrimination",
          plot_structure_accuracy(out / "structure.png", evaluation.structure));
  std::filesystem::create_directories(out / "overlays");
  for (std::size_t i = 0; i < attended.size(); ++i) {
    const AttendedPair& pair = attended[i];
    std::vector<AttentionPanel> panels;
    for (const auto& word : pair.words) {
      if (panels.size() == 3) break;
      panels.push_back(
          {word.word, MatrixView<const float>(word.attention.data(), {pair.grid, pair.grid}), word.box});
    }
    const std::string file = "overlays/" + std::to_string(i + 1) + ".png";
    io::write_png(out / file,
                  draw_attention(image_of(*pair.example, options.image_size), panels, pair.example->report));
    picture(file, "attention, " + pair.example->name, "");
  }

  std::string text = "# Pretraining run\n\n";
  text += concat("Data: ", options.data, "; alpha ", options.alpha, ", beta ", options.beta, ", seed ",
                 options.seed, ". All settings: [config.json](config.json).\n\n");
  text += concat("Evaluated: best.safetensors, the checkpoint of step ", progression.best_step, " of ",
                 progression.step, ", where the held-out loss was lowest (", progression.best_loss,
                 ").\n\n## Held-out pairs\n\n");
  text += tables(evaluation) + "\n## Speed\n\n";
  if (timing.seconds > 0)
    text += concat("Trained for ", duration_text(timing.seconds), " in this session, ",
                   static_cast<Index>(timing.examples_per_second), " examples/s.\n\n",
                   detail::time_table(timing));
  else
    text += "Nothing was left to train.\n";
  io::write_file(out / "summary.md", text + "\n## Pictures\n" + pictures);
  return notes;
}

}  // namespace vlp::pretrain
