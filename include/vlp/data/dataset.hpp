/// \file
/// The pairs that a model learns from and is tested on.
#pragma once

#include <unistd.h>

#include <vlp/core/cpu.hpp>
#include <vlp/core/enum_names.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/hash.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/detail/number_pairs.hpp>
#include <vlp/data/detail/pixel_budget.hpp>
#include <vlp/data/example.hpp>
#include <vlp/data/report_part.hpp>
#include <vlp/data/split.hpp>
#include <vlp/io/image.hpp>
#include <vlp/io/resize.hpp>
#include <vlp/text/normalise.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace vlp::data {

/// Examples to train on and examples held out, all with images of one size.
struct Dataset {
  std::vector<Example> train, held_out;
  Index image_size = 0;            ///< pixels along an edge of every image
  std::vector<std::string> notes;  ///< sentences for the user about what was read
};

/// The policy for faulty rows of a table.
enum class BadRows {
  stop,  ///< reading ends with an error that names them
  skip   ///< they are left out, and a note names them
};

/// How examples are made of what a collection holds.
struct DatasetOptions {
  Index image_size = 64;  ///< pixels along an edge that images are brought to
  double held_out = 0.1;  ///< share of the pairs held out where the collection has no split of its own
  Index max_words = 50;   ///< words of a report that are read; it serves notes alone
  ReportPart report_part = ReportPart::report;  ///< becomes Example::report; reports without it are left out
  BadRows bad_rows = BadRows::stop;             ///< serves read_dataset
  /// Pixels that an image file may have; a larger one is an error. Each thread decodes one at a time, which
  /// takes 8 bytes a pixel beside the file (12 for a JPEG of several scans). Threads wait for each other
  /// where that would come to more than half of this machine's memory.
  Index max_image_pixels = io::default_max_pixels;
};

namespace detail {

/// Bytes of memory that this machine has.
inline double memory_present() {
  return static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGE_SIZE));
}

/// Throws std::runtime_error unless `count` images of that size fit into this machine's memory.
inline void require_memory(std::size_t count, Index image_size) {
  constexpr double gib = 1 << 30;
  const double wanted = 2.0 * static_cast<double>(count) * static_cast<double>(image_size * image_size) / gib;
  const double present = memory_present() / gib;
  ensure(wanted < present, count, " images of ", image_size, " x ", image_size, " pixels take ",
         std::ceil(wanted), " GiB of memory, but this machine has ", std::floor(present),
         "; a smaller image-size or fewer studies would do");
}

/// Calls `work(i)` for each i in [0, count) on all threads, until it is to stop. Returns what it threw.
/// Throws Stopped.
template <class Work>
std::vector<std::exception_ptr> for_each_index(Cpu& device, std::size_t count, StopToken stop, Work&& work) {
  std::vector<std::exception_ptr> errors(count);
  device.parallel_for(static_cast<Index>(count), [&](Index task, int) {
    const auto i = static_cast<std::size_t>(task);
    if (stop.requested()) return;
    try {
      work(i);
    } catch (...) {
      errors[i] = std::current_exception();
    }
  });
  stop.check();
  return errors;
}

/// Leaves out examples without the part of their reports that is wanted, which `kept` [N] says, with a note.
inline void take_part(std::vector<Example>& examples, ReportPart part, std::vector<char>& kept,
                      std::vector<std::string>& notes, StopToken stop) {
  std::size_t without = 0;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    stop.check();
    examples[i].report = part_of(examples[i], part);
    kept[i] = !examples[i].report.empty();
    without += kept[i] == 0;
  }
  if (without > 0)
    notes.push_back(
        concat(without, " of ", examples.size(), " pairs are left out, for their report has no ",
               part == ReportPart::findings_and_impression ? "findings and no impression" : to_text(part)));
}

inline bool has_words(const std::string& report) {
  return !text::normalise(report, 1).empty();
}

/// Collects the faulty rows of a table until they are all known.
class RowFaults {
 public:
  RowFaults(const Collection& collection, BadRows policy) : collection_(collection), policy_(policy) {}

  void add(BadRow row) { rows_.push_back(std::move(row)); }
  /// A fault of the pair, which is left out of `kept`.
  void add(std::size_t pair, std::string what, std::vector<char>& kept) {
    kept[pair] = 0;
    add({collection_.entries[pair].line, std::move(what), collection_.entries[pair].table});
  }
  /// Throws if there are faulty rows, or notes that they are left out.
  void settle(std::vector<std::string>& notes) {
    if (rows_.empty()) return;
    const std::size_t count = rows_.size();
    const std::string text = data::describe(collection_.path, std::exchange(rows_, {}));
    ensure(policy_ == BadRows::skip, text, " (bad-rows skip would leave ", count > 1 ? "them" : "it",
           " out)");
    notes.push_back(concat(count, count == 1 ? " bad row is" : " bad rows are", " left out: ", text));
  }

