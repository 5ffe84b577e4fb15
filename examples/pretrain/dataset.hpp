/// \file
/// The pairs that `pretrain` learns from and is tested on, whatever they come from.
#pragma once

#include "pretrain/builtin_data.hpp"
#include "pretrain/options.hpp"

#include <unistd.h>

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/random.hpp>
#include <vlp/io/image.hpp>
#include <vlp/io/report_table.hpp>
#include <vlp/io/resize.hpp>
#include <vlp/text/normalise.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace vlp::pretrain {

/// One radiograph and its report.
struct Example {
  std::string name;                   ///< file, or number of the built-in study
  std::vector<std::uint16_t> pixels;  ///< [image_size, image_size], 0 black to 65535 white
  std::string report;                 ///< findings and impression, as written
  std::int64_t text_id = 0;           ///< the same for equal normalised reports
  std::vector<Finding> truth;         ///< of a built-in study
};

struct Dataset {
  std::vector<Example> train, held_out;
  std::vector<std::string> notes;  ///< what a user should know about what was read
};

namespace detail {

/// An image at the size of the model, in 16 bits: a collection fits in memory, and no source has more.
inline std::vector<std::uint16_t> to_pixels(const io::GrayImage& image) {
  std::vector<std::uint16_t> pixels(image.pixels.size());
  std::transform(image.pixels.begin(), image.pixels.end(), pixels.begin(), [](float value) {
    return static_cast<std::uint16_t>(std::lround(65535.0f * std::clamp(value, 0.0f, 1.0f)));
  });
  return pixels;
}

/// Throws std::runtime_error unless `count` images of the model's size fit into this machine's memory.
inline void require_memory(std::size_t count, Index image_size) {
  constexpr double gib = 1 << 30;
  const double wanted = 2.0 * static_cast<double>(count) * static_cast<double>(image_size * image_size) / gib;
  const double present =
      static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGE_SIZE)) / gib;
  ensure(wanted < present, count, " images of ", image_size, " x ", image_size, " pixels take ",
         std::ceil(wanted), " GiB of memory, but this machine has ", std::floor(present),
         "; a smaller --image-size or fewer studies would do");
}

/// Runs `make(i)` for each i in [0, count) on all threads and passes on the first error by index.
template <class Make>
void for_each_in_parallel(Cpu& device, Index count, Make&& make) {
  std::vector<std::exception_ptr> errors(static_cast<std::size_t>(count));
  device.parallel_for(count, [&](Index i, int) {
    try {
      make(static_cast<std::size_t>(i));
    } catch (...) {
      errors[static_cast<std::size_t>(i)] = std::current_exception();
    }
  });
  for (const auto& error : errors)
    if (error) std::rethrow_exception(error);
}

}  // namespace detail

/// The image of an example, in [0, 1].
inline io::GrayImage image_of(const Example& example, Index image_size) {
  io::GrayImage image = io::make_gray_image(image_size, image_size);
  std::transform(example.pixels.begin(), example.pixels.end(), image.pixels.begin(),
                 [](std::uint16_t pixel) { return static_cast<float>(pixel) / 65535.0f; });
  return image;
}

namespace detail {

inline Dataset draw_builtin(const Options& options, Cpu& device) {
  Dataset data;
  require(options.image_size >= smallest_builtin_image, "--image-size must be at least ",
          smallest_builtin_image, " for the built-in data, but is ", options.image_size);
  require_memory(static_cast<std::size_t>(options.studies), options.image_size);
  std::vector<Example> examples(static_cast<std::size_t>(options.studies));
  for_each_in_parallel(device, options.studies, [&](std::size_t i) {
    BuiltinStudy study = draw_builtin_study(options.seed, static_cast<std::uint32_t>(i), options.image_size);
    examples[i] = {"built-in study " + std::to_string(i), to_pixels(study.image),
                   study.findings + " " + study.impression, 0, std::move(study.truth)};
  });
  const auto held_out = static_cast<std::ptrdiff_t>(
      std::clamp<double>(std::round(options.held_out * static_cast<double>(options.studies)), 1,
                         static_cast<double>(options.studies - 1)));
  data.train.assign(std::make_move_iterator(examples.begin()),
                    std::make_move_iterator(examples.end() - held_out));
  data.held_out.assign(std::make_move_iterator(examples.end() - held_out),
                       std::make_move_iterator(examples.end()));
  return data;
}

/// Which pairs are held out: those whose split is not "train" where the table has splits; else whole groups
/// (patients), drawn the same way for every seed, so that runs can be compared.
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

inline Dataset read_table(const Options& options, Cpu& device) {
  const std::string place = options.data.substr(options.data.find(':') + 1);
  require(!place.empty(), "--data '", options.data, "' names no file or folder");
  const auto projection = options.projection == "frontal"   ? io::Projection::frontal
                          : options.projection == "lateral" ? io::Projection::lateral
                                                            : io::Projection::both;
  const io::ReportTable table =
      options.data.starts_with("manifest:") ? io::read_manifest(place) : io::read_open_i(place, projection);
  require_memory(table.pairs.size(), options.image_size);
  std::vector<Example> examples(table.pairs.size());
  for_each_in_parallel(device, static_cast<Index>(examples.size()), [&](std::size_t i) {
    const io::ReportImagePair& pair = table.pairs[i];
    examples[i] = {pair.image.string(),
                   to_pixels(io::fit_square(io::read_image(pair.image), options.image_size)),
                   pair.report,
                   0,
                   {}};
  });
  Dataset data{{}, {}, table.notes};
  const std::vector<char> held_out = choose_held_out(table, options.held_out);
  for (std::size_t i = 0; i < examples.size(); ++i)
    (held_out[i] ? data.held_out : data.train).push_back(std::move(examples[i]));
  ensure(!data.train.empty() && !data.held_out.empty(), table.path, ": ", data.train.size(),
         " pairs to train on and ", data.held_out.size(),
         " held out; both need at least one, and a patient belongs to one of them");
  return data;
}

/// Gives equal normalised reports the same id, numbered in the order they come.
inline void number_texts(std::vector<Example>& examples, std::size_t max_words,
                         std::unordered_map<std::string, std::int64_t>& ids) {
  for (Example& example : examples) {
    const std::string words = text::normalise(example.report, max_words);
    ensure(!words.empty(), example.name, ": its report has no words");
    example.text_id = ids.emplace(words, static_cast<std::int64_t>(ids.size())).first->second;
  }
}

}  // namespace detail

/// Draws or reads the pairs that `options.data` names, with every image decoded and every report looked at,
/// so that what is wrong with them is said before anything is written. Throws std::runtime_error, naming the
/// file.
inline Dataset load_dataset(const Options& options, Cpu& device) {
  Dataset data =
      options.data == "builtin" ? detail::draw_builtin(options, device) : detail::read_table(options, device);
  std::unordered_map<std::string, std::int64_t> ids;
  detail::number_texts(data.train, static_cast<std::size_t>(options.max_words), ids);
  detail::number_texts(data.held_out, static_cast<std::size_t>(options.max_words), ids);
  data.notes.push_back(concat(data.train.size(), " pairs to train on, ", data.held_out.size(), " held out, ",
                              ids.size(), " different reports"));
  return data;
}

/// 16 hexadecimal digits that change with any pixel or report (FNV-1a over all of them): a run that goes on
/// must meet the data it began with.
inline std::string fingerprint(const Dataset& data) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  const auto take = [&](std::uint64_t value) { hash = (hash ^ value) * 0x100000001b3u; };
  for (const auto* examples : {&data.train, &data.held_out}) {
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

}  // namespace vlp::pretrain
