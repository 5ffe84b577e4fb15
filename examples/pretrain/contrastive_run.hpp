/// \file
/// A run of the multi-scale objective.
#pragma once

#include "pretrain/contrastive_summary.hpp"
#include "pretrain/run.hpp"

#include <vlp/core/cpu.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/io/parameters.hpp>
#include <vlp/tasks/contrastive.hpp>
#include <vlp/tasks/pair_evaluation.hpp>
#include <vlp/train/trainer.hpp>

#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

namespace vlp::pretrain {

namespace detail {

/// Brings the parameters to where the run is to start or, with --eval-only, to be evaluated. Returns
/// sentences for the user.
template <class Trainer, class Task>
std::vector<std::string> take_up(const Session& session, Trainer& trainer, Task& task) {
  const Options& options = session.options;
  std::vector<std::string> notes;
  if (options.eval_only) {
    trainer.load_best();
    return notes;
  }
  if (options.resume) notes = trainer.resume();
  if (const Index step = trainer.progression().step; step > 0) {
    std::printf("going on after step %td\n", step);
    for (std::string& note : note_on_weights(session, trainer)) notes.push_back(std::move(note));
  } else if (!options.weights.empty()) {
    notes.push_back(
        text_of(io::read_parameters(session.device, options.weights, task.parameters(),
                                    {.ignore = {"optimiser"}, .policy = io::ReadPolicy::what_fits})));
  }
  return notes;
}

/// Evaluates the trained model, and prints and writes what it is worth. Returns false when it was stopped.
template <class Trainer, class Task>
bool finish(const Session& session, Trainer& trainer, Task& task) {
  const Options& options = session.options;
  session.phase = evaluating;
  trainer.load_best();  // what is reported, and drawn, is the checkpoint that a user would take
  try {
    std::vector<tasks::AttendedPair> attended;
    const tasks::PairEvaluation evaluation =
        evaluate(task, session.device, session.device, static_cast<std::size_t>(options.overlays), attended,
                 session.stop);
    std::printf("\n%s", tables(evaluation).c_str());
    print_notes(write_summary(options, evaluation, trained_stage(trainer, task), attended,
                              *session.dataset.images, session.stop));
    print_notes(session.dataset.images->notes());
  } catch (const Stopped&) {
    say_stopped_while_evaluating(options);
    return false;
  }
  std::printf("\nsummary: %s\n", session.folder.file("summary.md").c_str());
  return true;
}

}  // namespace detail

/// Trains and evaluates tasks::Contrastive. Returns false when the run was stopped by a signal before its
/// end.
inline bool run_contrastive(Session& session) {
  const Options& options = session.options;
  session.phase = making_the_model;
  tasks::Contrastive task(session.device, options.contrastive_task(), session.dataset, session.vocabulary);
  train::Trainer trainer(session.device, task, options.training, session.folder, session.provenance());
  print_notes(take_folder(session));
  print_notes(detail::take_up(session, trainer, task));
  std::printf("%td parameters, %zu word pieces, %td steps of %td pairs, %d threads\n", task.size(),
              session.vocabulary.size(), trainer.total_steps(), task.examples_per_step(),
              session.device.threads());
  std::fflush(stdout);
  if (options.eval_only) {
    session.phase = evaluating;
    std::vector<tasks::AttendedPair> none;
    std::printf("\n%s",
                tables(evaluate(task, session.device, session.device, 0, none, session.stop)).c_str());
    print_notes(session.dataset.images->notes());
    return true;
  }
  session.stop.check();  // before anything is written
  session.phase = training;
  if (!options.resume) session.folder.start(session.settings, [&] { session.write_vocabulary(); });
  std::printf("run folder: %s\n", options.out.c_str());
  if (!trainer.run(session.stop)) {
    say_stopped(options, trainer, "");
    print_notes(session.dataset.images->notes());
    return false;
  }
  return detail::finish(session, trainer, task);
}

}  // namespace vlp::pretrain
