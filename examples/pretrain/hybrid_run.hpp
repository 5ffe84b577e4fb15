/// \file
/// A run of hybrid pretraining: summarisation, then alignment, captioning and distillation.
#pragma once

#include "pretrain/hybrid_evaluation.hpp"
#include "pretrain/hybrid_summary.hpp"
#include "pretrain/run.hpp"
#include "pretrain/stages.hpp"
#include "pretrain/summary.hpp"

#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/tasks/hybrid.hpp>
#include <vlp/tasks/summarisation.hpp>
#include <vlp/train/run_folder.hpp>
#include <vlp/train/trainer.hpp>

#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::pretrain {

namespace detail {

/// Throws std::runtime_error where a stage that is to be evaluated has no best checkpoint yet.
inline void require_best(const Session& session, const train::RunFolder& folder) {
  const std::string best = folder.file("best.safetensors");
  ensure(!session.options.eval_only || std::filesystem::exists(best), best,
         " is not there: the run has not come to the end of this stage's first epoch; go on with --resume "
         "--out ",
         session.options.out);
}

/// Brings the parameters of a stage to where it starts, goes on or, with --eval-only, is evaluated, and tells
/// the user. `wanted` says which parameters --weights may give.
template <class Trainer, class Task, class Wanted>
void take_up_stage(const Session& session, const train::RunFolder& folder, Trainer& trainer, Task& task,
                   Wanted&& wanted) {
  const Options& options = session.options;
  if (options.eval_only) return trainer.load_best();
  const bool has_begun = std::filesystem::exists(folder.file("last.safetensors")) ||
                         std::filesystem::exists(folder.file("log.csv"));
  if (options.resume && has_begun) print_notes(trainer.resume());
  if (const Index step = trainer.progression().step; step > 0) {
    std::printf("going on after step %td\n", step);
    print_notes(note_on_weights(session, trainer));
  } else if (!options.weights.empty()) {
    print_notes(std::vector{read_weights(session, task, wanted)});
  }
}

/// Evaluates a trained stage, and prints and writes what it is worth. Returns false when it was stopped.
template <class Trainer, class Task>
bool finish_hybrid(const Session& session, Trainer& trainer, Task& task, Stages stages) {
  session.phase = evaluating;
  trainer.load_best();  // what is reported, and drawn, is the checkpoint that a user would take
  try {
    const HybridEvaluation evaluation =
        evaluate_hybrid(session, task, static_cast<std::size_t>(session.options.overlays));
    std::printf("\n%s", tables(evaluation).c_str());
    print_notes(write_summary(session, evaluation, stages));
    print_notes(session.dataset.images->notes());
  } catch (const Stopped&) {
    say_stopped_while_evaluating(session.options);
    return false;
  }
  std::printf("\nsummary: %s\n", session.folder.file("summary.md").c_str());
  return true;
}

/// Prints the tables of a stage whose parameters have been read.
template <class Task>
bool print_evaluation(const Session& session, Task& task) {
  session.phase = evaluating;
  std::printf("\n%s", tables(evaluate_hybrid(session, task, 0)).c_str());
  print_notes(session.dataset.images->notes());
  return true;
}

template <class Trainer, class Task>
void print_sizes(const Session& session, const Trainer& trainer, const Task& task, const char* branch) {
  const auto& all = task.parameters();
  std::printf("%td parameters, of which %td are trained", count_numbers(all, ""),
              count_numbers(task.trained(), ""));
  if (const Index decoder = count_numbers(all, "decoder."); decoder > 0)
    std::printf("; %td are the decoder's, and of these %td its attention for the branch '%s' alone", decoder,
                count_numbers(all, std::string("cross_attention.") + branch), branch);
  std::printf("\n%zu word pieces, %td steps of %td pairs, %d threads\n", session.vocabulary.size(),
              trainer.total_steps(), task.examples_per_step(), session.device.threads());
  std::fflush(stdout);
}

/// Trains a stage to its end. Returns false when it was stopped.
template <class Trainer>
bool train_stage(const Session& session, const train::RunFolder& folder, Trainer& trainer,
                 const char* stage) {
  session.phase = training;
  std::printf("run folder: %s\n", folder.path().c_str());
  if (trainer.run(session.stop)) return true;
  say_stopped(session.options, trainer, stage);
  print_notes(session.dataset.images->notes());
  return false;
}

/// The first stage. `trained` receives it where a second one is to follow. Returns false when it was stopped.
inline bool run_stage_1(const Session& session, std::optional<TrainedStage>& trained) {
  const Options& options = session.options;
  const bool is_only = options.stage == Stage::first;
  std::printf("stage 1%s: summarisation, the impression from the findings\n", is_only ? "" : " of 2");
  session.phase = making_the_model;
  tasks::Summarisation task(session.device, options.hybrid_task(), session.dataset, session.vocabulary);
  train::RunFolder folder(session.folder.file(stage_1_folder));
  require_best(session, folder);
  train::Trainer trainer(session.device, task, options.stage_1_training(), folder, session.provenance());
  if (options.resume) {
    make_stage_1_folder(session);
    folder.lock();  // clears away what a killed run was writing
  }
  take_up_stage(session, folder, trainer, task, [](std::string_view) { return true; });
  print_sizes(session, trainer, task, "summary");
  if (options.eval_only) return print_evaluation(session, task);
  if (!options.goes_on()) {
    session.stop.check();  // before anything is written
    session.folder.start(session.settings, [&] {
      session.write_vocabulary();
      make_stage_1_folder(session);
    });
    folder.lock();
  }
  if (!train_stage(session, folder, trainer, " of stage 1")) return false;
  trained = trained_stage(trainer, task);
  return !is_only || finish_hybrid(session, trainer, task, {&*trained, nullptr});
}

/// The second stage, after the `first` one where this session has that. Returns false when it was stopped.
inline bool run_stage_2(const Session& session, const TrainedStage* first) {
  const Options& options = session.options;
  std::printf("stage 2%s: alignment, captioning and distillation%s\n",
              options.stage == Stage::second ? "" : " of 2",
              options.hybrid.lambda_perturbation > 0 ? ", and perturbed impressions" : "");
  require_best(session, session.folder);
  session.phase = making_the_model;
  const Summariser summariser = find_summariser(session);
  tasks::Hybrid task(session.device, options.hybrid_task(), session.dataset, session.vocabulary,
                     summariser.path);
  std::map<std::string, std::string> files;
  if (!summariser.path.empty()) files[summariser_file] = summariser.contents;
  train::Trainer trainer(session.device, task, options.training, session.folder, session.provenance(files));
  take_up_stage(session, session.folder, trainer, task,
                [&](std::string_view name) { return summariser.path.empty() || !is_of_summariser(name); });
  print_sizes(session, trainer, task, "caption");
  if (options.eval_only) return print_evaluation(session, task);
  if (options.stage == Stage::second && !options.resume) {
    session.stop.check();  // before anything is written
    session.folder.start(session.settings, [&] {
      session.write_vocabulary();
      copy_summariser(session, summariser);
    });
  }
  if (!train_stage(session, session.folder, trainer, " of stage 2")) return false;
  const TrainedStage second = trained_stage(trainer, task);
  return finish_hybrid(session, trainer, task, {first, &second});
}

}  // namespace detail

/// Trains the stages of a hybrid run in turn and evaluates the last. Returns false when the run was stopped
/// by a signal before its end.
inline bool run_hybrid(Session& session) {
  const Options& options = session.options;
  print_notes(take_folder(session));
  std::optional<TrainedStage> first;
  if (options.stage == Stage::first || (options.stage == Stage::automatic && !options.eval_only)) {
    const bool is_done = detail::run_stage_1(session, first);
    if (!is_done || options.stage == Stage::first) return is_done;
    if (session.stop.requested()) {
      std::printf("stopped after stage 1; go on with --resume --out %s\n", options.out.c_str());
      return false;
    }
  }
  return detail::run_stage_2(session, first ? &*first : nullptr);
}

}  // namespace vlp::pretrain
