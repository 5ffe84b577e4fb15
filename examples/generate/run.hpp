/// \file
/// The parts of a hybrid run's folder that write: settings, vocabulary and checkpoints.
#pragma once

#include "pretrain/run_files.hpp"

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/tasks/hybrid_options.hpp>
#include <vlp/tasks/report_writer.hpp>
#include <vlp/text/vocabulary.hpp>
#include <vlp/train/checkpoint.hpp>
#include <vlp/train/run_folder.hpp>
#include <vlp/train/settings.hpp>

#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace vlp::generate {

/// A run that has been read, except for its weights.
struct Run {
  tasks::HybridOptions options;
  text::Vocabulary vocabulary;
  tasks::ReportWriterFiles files;
};

namespace detail {

/// The options of a hybrid run among the settings of its config.json. Throws std::runtime_error, naming the
/// file, where the run is not hybrid or one of them is absent or out of range.
[[nodiscard]] inline tasks::HybridOptions hybrid_options(const train::Settings& saved,
                                                         const std::string& source) {
  const bool has_objective = saved.contains("objective") && saved.at("objective").is_string();
  const std::string objective = has_objective ? saved.at("objective").get<std::string>() : "multi-scale";
  ensure(objective == "hybrid" || objective == "both", source, ": the objective of this run is ", objective,
         ", which trains nothing that writes; a run of pretrain --objective hybrid does");
  tasks::HybridOptions options;
  const train::Settings wanted = train::settings_of(options);
  train::Settings own;  // without those of data and training
  for (const auto& [name, value] : wanted.items())
    if (saved.contains(name)) own[name] = saved.at(name);
  train::read_settings(own, source, options);
  try {
    validate(options);
  } catch (const std::invalid_argument& error) {
    ensure(false, source, ": the setting ", error.what());
  }
  return options;
}

/// The path of a checkpoint of the run, after a look at all of it. Throws std::runtime_error, naming the
/// file, where it is missing, which `why_missing` explains, damaged, or made with other word pieces.
[[nodiscard]] inline std::string checked_file(const std::string& path, const std::string& why_missing,
                                              const text::Vocabulary& vocabulary) {
  std::error_code none;
  ensure(std::filesystem::exists(path, none) || none, path, " is not there: ", why_missing);
  const train::Checkpoint checkpoint = train::read_checkpoint(path);
  ensure(checkpoint.provenance.has_file("vocab.txt", hash_of_pieces(vocabulary)), path,
         ": made with another vocab.txt than the one in the run's folder");
  return path;
}

}  // namespace detail

/// Reads what is needed of the run in a folder to write about images, findings, or both. Throws
/// std::runtime_error, naming the file, where something of that is missing or faulty.
[[nodiscard]] inline Run read_run(const std::string& path, bool about_images, bool about_findings) {
  const train::RunFolder folder(path);
  tasks::HybridOptions options = detail::hybrid_options(folder.settings(), folder.file("config.json"));
  text::Vocabulary vocabulary = text::Vocabulary::load(folder.file("vocab.txt"));
  tasks::ReportWriterFiles files;
  if (about_images) {
    ensure(options.objective.lambda_caption > 0 || options.objective.lambda_distillation > 0,
           folder.file("config.json"),
           ": this run has nothing that writes about images, since lambda-caption and lambda-distillation "
           "are 0");
    files.captioner = detail::checked_file(
        folder.file("best.safetensors"),
        "writing about images needs the run's second stage, which has not come to its first checkpoint",
        vocabulary);
  }
  if (about_findings)
    files.summariser = detail::checked_file(
        folder.file(pretrain::summariser_file),
        "writing about findings needs the run's first stage, which was left out or has not come to its first "
        "checkpoint",
        vocabulary);
  return {options, std::move(vocabulary), std::move(files)};
}

}  // namespace vlp::generate
