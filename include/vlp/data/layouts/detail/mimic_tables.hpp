/// \file
/// The tables of MIMIC-CXR-JPG: which there are, and what they say of images and studies.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/chexpert_classes.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/labels.hpp>
#include <vlp/data/layouts/detail/label_fields.hpp>
#include <vlp/data/layouts/detail/table_fields.hpp>
#include <vlp/io/csv.hpp>
#include <vlp/io/file.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

namespace vlp::data::layouts::detail {

/// The name of a table, "mimic-cxr-2.0.0-split.csv.gz".
struct MimicTableName {
  std::vector<std::uint64_t> version;  ///< 2, 0, 0
  std::string kind;                    ///< "split"
};

/// The parts of a table's name; nothing if it is none.
inline std::optional<MimicTableName> parse_mimic_table_name(std::string_view name) {
  constexpr std::string_view begin = "mimic-cxr-", packed = ".gz", end = ".csv";
  MimicTableName parts;
  if (!name.starts_with(begin)) return std::nullopt;
  name.remove_prefix(begin.size());
  if (name.ends_with(packed)) name.remove_suffix(packed.size());
  if (!name.ends_with(end)) return std::nullopt;
  name.remove_suffix(end.size());
  for (char separator = '.'; separator == '.';) {
    std::uint64_t number = 0;
    const auto [rest, failed] = std::from_chars(name.data(), name.data() + name.size(), number);
    const auto digits = static_cast<std::size_t>(rest - name.data());
    if (failed != std::errc() || digits == name.size()) return std::nullopt;
    separator = name[digits];
    parts.version.push_back(number);
    name.remove_prefix(digits + 1);
    if (separator != '.' && separator != '-') return std::nullopt;
  }
  parts.kind = name;
  return parts;
}

/// The tables of a folder.
class MimicTables {
 public:
  /// Throws std::runtime_error, with the system's reason, where the folder cannot be read.
  explicit MimicTables(io::Path folder) : folder_(std::move(folder)) {
    std::error_code failed;
    std::filesystem::directory_iterator entry(folder_, failed);
    for (; !failed && entry != std::filesystem::directory_iterator(); entry.increment(failed)) {
      std::string file = entry->path().filename().string();
      if (auto name = parse_mimic_table_name(file); name && is_file(entry->path()))
        tables_.push_back({std::move(*name), std::move(file)});
    }
    ensure(!failed, folder_.string(), ": cannot read the folder: ", failed.message());
    // The name of a packed table is that of the plain one with something behind, and so comes after it.
    std::sort(tables_.begin(), tables_.end(), [](const Table& a, const Table& b) {
      return std::tie(b.name.version, a.file) < std::tie(a.name.version, b.file);
    });
  }

  /// The table of a kind: of several versions the newest, and the one that is not packed where both are
  /// there, which a note says.
  [[nodiscard]] std::optional<io::Path> find(std::string_view kind, std::vector<std::string>& notes) const {
    constexpr Index most = 5;  // that the note names
    const Table* chosen = nullptr;
    std::string others;
    Index count = 0;
    for (const Table& table : tables_) {
      if (table.name.kind != kind) continue;
      if (chosen == nullptr)
        chosen = &table;
      else if (count++ < most)
        others.append(others.empty() ? "" : " or ").append(table.file);
    }
    if (chosen == nullptr) return std::nullopt;
    if (!others.empty())
      notes.push_back(concat(folder_.string(), ": ", chosen->file, " is read, and not ", others,
                             count > most ? concat(" or ", count - most, " other versions") : ""));
    return folder_ / chosen->file;
  }

 private:
  struct Table {
    MimicTableName name;
    std::string file;
  };

  io::Path folder_;
  std::vector<Table> tables_;
};

/// The table of splits, by image.
class MimicSplits {
 public:
  MimicSplits(const io::Path& path, StopToken stop)
      : table_(io::read_csv(path, {.columns = {"dicom_id", "split"}, .stop = stop})),
        split_(table_, {"split"}) {
    for (const char* name : {"dicom_id", "split"}) static_cast<void>(table_.column(name));
    const Fields id(table_, {"dicom_id"});
    rows_.reserve(table_.rows.size());
    for (std::size_t row = 0; row < table_.rows.size(); ++row) {
      const auto [found, is_new] = rows_.try_emplace(trimmed(id[row]), Row{row, 0});
      if (!is_new && found->second.second_line == 0) found->second.second_line = table_.lines[row];
    }
  }

  MimicSplits(const MimicSplits&) = delete;
  MimicSplits& operator=(const MimicSplits&) = delete;

  /// Puts the split of the image `id` into `split`. Returns what is wrong, or nothing.
  [[nodiscard]] std::string read(const std::string& id, std::string& split) const {
    constexpr std::array<std::string_view, 3> splits{"train", "validate", "test"};
    const auto found = rows_.find(id);
    if (found == rows_.end())
      return concat("no split of dicom_id ", data::detail::shown(id), " in ", table_.path);
    const Row& row = found->second;
    if (row.second_line > 0)
      return concat("dicom_id ", data::detail::shown(id), " has a second row, ", table_.path, ":",
                    row.second_line);
    split = split_.name(row.row);
    if (std::find(splits.begin(), splits.end(), split) == splits.end())
      return concat("split ", data::detail::shown(split), ", ", table_.where(static_cast<Index>(row.row)),
                    ", is neither train, validate nor test");
    return {};
  }

 private:
  struct Row {
    std::size_t row;
    Index second_line;  // of another row of the same image; 0 if there is none
  };

  io::CsvTable table_;
  Fields split_;
  std::unordered_map<std::string_view, Row> rows_;
};

/// The labels of a study, or what is wrong with them.
struct MimicLabels {
  std::vector<Label> labels;  ///< [chexpert_labels]
  std::string fault;          ///< empty if nothing is wrong
};

/// Reads a table of labels, one row for each study.
[[nodiscard]] inline std::unordered_map<std::string, MimicLabels> read_mimic_labels(
    const io::Path& path, StopToken stop, std::vector<std::string>& notes) {
  const io::CsvTable table = io::read_csv(path, stop);
  static_cast<void>(table.column("study_id"));
  const Fields study(table, {"study_id"});
  const LabelFields fields(table, chexpert_labels);
  const std::string absent = fields.absent();
  ensure(fields.any(), table.path, ": no column of a label (", absent, ")");
  if (!absent.empty())
    notes.push_back(concat(table.path, ": no columns of ", absent, "; these labels are unknown"));
  std::unordered_map<std::string, MimicLabels> studies;
  for (std::size_t row = 0; row < table.rows.size(); ++row) {
    stop.check();
    const auto [found, is_new] = studies.try_emplace(study.name(row));
    MimicLabels& labels = found->second;
    const auto where = [&] { return table.where(static_cast<Index>(row)); };
    if (!is_new)
      labels.fault = concat("study_id ", data::detail::shown(found->first), " has a second row, ", where());
    else if (const std::string fault = fields.read(row, labels.labels); !fault.empty())
      labels.fault = concat(where(), ": ", fault);
  }
  return studies;
}

}  // namespace vlp::data::layouts::detail
