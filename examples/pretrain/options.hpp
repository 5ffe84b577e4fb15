/// \file
/// The command line of `pretrain`: the options of the library's parts by name, and what the program adds.
#pragma once

#include "cli/add_option.hpp"
#include "cli/image_decoder.hpp"

#include <CLI/CLI.hpp>

#include <vlp/core/errors.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/dataset.hpp>
#include <vlp/data/layouts/all.hpp>
#include <vlp/data/report_part.hpp>
#include <vlp/io/image.hpp>
#include <vlp/tasks/contrastive.hpp>
#include <vlp/train/options.hpp>
#include <vlp/train/run_folder.hpp>
#include <vlp/train/settings.hpp>

#include <array>
#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

namespace vlp::pretrain {

/// Everything that can be set.
struct Options {
  std::string data = "builtin";
  std::int64_t studies = 14000;
  double held_out = 0.1;
  data::BadRows bad_rows = data::BadRows::stop;
  data::ReadImages read_images = data::ReadImages::automatic;
  data::ReportPart report_part = data::ReportPart::report;
  data::layouts::Projection projection = data::layouts::Projection::frontal;
  std::string vocabulary;
  std::string weights;
  tasks::ContrastiveOptions task;
  train::TrainingOptions training;
  // How it runs; these do not change the result
  int threads = 0;
  std::string image_cache;
  int image_threads = 0;
  std::int64_t max_image_pixels = io::default_max_pixels;
  std::string out;
  std::int64_t overlays = 6;
  bool resume = false;
  bool eval_only = false;

  /// Whether a run is taken up that its folder holds already.
  [[nodiscard]] bool goes_on() const { return resume || eval_only; }
  [[nodiscard]] data::layouts::Options layout(StopToken stop, data::ReadProgress progress) const {
    return {.projection = projection, .stop = stop, .progress = std::move(progress)};
  }
  [[nodiscard]] data::DatasetOptions dataset(data::ReadProgress progress = {}) const {
    return {.image_size = task.pairs.image_size,
            .held_out = held_out,
            .max_words = task.pairs.max_words,
            .report_part = report_part,
            .bad_rows = bad_rows,
            .read_images = read_images,
            .image_cache = image_cache,
            .image_threads = image_threads,
            .max_image_pixels = max_image_pixels,
            .decode = cli::decode_image,
            .progress = std::move(progress)};
  }
};

/// Calls `visit(name, field, help)` for each option that decides the result of a run; config.json holds
/// these.
template <class AnyOptions, class Visit>
requires std::is_same_v<std::remove_const_t<AnyOptions>, Options>
void for_each_setting(AnyOptions& o, Visit&& visit) {
  static const std::string sources = "builtin | " + data::layouts::usage();
  visit("data", o.data, sources.c_str());
  visit("studies", o.studies, "number of studies that the built-in generator draws");
  visit("held-out", o.held_out,
        "share of the groups (patients) held out where the data has no split of its own");
  visit("bad-rows", o.bad_rows,
        "rows of a table without an image or a report, or whose image cannot be read: stop | skip");
  visit("read-images", o.read_images,
        "when image files are decoded: first, all of them before training | ahead, shortly before a batch "
        "needs "
        "them | automatic, which is ahead for more than 20,000");
  visit("report-part", o.report_part,
        "part of the reports that is read: report | findings | impression | findings+impression; reports "
        "without it are left out");
  visit("projection", o.projection, "images of a study that are taken: frontal | lateral | both");
  visit("vocabulary", o.vocabulary,
        "word pieces, one a line (vocab.txt); built from the training reports when not given");
  visit("weights", o.weights,
        "safetensors file to start from, such as another run's best.safetensors: tensors that fit are read, "
        "the others start as they would without");
  for_each_setting(o.task, visit);
  for_each_setting(o.training, visit);
}

/// Settings that a run may go on with other values of: paths, since files may move and what is in them
/// decides; when images are read; and the micro-batch, which changes rounding alone.
inline constexpr std::array<const char*, 5> free_settings{"data", "read-images", "vocabulary", "weights",
                                                          "micro-batch"};

/// Throws std::invalid_argument, naming the setting and its value, for one that is out of range.
inline void validate(const Options& o) {
  static_cast<void>(train::settings_of(o));  // each can be written down
  require(o.data == "builtin" || data::layouts::find(o.data) != nullptr, "data must be builtin or ",
          data::layouts::usage(" or "), ", but is '", o.data, "'");
  require(!o.data.ends_with(':'), "data '", o.data, "' names no file or folder");
  require_range<std::int64_t>("studies", o.studies, 4, 1'000'000'000);
  require(o.held_out > 0 && o.held_out < 1, "held-out must be between 0 and 1, but is ", o.held_out);
  validate(o.task);
  validate(o.training);
  require_range<std::int64_t>("overlays", o.overlays, 0, 1000);
  require_range("threads", o.threads, 0, 1024);
  require_range("image-threads", o.image_threads, 0, 1024);
  require_range<std::int64_t>("max-image-pixels", o.max_image_pixels, 1,
                              io::max_image_edge * io::max_image_edge);
}

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

}  // namespace detail

/// Parses and checks the command line; paths become absolute. With --resume or --eval-only, settings not
/// given come from the run's config.json, and one that is given must agree with it, except free_settings.
/// Throws CLI::Error for --help and misspelt flags, std::invalid_argument and std::runtime_error for the
/// rest.
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
  if (options.goes_on()) {
    const char* flag = options.resume ? "--resume" : "--eval-only";
    require(!options.out.empty(), flag, " needs --out, the folder of the run");
    const train::RunFolder folder(options.out);
    const train::Settings saved = folder.settings();
    detail::read_run(saved, folder.file("config.json"), options);
    parse();
    cli::check_flags([&] { validate(options); });
    train::Settings given = train::settings_of(options);
    for (const char* name : free_settings) given[name] = saved[name];
    train::require_same_settings(given, saved, folder.file("config.json"));
  }
  cli::check_flags([&] { validate(options); });
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