 private:
  const Collection& collection_;
  BadRows policy_;
  std::vector<BadRow> rows_;
};

/// Throws unless pairs that are kept stand on both sides of the split.
inline void require_both_sides(const Collection& collection, const Split& split,
                               const std::vector<char>& kept) {
  std::size_t train = 0, held_out = 0;
  for (std::size_t i = 0; i < kept.size(); ++i)
    if (kept[i]) ++(split.held_out[i] ? held_out : train);
  ensure(train > 0 && held_out > 0, collection.path, ": ", train, " pairs to train on and ", held_out,
         " held out; both need at least one, and an image, a patient or a study belongs to one of them",
         split.notes.empty() ? std::string() : " (" + split.notes.front() + ")");
}

/// Reads the images of the examples that are kept, each file once. Those that cannot be read become faults.
inline void read_images(Cpu& device, std::vector<Example>& examples, const DatasetOptions& options,
                        std::vector<char>& kept, RowFaults& faults, StopToken stop) {
  std::unordered_map<std::int64_t, std::vector<std::size_t>> by_image;
  std::vector<std::int64_t> order;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    if (!kept[i]) continue;
    std::vector<std::size_t>& members = by_image[examples[i].image_id];
    if (members.empty()) order.push_back(examples[i].image_id);
    members.push_back(i);
  }
  constexpr double bytes_a_pixel = 12;
  PixelBudget budget(static_cast<Index>(memory_present() / 2 / bytes_a_pixel));
  const auto errors = for_each_index(device, order.size(), stop, [&](std::size_t k) {
    PixelBudget::Share share(budget);
    const auto admit = [&](Index pixels) { share.take(pixels); };
    const std::vector<std::size_t>& members = by_image.find(order[k])->second;
    const std::string& name = examples[members.front()].name;
    const std::string file = io::read_image_file(name, options.max_image_pixels);
    const std::uint64_t source = hash_of(file);
    const io::GrayImage image = io::decode_image(file, name, options.max_image_pixels, admit);
    const std::vector<std::uint16_t> pixels = to_pixels(io::fit_square(image, options.image_size));
    for (const std::size_t i : members) {
      examples[i].source = source;
      examples[i].pixels = pixels;
    }
  });
  for (std::size_t k = 0; k < order.size(); ++k) {
    if (!errors[k]) continue;
    try {
      std::rethrow_exception(errors[k]);
    } catch (const std::runtime_error& error) {
      for (const std::size_t i : by_image[order[k]]) faults.add(i, error.what(), kept);
    }
  }
}

/// Notes how many image files have the bytes of another file, and how many of these pairs are held out while
/// the others are trained on: they count as different images, as the table has it.
inline void note_copies(const std::string& path, const std::vector<Example>& examples,
                        const std::vector<char>& kept, const std::vector<char>& held_out,
                        std::vector<std::string>& notes) {
  struct Source {
    std::unordered_set<std::int64_t> images;
    Index pairs[2] = {0, 0};  // to train on, held out
  };
  std::unordered_map<std::uint64_t, Source> sources;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    if (!kept[i]) continue;
    Source& source = sources[examples[i].source];
    source.images.insert(examples[i].image_id);
    ++source.pairs[held_out[i] != 0];
  }
  std::size_t copies = 0;
  Index divided = 0;
  for (const auto& [hash, source] : sources) {
    copies += source.images.size() - 1;
    divided += source.pairs[0] > 0 ? source.pairs[1] : 0;
  }
  if (copies > 0)
    notes.push_back(
        concat(path, ": ", copies,
               " image files are copies of others under other names and count as different images; ", divided,
               " pairs held out show a copy of an image that is trained on"));
}

/// Divides the examples that are kept, numbers their reports, and notes how many examples and different
/// reports there are.
inline void fill(Dataset& dataset, std::vector<Example> examples, const std::vector<char>& kept,
                 const std::vector<char>& held_out, const DatasetOptions& options, StopToken stop) {
  dataset.image_size = options.image_size;
  TextNumbering number(options.max_words);
  for (std::size_t i = 0; i < examples.size(); ++i) {
    stop.check();
    if (kept[i] == 0) continue;
    examples[i].text_id = number(examples[i].report);
    (held_out[i] ? dataset.held_out : dataset.train).push_back(std::move(examples[i]));
  }
  link_reports_of_images(dataset.train);
  link_reports_of_images(dataset.held_out);
  number.add_notes(dataset.notes);
  dataset.notes.push_back(concat(dataset.train.size(), " pairs to train on, ", dataset.held_out.size(),
                                 " held out, ", number.different(), " different reports"));
}

}  // namespace detail

