/// \file
/// NIH ChestX-ray14: radiographs with labels, some with boxes.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/text_encoding.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/labels.hpp>
#include <vlp/data/layouts/detail/box_fields.hpp>
#include <vlp/data/layouts/detail/file_index.hpp>
#include <vlp/data/layouts/detail/find_table.hpp>
#include <vlp/data/layouts/detail/foreign_path.hpp>
#include <vlp/data/layouts/detail/table_fields.hpp>
#include <vlp/data/layouts/options.hpp>
#include <vlp/io/csv.hpp>
#include <vlp/io/file.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

namespace vlp::data::layouts {

/// The labels of NIH ChestX-ray14, as its tables spell them.
inline constexpr std::array<std::string_view, 15> nih_labels{
    "No Finding", "Atelectasis", "Cardiomegaly",       "Consolidation", "Edema",
    "Effusion",   "Emphysema",   "Fibrosis",           "Hernia",        "Infiltration",
    "Mass",       "Nodule",      "Pleural_Thickening", "Pneumonia",     "Pneumothorax"};

namespace detail {

/// The place of a name in nih_labels, if it is there; the table of boxes says "Infiltrate" for
/// "Infiltration".
inline std::optional<std::size_t> find_nih_label(std::string_view name) {
  if (name == "Infiltrate") name = "Infiltration";
  const auto found = std::find(nih_labels.begin(), nih_labels.end(), name);
  if (found == nih_labels.end()) return std::nullopt;
  return static_cast<std::size_t>(found - nih_labels.begin());
}

/// Reads NIH's "Cardiomegaly|Effusion" into labels: what is not named is negative. Returns what is wrong;
/// empty if nothing is.
inline std::string read_nih_findings(std::string_view field, std::vector<Label>& labels) {
  labels.assign(nih_labels.size(), Label::negative);
  if (is_absent(field)) return "no Finding Labels";
  for (std::string_view rest = field; !rest.empty();) {
    const std::size_t bar = rest.find('|');
    const std::string name(trimmed(rest.substr(0, bar)));
    const std::optional<std::size_t> label = find_nih_label(name);
    if (!label)
      return concat("Finding Labels name ", data::detail::shown(name), ", which is no label of NIH");
    labels[*label] = Label::positive;
    rest.remove_prefix(bar == rest.npos ? rest.size() : bar + 1);
  }
  if (labels[0] == Label::positive && std::count(labels.begin(), labels.end(), Label::positive) > 1)
    return "Finding Labels name 'No Finding' and a finding";
  return {};
}

/// Reads the tables and lists of NIH's collection.
class NihReader {
 public:
  NihReader(const io::Path& folder, const Options& options)
      : folder_(folder), options_(options), table_(read_table(folder, options)) {
    collection_.path = table_.path;
    collection_.labels.assign(nih_labels.begin(), nih_labels.end());
    collection_.rows = static_cast<Index>(table_.rows.size());
    for (const char* name : {"Image Index", "Finding Labels"}) static_cast<void>(table_.column(name));
  }

  Collection read() {
    list_images();
    read_splits();
    read_boxes();
    const Fields image(table_, {"Image Index"}), findings(table_, {"Finding Labels"});
    const Fields patient(table_, {"Patient ID"}), study(table_, {"Follow-up #"});
    std::unordered_map<std::string, Index> lines;
    for (std::size_t row = 0; row < table_.rows.size(); ++row) {
      options_.stop.check();
      const std::string name = image.name(row);
      Entry entry{.patient = patient.name(row), .study = study.name(row), .line = table_.lines[row]};
      std::string fault = fault_of_name("Image Index", name);
      if (fault.empty())
        if (const auto [first, is_new] = lines.try_emplace(name, entry.line); !is_new)
          fault = concat("its image stands in line ", first->second, " too");
      if (fault.empty()) fault = read_nih_findings(findings[row], entry.labels);
      if (fault.empty()) fault = read_split(name, entry.split);
      if (!fault.empty()) {
        collection_.bad.push_back({entry.line, std::move(fault)});
        continue;
      }
      if (const auto boxes = boxes_.find(name); boxes != boxes_.end()) entry.boxes = boxes->second;
      if (const io::Path* found = images_.find(name)) {
        entry.image = *found;
        collection_.entries.push_back(std::move(entry));
      } else {
        collection_.missing.push_back(folder_ / "images" / name);
      }
    }
    const auto strange = std::count_if(boxes_.begin(), boxes_.end(),
                                       [&](const auto& boxes) { return lines.count(boxes.first) == 0; });
    if (strange > 0)
      collection_.notes.push_back(concat(collection_.path, ": BBox_List_2017.csv has boxes of ", strange,
                                         " images that this table does not name; they are left out"));
    detail::finish(collection_, {});
    return std::move(collection_);
  }

 private:
  static io::CsvTable read_table(const io::Path& folder, const Options& options) {
    std::optional<io::Path> path = find_table(folder, "Data_Entry_2017.csv");
    if (!path) path = find_table(folder, "Data_Entry_2017_v2020.csv");
    return io::read_csv(path.value_or(folder / "Data_Entry_2017.csv"), options.stop);
  }

