/// \file
/// The pairs that a model learns from and is tested on.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/enum_names.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/hash.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/detail/number_pairs.hpp>
#include <vlp/data/detail/read_first.hpp>
#include <vlp/data/example.hpp>
#include <vlp/data/images.hpp>
#include <vlp/data/missing_section.hpp>
#include <vlp/data/read_progress.hpp>
#include <vlp/data/report_part.hpp>
#include <vlp/data/split.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/image.hpp>
#include <vlp/text/normalise.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
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
  std::shared_ptr<const Images> images;  ///< of both, by Example::image_id; never null as read or made
  std::vector<std::string> labels;       ///< names of the labels; empty where the collection has none
  std::vector<std::string> notes;        ///< sentences for the user about what was read
  /// Whether each example's report is its impression, and its findings have words
  /// (DatasetOptions::missing_section).
  bool sections = false;
};

/// When the images of a table are decoded.
enum class ReadImages {
  automatic,  ///< ahead where the table has more than 20,000 entries, else first
  first,      ///< all before training, into memory; those that cannot be read are named at once
  ahead       ///< while training, shortly before a batch needs them; the first batch comes within seconds
};

/// How examples are made of what a collection holds.
struct DatasetOptions {
  Index image_size = 64;  ///< pixels along an edge that images are brought to
  double held_out = 0.1;  ///< share of the pairs held out where the collection has no split of its own
  Index max_words = 50;   ///< words of a report that are read; it serves notes alone
  ReportPart report_part = ReportPart::report;  ///< becomes Example::report; reports without it are left out
  /// If given, Example::report and Example::impression become the impression and Example::findings the
  /// findings, and none of them is without words; reports that lack one follow the policy. `report_part` must
  /// be report or impression then, which is the same.
  std::optional<MissingSection> missing_section = {};
  // The others serve read_dataset.
  BadRows bad_rows = BadRows::stop;
  /// False where a collection serves its labels: entries need no reports, and those without have an empty
  /// one.
  bool with_reports = true;
  ReadImages read_images = ReadImages::automatic;
  io::Path image_cache = {};  ///< folder of an ImageCache for images of this size; empty: none
  int image_threads = 0;      ///< that decode ahead; 0: one for each processor, four at most
  /// Pixels that an image file may have; a larger one is an error. Each thread decodes one at a time, which
  /// takes 8 bytes a pixel beside the file (12 for a JPEG of several scans). Threads wait for each other
  /// where that would come to more than half of this machine's memory.
  Index max_image_pixels = io::default_max_pixels;
  /// Decodes image files that are neither PNG nor JPEG, on all threads that decode.
  io::ImageDecoder decode = io::decode_image;
  ReadProgress progress = {};  ///< told of images that are read first

  [[nodiscard]] ImageReading reading() const {
    return {.image_size = image_size, .max_pixels = max_image_pixels, .decode = decode, .cache = image_cache};
  }
};

/// A pair that is computed and not read.
struct ComputedPair {
  Example example;  ///< its image_id and text_id are set by make_dataset
  Pixels pixels;    ///< [image_size, image_size]
};

/// The image files of the entries of which `kept` [N] is not 0, by the numbers of images
/// (EntryGroups::image); without a path where no such entry shows the image.
[[nodiscard]] inline std::vector<ImageFile> image_files(const Collection& collection,
                                                        const EntryGroups& groups,
                                                        const std::vector<char>& kept) {
  std::vector<ImageFile> files;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    const auto image = static_cast<std::size_t>(groups.image[i]);
    if (image >= files.size()) files.resize(image + 1);
    if (kept[i] && files[image].path.empty())
      files[image] = {collection.entries[i].image, collection.entries[i].line, collection.entries[i].table};
  }
  return files;
}

