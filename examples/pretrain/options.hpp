/// \file
/// The options of `pretrain`: one list serves the command line, config.json and the check on --resume.
#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <vlp/core/errors.hpp>
#include <vlp/io/file.hpp>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <type_traits>
#include <vector>

namespace vlp::pretrain {

struct Options {
  // Data
  std::string data = "builtin";
  std::int64_t studies = 14000;
  double held_out = 0.1;
  std::string projection = "frontal";
  std::string vocabulary;
  std::int64_t vocabulary_size = 4096;
  std::int64_t image_size = 64;
  std::int64_t max_words = 50;
  std::string perturbations = "all";
  std::int64_t perturbations_per_step = 3;
  std::string scope = "report";
  // Model
  std::int64_t width = 96;
  std::int64_t heads = 4;
  std::int64_t image_blocks = 1;
  std::int64_t text_blocks = 2;
  std::int64_t region_blocks = 0;
  std::int64_t word_layers = 3;
  std::string local_words = "nouns";
  std::int64_t embedding = 64;
  // Objective
  double alpha = 1;
  double beta = 1;
  std::string duplicates = "ignore";
  // Training
  std::int64_t epochs = 4;
  std::int64_t batch_size = 32;
  double lr = 2e-3;
  double warmup = 0.05;
  double weight_decay = 0.05;
  double clip = 1.0;
  std::uint64_t seed = 1;
  // How it runs; these do not change the result
  int threads = 0;
  std::string out;
  std::int64_t checkpoint_every = 50;
  std::int64_t overlays = 6;
  bool resume = false;
  bool eval_only = false;
};

/// Calls `visit(name, field, help)` for each option that decides the result of a run; config.json holds
/// these.
template <class AnyOptions, class Visitor>
void for_each_setting(AnyOptions& o, Visitor&& visit) {
  visit("data", o.data, "builtin | manifest:FILE.csv | open-i:DIR");
  visit("studies", o.studies, "number of studies that the built-in generator draws");
  visit("held-out", o.held_out,
        "share of the groups (patients) held out where the data has no split of its own");
  visit("projection", o.projection, "open-i: frontal | lateral | both");
  visit("vocabulary", o.vocabulary,
        "word pieces, one a line (vocab.txt); built from the training reports when not given");
  visit("vocabulary-size", o.vocabulary_size, "most word pieces of a vocabulary that is built");
  visit("image-size", o.image_size, "pixels a side that images are brought to, a multiple of 8");
  visit("max-words", o.max_words, "words of a report that are kept");
  visit("perturbations", o.perturbations, "all, or a comma-separated list of names or numbers 1-9");
  visit("perturbations-per-step", o.perturbations_per_step,
        "how many of them a report meets in one step, drawn anew each epoch; 0 takes all. Evaluation takes "
        "all");
  visit("scope", o.scope, "perturb the whole report or each sentence: report | sentence");
  visit("width", o.width, "features inside the encoders");
  visit("heads", o.heads, "attention heads");
  visit("image-blocks", o.image_blocks, "transformer blocks of the image encoder");
  visit("text-blocks", o.text_blocks, "transformer blocks of the text encoder");
  visit("region-blocks", o.region_blocks,
        "of these, how many come before the regions are taken; with 0 a region knows its surroundings alone");
  visit("word-layers", o.word_layers,
        "last layers of the text encoder that a word's feature is the sum of, the embedding among them");
  visit("local-words", o.local_words,
        "words of a report that the local loss aligns with regions: nouns | all");
  visit("embedding", o.embedding, "features of the shared image-text space");
  visit("alpha", o.alpha, "weight of the local alignment loss; 0 skips it");
  visit("beta", o.beta, "weight of the perturbation loss; 0 skips it");
  visit("duplicates", o.duplicates, "equal reports in a batch are: negatives | positives | ignore");
  visit("epochs", o.epochs, "passes over the training pairs");
  visit("batch-size", o.batch_size, "pairs per step");
  visit("lr", o.lr, "highest learning rate (AdamW)");
  visit("warmup", o.warmup,
        "share of the steps over which the learning rate rises; then it follows a cosine to 0");
  visit("weight-decay", o.weight_decay, "decoupled weight decay of matrices");
  visit("clip", o.clip, "largest norm of the whole gradient");
  visit("seed", o.seed, "seed of everything random");
}

/// Calls `visit(name, field, help)` for each option that may differ between a run and its continuation.
template <class AnyOptions, class Visitor>
void for_each_run_option(AnyOptions& o, Visitor&& visit) {
  visit("threads", o.threads, "threads; 0 takes all");
  visit("out", o.out,
        "folder of the run; by default runs/NAME, or the first of runs/NAME-2, -3, ... that is free");
  visit("checkpoint-every", o.checkpoint_every,
        "steps between checkpoints, besides the one at the end of each epoch");
  visit("overlays", o.overlays, "held-out pairs to draw attention overlays for");
}

namespace detail {
inline void require_one_of(const char* name, const std::string& value,
                           const std::vector<std::string>& allowed) {
  std::string list;
  for (const auto& a : allowed) {
    if (a == value) return;
    list += (list.empty() ? "" : ", ") + a;
  }
  require(false, "--", name, " must be one of ", list, ", but is '", value, "'");
}

template <class Number>
void require_range(const char* name, Number value, Number low, Number high) {
  require(value >= low && value <= high, "--", name, " must be from ", low, " to ", high, ", but is ", value);
}
}  // namespace detail

/// Throws std::invalid_argument, naming the option and its value, for a value out of range.
inline void validate(const Options& o) {
  using detail::require_one_of;
  using detail::require_range;
  constexpr std::int64_t many = 1'000'000'000;
  require(o.data == "builtin" || o.data.starts_with("manifest:") || o.data.starts_with("open-i:"),
          "--data must be builtin, manifest:FILE.csv or open-i:DIR, but is '", o.data, "'");
  require_range<std::int64_t>("studies", o.studies, 4, many);
  require(o.held_out > 0 && o.held_out < 1, "--held-out must be between 0 and 1, but is ", o.held_out);
  require_one_of("projection", o.projection, {"frontal", "lateral", "both"});
  require_one_of("scope", o.scope, {"report", "sentence"});
  require_one_of("local-words", o.local_words, {"nouns", "all"});
  require_one_of("duplicates", o.duplicates, {"negatives", "positives", "ignore"});
  require_range<std::int64_t>("vocabulary-size", o.vocabulary_size, 64, many);
  require_range<std::int64_t>("image-size", o.image_size, 16, 4096);
  require(o.image_size % 8 == 0, "--image-size must be a multiple of 8, but is ", o.image_size);
  require_range<std::int64_t>("max-words", o.max_words, 2, 510);
  require_range<std::int64_t>("perturbations-per-step", o.perturbations_per_step, 0, 9);
  require_range<std::int64_t>("width", o.width, 4, 65536);
  require_range<std::int64_t>("heads", o.heads, 1, o.width);
  require(o.width % o.heads == 0, "--width must be a multiple of --heads, but is ", o.width, " for ", o.heads,
          " heads");
  require_range<std::int64_t>("image-blocks", o.image_blocks, 0, 100);
  require_range<std::int64_t>("text-blocks", o.text_blocks, 1, 100);
  require_range<std::int64_t>("region-blocks", o.region_blocks, 0, o.image_blocks);
  require_range<std::int64_t>("word-layers", o.word_layers, 1, 101);
  require_range<std::int64_t>("embedding", o.embedding, 1, 65536);
  require_range<std::int64_t>("epochs", o.epochs, 1, many);
  require_range<std::int64_t>("batch-size", o.batch_size, 1, many);
  require_range<std::int64_t>("checkpoint-every", o.checkpoint_every, 1, many);
  require_range<std::int64_t>("overlays", o.overlays, 0, 1000);
  require_range("threads", o.threads, 0, 1024);
  require_range("warmup", o.warmup, 0.0, 1.0);
  require(std::isfinite(o.lr) && o.lr > 0, "--lr must be a positive number, but is ", o.lr);
  require(std::isfinite(o.clip) && o.clip > 0, "--clip must be a positive number, but is ", o.clip);
  for (const auto& [name, value] :
       {std::pair{"alpha", o.alpha}, {"beta", o.beta}, {"weight-decay", o.weight_decay}})
    require(std::isfinite(value) && value >= 0, "--", name, " must be 0 or a positive number, but is ",
            value);
}

/// The settings as JSON, what config.json and the checkpoints hold.
inline nlohmann::ordered_json to_json(const Options& options) {
  nlohmann::ordered_json json;
  for_each_setting(options, [&](const char* name, const auto& field, const char*) { json[name] = field; });
  return json;
}

/// Reads the settings from JSON; throws std::runtime_error, naming `source`, for one that is absent or of
/// another type.
inline void from_json(const nlohmann::ordered_json& json, const std::string& source, Options& options) {
  for_each_setting(options, [&](const char* name, auto& field, const char*) {
    ensure(json.is_object() && json.contains(name), source, ": the setting '", name, "' is absent");
    try {
      json.at(name).get_to(field);
    } catch (const nlohmann::json::exception&) {
      ensure(false, source, ": the setting '", name, "' is ", json.at(name).dump());
    }
  });
}

/// Throws std::invalid_argument that names the first setting in which `given` differs from `saved`.
inline void require_same_settings(const nlohmann::ordered_json& given, const nlohmann::ordered_json& saved,
                                  const std::string& source) {
  for (const auto& [name, value] : given.items())
    require(saved.contains(name) && saved[name] == value, source, " was made with --", name, " ",
            saved.contains(name) ? saved[name].dump() : "(absent)", ", not ", value.dump(),
            "; resume with the same settings, or start in another --out");
}

namespace detail {
inline void add_to(CLI::App& app, Options& o) {
  const auto add = [&](const char* name, auto& field, const char* help) {
    auto* option = app.add_option(std::string("--") + name, field, help)->capture_default_str();
    // A negative number would wrap around.
    if constexpr (std::is_unsigned_v<std::remove_reference_t<decltype(field)>>)
      option->check(CLI::Validator(
          [](const std::string& text) {
            return text.starts_with('-') ? "must not be negative, but is " + text : std::string();
          },
          ""));
  };
  for_each_setting(o, add);
  for_each_run_option(o, add);
  app.add_flag("--resume", o.resume, "go on with the run in --out, from its last checkpoint");
  app.add_flag("--eval-only", o.eval_only,
               "evaluate the best checkpoint of the run in --out and write nothing");
}
}  // namespace detail

/// The folder's first free name: stem, stem-2, stem-3, ...
inline std::string first_free_folder(const std::string& stem) {
  std::string name = stem;
  for (int n = 2; std::filesystem::exists(name); ++n) name = stem + "-" + std::to_string(n);
  return name;
}

/// Parses and checks the command line. With --resume or --eval-only, settings not given come from the run's
/// config.json, and one that is given must agree with it. Throws CLI::Error for --help and misspelt flags,
/// std::invalid_argument and std::runtime_error for the rest.
inline Options parse_options(int argc, char** argv) {
  Options options;
  const auto parse = [&] {
    CLI::App app(
        "Pretrains an image and a report encoder on radiograph-report pairs: global contrast + alpha local\n"
        "alignment + beta perturbed-report discrimination.",
        "pretrain");
    detail::add_to(app, options);
    try {
      app.parse(argc, argv);
    } catch (const CLI::CallForHelp& help) {
      app.exit(help);  // prints it
      throw;
    }
  };
  parse();
  if (options.resume || options.eval_only) {
    const char* flag = options.resume ? "--resume" : "--eval-only";
    require(!options.out.empty(), flag, " needs --out, the folder of the run");
    const std::string config = options.out + "/config.json";
    ensure(std::filesystem::exists(config), flag, ": there is no run in '", options.out, "' (", config,
           " does not exist)");
    const auto saved = nlohmann::ordered_json::parse(io::read_file(config), nullptr, false);
    ensure(!saved.is_discarded(), config, ": not JSON");
    options = Options{};
    from_json(saved, config, options);
    parse();
    validate(options);
    require_same_settings(to_json(options), saved, config);
  }
  validate(options);
  if (options.out.empty()) {
    const std::string name =
        options.data == "builtin" ? "builtin" : options.data.substr(0, options.data.find(':'));
    options.out = first_free_folder("runs/" + name);
  } else if (!options.resume && !options.eval_only) {
    require(!std::filesystem::exists(options.out + "/config.json"), "--out: '", options.out,
            "' already holds a run; go on with it by --resume, or name another folder");
  }
  return options;
}

}  // namespace vlp::pretrain