  /// Lists the files of `images/` and of the folders `images_001/images/` and so on in which the collection
  /// is distributed, so that no file is looked for in a dozen folders.
  void list_images() {
    std::vector<io::Path> folders{folder_ / "images"};
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(folder_, ignored))
      if (entry.path().filename().string().starts_with("images_")) {
        folders.push_back(entry.path());
        folders.push_back(entry.path() / "images");
      }
    std::sort(folders.begin() + 1, folders.end());
    for (const io::Path& folder : folders) images_.add(folder, options_.stop);
  }

  void read_splits() {
    const io::Path train = folder_ / "train_val_list.txt", test = folder_ / "test_list.txt";
    has_splits_ = is_file(train) || is_file(test);
    if (!has_splits_) {
      collection_.notes.push_back(concat(folder_.string(),
                                         ": there is no train_val_list.txt and no test_list.txt, so that the "
                                         "collection's own split is not known"));
      return;
    }
    read_list(train, "train");
    read_list(test, "test");
  }

  /// Reads a list of images; an image of two lists has no split.
  void read_list(const io::Path& path, const std::string& split) {
    const std::string bytes = io::read_file(path, {.stop = options_.stop});
    for (std::string_view text = utf8_text(bytes, path.string()); !text.empty();) {
      options_.stop.check();
      const std::string_view name = trimmed(next_line(text));
      if (name.empty()) continue;
      const auto [known, is_new] = splits_.try_emplace(std::string(name), split);
      if (!is_new && known->second != split) known->second.clear();
    }
  }

  std::string read_split(const std::string& name, std::string& split) const {
    if (!has_splits_) return {};
    const auto found = splits_.find(name);
    if (found == splits_.end()) return "its image is neither in train_val_list.txt nor in test_list.txt";
    if (found->second.empty()) return "its image is both in train_val_list.txt and in test_list.txt";
    split = found->second;
    return {};
  }

  /// Reads BBox_List_2017.csv, whose header is "Image Index,Finding Label,Bbox [x,y,w,h],,,".
  void read_boxes() {
    const std::optional<io::Path> path = find_table(folder_, "BBox_List_2017.csv");
    if (!path) return;
    const io::CsvTable table = io::read_csv(*path, options_.stop);
    for (const char* name : {"Image Index", "Finding Label", "Bbox [x", "y", "w", "h]"})
      static_cast<void>(table.column(name));
    const Fields image(table, {"Image Index"}), finding(table, {"Finding Label"}), x(table, {"Bbox [x"}),
        y(table, {"y"}), width(table, {"w"}), height(table, {"h]"});
    const BoxFields fields(x, y, width, height);
    for (std::size_t row = 0; row < table.rows.size(); ++row) {
      options_.stop.check();
      const std::string name = finding.name(row);
      const std::optional<std::size_t> label = find_nih_label(name);
      LabelBox box{.label = label.value_or(0), .box = {}};
      std::string fault = label ? fields.read(row, box.box)
                                : concat("Finding Label ", data::detail::shown(name), " is no label of NIH");
      if (fault.empty())
        boxes_[image.name(row)].push_back(box);
      else
        collection_.bad.push_back({table.lines[row], std::move(fault), table.path});
    }
  }

  const io::Path& folder_;
  const Options& options_;
  io::CsvTable table_;
  Collection collection_;
  FileIndex images_;
  std::unordered_map<std::string, std::string> splits_;
  std::unordered_map<std::string, std::vector<LabelBox>> boxes_;
  bool has_splits_ = false;
};

}  // namespace detail

/// Reads NIH ChestX-ray14 (Wang et al., "ChestX-ray8: hospital-scale chest X-ray database and benchmarks",
/// CVPR 2017) from the folder that holds `Data_Entry_2017.csv` or `Data_Entry_2017_v2020.csv` and the images
/// in `images/`, `images_001/images/` and so on. Labels are those of nih_labels: positive where the table
/// names them, else negative. The splits are "train" for `train_val_list.txt` and "test" for
/// `test_list.txt`; boxes of `BBox_List_2017.csv` are in pixels of the files, which are 1024 x 1024. The
/// study is the number of the follow-up. All images are frontal, so that Projection::lateral leaves none.
///
/// Rows with a finding that is no label or with none, of an image that a row before them has, or whose image
/// is in no list or in both, and rows of boxes that are none, are left out and stand in Collection::bad.
/// Throws std::runtime_error, naming the file and, where there is one, the line: what read_csv throws, one of
/// the two lists without the other, no image left. Throws Stopped.
[[nodiscard]] inline Collection read_nih(const io::Path& folder, const Options& options = {}) {
  ensure(options.projection != Projection::lateral, folder.string(),
         ": NIH ChestX-ray14 has frontal images alone, but lateral ones are asked for");
  return detail::NihReader(folder, options).read();
}

}  // namespace vlp::data::layouts