namespace detail {

/// Makes each example's report the part, or the sections, that the options ask for.
inline void take_texts(std::vector<Example>& examples, const DatasetOptions& options, std::vector<char>& kept,
                       std::vector<std::string>& notes, StopToken stop) {
  if (options.missing_section)
    take_sections(examples, *options.missing_section, kept, notes, stop);
  else
    take_part(examples, options.report_part, kept, notes, stop);
}

/// Throws std::invalid_argument where the part of a report that is asked for is not one of its sections, and
/// sections are asked for, too.
inline void require_text_options(const DatasetOptions& options) {
  require(
      !options.missing_section || options.report_part == ReportPart::report ||
          options.report_part == ReportPart::impression,
      "report-part must be report or impression where findings and impression are texts of their own, but "
      "is ",
      to_text(options.report_part));
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
  TextNumbering number(options.max_words);
  dataset.sections = options.missing_section.has_value();
  Index longer = 0;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    stop.check();
    if (kept[i] == 0) continue;
    examples[i].text_id = number(examples[i].report);
    longer += dataset.sections && is_longer(examples[i].findings, options.max_words);
    (held_out[i] ? dataset.held_out : dataset.train).push_back(std::move(examples[i]));
  }
  link_reports_of_images(dataset.train);
  link_reports_of_images(dataset.held_out);
  number.add_notes(dataset.notes);
  if (longer > 0)
    dataset.notes.push_back(concat(longer, " of ", dataset.train.size() + dataset.held_out.size(),
                                   " findings are longer than ", options.max_words,
                                   " words (max-words), and what follows is not read"));
  dataset.notes.push_back(
      concat(dataset.train.size(), options.with_reports ? " pairs" : " images", " to train on, ",
             dataset.held_out.size(), " held out",
             options.with_reports ? concat(", ", number.different(), " different reports") : std::string()));
}

/// Takes over what was read of the image of each example that is kept. Those that could not be read become
/// faults.
inline void take_images(const FirstReading& reading, std::vector<Example>& examples, std::vector<char>& kept,
                        RowFaults& faults) {
  for (std::size_t i = 0; i < examples.size(); ++i) {
    if (!kept[i]) continue;
    const auto image = static_cast<std::size_t>(examples[i].image_id);
    examples[i].source = reading.images[image].source;
    examples[i].source_bytes = reading.images[image].source_bytes;
    if (!reading.errors[image]) continue;
    try {
      std::rethrow_exception(reading.errors[image]);
    } catch (const std::runtime_error& error) {
      faults.add(i, error.what(), kept);
    }
  }
}

/// The collection as examples; its texts are moved.
inline std::vector<Example> take_entries(Collection& collection, const EntryGroups& groups) {
  std::vector<Example> examples(collection.entries.size());
  for (std::size_t i = 0; i < examples.size(); ++i) {
    Entry& entry = collection.entries[i];
    examples[i].name = entry.image.string();
    examples[i].report = std::move(entry.report);
    examples[i].findings = std::move(entry.findings);
    examples[i].impression = std::move(entry.impression);
    examples[i].labels = std::move(entry.labels);
    examples[i].image_id = groups.image[i];
  }
  return examples;
}

inline void require_reports(const Collection& collection) {
  const bool any = std::any_of(collection.entries.begin(), collection.entries.end(), [](const Entry& entry) {
    return !entry.report.empty() || !entry.findings.empty() || !entry.impression.empty();
  });
  ensure(any, collection.path, collection.labels.empty() ? ": has no reports" : ": has labels and no reports",
         ", which pretraining needs");
}

inline bool are_read_ahead(const DatasetOptions& options, std::size_t entries) {
  constexpr std::size_t most_at_first = 20'000;
  return options.read_images == ReadImages::ahead ||
         (options.read_images == ReadImages::automatic && entries > most_at_first);
}

}  // namespace detail

/// Makes a dataset of `count` pairs that `make(i)` returns as a ComputedPair, for i in [0, count), called on
/// all threads; each has an image of its own, and the last ones are held out, at least one. Serves data that
/// are computed and not read. Throws what `make` throws; std::invalid_argument for pixels of another size;
/// and std::runtime_error, naming the example, for a report without words, or where the images do not fit
/// into memory. Throws Stopped.
template <class Make>
[[nodiscard]] Dataset make_dataset(Cpu& device, Index count, const DatasetOptions& options, Make&& make,
                                   StopToken stop = {}) {
  require(count >= 2, "make_dataset: ", count, " studies cannot be divided");
  detail::require_text_options(options);
  const auto size = static_cast<std::size_t>(count);
  detail::require_memory(size, options.image_size, "fewer studies");
  std::vector<Example> examples(size);
  std::vector<Pixels> pixels(size);
  for (const std::exception_ptr& error : detail::for_each_index(device, size, stop, [&](std::size_t i) {
         ComputedPair pair = make(i);
         examples[i] = std::move(pair.example);
         pixels[i] = std::move(pair.pixels);
       }))
    if (error) std::rethrow_exception(error);
  Dataset dataset;
  dataset.images = std::make_shared<const Images>(options.image_size, std::move(pixels));
  std::vector<char> kept(size), held_out(size);
  detail::take_texts(examples, options, kept, dataset.notes, stop);
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
         " studies to train on and ", dataset.held_out.size(), " held out have ",
         options.missing_section ? "findings and impression" : "the part " + to_text(options.report_part),
         "; both need at least one");
  return dataset;
}

