/// \file
/// The pneumonia challenge of RSNA: radiographs with labels and boxes.
#pragma once

#include <vlp/core/enum_names.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/labels.hpp>
#include <vlp/data/layouts/detail/box_fields.hpp>
#include <vlp/data/layouts/detail/find_table.hpp>
#include <vlp/data/layouts/detail/foreign_path.hpp>
#include <vlp/data/layouts/detail/table_fields.hpp>
#include <vlp/data/layouts/options.hpp>
#include <vlp/io/csv.hpp>
#include <vlp/io/file.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

namespace vlp::data::layouts {

namespace detail {

/// The splits in the order in which they are drawn.
inline constexpr std::array<std::string_view, 3> rsna_splits{"train", "valid", "test"};

/// The sizes of the splits in which a protocol divides `count` patients: those published where there are as
/// many patients as there, else in their proportion.
inline std::array<std::size_t, 3> rsna_sizes(RsnaProtocol protocol, std::size_t count) {
  if (protocol == RsnaProtocol::gloria) {
    // 30 % are taken, rounded up, and halved, with the odd one to validate.
    const std::size_t held_out = (3 * count + 9) / 10, valid = (held_out + 1) / 2;
    return {count - held_out, valid, held_out - valid};
  }
  const std::array<std::size_t, 3> sizes = protocol == RsnaProtocol::benchx
                                               ? std::array<std::size_t, 3>{18678, 4003, 4003}
                                               : std::array<std::size_t, 3>{25184, 1500, 3000};
  const std::size_t all = sizes[0] + sizes[1] + sizes[2];
  const auto rounded = [&](std::size_t size) { return (2 * size * count + all) / (2 * all); };
  const std::size_t valid = rounded(sizes[1]), test = rounded(sizes[2]);
  return {count - valid - test, valid, test};
}

/// The split of each patient; empty where there are several.
using PatientSplits = std::unordered_map<std::string, std::string>;

/// Draws the splits of a protocol from the patients, in whatever order they come.
inline PatientSplits draw_rsna_splits(RsnaProtocol protocol, std::vector<std::string> patients) {
  std::sort(patients.begin(), patients.end());
  constexpr std::uint32_t purpose = 0x25a;
  Random(0, purpose, static_cast<std::uint32_t>(protocol)).shuffle(patients.begin(), patients.end());
  PatientSplits splits;
  std::size_t next = 0;
  const std::array<std::size_t, 3> sizes = rsna_sizes(protocol, patients.size());
  for (std::size_t k = 0; k < sizes.size(); ++k)
    for (std::size_t i = 0; i < sizes[k]; ++i) splits.emplace(std::move(patients[next++]), rsna_splits[k]);
  return splits;
}

/// One patient of RSNA's table, with one image and one row or, of several boxes, more.
struct RsnaPatient {
  Entry entry;
  std::string target;      ///< as in the first row
  bool is_faulty = false;  ///< in one row at least
};

/// Reads RSNA's table of labels and boxes.
class RsnaReader {
 public:
  RsnaReader(const io::Path& folder, const Options& options)
      : folder_(folder),
        options_(options),
        images_(folder / "stage_2_train_images"),
        table_(read_table(folder, options)) {
    collection_.path = table_.path;
    collection_.labels = {"Pneumonia"};
    for (const char* name : {"patientId", "x", "y", "width", "height", "Target"})
      static_cast<void>(table_.column(name));
  }

  Collection read() {
    read_rows();
    set_splits();
    for (RsnaPatient& patient : patients_) {
      options_.stop.check();
      if (patient.is_faulty) continue;
      if (std::optional<io::Path> image = find_image(patient.entry.patient)) {
        patient.entry.image = std::move(*image);
        collection_.entries.push_back(std::move(patient.entry));
      } else {
        collection_.missing.push_back(images_ / (patient.entry.patient + ".dcm"));
      }
    }
    detail::finish(collection_, {});
    return std::move(collection_);
  }

 private:
  static io::CsvTable read_table(const io::Path& folder, const Options& options) {
    const std::string name = "stage_2_train_labels.csv";
    return io::read_csv(find_table(folder, name).value_or(folder / name), options.stop);
  }

  void read_rows() {
    const Fields id(table_, {"patientId"}), target(table_, {"Target"}), x(table_, {"x"}), y(table_, {"y"}),
        width(table_, {"width"}), height(table_, {"height"});
    const BoxFields boxes(x, y, width, height);
    std::unordered_map<std::string, std::size_t> index;
    for (std::size_t row = 0; row < table_.rows.size(); ++row) {
      options_.stop.check();
      const Index line = table_.lines[row];
      const std::string name = id.name(row);
      std::string fault = fault_of_name("patientId", name);
      if (!fault.empty()) {
        ++collection_.rows;
        add_bad(line, std::move(fault));
        continue;
      }
      const auto [found, is_new] = index.try_emplace(name, patients_.size());
      if (is_new) {
        ++collection_.rows;
        patients_.push_back({.entry = {.patient = name, .labels = {Label::unknown}, .line = line},
                             .target = target.name(row)});
      }
      RsnaPatient& patient = patients_[found->second];
      fault = read_row(patient, is_new, target.name(row), boxes, row);
      if (fault.empty()) continue;
      patient.is_faulty = true;
      add_bad(line, std::move(fault));
    }
  }

