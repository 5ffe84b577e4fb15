/// \file
/// The pairs that a model learns from and is tested on.
#pragma once

#include <unistd.h>

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/random.hpp>
#include <vlp/data/example.hpp>
#include <vlp/io/image.hpp>
#include <vlp/io/report_table.hpp>
#include <vlp/io/resize.hpp>
#include <vlp/text/normalise.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace vlp::data {

/// Examples to train on and examples held out, all with images of one size.
struct Dataset {
  std::vector<Example> train, held_out;
  Index image_size = 0;            ///< pixels along an edge of every image
  std::vector<std::string> notes;  ///< sentences for the user about what was read
};

/// How examples are made of what a collection holds.
struct DatasetOptions {
  Index image_size = 64;  ///< pixels along an edge that images are brought to
  double held_out = 0.1;  ///< share of the pairs held out where the collection has no split of its own
  Index max_words = 50;   ///< words of a report that are kept: reports equal up to there count as equal
};

namespace detail {

/// Throws std::runtime_error unless `count` images of that size fit into this machine's memory.
inline void require_memory(std::size_t count, Index image_size) {
  constexpr double gib = 1 << 30;
  const double wanted = 2.0 * static_cast<double>(count) * static_cast<double>(image_size * image_size) / gib;
  const double present =
      static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGE_SIZE)) / gib;
  ensure(wanted < present, count, " images of ", image_size, " x ", image_size, " pixels take ",
         std::ceil(wanted), " GiB of memory, but this machine has ", std::floor(present),
         "; a smaller image-size or fewer studies would do");
}

/// The examples that `make(i)` returns for each i in [0, count), made on all threads. Throws the first error
/// by index.
template <class Make>
std::vector<Example> make_examples(Cpu& device, std::size_t count, Make&& make) {
  std::vector<Example> examples(count);
  std::vector<std::exception_ptr> errors(count);
  device.parallel_for(static_cast<Index>(count), [&](Index task, int) {
    const auto i = static_cast<std::size_t>(task);
    try {
      examples[i] = make(i);
    } catch (...) {
      errors[i] = std::current_exception();
    }
  });
  for (const auto& error : errors)
    if (error) std::rethrow_exception(error);
  return examples;
}

/// Says for each pair whether it is held out. Pairs whose split is not "train" are, where the table has
/// splits; else whole groups (patients) are drawn, the same way for every seed, so that runs can be compared.
inline std::vector<char> choose_held_out(const io::ReportTable& table, double share) {
  std::vector<char> held_out(table.pairs.size());
  const bool has_splits = std::any_of(table.pairs.begin(), table.pairs.end(),
                                      [](const auto& pair) { return !pair.split.empty(); });
  if (has_splits) {
    for (std::size_t i = 0; i < held_out.size(); ++i)
      held_out[i] = !table.pairs[i].split.empty() && table.pairs[i].split != "train";
    return held_out;
  }
  std::map<std::string, std::vector<std::size_t>> groups;
  for (std::size_t i = 0; i < table.pairs.size(); ++i)
    groups[table.pairs[i].group.empty() ? "line " + std::to_string(table.pairs[i].line)
                                        : table.pairs[i].group]
        .push_back(i);
  std::vector<const std::vector<std::size_t>*> order;
  for (const auto& [name, members] : groups) order.push_back(&members);
  Random(0, 0x5911).shuffle(order.begin(), order.end());
  const auto wanted =
      static_cast<std::size_t>(std::max(1.0, std::round(share * static_cast<double>(table.pairs.size()))));
  std::size_t taken = 0;
  for (std::size_t g = 0; g + 1 < order.size() && taken < wanted; taken += order[g++]->size())
    for (const std::size_t i : *order[g]) held_out[i] = 1;
  return held_out;
}