/// Reads the pairs of a table, with every report looked at, and every image decoded now or later; see
/// DatasetOptions::read_images. Pairs that show one image, or that belong to one patient or study, are on one
/// side (see group_entries, choose_held_out). `stop` is also asked while images are waited for later on.
///
/// Rows are faulty that the table holds as bad, whose split is missing or contradicts that of their group,
/// whose report has no words, and, once all of that is well, whose image cannot be read. By
/// DatasetOptions::bad_rows they end reading with an error that names all of them, up to 20, by line, or are
/// left out. An image that is decoded later and cannot be read is left out, or ends in an error, when it is
/// asked for (Images::Request::wait). Throws std::runtime_error, naming the table, for these, for a table
/// without reports where they are needed, for a side without a pair, and where images are read first and do
/// not fit into memory. Throws Stopped.
[[nodiscard]] inline Dataset read_dataset(Cpu& device, Collection collection, const DatasetOptions& options,
                                          StopToken stop = {}) {
  detail::require_text_options(options);
  const bool ahead = detail::are_read_ahead(options, collection.entries.size());
  if (!ahead)
    detail::require_memory(collection.entries.size(), options.image_size,
                           "images that are decoded while training (read-images ahead)");
  if (options.with_reports) detail::require_reports(collection);
  Dataset dataset;
  dataset.notes = std::move(collection.notes);
  dataset.labels = std::move(collection.labels);
  const EntryGroups groups = group_entries(collection, stop);
  const Split split = choose_held_out(collection, groups, options.held_out);
  for (const auto* notes : {&groups.notes, &split.notes})
    dataset.notes.insert(dataset.notes.end(), notes->begin(), notes->end());

  std::vector<Example> examples = detail::take_entries(collection, groups);
  std::vector<char> kept(examples.size(), 1);
  if (options.with_reports) detail::take_texts(examples, options, kept, dataset.notes, stop);
  detail::RowFaults faults(collection, options.bad_rows);
  for (const BadRow& row : collection.bad) faults.add(row);
  for (std::size_t i = 0; i < examples.size(); ++i) {
    stop.check();
    if (!split.fault[i].empty())
      faults.add(i, split.fault[i], kept);
    else if (options.with_reports && kept[i] && !detail::has_words(examples[i].report))
      faults.add(i, "its report has no words", kept);
  }
  faults.settle(dataset.notes);
  detail::require_both_sides(collection, split, kept);

  std::vector<ImageFile> files = image_files(collection, groups, kept);
  detail::FirstReading reading =
      ahead ? detail::read_sizes(device, files, stop)
            : detail::read_images(device, files, options.reading(), options.progress, stop);
  detail::take_images(reading, examples, kept, faults);
  if (!reading.note.empty()) dataset.notes.push_back(reading.note);
  faults.settle(dataset.notes);
  detail::require_both_sides(collection, split, kept);
  if (ahead) {
    dataset.images =
        std::make_shared<const Images>(std::move(files), ImagesOptions{.reading = options.reading(),
                                                                       .threads = options.image_threads,
                                                                       .table = collection.path,
                                                                       .bad_rows = options.bad_rows,
                                                                       .stop = stop});
  } else {
    detail::note_copies(collection.path, examples, kept, split.held_out, dataset.notes);
    std::vector<Pixels> pixels;
    for (ResizedImage& image : reading.images) pixels.push_back(std::move(image.pixels));
    dataset.images = std::make_shared<const Images>(options.image_size, std::move(pixels));
  }
  detail::fill(dataset, std::move(examples), kept, split.held_out, options, stop);
  return dataset;
}

}  // namespace vlp::data

namespace vlp {
template <>
inline constexpr std::array<std::string_view, 3> enum_names<data::ReadImages>{"automatic", "first", "ahead"};
}  // namespace vlp
