/// \file
/// prepare_data: reads a collection as a run will read it, names everything that is wrong with it, counts its
/// labels, and fills the cache of resized images. `prepare_data --help` lists the options; docs/data.md
/// describes the layouts.

#include "cli/add_option.hpp"
#include "cli/image_decoder.hpp"
#include "cli/reading_bar.hpp"
#include "cli/signals.hpp"

#include <CLI/CLI.hpp>

#include <vlp/core/errors.hpp>
#include <vlp/core/numbers.hpp>
#include <vlp/core/printable.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/dataset.hpp>
#include <vlp/data/images.hpp>
#include <vlp/data/label_counts.hpp>
#include <vlp/data/layouts/all.hpp>
#include <vlp/data/read_progress.hpp>
#include <vlp/data/split.hpp>
#include <vlp/data/uncertain_labels.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/image.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <exception>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace cli = vlp::cli;
namespace data = vlp::data;
using vlp::Index;

struct Options {
  std::string source;
  data::layouts::Options layout;
  data::UncertainLabels uncertain = data::UncertainLabels::keep;
  std::int64_t image_size = 224;
  std::string image_cache;
  int image_threads = 0;
  std::int64_t max_image_pixels = vlp::io::default_max_pixels;
};

/// The exit status where rows are faulty.
constexpr int faulty = 1;

Options parse_options(int argc, char** argv) {
  Options o;
  CLI::App app(
      "Reads a collection of radiographs as a run will read it: names every row and every image that cannot "
      "be "
      "used,\ncounts labels, and fills the cache of resized images. The exit status is 1 where something is "
      "faulty.",
      "prepare_data");
  app.add_option("source", o.source, data::layouts::usage())->required();
  const auto add = [&](const char* name, auto& field, const char* help) {
    cli::add_option(app, name, field, help);
  };
  add("image-size", o.image_size, "pixels a side that images are brought to: that of the run");
  add("image-cache", o.image_cache, "folder for the resized images; images are only checked when not given");
  add("image-threads", o.image_threads, "threads that decode; 0 takes one for each processor, four at most");
  add("max-image-pixels", o.max_image_pixels, "pixels that an image file may have");
  add("projection", o.layout.projection, "images of a study that are taken: frontal | lateral | both");
  add("group-column", o.layout.group_column, "manifest: the one column that says which rows belong together");
  add("rsna-protocol", o.layout.rsna_protocol, "rsna: benchx | mrm | gloria");
  add("uncertain-labels", o.uncertain, "keep | ignore | zeros | ones | gloria | prd");
  app.add_option("--label-columns", o.layout.label_columns,
                 "manifest: columns that hold labels, beside those called label:NAME")
      ->delimiter(',');
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    app.exit(help);  // prints it
    throw;
  }
  cli::check_flags([&] {
    vlp::require_range<std::int64_t>("image-size", o.image_size, 1, 65536);
    vlp::require_range("image-threads", o.image_threads, 0, 1024);
    vlp::require_range<std::int64_t>("max-image-pixels", o.max_image_pixels, 1,
                                     vlp::io::max_image_edge * vlp::io::max_image_edge);
  });
  return o;
}

void print(const std::string& sentence) {
  std::printf("%s\n", vlp::printable(sentence).c_str());
}

/// Prints each row on a line of its own.
void print(const data::Collection& collection, const std::vector<data::BadRow>& rows) {
  for (const data::BadRow& row : rows) print(data::describe(collection.path, {row}));
}

/// Rows whose split contradicts that of their image, patient or study, or is missing.
std::vector<data::BadRow> faults_of(const data::Collection& collection, const data::Split& split) {
  std::vector<data::BadRow> rows;
  for (std::size_t i = 0; i < split.fault.size(); ++i)
    if (!split.fault[i].empty())
      rows.push_back({collection.entries[i].line, split.fault[i], collection.entries[i].table});
  return rows;
}

