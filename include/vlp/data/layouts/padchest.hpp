/// \file
/// PadChest: radiographs with labels.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/text_encoding.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/labels.hpp>
#include <vlp/data/layouts/detail/file_index.hpp>
#include <vlp/data/layouts/detail/find_table.hpp>
#include <vlp/data/layouts/detail/foreign_path.hpp>
#include <vlp/data/layouts/detail/table_fields.hpp>
#include <vlp/data/layouts/options.hpp>
#include <vlp/io/csv.hpp>
#include <vlp/io/file.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

namespace vlp::data::layouts {

namespace detail {

/// The texts of a list as Python writes it, ['a', "b's"], without white space at their ends, and without the
/// empty ones; nothing for any other text.
inline std::optional<std::vector<std::string>> parse_python_list(std::string_view text) {
  text = trimmed(text);
  if (!text.starts_with('[') || !text.ends_with(']')) return std::nullopt;
  text = trimmed(text.substr(1, text.size() - 2));
  std::vector<std::string> items;
  while (!text.empty()) {
    const char quote = text.front();
    if (quote != '\'' && quote != '"') return std::nullopt;
    std::string item;
    std::size_t at = 1;
    for (; at < text.size() && text[at] != quote; ++at) {
      if (text[at] == '\\' &&
          (++at == text.size() || std::string_view("\\'\"").find(text[at]) == std::string_view::npos))
        return std::nullopt;  // letters stand for other characters, which no label has
      item += text[at];
    }
    if (at >= text.size()) return std::nullopt;  // the quote is not closed
    if (const std::string_view name = trimmed(item); !name.empty()) items.emplace_back(name);
    text = trimmed(text.substr(at + 1));
    if (text.empty()) break;
    if (text.front() != ',') return std::nullopt;
    text = trimmed(text.substr(1));
  }
  return items;
}

/// Reads PadChest's table.
class PadChestReader {
 public:
  PadChestReader(const io::Path& folder, const Options& options)
      : folder_(folder), options_(options), table_(read_table(folder, options)) {
    collection_.path = table_.path;
    for (const char* name : {"ImageID", "StudyID", "PatientID", "Projection", "Labels"})
      static_cast<void>(table_.column(name));
  }

  Collection read() {
    list_images();
    const Fields image(table_, {"ImageID"}), study(table_, {"StudyID"}), patient(table_, {"PatientID"}),
        view(table_, {"Projection"}), labels(table_, {"Labels"});
    for (std::size_t row = 0; row < table_.rows.size(); ++row) {
      options_.stop.check();
      if (!is_wanted(view.name(row))) continue;
      ++collection_.rows;
      const std::string name = image.name(row);
      Entry entry{.patient = patient.name(row), .study = study.name(row), .line = table_.lines[row]};
      std::vector<std::size_t> positive;
      std::string fault = fault_of_image(name, entry.line);
      if (fault.empty()) fault = read_labels(labels[row], positive);
      if (!fault.empty()) {
        collection_.bad.push_back({entry.line, std::move(fault)});
      } else if (const io::Path* found = images_.find(name)) {
        entry.image = *found;
        unlabelled_ += is_absent(labels[row]);
        collection_.entries.push_back(std::move(entry));
        positive_.push_back(is_absent(labels[row]) ? std::nullopt : std::optional(std::move(positive)));
      } else {
        collection_.missing.push_back(folder_ / "images" / name);
      }
    }
    set_labels();
    add_notes();
    detail::finish(collection_, {});
    return std::move(collection_);
  }

 private:
  static io::CsvTable read_table(const io::Path& folder, const Options& options) {
    const std::string name = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv";
    return io::read_csv(
        find_table(folder, name).value_or(folder / name),
        {.columns = {"ImageID", "StudyID", "PatientID", "Projection", "Labels"}, .stop = options.stop});
  }

  /// Lists the images that lie in the folder, and in all folders in it: the numbers of ImageDir, or any
  /// others in which resized copies are handed on.
  void list_images() {
    std::vector<io::Path> folders;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(folder_, ignored))
      if (entry.is_directory(ignored)) folders.push_back(entry.path());
    std::sort(folders.begin(), folders.end());
    images_.add(folder_, options_.stop);
    for (const io::Path& folder : folders) images_.add(folder, options_.stop);
  }

