/// \file
/// The command line of `pretrain`, and how it goes together with the settings of a run that goes on.
#pragma once

#include "cli/add_option.hpp"
#include "pretrain/options.hpp"

#include <CLI/CLI.hpp>

#include <vlp/core/errors.hpp>
#include <vlp/train/run_folder.hpp>
#include <vlp/train/settings.hpp>

#include <filesystem>
#include <set>
#include <stdexcept>
#include <string>

namespace vlp::pretrain {

namespace detail {

inline void add_to(CLI::App& app, Options& o) {
  const auto add = [&](const char* name, auto& field, const char* help) {
    cli::add_option(app, name, field, help);
  };
  for_each_setting(o, add);
  add("threads", o.threads, "threads; 0 takes all");
  add("image-cache", o.image_cache,
      "folder that keeps resized images for the next epoch and the next run; none when not given");
  add("image-threads", o.image_threads,
      "threads that decode images ahead; 0 takes one for each processor, four at most");
  add("max-image-pixels", o.max_image_pixels,
      "pixels that an image file may have; a larger one is an error, and each thread takes memory for one");
  add("out", o.out,
      "folder of the run; by default runs/NAME, or the first of runs/NAME-2, -3, ... that is free");
  add("checkpoint-every", o.training.checkpoint_every,
      "steps between checkpoints, besides the one at the end of each epoch");
  add("overlays", o.overlays, "held-out pairs to draw attention overlays for");
  app.add_flag("--resume", o.resume, "go on with the run in --out, from its last checkpoint");
  app.add_flag("--eval-only", o.eval_only,
               "evaluate the best checkpoint of the run in --out and write nothing");
}

/// Sets the options that the command line gives, and returns their names.
inline std::set<std::string> parse(int argc, char** argv, Options& options) {
  CLI::App app(
      "Pretrains an image and a report encoder on radiograph-report pairs: global contrast + alpha local\n"
      "alignment + beta perturbed-report discrimination, or, with --objective hybrid, findings and "
      "impression\n"
      "with a decoder that writes the impression.",
      "pretrain");
  add_to(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    app.exit(help);  // prints it
    throw;
  }
  std::set<std::string> given;
  for (const CLI::Option* option : app.get_options())
    if (option->count() > 0) given.insert(option->get_single_name());
  return given;
}

/// Makes paths hold in every working folder.
inline void make_absolute(Options& o) {
  const auto absolute = [](const std::string& path) {
    return path.empty() ? path : std::filesystem::absolute(path).lexically_normal().string();
  };
  if (const auto colon = o.data.find(':'); colon != std::string::npos)
    o.data = o.data.substr(0, colon + 1) + absolute(o.data.substr(colon + 1));
  o.vocabulary = absolute(o.vocabulary);
  o.image_cache = absolute(o.image_cache);
  o.weights = absolute(o.weights);
  o.summariser = absolute(o.summariser);
}

/// Throws std::invalid_argument for an option that was given but does nothing with the objective or the stage
/// of this run: who gives one expects something of it.
inline void require_at_work(const std::set<std::string>& given, const Options& options) {
  const std::string objective = to_text(options.objective);
  Options any;
  const auto refuse = [&](const char* instead) {
    return [&given, &objective, instead](const char* name, const auto&, const char*) {
      require(given.count(name) == 0, name, " does nothing with --objective ", objective, "; it serves ",
              instead);
    };
  };
  if (!options.is_hybrid()) {
    for_each_hybrid_setting(any, refuse("hybrid and both"));
    return;
  }
  for_each_multi_scale_setting(any, refuse("multi-scale"));
  require(options.stage != Stage::second || given.count("stage-1-epochs") == 0,
          "stage-1-epochs does nothing with --stage 2");
}

/// Sets what follows from the objective where nothing else was given.
inline void set_defaults(const std::set<std::string>& given, Options& options) {
  if (options.objective == Objective::both && given.count("lambda-perturbation") == 0)
    options.hybrid.lambda_perturbation = 1;
}

/// Sets the options to those of the run in its folder.
inline void read_run(const train::Settings& saved, const std::string& source, Options& options) {
  options = Options{};
  train::read_settings(saved, source, options);
  try {
    validate(options);
  } catch (const std::invalid_argument& error) {
    ensure(false, source, ": the setting ", error.what());
  }
}

/// Throws std::invalid_argument unless the options agree with the settings of the run that they go on with.
/// A run of the first stage alone may go on with both.
inline void require_settings_of_run(const Options& options, const train::Settings& saved,
                                    const std::string& source) {
  train::Settings given = train::settings_of(options);
  for (const char* name : free_settings) given[name] = saved[name];
  if (options.resume && saved["stage"] == to_text(Stage::first) && options.stage == Stage::automatic)
    given["stage"] = saved["stage"];
  train::require_same_settings(given, saved, source);
}

}  // namespace detail

/// Parses and checks the command line; paths become absolute. With --resume or --eval-only, settings not
/// given come from the run's config.json, and one that is given must agree with it, except free_settings.
/// Throws CLI::Error for --help and misspelt flags, std::invalid_argument and std::runtime_error for the
/// rest.
inline Options parse_options(int argc, char** argv) {
  Options options;
  std::set<std::string> given = detail::parse(argc, argv, options);
  if (options.goes_on()) {
    const char* flag = options.resume ? "--resume" : "--eval-only";
    require(!options.out.empty(), flag, " needs --out, the folder of the run");
    const train::RunFolder folder(options.out);
    const train::Settings saved = folder.settings();
    detail::read_run(saved, folder.file("config.json"), options);
    given = detail::parse(argc, argv, options);
    cli::check_flags([&] { static_cast<void>(train::settings_of(options)); });  // each can be written down
    detail::require_settings_of_run(options, saved, folder.file("config.json"));
  } else {
    detail::set_defaults(given, options);
  }
  cli::check_flags([&] {
    detail::require_at_work(given, options);
    validate(options);
  });
  detail::make_absolute(options);
  if (options.out.empty()) {
    const std::string name =
        options.data == "builtin" ? "builtin" : options.data.substr(0, options.data.find(':'));
    options.out = train::first_free_folder("runs/" + name);
  } else if (!options.goes_on()) {
    require(!train::RunFolder(options.out).holds_run(), "--out: '", options.out,
            "' already holds a run; go on with it by --resume, or name another folder");
  }
  return options;
}

}  // namespace vlp::pretrain