/// Makes a dataset of `count` studies that `make(i)` returns as an Example, for i in [0, count), called on
/// all threads; each has an image of its own, and the last ones are held out, at least one. Serves data that
/// are computed and not read. Throws what `make` throws, and std::runtime_error, naming the example, for a
/// report without words, or where the images do not fit into memory. Throws Stopped.
template <class Make>
[[nodiscard]] Dataset make_dataset(Cpu& device, Index count, const DatasetOptions& options, Make&& make,
                                   StopToken stop = {}) {
  require(count >= 2, "make_dataset: ", count, " studies cannot be divided");
  const auto size = static_cast<std::size_t>(count);
  detail::require_memory(size, options.image_size);
  std::vector<Example> examples(size);
  for (const std::exception_ptr& error :
       detail::for_each_index(device, size, stop, [&](std::size_t i) { examples[i] = make(i); }))
    if (error) std::rethrow_exception(error);
  Dataset dataset;
  std::vector<char> kept(size), held_out(size);
  detail::take_part(examples, options.report_part, kept, dataset.notes, stop);
  for (std::size_t i = 0; i < size; ++i) {
    examples[i].image_id = static_cast<std::int64_t>(i);
    ensure(kept[i] == 0 || detail::has_words(examples[i].report), examples[i].name,
           ": its report has no words");
  }
  const double wanted = std::round(options.held_out * static_cast<double>(count));
  const auto last =
      static_cast<std::ptrdiff_t>(std::clamp<double>(wanted, 1, static_cast<double>(count - 1)));
  std::fill(held_out.end() - last, held_out.end(), char{1});
  detail::fill(dataset, std::move(examples), kept, held_out, options, stop);
  ensure(!dataset.train.empty() && !dataset.held_out.empty(), "make_dataset: ", dataset.train.size(),
         " studies to train on and ", dataset.held_out.size(), " held out have the part ",
         to_text(options.report_part), "; both need at least one");
  return dataset;
}

/// Reads the pairs of a table, with every image decoded and every report looked at. Pairs that show one
/// image, or that belong to one patient or study, are on one side (see group_entries, choose_held_out).
///
/// Rows are faulty that the table holds as bad, whose split is missing or contradicts that of their group,
/// whose report has no words, and, once all of that is well, whose image cannot be read. By
/// DatasetOptions::bad_rows they end reading with an error that names all of them, up to 20, by line, or are
/// left out. Throws std::runtime_error, naming the table, for these, for a side without a pair, and where the
/// images do not fit into memory. Throws Stopped.
[[nodiscard]] inline Dataset read_dataset(Cpu& device, const Collection& collection,
                                          const DatasetOptions& options, StopToken stop = {}) {
  detail::require_memory(collection.entries.size(), options.image_size);
  Dataset dataset;
  dataset.notes = collection.notes;
  const EntryGroups groups = group_entries(collection, stop);
  const Split split = choose_held_out(collection, groups, options.held_out);
  for (const auto* notes : {&groups.notes, &split.notes})
    dataset.notes.insert(dataset.notes.end(), notes->begin(), notes->end());

  std::vector<Example> examples(collection.entries.size());
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const Entry& entry = collection.entries[i];
    examples[i].name = entry.image.string();
    examples[i].report = entry.report;
    examples[i].findings = entry.findings;
    examples[i].impression = entry.impression;
    examples[i].image_id = groups.image[i];
  }
  std::vector<char> kept(examples.size());
  detail::take_part(examples, options.report_part, kept, dataset.notes, stop);
  detail::RowFaults faults(collection, options.bad_rows);
  for (const BadRow& row : collection.bad) faults.add(row);
  for (std::size_t i = 0; i < examples.size(); ++i) {
    stop.check();
    if (!split.fault[i].empty())
      faults.add(i, split.fault[i], kept);
    else if (kept[i] && !detail::has_words(examples[i].report))
      faults.add(i, "its report has no words", kept);
  }
  faults.settle(dataset.notes);
  detail::require_both_sides(collection, split, kept);
  detail::read_images(device, examples, options, kept, faults, stop);
  faults.settle(dataset.notes);
  detail::require_both_sides(collection, split, kept);
  detail::note_copies(collection.path, examples, kept, split.held_out, dataset.notes);
  detail::fill(dataset, std::move(examples), kept, split.held_out, options, stop);
  return dataset;
}

}  // namespace vlp::data

namespace vlp {
template <>
inline constexpr std::array<std::string_view, 2> enum_names<data::BadRows>{"stop", "skip"};
}  // namespace vlp
