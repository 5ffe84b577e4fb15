/// \file
/// generate: writes the impression of a report for images, for findings, or for both, with the models of a
/// hybrid run. `generate --help` lists the options.

#include "cli/image_decoder.hpp"
#include "cli/signals.hpp"
#include "generate/options.hpp"
#include "generate/overlays.hpp"
#include "generate/run.hpp"

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/printable.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/images.hpp>
#include <vlp/io/image.hpp>
#include <vlp/tasks/report_writer.hpp>
#include <vlp/tasks/written_report.hpp>
#include <vlp/text/normalise.hpp>

#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

namespace vlp::generate {

/// Says on stderr what is wrong, and returns the exit status.
int report(const std::string& message) {
  std::fflush(stdout);
  std::fprintf(stderr, "generate: %s\n", printable(message).c_str());
  return 2;
}

/// The images as training reads them: squares of image_size pixels a side. Reports each file that cannot be
/// read, and throws std::runtime_error, whose message is that of the last, where there is one.
std::vector<io::GrayImage> read_images(const Options& options, Index image_size) {
  std::vector<data::ImageFile> files;
  for (const std::string& image : options.images) files.push_back({.path = image});
  const data::Images images(files, {.reading = {.image_size = image_size,
                                                .max_pixels = options.max_image_pixels,
                                                .decode = cli::decode_image},
                                    .threads = 1});
  std::vector<io::GrayImage> read;
  std::string fault;
  for (std::size_t i = 0; i < images.size(); ++i) {
    try {
      read.push_back(images.image(static_cast<std::int64_t>(i)));
    } catch (const std::runtime_error& error) {
      if (!fault.empty()) report(fault);
      fault = error.what();
    }
  }
  ensure(fault.empty(), fault);
  return read;
}

/// The findings. Throws std::runtime_error where they have no words; says where the model does not read all
/// of them.
std::string checked_findings(const Options& options, Index max_words) {
  std::string findings = read_findings(options);
  const std::size_t words = text::count_words(text::normalise(findings, text::all_words));
  ensure(words > 0, options.findings_file.empty() ? "--findings" : options.findings_file,
         ": there are no words in the findings");
  if (words > static_cast<std::size_t>(max_words))
    std::fprintf(stderr, "generate: the findings have %zu words, of which the model reads the first %td\n",
                 words, max_words);
  return findings;
}

void print(const std::string& label, const tasks::WrittenReport& written) {
  std::printf("%s: %s%s\n", printable(label).c_str(),
              written.pieces.empty() ? "(nothing)" : printable(written.text).c_str(),
              written.is_cut ? " (cut: the longest text)" : "");
}

void run(const Options& options, StopToken stop) {
  const bool about_images = !options.images.empty(), about_findings = options.has_findings();
  Run parts = read_run(options.run, about_images, about_findings);
  const Index max_words = parts.options.pairs.max_words;
  const std::string findings = about_findings ? checked_findings(options, max_words) : std::string();
  const std::vector<io::GrayImage> images = read_images(options, parts.options.pairs.image_size);
  Cpu device(options.threads);
  tasks::ReportWriter<> writer(device, parts.options, std::move(parts.vocabulary), parts.files);
  if (!options.overlay.empty()) make_overlay_folder(options.overlay);

  const tasks::WritingOptions& how = options.writing;
  std::vector<std::vector<tasks::AttendedWord>> attention;
  const bool draws_both = about_findings;  // the text that knows most is drawn
  std::vector<tasks::WrittenReport> of_images, of_findings, of_both;
  if (about_findings) of_findings = writer.from_findings(device, std::vector{findings}, how, stop);
  if (about_images)
    of_images = writer.from_images(device, images, how, draws_both ? nullptr : &attention, stop);
  if (about_images && about_findings)
    of_both = writer.from_both(device, images, std::vector(images.size(), findings), how, &attention, stop);

  if (!about_images) print("from the findings", of_findings.front());
  OverlayNames names;
  for (std::size_t i = 0; i < images.size(); ++i) {
    const std::string& name = options.images[i];
    print(name + ", from the image", of_images[i]);
    if (about_findings) {
      print(name + ", from the findings", of_findings.front());
      print(name + ", from both", of_both[i]);
    }
    if (options.overlay.empty()) continue;
    stop.check();
    const auto& drawn = draws_both ? of_both[i] : of_images[i];
    const std::filesystem::path picture = std::filesystem::path(options.overlay) / names.next(name);
    io::write_png(picture, draw_overlay(images[i], writer.grid(), attention[i], drawn.text));
    std::printf("%s, attention of its words: %s\n", printable(name).c_str(),
                printable(picture.string()).c_str());
  }
}

}  // namespace vlp::generate

int main(int argc, char** argv) {
  using namespace vlp::generate;
  try {
    Options options;
    try {
      options = parse_options(argc, argv);
    } catch (const CLI::Success&) {
      return 0;  // --help
    }
    run(options, vlp::cli::stop_on_signals());
    vlp::ensure(std::fflush(stdout) == 0, "standard output cannot be written");
    return 0;
  } catch (const vlp::Stopped&) {
    return vlp::cli::interrupted;
  } catch (const std::bad_alloc&) {
    return report("out of memory; fewer images at a time or a smaller --beam takes less");
  } catch (const std::exception& error) {
    return report(error.what());
  }
}
