/// \file
/// pretrain: pretrains an image and a report encoder on radiograph-report pairs, and says what they have
/// learned. `pretrain --help` lists the options; docs/pretrain.md describes the run folder.

#include "builtin/study.hpp"
#include "cli/reading_bar.hpp"
#include "cli/signals.hpp"
#include "pretrain/options.hpp"
#include "pretrain/summary.hpp"

#include <vlp/core/hash.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/fingerprint.hpp>
#include <vlp/data/layouts/all.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/parameters.hpp>
#include <vlp/tasks/contrastive.hpp>
#include <vlp/tasks/pair_evaluation.hpp>
#include <vlp/train/run_folder.hpp>
#include <vlp/train/trainer.hpp>

#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace vlp::pretrain {

/// The part of a run that is at work, for messages: its name, and what would make it take less memory.
struct Phase {
  std::string_view name = "starting", cure;
};

/// The pairs that --data names.
data::Dataset load_dataset(Cpu& device, const Options& options, StopToken stop) {
  if (options.data == "builtin")
    return builtin::draw_dataset(device, options.task.pairs.seed, options.studies, options.dataset(), stop);
  cli::ReadingBar bar;
  return data::read_dataset(device, data::layouts::read(options.data, options.layout(stop, bar.report())),
                            options.dataset(bar.report()), stop);
}

/// The vocabulary of a run: the one its folder holds, else the file that was named, else one built from the
/// training reports.
text::Vocabulary choose_vocabulary(const Options& options, const train::RunFolder& folder,
                                   const data::Dataset& dataset, StopToken stop) {
  if (options.goes_on()) return text::Vocabulary::load(folder.file("vocab.txt"));
  if (!options.vocabulary.empty()) return text::Vocabulary::load(options.vocabulary);
  return tasks::build_vocabulary(dataset, options.task.pairs, stop);
}

/// A hash of the pieces in their order.
std::string hash_of_pieces(const text::Vocabulary& vocabulary) {
  Hash hash;
  for (const std::string& piece : vocabulary.pieces()) hash.add(piece);
  return hash.text();
}

/// Settings of a run: those in its config.json, where its paths stand as they were first given, or those of a
/// new one. Throws std::invalid_argument where --vocabulary names another file by now, with other pieces.
train::Settings settings_of_run(const Options& options, const train::RunFolder& folder,
                                const std::string& pieces) {
  if (!options.goes_on()) return train::settings_of(options);
  train::Settings saved = folder.settings();
  if (!options.vocabulary.empty() && saved["vocabulary"] != options.vocabulary)
    require(hash_of_pieces(text::Vocabulary::load(options.vocabulary)) == pieces,
            "--vocabulary: ", options.vocabulary, " has other pieces than ", folder.file("vocab.txt"),
            ", with which the run goes on");
  return saved;
}

/// Brings the parameters to where the run is to start or, with --eval-only, to be evaluated. Returns
/// sentences for the user.
template <class Trainer, class Task>
std::vector<std::string> take_up(const Options& options, Cpu& device, train::RunFolder& folder,
                                 const train::Settings& settings, Trainer& trainer, Task& task) {
  std::vector<std::string> notes;
  if (options.eval_only) {
    trainer.load_best();
    return notes;
  }
  if (options.resume) {
    folder.lock();
    notes = trainer.resume();
    if (settings.at("micro-batch") != options.task.pairs.micro_batch)
      notes.push_back(concat("the run goes on, but not bit for bit: it began with --micro-batch ",
                             settings.at("micro-batch").dump(), ", and ", options.task.pairs.micro_batch,
                             " rounds otherwise"));
  }
  const Index step = trainer.progression().step;
  if (step > 0) {
    std::printf("going on after step %td\n", step);
    if (settings.at("weights") != options.weights)
      notes.push_back("--weights " + options.weights + " is not read: a run goes on from its own checkpoint");
  } else if (!options.weights.empty()) {
    notes.push_back(
        text_of(io::read_parameters(device, options.weights, task.parameters(),
                                    {.ignore = {"optimiser"}, .policy = io::ReadPolicy::what_fits})));
  }
  return notes;
}

/// Says what happened to images that were decoded while they were needed, such as those left out.
void print_notes(const data::Images& images) {
  for (const std::string& note : images.notes()) std::printf("%s\n", printable(note).c_str());
}

