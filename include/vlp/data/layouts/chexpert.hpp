/// \file
/// CheXpert: radiographs with labels.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/data/chexpert_classes.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/layouts/detail/find_table.hpp>
#include <vlp/data/layouts/detail/foreign_path.hpp>
#include <vlp/data/layouts/detail/label_fields.hpp>
#include <vlp/data/layouts/detail/table_fields.hpp>
#include <vlp/data/layouts/options.hpp>
#include <vlp/io/csv.hpp>
#include <vlp/io/file.hpp>

#include <algorithm>
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

namespace detail {

/// A path of CheXpert's tables, "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg".
struct ChexpertPath {
  std::string patient = {}, study = {};
  std::string within_split = {};   ///< "patient00001/study1/view1_frontal.jpg"
  std::string within_folder = {};  ///< the same with the folder before it, if there is one: "train/..."
  std::string fault = {};          ///< what is wrong with the path; empty if nothing is
};

/// Reads a path, which stands in `column`.
inline ChexpertPath parse_chexpert_path(std::string_view path, std::string_view column) {
  if (is_absent(path)) return {.fault = concat("no ", column)};
  const auto fault = [&](const std::string& what) {
    return ChexpertPath{.fault = concat(column, " ", data::detail::shown(std::string(path)), " ", what)};
  };
  if (const std::string what = fault_of_path(path); !what.empty()) return fault(what);
  const std::vector<std::string_view> parts = parts_of_path(path);
  const std::size_t count = parts.size();
  if (count < 3 || !parts[count - 3].starts_with("patient") || !parts[count - 2].starts_with("study"))
    return fault("does not end in a patient, a study and a file");
  const auto from = [&](std::size_t part) {
    return std::string(path.substr(static_cast<std::size_t>(parts[part].data() - path.data())));
  };
  return {.patient = std::string(parts[count - 3]),
          .study = std::string(parts[count - 2]),
          .within_split = from(count - 3),
          .within_folder = from(count >= 4 ? count - 4 : 0)};
}

/// The projection that the name of an image's file tells, "view1_frontal.jpg"; nothing if it tells none.
inline std::optional<Projection> chexpert_projection(std::string_view path) {
  const std::string_view file = path.substr(path.rfind('/') + 1);
  if (file.find("_frontal") != file.npos) return Projection::frontal;
  if (file.find("_lateral") != file.npos) return Projection::lateral;
  return std::nullopt;
}

/// Finds CheXpert's images, whatever its folder is called now.
class ChexpertImages {
 public:
  explicit ChexpertImages(io::Path folder) : folder_(std::move(folder)) {
    // The full collection comes in folders such as "CheXpert-v1.0 batch 2 (train 1)", with the patients in
    // them; the tables are in the first.
    for (const io::Path& place : {folder_, folder_ / ".."}) {
      std::vector<io::Path> found;
      std::error_code ignored;
      for (const auto& entry : std::filesystem::directory_iterator(place, ignored))
        if (const std::string name = entry.path().filename().string();
            name.starts_with("CheXpert") && name.find(" batch ") != name.npos && entry.is_directory(ignored))
          found.push_back(entry.path());
      std::sort(found.begin(), found.end());
      batches_.insert(batches_.end(), found.begin(), found.end());
    }
  }

  /// Where the image should be first of all.
  [[nodiscard]] io::Path usual(const ChexpertPath& parts) const { return folder_ / parts.within_folder; }

  /// The image file, if there is one.
  [[nodiscard]] std::optional<io::Path> find(const std::string& path, const ChexpertPath& parts) const {
    if (io::Path image = usual(parts); is_file(image)) return image;
    for (const io::Path& folder : {folder_, folder_ / ".."})
      if (io::Path image = folder / path; is_file(image)) return image;
    for (const io::Path& batch : batches_)
      for (const std::string* tail : {&parts.within_split, &parts.within_folder})
        if (io::Path image = batch / *tail; is_file(image)) return image;
    return std::nullopt;
  }

  /// The paths of all images of a study, "CheXpert-v1.0/test/patient64741/study1", or one where there should
  /// be one, so that it is missed.
  [[nodiscard]] std::vector<std::string> of_study(const std::string& study) const {
    if (is_absent(study)) return {study};
    const std::string first = study + "/view1_frontal.jpg";
    const ChexpertPath parts = parse_chexpert_path(first, "Study");
    std::vector<std::string> images;
    if (parts.fault.empty())
      for (const io::Path& folder : {usual(parts).parent_path(), folder_ / study, folder_ / ".." / study}) {
        if (!images.empty()) break;
        std::error_code ignored;
        for (const auto& entry : std::filesystem::directory_iterator(folder, ignored))
          if (std::string name = entry.path().filename().string(); chexpert_projection(name))
            images.push_back(study + "/" + name);
      }
    if (images.empty()) images.push_back(first);
    std::sort(images.begin(), images.end());
    return images;
  }

 private:
  io::Path folder_;
  std::vector<io::Path> batches_;
};

/// Reads the tables of a CheXpert folder into one collection.
class ChexpertReader {
 public:
  ChexpertReader(const io::Path& folder, const Options& options) : options_(options), images_(folder) {
    collection_.path = folder.string();
    collection_.labels.assign(chexpert_labels.begin(), chexpert_labels.end());
  }

