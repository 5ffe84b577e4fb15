/// \file
/// Parts of the results that a finished run leaves in its folder, whatever its objective: plots, attention
/// overlays, and tables of losses and of time.
#pragma once

#include "pictures/attention_picture.hpp"
#include "pictures/plots.hpp"

#include <vlp/core/numbers.hpp>
#include <vlp/core/printable.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/core/view.hpp>
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

/// A trained task as a summary tells of it, without the task.
struct TrainedStage {
  train::Terms terms;  ///< names and weights
  train::Log log, held_out_log;
  train::Progression progression;
  Index total_steps = 0;
  train::Timing timing;
};

template <class Trainer, class Task>
[[nodiscard]] TrainedStage trained_stage(const Trainer& trainer, const Task& task) {
  return {task.terms(),          trainer.log(),         trainer.held_out_log(),
          trainer.progression(), trainer.total_steps(), trainer.timing()};
}

/// The pictures of a summary: their Markdown, and notes on those that could not be drawn.
class Pictures {
 public:
  /// Adds a picture by its file in the run folder, or, where there is none, the note that says why.
  void add(const std::string& file, const std::string& title, const std::string& note = {}) {
    if (note.empty())
      markdown_ += "\n![" + title + "](" + file + ")\n";
    else
      notes_.push_back(note);
  }

  /// Adds a sentence for the picture that follows.
  void add_caption(const std::string& text) { markdown_ += "\n" + text + "\n"; }

  [[nodiscard]] const std::string& markdown() const { return markdown_; }
  [[nodiscard]] const std::vector<std::string>& notes() const { return notes_; }

 private:
  std::string markdown_;
  std::vector<std::string> notes_;
};

namespace detail {

inline pictures::Curve curve_of(const train::Log& log, std::string_view column, const std::string& name) {
  return {name, log.column("step"), log.column(column)};
}

/// Mean of each `window` consecutive points, so that a long noisy log shows its course.
inline pictures::Curve smoothed(pictures::Curve curve, std::size_t points) {
  const std::size_t window = curve.x.size() / points + 1;
  pictures::Curve out{curve.name, {}, {}, curve.colour, curve.line};
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

/// The course of every term that has a weight, each in its colour: thin over the steps of training, thick
/// over the held-out pairs, and dotted where it would be by chance.
inline std::vector<pictures::Curve> loss_curves(const TrainedStage& stage) {
  std::vector<pictures::Curve> curves;
  std::size_t colour = 0;
  for (const train::Term& term : stage.terms.terms) {
    if (term.weight == 0) continue;
    const std::string name(term.name);
    const auto add = [&](pictures::Curve curve, pictures::Line line) {
      curve.colour = colour;
      curve.line = line;
      curves.push_back(std::move(curve));
    };
    add(smoothed(curve_of(stage.log, name, name), 200), pictures::Line::thin);
    add(curve_of(stage.held_out_log, name, name + ", held out"), pictures::Line::thick);
    if (term.chance)
      add(smoothed(curve_of(stage.log, train::chance_column(term), name + ", chance"), 200),
          pictures::Line::dotted);
    ++colour;
  }
  return curves;
}

}  // namespace detail

/// The held-out losses after the best step, with their weights and chance levels.
[[nodiscard]] inline std::string loss_table(const TrainedStage& stage) {
  const std::vector<double> steps = stage.held_out_log.column("step");
  const auto best = static_cast<double>(stage.progression.best_step);
  const auto row = static_cast<std::size_t>(std::ranges::find(steps, best) - steps.begin());
  const auto value = [&](const std::string& column) {
    return fixed_text(stage.held_out_log.column(column).at(row), 3);
  };
  std::string text = "| loss term | weight | value | chance |\n|---|---:|---:|---:|\n";
  for (const train::Term& term : stage.terms.terms)
    if (term.weight != 0)
      text += concat("| ", term.name, " | ", term.weight, " | ", value(std::string(term.name)), " | ",
                     term.chance ? value(train::chance_column(term)) : "-", " |\n");
  return text;
}

/// How long a session trained, and on what it spent its time.
[[nodiscard]] inline std::string speed_text(const train::Timing& timing) {
  if (timing.seconds <= 0) return "Nothing was left to train.\n";
  std::string text = concat("Trained for ", train::duration_text(timing.seconds), " in this session, ",
                            static_cast<Index>(timing.examples_per_second),
                            " examples/s.\n\n| part | share of the time |\n|---|---:|\n");
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

/// "Evaluated: best.safetensors, the checkpoint of step 15 of 20, ...".
[[nodiscard]] inline std::string evaluated_text(const TrainedStage& stage) {
  const train::Progression& progression = stage.progression;
  return concat("Evaluated: best.safetensors, the checkpoint of step ", progression.best_step, " of ",
                stage.total_steps, ", where the held-out loss was lowest (", progression.best_loss, ").\n\n");
}

/// Plots the losses of a stage into `file` of the run folder `out`.
inline void add_loss_plot(const std::filesystem::path& out, const std::string& file, const std::string& title,
                          const TrainedStage& stage, Pictures& pictures) {
  pictures.add(file, title, pictures::plot_losses(out / file, detail::loss_curves(stage)));
}

/// Draws the attention of up to three words of each pair over its image, into overlays/ of the run folder
/// `out`. Throws Stopped where it was asked to stop.
inline void add_overlays(const std::filesystem::path& out, const std::vector<tasks::AttendedPair>& attended,
                         const data::Images& images, StopToken stop, Pictures& pictures) {
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
    pictures.add(file, "attention, " + printable(pair.example->name));
  }
}

}  // namespace vlp::pretrain