/// Evaluates the trained model, and prints and writes what it is worth. Returns false when it was stopped.
template <class Trainer, class Task>
bool finish(const Options& options, Cpu& device, const train::RunFolder& folder, Trainer& trainer, Task& task,
            StopToken stop) {
  trainer.load_best();  // what is reported, and drawn, is the checkpoint that a user would take
  try {
    std::vector<tasks::AttendedPair> attended;
    const tasks::PairEvaluation evaluation =
        evaluate(task, device, device, static_cast<std::size_t>(options.overlays), attended, stop);
    std::printf("\n%s", tables(evaluation).c_str());
    for (const std::string& note :
         write_summary(options, evaluation, task.terms(), trainer, attended, *task.dataset().images, stop))
      std::printf("%s\n", printable(note).c_str());
    print_notes(*task.dataset().images);
  } catch (const Stopped&) {
    std::printf("stopped while evaluating; the run is trained to its end: --resume --out %s evaluates it\n",
                options.out.c_str());
    return false;
  }
  std::printf("\nsummary: %s\n", folder.file("summary.md").c_str());
  return true;
}

/// Returns false when the run was stopped by a signal before its end.
bool run(const Options& options, StopToken stop, Phase& phase) {
  phase = {"reading the data", "a smaller --image-size, or fewer studies,"};
  Cpu device(options.threads);
  train::RunFolder folder(options.out);
  const data::Dataset dataset = load_dataset(device, options, stop);
  stop.check();
  phase = {"building the vocabulary", "a smaller --vocabulary-size"};
  text::Vocabulary vocabulary = choose_vocabulary(options, folder, dataset, stop);
  stop.check();
  phase = {"making the model", "a smaller --width"};
  const std::string pieces = hash_of_pieces(vocabulary);
  tasks::Contrastive task(device, options.task, dataset, std::move(vocabulary));
  std::vector<std::string> notes = dataset.notes;
  for (const std::string& note : task.word_piece().vocabulary().notes()) notes.push_back(note);
  const train::Settings settings = settings_of_run(options, folder, pieces);
  train::Trainer trainer(device, task, options.training, folder,
                         {settings, data::fingerprint(dataset), {{"vocab.txt", pieces}}});
  for (std::string& note : take_up(options, device, folder, settings, trainer, task))
    notes.push_back(std::move(note));
  for (const std::string& note : notes) std::printf("%s\n", printable(note).c_str());
  std::printf("%td parameters, %zu word pieces, %td steps of %td pairs, %d threads\n", task.size(),
              task.word_piece().vocabulary().size(), trainer.total_steps(), task.examples_per_step(),
              device.threads());
  std::fflush(stdout);

  const Phase evaluating{"evaluating", "a small --micro-batch or a smaller --batch-size"};
  if (options.eval_only) {
    phase = evaluating;
    std::vector<tasks::AttendedPair> none;
    std::printf("\n%s", tables(evaluate(task, device, device, 0, none, stop)).c_str());
    print_notes(*dataset.images);
    return true;
  }
  stop.check();  // before anything is written
  phase = {"training", "a small --micro-batch or a smaller --batch-size, --width or --image-size"};
  if (!options.resume)
    folder.start(settings,
                 [&] { io::write_file(folder.file("vocab.txt"), task.word_piece().vocabulary().text()); });
  std::printf("run folder: %s\n", options.out.c_str());
  if (!trainer.run(stop)) {
    std::printf("stopped after step %td; go on with --resume --out %s\n", trainer.progression().step,
                options.out.c_str());
    print_notes(*dataset.images);
    return false;
  }
  phase = evaluating;
  return finish(options, device, folder, trainer, task, stop);
}

/// Says on stderr what ended the program, and returns its exit status.
int report(const std::string& message) {
  std::fflush(stdout);
  std::fprintf(stderr, "pretrain: %s\n", vlp::printable(message).c_str());
  return 2;
}

}  // namespace vlp::pretrain

int main(int argc, char** argv) {
  using namespace vlp::pretrain;
  namespace cli = vlp::cli;
  Phase phase;
  try {
    Options options;
    try {
      options = parse_options(argc, argv);
    } catch (const CLI::Success&) {
      return 0;  // --help
    }
    return run(options, cli::stop_on_signals(), phase) ? 0 : cli::interrupted;
  } catch (const vlp::Stopped&) {
    std::printf("stopped while %s; nothing was written\n", std::string(phase.name).c_str());
    return cli::interrupted;
  } catch (const std::bad_alloc&) {
    return report(vlp::concat("out of memory while ", phase.name, "; ", phase.cure, " takes less"));
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::resource_unavailable_try_again) return report(error.what());
    return report(vlp::concat("cannot start a thread while ", phase.name,
                              ": the system allows this user no more; a smaller --threads takes fewer"));
  } catch (const std::exception& error) {
    return report(error.what());
  }
}
