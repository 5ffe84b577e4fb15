/// \file
/// pretrain: pretrains an image and a report encoder on radiograph-report pairs, and says what they have
/// learned. `pretrain --help` lists the options; docs/pretrain.md describes the run folder.

#include "builtin/study.hpp"
#include "pretrain/options.hpp"
#include "pretrain/summary.hpp"

#include <vlp/io/file.hpp>
#include <vlp/io/parameters.hpp>
#include <vlp/io/report_table.hpp>
#include <vlp/tasks/contrastive.hpp>
#include <vlp/tasks/contrastive_evaluation.hpp>
#include <vlp/train/run_folder.hpp>
#include <vlp/train/trainer.hpp>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

namespace vlp::pretrain {

/// Set by a signal handler: the run ends after the step in hand, with a checkpoint.
inline std::atomic<bool> stop_requested{false};

/// The pairs that --data names.
data::Dataset load_dataset(Cpu& device, const Options& options) {
  if (options.data == "builtin")
    return builtin::draw_dataset(device, options.task.seed, options.studies, options.dataset());
  const std::string place = options.data.substr(options.data.find(':') + 1);
  require(!place.empty(), "--data '", options.data, "' names no file or folder");
  return data::read_dataset(device,
                            options.data.starts_with("manifest:")
                                ? io::read_manifest(place)
                                : io::read_open_i(place, options.projection),
                            options.dataset());
}

/// The vocabulary of a run: the one its folder holds, else the file that was named, else one built from the
/// training reports.
text::Vocabulary choose_vocabulary(const Options& options, const train::RunFolder& folder,
                                   const data::Dataset& dataset) {
  if (options.resume || options.eval_only) return text::Vocabulary::load(folder.file("vocab.txt"));
  if (!options.vocabulary.empty()) return text::Vocabulary::load(options.vocabulary);
  return tasks::build_vocabulary(dataset, options.task);
}

/// Returns false when the run was stopped by a signal before its end.
bool run(const Options& options) {
  Cpu device(options.threads);
  train::RunFolder folder(options.out);
  const data::Dataset dataset = load_dataset(device, options);
  tasks::Contrastive task(device, options.task, dataset, choose_vocabulary(options, folder, dataset));
  const train::Settings settings = train::settings_of(options);
  train::Trainer trainer(device, task, options.training, folder, {settings, data::fingerprint(dataset)});
  std::vector<std::string> notes = dataset.notes;
  for (const std::string& note : task.word_piece().vocabulary().notes()) notes.push_back(note);
  if (options.eval_only) {
    trainer.load_best();
  } else if (options.resume) {
    folder.lock();
    trainer.resume();
    if (trainer.progression().step > 0) std::printf("going on after step %td\n", trainer.progression().step);
  } else if (!options.weights.empty()) {
    notes.push_back(
        text_of(io::read_parameters(device, options.weights, task.parameters(),
                                    {.ignore = {"optimiser"}, .policy = io::ReadPolicy::what_fits})));
  }
  for (const std::string& note : notes) std::printf("%s\n", note.c_str());
  std::printf("%td parameters, %zu word pieces, %td steps of %td pairs, %d threads\n", task.size(),
              task.word_piece().vocabulary().size(), trainer.total_steps(), task.examples_per_step(),
              device.threads());
  std::fflush(stdout);

  std::vector<tasks::AttendedPair> attended;
  const auto overlays = static_cast<std::size_t>(options.overlays);
  if (options.eval_only) {
    std::printf("\n%s", tables(evaluate(task, device, device, overlays, attended)).c_str());
    return true;
  }
  if (!options.resume)
    folder.start(settings,
                 [&] { io::write_file(folder.file("vocab.txt"), task.word_piece().vocabulary().text()); });
  std::printf("run folder: %s\n", options.out.c_str());
  if (!trainer.run(stop_requested)) {
    std::printf("stopped after step %td; go on with --resume --out %s\n", trainer.progression().step,
                options.out.c_str());
    return false;
  }
  trainer.load_best();  // what is reported, and drawn, is the checkpoint that a user would take
  const tasks::ContrastiveEvaluation evaluation = evaluate(task, device, device, overlays, attended);
  std::printf("\n%s", tables(evaluation).c_str());
  for (const std::string& note : write_summary(options, evaluation, task.terms(), trainer, attended))
    std::printf("%s\n", note.c_str());
  std::printf("\nsummary: %s\n", folder.file("summary.md").c_str());
  return true;
}

}  // namespace vlp::pretrain

int main(int argc, char** argv) {
  try {
    vlp::pretrain::Options options;
    try {
      options = vlp::pretrain::parse_options(argc, argv);
    } catch (const CLI::Success&) {
      return 0;  // --help
    }
    for (const int signal : {SIGINT, SIGTERM})
      std::signal(signal, [](int) { vlp::pretrain::stop_requested = true; });
    return vlp::pretrain::run(options) ? 0 : 130;
  } catch (const std::bad_alloc&) {
    std::fputs("pretrain: out of memory; a smaller --batch-size, --width or --image-size takes less\n",
               stderr);
    return 2;
  } catch (const std::exception& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "pretrain: %s\n", error.what());
    return 2;
  }
}
