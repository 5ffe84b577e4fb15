/// \file
/// The command line of `generate`.
#pragma once

#include "cli/add_option.hpp"

#include <CLI/CLI.hpp>

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/text_encoding.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/image.hpp>
#include <vlp/models/search.hpp>
#include <vlp/tasks/written_report.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace vlp::generate {

/// Everything that can be set.
struct Options {
  std::string run;
  std::vector<std::string> images;
  std::string findings, findings_file;
  tasks::WritingOptions writing;
  std::string overlay;
  std::int64_t max_image_pixels = io::default_max_pixels;
  int threads = 0;

  [[nodiscard]] bool has_findings() const { return !findings.empty() || !findings_file.empty(); }
};

/// Parses and checks the command line. Throws CLI::Error for --help and misspelt flags, std::invalid_argument
/// for the rest.
[[nodiscard]] inline Options parse_options(int argc, char** argv) {
  Options options;
  CLI::App app(
      "Writes the impression of a report with the models of a finished run of pretrain --objective hybrid:\n"
      "for images, for findings, or for both, whose log-probabilities are averaged then. Prints a line for\n"
      "each impression.",
      "generate");
  const auto add = [&](const char* name, auto& field, const char* help) {
    cli::add_option(app, name, field, help);
  };
  app.add_option("--run", options.run, "folder of the run")->required()->type_name("FOLDER");
  app.add_option("--image", options.images,
                 "radiographs to write about, PNG, JPEG or DICOM: one file or several")
      ->type_name("FILE");
  auto* findings =
      app.add_option("--findings", options.findings, "findings to write about")->type_name("TEXT");
  app.add_option("--findings-file", options.findings_file, "text file with the findings to write about")
      ->type_name("FILE")
      ->excludes(findings);
  for_each_setting(options.writing, add);
  app.add_option("--overlay", options.overlay,
                 "folder for a picture of each image with the attention of each written word")
      ->type_name("FOLDER");
  add("max-image-pixels", options.max_image_pixels,
      "pixels that an image file may have; a larger one is an error");
  add("threads", options.threads, "threads; 0 takes all");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    app.exit(help);  // prints it
    throw;
  }
  require(!options.run.empty(), "--run names no folder");
  require(!options.images.empty() || app.count("--findings") + app.count("--findings-file") > 0,
          "there is nothing to write about: name images by --image, or findings by --findings or "
          "--findings-file");
  require(app.count("--findings") == 0 || !options.findings.empty(), "--findings is empty");
  require(app.count("--findings-file") == 0 || !options.findings_file.empty(),
          "--findings-file names no file");
  require(app.count("--overlay") == 0 || !options.overlay.empty(), "--overlay names no folder");
  require(options.overlay.empty() || !options.images.empty(),
          "--overlay needs --image: attention is drawn on the image that is written about");
  cli::check_flags([&] {
    models::validate(models::SearchOptions{.beam = options.writing.beam,
                                           .length_penalty = options.writing.length_penalty,
                                           .no_repeat = options.writing.no_repeat,
                                           .end = 1});
    require_range<Index>("longest", options.writing.longest, 0, 1'000'000);
    require_range<std::int64_t>("max-image-pixels", options.max_image_pixels, 1, std::int64_t{1} << 40);
    require_range("threads", options.threads, 0, Cpu::most_threads);
  });
  return options;
}

/// The findings of the command line or of its file; nothing where there are none. Throws std::runtime_error,
/// naming the file, where it cannot be read, is larger than 1 MB or is not UTF-8.
[[nodiscard]] inline std::string read_findings(const Options& options) {
  if (options.findings_file.empty()) return options.findings;
  const std::string bytes = io::read_file(options.findings_file, {.max_bytes = 1'000'000});
  return std::string(utf8_text(bytes, options.findings_file));
}

}  // namespace vlp::generate