/// The images of the collection, to be read one after the other.
data::Images images_of(const data::Collection& collection, const data::EntryGroups& groups,
                       const Options& options, vlp::StopToken stop) {
  return {data::image_files(collection, groups, std::vector<char>(collection.entries.size(), 1)),
          {.reading = {.image_size = options.image_size,
                       .max_pixels = options.max_image_pixels,
                       .decode = cli::decode_image,
                       .cache = options.image_cache},
           .threads = options.image_threads,
           .table = collection.path,
           .bad_rows = data::BadRows::skip,  // all of them are named here
           .stop = stop}};
}

/// Reads every image, two requests at a time, and lets go of it. Returns how many could be read.
Index read(const data::Images& images, vlp::StopToken stop) {
  constexpr std::size_t together = 64;
  std::vector<std::int64_t> ids(images.size());
  std::iota(ids.begin(), ids.end(), std::int64_t{0});
  cli::ReadingBar bar;
  const data::ReadProgress report = bar.report();
  std::deque<data::Images::Request> requests;
  Index readable = 0;
  for (std::size_t asked = 0, done = 0; done < ids.size();) {
    while (asked < ids.size() && requests.size() < 2) {
      const std::size_t count = std::min(together, ids.size() - asked);
      requests.push_back(images.request(std::span(ids).subspan(asked, count)));
      asked += count;
    }
    data::Images::Request& first = requests.front();
    first.wait();
    stop.check();
    for (std::size_t i = 0; i < first.size(); ++i) readable += !first.pixels(i).empty();
    done += first.size();
    requests.pop_front();
    report("images", static_cast<Index>(done), static_cast<Index>(ids.size()));
  }
  return readable;
}

int run(const Options& options, vlp::StopToken stop) {
  data::layouts::Options layout = options.layout;
  layout.stop = stop;
  cli::ReadingBar bar;
  layout.progress = bar.report();
  data::Collection collection = data::layouts::read(options.source, layout);
  bar.finish();
  data::resolve_uncertain(collection, options.uncertain);
  const data::EntryGroups groups = data::group_entries(collection, stop);
  const data::Split split = data::choose_held_out(collection, groups, data::DatasetOptions().held_out);
  const std::vector<data::BadRow> divided = faults_of(collection, split);
  for (const std::vector<std::string>& notes : {collection.notes, groups.notes, split.notes})
    for (const std::string& note : notes) print(note);
  print(collection, collection.bad);
  print(collection, divided);
  if (!collection.labels.empty()) std::printf("\n%s\n", data::describe_labels(collection).c_str());
  std::fflush(stdout);

  const data::Images images = images_of(collection, groups, options, stop);
  // A run goes on without a cache that cannot be written; here it is the purpose.
  if (!options.image_cache.empty())
    const vlp::io::TemporaryFile probe(vlp::io::Path(options.image_cache) / "probe");
  const auto start = std::chrono::steady_clock::now();
  const Index readable = read(images, stop);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const std::vector<data::BadRow> unreadable = images.faults();
  print(collection, unreadable);
  for (const std::string& note : images.notes()) print(note);
  print(vlp::concat(readable, " of ", images.size(), " images read and brought to ", options.image_size,
                    " x ", options.image_size, " pixels, ",
                    vlp::fixed_text(static_cast<double>(images.size()) / seconds, 0), " a second"));
  const std::size_t faults = collection.bad.size() + divided.size() + unreadable.size();
  if (faults > 0)
    print(faults == 1
              ? "one row or image is faulty; pretrain needs --bad-rows skip for it"
              : vlp::concat(faults, " rows or images are faulty; pretrain needs --bad-rows skip for them"));
  return faults == 0 ? 0 : faulty;
}

int report(const std::string& message) {
  std::fflush(stdout);
  std::fprintf(stderr, "prepare_data: %s\n", vlp::printable(message).c_str());
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(parse_options(argc, argv), cli::stop_on_signals());
  } catch (const CLI::Success&) {
    return 0;  // --help
  } catch (const vlp::Stopped&) {
    std::printf("stopped; what is in the cache is kept\n");
    return cli::interrupted;
  } catch (const std::exception& error) {
    return report(error.what());
  }
}