  void read(const io::Path& path, const std::string& split) {
    std::vector<std::string_view> columns{"Path", "Frontal/Lateral", "Study", "path_to_image"};
    columns.insert(columns.end(), chexpert_labels.begin(), chexpert_labels.end());
    const io::CsvTable table = io::read_csv(path, {.columns = columns, .stop = options_.stop});
    ensure(!table.find_column("path_to_image"), table.path,
           ": has the columns of CheXpert Plus, which is another collection than CheXpert; a manifest of its "
           "images and reports can be read");
    const bool lists_studies = !table.find_column("Path") && table.find_column("Study");
    const std::string column = lists_studies ? "Study" : "Path";
    static_cast<void>(table.column(column));
    const Fields image(table, {column}), view(table, {"Frontal/Lateral"});
    const LabelFields labels(table, chexpert_labels);
    ensure(labels.any(), table.path, ": no column of a label (", labels.absent(), ")");
    if (const std::string absent = labels.absent(); !absent.empty())
      collection_.notes.push_back(concat(table.path, ": no columns of ", absent, "; they are unknown here"));
    for (std::size_t row = 0; row < table.rows.size(); ++row) {
      options_.stop.check();
      Entry entry{.split = split, .line = table.lines[row], .table = table.path};
      const std::string fault = labels.read(row, entry.labels);
      const std::string* projection = view.exist() && !lists_studies ? &view[row] : nullptr;
      if (!lists_studies) {
        add(std::move(entry), image[row], projection, fault);
        continue;
      }
      for (const std::string& name : images_.of_study(image[row]))
        add(entry, name, projection, fault, "Study");
    }
  }

  [[nodiscard]] Collection finish(const std::string& absent_tables) {
    if (!absent_tables.empty())
      collection_.notes.push_back(concat(collection_.path, ": there is no ", absent_tables));
    detail::finish(collection_, {});
    return std::move(collection_);
  }

 private:
  static std::optional<Projection> projection_of_column(const std::string& view) {
    if (view == "Frontal") return Projection::frontal;
    if (view == "Lateral") return Projection::lateral;
    return std::nullopt;
  }

  /// Adds the image that `path` names as an entry whose labels are known, with their `fault`; `view` is the
  /// field of its projection, null where the name of the file tells it.
  void add(Entry entry, const std::string& path, const std::string* view, std::string fault,
           std::string_view column = "Path") {
    const ChexpertPath parts = parse_chexpert_path(path, column);
    const auto projection = view != nullptr ? projection_of_column(*view) : chexpert_projection(path);
    if (projection && options_.projection != Projection::both && projection != options_.projection) return;
    ++collection_.rows;
    entry.patient = parts.patient;
    entry.study = parts.study;
    if (!parts.fault.empty())
      fault = parts.fault;
    else if (!projection)
      fault = view != nullptr
                  ? concat("Frontal/Lateral is ", data::detail::shown(*view))
                  : concat("Path ", data::detail::shown(path), " has neither _frontal nor _lateral");
    if (fault.empty()) fault = fault_of_repeat(parts.within_folder, entry);
    if (!fault.empty()) {
      collection_.bad.push_back({entry.line, std::move(fault), entry.table});
    } else if (std::optional<io::Path> found = images_.find(path, parts)) {
      entry.image = std::move(*found);
      collection_.entries.push_back(std::move(entry));
    } else {
      collection_.missing.push_back(images_.usual(parts));
    }
  }

  /// Says that an image stood in a row before; empty if it did not.
  std::string fault_of_repeat(const std::string& image, const Entry& entry) {
    const auto [first, is_new] = seen_.try_emplace(image, entry.table, entry.line);
    if (is_new) return {};
    return concat("its image stands in ", first->second.first, ":", first->second.second, " too");
  }

  const Options& options_;
  ChexpertImages images_;
  Collection collection_;
  std::unordered_map<std::string, std::pair<std::string, Index>> seen_;
};

}  // namespace detail

/// Reads CheXpert (Irvin et al., "CheXpert: a large chest radiograph dataset with uncertainty labels and
/// expert comparison", AAAI 2019), of any size of images, from the folder that holds `train.csv`, `valid.csv`
/// and `test.csv`, of which any may be absent; the split is the name of the table. Labels are those of
/// chexpert_labels, uncertain ones as they are (see resolve_uncertain); a table may lack columns of some.
///
/// The column `Path` gives patient, study (a number within the patient) and file; of the folders before
/// these, only the one of the split counts, so that the folder may have any name. Images are also found
/// under the whole `Path` in the folder or beside it, and in the batches that the full collection comes in.
/// The projection is in `Frontal/Lateral`, or in the names of files where a table lacks that column, as those
/// of the test set do. A table without `Path` may list studies in a column `Study`, as the published labels
/// of the test set are; all images in the folder of a study have its labels. Rows with an unsound `Path`,
/// another projection or another label than there are, and rows of an image that a row before them has, are
/// left out and stand in Collection::bad.
///
/// Throws std::runtime_error, naming the file and, where there is one, the line: what read_csv throws, no
/// table, a table of CheXpert Plus, no image left. Throws Stopped.
[[nodiscard]] inline Collection read_chexpert(const io::Path& folder, const Options& options = {}) {
  detail::ChexpertReader reader(folder, options);
  std::string absent;
  std::size_t found = 0;
  for (const char* split : {"train", "valid", "test"}) {
    const std::string name = concat(split, ".csv");
    if (const std::optional<io::Path> table = detail::find_table(folder, name); table) {
      reader.read(*table, split);
      ++found;
    } else {
      absent += (absent.empty() ? "" : " and no ") + name;
    }
  }
  ensure(found > 0, folder.string(), ": there is no ", absent,
         detail::find_table(folder, "df_chexpert_plus_240401.csv")
             ? "; this is CheXpert Plus, another collection than CheXpert"
             : "");
  return reader.finish(absent);
}

}  // namespace vlp::data::layouts
