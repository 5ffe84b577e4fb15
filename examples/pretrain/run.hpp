/// \file
/// Steps that all runs of `pretrain` have in common, whatever their objective: the data, the vocabulary, the
/// settings, and how a trainer is brought to where it starts.
#pragma once

#include "builtin/study.hpp"
#include "cli/reading_bar.hpp"
#include "pretrain/options.hpp"

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/printable.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/dataset.hpp>
#include <vlp/data/fingerprint.hpp>
#include <vlp/data/images.hpp>
#include <vlp/data/layouts/all.hpp>
#include <vlp/io/file.hpp>
#include <vlp/tasks/pair_options.hpp>
#include <vlp/text/word_piece.hpp>
#include <vlp/train/checkpoint.hpp>
#include <vlp/train/run_folder.hpp>
#include <vlp/train/settings.hpp>

#include <cstdio>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::pretrain {

/// The part of a run that is at work, for messages: its name, and what would make it take less memory.
struct Phase {
  std::string_view name = "starting", cure;
};

inline constexpr Phase making_the_model{"making the model", "a smaller --width"};
inline constexpr Phase training{"training",
                                "a small --micro-batch or a smaller --batch-size, --width or --image-size"};
inline constexpr Phase evaluating{"evaluating", "a small --micro-batch or a smaller --batch-size"};

/// A run whose data have been read.
struct Session {
  const Options& options;
  Cpu& device;
  train::RunFolder& folder;
  const data::Dataset& dataset;
  const text::Vocabulary& vocabulary;
  train::Settings settings;       ///< of the run, see settings_of_run
  std::string pieces;             ///< hash of the vocabulary
  data::Fingerprint fingerprint;  ///< of the data
  StopToken stop;
  Phase& phase;

  /// The origin that checkpoints of the run name, with `files` of the folder beside its vocabulary. A
  /// checkpoint of the first stage is the same whether a second one follows or not.
  [[nodiscard]] train::Provenance provenance(std::map<std::string, std::string> files = {}) const {
    train::Settings of_checkpoints = settings;
    if (options.stage == Stage::first) of_checkpoints["stage"] = to_text(Stage::automatic);
    files["vocab.txt"] = pieces;
    return {std::move(of_checkpoints), fingerprint, std::move(files)};
  }
  void write_vocabulary() const { io::write_file(folder.file("vocab.txt"), vocabulary.text()); }
};

/// Says that a run was stopped while it trained; `stage` is " of stage 1", " of stage 2" or nothing.
template <class Trainer>
void say_stopped(const Options& options, const Trainer& trainer, const char* stage) {
  std::printf("stopped after step %td%s; go on with --resume --out %s\n", trainer.progression().step, stage,
              options.out.c_str());
}
inline void say_stopped_while_evaluating(const Options& options) {
  std::printf("stopped while evaluating; the run is trained to its end: --resume --out %s evaluates it\n",
              options.out.c_str());
}

inline void print_notes(std::span<const std::string> notes) {
  for (const std::string& note : notes) std::printf("%s\n", printable(note).c_str());
}

/// The pairs that --data names.
[[nodiscard]] inline data::Dataset load_dataset(Cpu& device, const Options& options, StopToken stop) {
  if (options.data == "builtin")
    return builtin::draw_dataset(device, options.pairs.seed, options.studies, options.dataset(), stop);
  cli::ReadingBar bar;
  return data::read_dataset(device, data::layouts::read(options.data, options.layout(stop, bar.report())),
                            options.dataset(bar.report()), stop);
}

/// The vocabulary of a run: the one its folder holds, else the file that was named, else one built from the
/// training reports.
[[nodiscard]] inline text::Vocabulary choose_vocabulary(const Options& options,
                                                        const train::RunFolder& folder,
                                                        const data::Dataset& dataset, StopToken stop) {
  if (options.goes_on()) return text::Vocabulary::load(folder.file("vocab.txt"));
  if (!options.vocabulary.empty()) return text::Vocabulary::load(options.vocabulary);
  if (options.is_hybrid()) return tasks::build_vocabulary(dataset, options.hybrid_task(), stop);
  return tasks::build_vocabulary(dataset, options.pairs, stop);
}

/// Settings of a run: those in its config.json, where its paths stand as they were first given, or those of a
/// new one. Throws std::invalid_argument where --vocabulary names another file by now, with other pieces.
[[nodiscard]] inline train::Settings settings_of_run(const Options& options, const train::RunFolder& folder,
                                                     const std::string& pieces) {
  if (!options.goes_on()) return train::settings_of(options);
  train::Settings saved = folder.settings();
  if (!options.vocabulary.empty() && saved["vocabulary"] != options.vocabulary)
    require(hash_of_pieces(text::Vocabulary::load(options.vocabulary)) == pieces,
            "--vocabulary: ", options.vocabulary, " has other pieces than ", folder.file("vocab.txt"),
            ", with which the run goes on");
  return saved;
}

/// Locks the folder of a run that goes on and, where a run of the first stage goes on to the second, says so
/// in its config.json. Returns sentences for the user.
[[nodiscard]] inline std::vector<std::string> take_folder(Session& session) {
  const Options& options = session.options;
  if (!options.resume) return {};
  session.folder.lock();
  if (const std::string stage = to_text(options.stage); session.settings.at("stage") != stage) {
    session.settings["stage"] = stage;
    session.folder.write_settings(session.settings);
  }
  if (session.settings.at("micro-batch") == options.pairs.micro_batch) return {};
  return {concat("the run goes on, but not bit for bit: it began with --micro-batch ",
                 session.settings.at("micro-batch").dump(), ", and ", options.pairs.micro_batch,
                 " rounds otherwise")};
}

/// Says that weights are not read by a run that goes on from its own checkpoint after `step`.
template <class Trainer>
[[nodiscard]] std::vector<std::string> note_on_weights(const Session& session, const Trainer& trainer) {
  if (trainer.progression().step == 0 || session.settings.at("weights") == session.options.weights) return {};
  return {"--weights " + session.options.weights + " is not read: a run goes on from its own checkpoint"};
}

}  // namespace vlp::pretrain