  /// Whether images of that projection are asked for. Counts those that are neither frontal nor lateral.
  bool is_wanted(const std::string& view) {
    const bool frontal = view == "PA" || view == "AP" || view == "AP_horizontal", lateral = view == "L";
    if (!frontal && !lateral) ++other_views_;
    return (frontal && options_.projection != Projection::lateral) ||
           (lateral && options_.projection != Projection::frontal);
  }

  std::string fault_of_image(const std::string& name, Index line) {
    if (std::string fault = fault_of_name("ImageID", name); !fault.empty()) return fault;
    const auto [first, is_new] = lines_.try_emplace(name, line);
    return is_new ? std::string() : concat("its image stands on line ", first->second, " too");
  }

  /// Reads the numbers of the labels that a row names. Returns what is wrong; empty if nothing is.
  std::string read_labels(const std::string& field, std::vector<std::size_t>& positive) {
    if (is_absent(field)) return {};
    const auto names = parse_python_list(field);
    if (!names) return concat("Labels are ", data::detail::shown(field), ", which is no list");
    for (const std::string& name : *names) {
      positive.push_back(names_.try_emplace(name, names_.size()).first->second);
      // PadChest has about two hundred; each makes every entry longer.
      constexpr std::size_t most = 1000;
      ensure(names_.size() <= most, table_.path, ": more than ", most, " different labels");
    }
    return {};
  }

  /// Gives all entries all labels that were met, in the alphabet's order.
  void set_labels() {
    std::vector<std::size_t> place(names_.size());
    for (const auto& [name, number] : names_) {
      place[number] = collection_.labels.size();
      collection_.labels.push_back(name);
    }
    for (std::size_t i = 0; i < collection_.entries.size(); ++i) {
      std::vector<Label>& labels = collection_.entries[i].labels;
      labels.assign(place.size(), positive_[i] ? Label::negative : Label::unknown);
      if (positive_[i])
        for (const std::size_t number : *positive_[i]) labels[place[number]] = Label::positive;
    }
  }

  void add_notes() {
    if (other_views_ > 0)
      collection_.notes.push_back(concat(collection_.path, ": ", other_views_,
                                         " images are left out, for their projection is neither PA, AP, "
                                         "AP_horizontal nor L"));
    if (unlabelled_ > 0)
      collection_.notes.push_back(concat(collection_.path, ": ", unlabelled_,
                                         " images have no Labels; all labels are unknown for them"));
  }

  const io::Path& folder_;
  const Options& options_;
  io::CsvTable table_;
  Collection collection_;
  FileIndex images_;
  std::unordered_map<std::string, Index> lines_;  // of each image
  std::map<std::string, std::size_t> names_;      // numbers of labels, in the order they came
  std::vector<std::optional<std::vector<std::size_t>>> positive_;  // [entries] nothing where unknown
  Index other_views_ = 0, unlabelled_ = 0;
};

}  // namespace detail

/// Reads PadChest (Bustos et al., "PadChest: a large chest x-ray image dataset with multi-label annotated
/// reports", Medical Image Analysis 2020) from the folder that holds
/// `PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv`, packed by gzip or not, and the images, there or in
/// folders in it. Labels are all that the rows read name, sorted: positive for an image whose list names
/// them, negative for the others, unknown for images without a list. AP, PA and AP_horizontal are frontal
/// and L lateral; other projections are left out and counted. The reports, in Spanish and cut to the stems
/// of their words, are not read, and there is no split.
///
/// Rows without an ImageID, of an image that a row before them has, and whose Labels are no list are left
/// out and stand in Collection::bad. Throws std::runtime_error, naming the file and, where there is one, the
/// line: what read_csv throws, more than 1000 labels, no image left. Throws Stopped.
[[nodiscard]] inline Collection read_padchest(const io::Path& folder, const Options& options = {}) {
  return detail::PadChestReader(folder, options).read();
}

}  // namespace vlp::data::layouts