/// Gives reports whose normalised texts are equal the same id, numbered in the order they come, and notes how
/// many examples and different reports there are. Throws std::runtime_error, naming the example, for a report
/// without words.
inline void number_texts(Dataset& dataset, Index max_words) {
  std::unordered_map<std::string, std::int64_t> ids;
  for (auto* examples : {&dataset.train, &dataset.held_out})
    for (Example& example : *examples) {
      const std::string words = text::normalise(example.report, static_cast<std::size_t>(max_words));
      ensure(!words.empty(), example.name, ": its report has no words");
      example.text_id = ids.emplace(words, static_cast<std::int64_t>(ids.size())).first->second;
    }
  dataset.notes.push_back(concat(dataset.train.size(), " pairs to train on, ", dataset.held_out.size(),
                                 " held out, ", ids.size(), " different reports"));
}

}  // namespace detail

/// Makes a dataset of `count` studies that `make(i)` returns as an Example, for i in [0, count), called on
/// all threads; the last ones are held out, at least one. Serves data that are computed and not read. Throws
/// what `make` throws, and std::runtime_error where the images do not fit into memory.
template <class Make>
[[nodiscard]] Dataset make_dataset(Cpu& device, Index count, const DatasetOptions& options, Make&& make) {
  require(count >= 2, "make_dataset: ", count, " studies cannot be divided");
  detail::require_memory(static_cast<std::size_t>(count), options.image_size);
  std::vector<Example> examples = detail::make_examples(device, static_cast<std::size_t>(count), make);
  const auto held_out = static_cast<std::ptrdiff_t>(std::clamp<double>(
      std::round(options.held_out * static_cast<double>(count)), 1, static_cast<double>(count - 1)));
  Dataset dataset;
  dataset.image_size = options.image_size;
  const auto middle = examples.end() - held_out;
  dataset.train.assign(std::make_move_iterator(examples.begin()), std::make_move_iterator(middle));
  dataset.held_out.assign(std::make_move_iterator(middle), std::make_move_iterator(examples.end()));
  detail::number_texts(dataset, options.max_words);
  return dataset;
}

/// Reads the pairs of a table, with every image decoded and every report looked at. Throws
/// std::runtime_error, naming the file, for an image that cannot be read, a report without words, or a split
/// with an empty side.
[[nodiscard]] inline Dataset read_dataset(Cpu& device, const io::ReportTable& table,
                                          const DatasetOptions& options) {
  detail::require_memory(table.pairs.size(), options.image_size);
  std::vector<Example> examples = detail::make_examples(device, table.pairs.size(), [&](std::size_t i) {
    const io::ReportImagePair& pair = table.pairs[i];
    Example example;
    example.name = pair.image.string();
    example.pixels = to_pixels(io::fit_square(io::read_image(pair.image), options.image_size));
    example.report = pair.report;
    example.findings = pair.findings;
    example.impression = pair.impression;
    return example;
  });
  Dataset dataset;
  dataset.image_size = options.image_size;
  dataset.notes = table.notes;
  const std::vector<char> held_out = detail::choose_held_out(table, options.held_out);
  for (std::size_t i = 0; i < examples.size(); ++i)
    (held_out[i] ? dataset.held_out : dataset.train).push_back(std::move(examples[i]));
  ensure(!dataset.train.empty() && !dataset.held_out.empty(), table.path, ": ", dataset.train.size(),
         " pairs to train on and ", dataset.held_out.size(),
         " held out; both need at least one, and a patient belongs to one of them");
  detail::number_texts(dataset, options.max_words);
  return dataset;
}

/// 16 hexadecimal digits that change with any pixel or report (FNV-1a over all of them): a run that goes on
/// must meet the data it began with.
[[nodiscard]] inline std::string fingerprint(const Dataset& dataset) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  const auto take = [&](std::uint64_t value) { hash = (hash ^ value) * 0x100000001b3u; };
  for (const auto* examples : {&dataset.train, &dataset.held_out}) {
    take(examples->size());
    for (const Example& example : *examples) {
      for (const std::uint16_t pixel : example.pixels) take(pixel);
      take(example.report.size());
      for (const char character : example.report) take(static_cast<unsigned char>(character));
    }
  }
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash));
  return digits;
}

}  // namespace vlp::data