  /// Adds a row to its patient. Returns what is wrong with the row; empty if nothing is.
  static std::string read_row(RsnaPatient& patient, bool is_new, const std::string& target,
                              const BoxFields& boxes, std::size_t row) {
    Entry& entry = patient.entry;
    if (target != "0" && target != "1")
      return concat("Target is ", data::detail::shown(target), ", but must be 0 or 1");
    if (target != patient.target)
      return concat("Target ", target, " contradicts line ", entry.line, " of the same patient");
    entry.labels[0] = target == "1" ? Label::positive : Label::negative;
    if (target == "0") {
      if (!boxes.empty(row)) return "Target is 0, but there is a box";
      return is_new ? std::string() : concat("repeats line ", entry.line);
    }
    eval::Box box;
    if (std::string fault = boxes.read(row, box); !fault.empty()) return fault;
    for (const LabelBox& other : entry.boxes)
      if (other.box == box) return "repeats a box of the same patient";
    entry.boxes.push_back({.label = 0, .box = box});
    return {};
  }

  void add_bad(Index line, std::string what) { collection_.bad.push_back({line, std::move(what)}); }

  /// Takes the splits of the folder's own table, or draws those of the protocol.
  void set_splits() {
    const std::optional<io::Path> own = find_table(folder_, "split.csv");
    PatientSplits splits;
    if (own) {
      splits = take_splits(*own);
    } else {
      std::vector<std::string> names;
      for (const RsnaPatient& patient : patients_) names.push_back(patient.entry.patient);
      splits = draw_rsna_splits(options_.rsna_protocol, std::move(names));
      const auto sizes = rsna_sizes(options_.rsna_protocol, patients_.size());
      collection_.notes.push_back(concat(
          collection_.path, ": protocol ", to_text(options_.rsna_protocol), ": ", sizes[0],
          " patients to train on, ", sizes[1], " to validate, ", sizes[2], " to test",
          options_.rsna_protocol == RsnaProtocol::mrm
              ? ", in proportion to MRM's sizes, which count test images that this table does not label"
              : "",
          ". vlp draws them, always alike, since the published lists are not part of the collection; a table "
          "split.csv (patientId,split) in its folder would be taken in their place"));
    }
    for (RsnaPatient& patient : patients_) {
      const auto split = splits.find(patient.entry.patient);
      if (split != splits.end() && !split->second.empty()) {
        patient.entry.split = split->second;
      } else {
        patient.is_faulty = true;
        add_bad(patient.entry.line, concat("its patient has no split, or several, in ", own->string()));
      }
    }
    std::stable_sort(collection_.bad.begin(), collection_.bad.end(), [](const BadRow& a, const BadRow& b) {
      return std::tie(a.table, a.line) < std::tie(b.table, b.line);
    });
  }

  PatientSplits take_splits(const io::Path& path) {
    const io::CsvTable table = io::read_csv(path, options_.stop);
    for (const char* name : {"patientId", "split"}) static_cast<void>(table.column(name));
    const Fields id(table, {"patientId"}), split(table, {"split"});
    PatientSplits splits;
    for (std::size_t row = 0; row < table.rows.size(); ++row) {
      options_.stop.check();
      const std::string name = id.name(row), value = split.name(row);
      const auto fault = [&](std::string what) {
        collection_.bad.push_back({table.lines[row], std::move(what), table.path});
      };
      if (name.empty() || value.empty()) {
        fault(name.empty() ? "no patientId" : "no split");
      } else if (const auto [first, is_new] = splits.try_emplace(name, value); !is_new) {
        fault(concat("patientId ", data::detail::shown(name), " stands in a row before"));
        if (first->second != value) first->second.clear();
      }
    }
    collection_.notes.push_back(concat(collection_.path, ": split by ", table.path));
    return splits;
  }

  /// The image of a patient as DICOM, PNG or JPEG, if there is one.
  [[nodiscard]] std::optional<io::Path> find_image(const std::string& patient) const {
    for (const char* end : {".dcm", ".png", ".jpg", ".jpeg"})
      if (io::Path image = images_ / (patient + end); is_file(image)) return image;
    return std::nullopt;
  }

  const io::Path& folder_;
  const Options& options_;
  io::Path images_;
  io::CsvTable table_;
  Collection collection_;
  std::vector<RsnaPatient> patients_;  ///< in file order
};

}  // namespace detail

/// Reads the data of RSNA's pneumonia challenge (Shih et al., "Augmenting the National Institutes of Health
/// chest radiograph dataset with expert annotations of possible pneumonia", Radiology: AI 2019) from the
/// folder that holds `stage_2_train_labels.csv` and `stage_2_train_images/` with a file `<patientId>.dcm`,
/// or a PNG or JPEG of the same size in its place, for each patient. The label is "Pneumonia"; boxes are in
/// pixels of the file. All images are frontal, so that Projection::lateral leaves none.
///
/// The challenge has no split of its own: patients are divided by Options::rsna_protocol, always alike and
/// whichever images are there, or as the folder's table `split.csv` (`patientId,split`) says. MRM's 3,000
/// test images are those of the challenge's second stage, whose labels are not in this table, so that its
/// sizes are taken in proportion.
///
/// Rows with another Target than 0 and 1, with one that contradicts a row of the same patient, with a box
/// that is none or where none may be, rows that repeat another, and patients without a split are left out
/// with all rows of their patient, and stand in Collection::bad. Throws std::runtime_error, naming the file
/// and, where there is one, the line: what read_csv throws, no image left. Throws Stopped.
[[nodiscard]] inline Collection read_rsna(const io::Path& folder, const Options& options = {}) {
  ensure(options.projection != Projection::lateral, folder.string(),
         ": RSNA has frontal images alone, but lateral ones are asked for");
  return detail::RsnaReader(folder, options).read();
}

}  // namespace vlp::data::layouts
