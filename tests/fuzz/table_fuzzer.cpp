// libFuzzer target: any bytes as the tables of a layout, divided for training. The first byte chooses the
// layout; tables of one layout are separated by lines of three equals signs.
#include "fuzzer.hpp"

#include <vlp/data/chexpert_classes.hpp>
#include <vlp/data/label_counts.hpp>
#include <vlp/data/layouts/all.hpp>
#include <vlp/data/split.hpp>
#include <vlp/data/uncertain_labels.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <string_view>

namespace {

namespace data = vlp::data;
namespace io = vlp::io;
namespace layouts = vlp::data::layouts;
using vlp::fuzz::file_with;
using vlp::fuzz::folder;
using vlp::fuzz::promise;

/// Makes the images that tables may name: two files, of which one has a second name and a link, and some in
/// the folders of each layout.
void make_images() {
  namespace fs = std::filesystem;
  for (const char* name :
       {"a.png", "b.png", "images_normalized/a.png", "images_normalized/b.png", "images/a.png",
        "images_001/b.png", "images_002/images/c.png", "stage_2_train_images/a.dcm",
        "stage_2_train_images/b.png", "stage_2_train_images/c.jpg", "train/patient1/study1/a_frontal.jpg",
        "train/patient1/study2/b_lateral.jpg", "valid/patient2/study1/a_frontal.jpg",
        "C/test/patient3/study1/a_frontal.jpg", "CheXpert batch 2/patient4/study1/a_frontal.jpg"}) {
    fs::create_directories((folder() / name).parent_path());
    file_with("an image", name);
  }
  fs::create_hard_link(folder() / "a.png", folder() / "c.png");
  fs::create_symlink("a.png", folder() / "d.png");
}

/// Writes the tables under these names; those for which there is no text are not there.
void write_tables(std::string_view text, std::initializer_list<const char*> names) {
  constexpr std::string_view separator = "\n===\n";
  bool is_there = true;
  for (const char* name : names) {
    const std::size_t at = text.find(separator);
    if (is_there)
      file_with(text.substr(0, at), name);
    else
      std::filesystem::remove(folder() / name);
    is_there = at != text.npos;
    text.remove_prefix(is_there ? at + separator.size() : text.size());
  }
}

enum class Choice { open_i, manifest, chexpert, padchest, rsna, nih };

constexpr Choice choice_of(std::uint8_t byte) {
  constexpr Choice choices[] = {Choice::open_i,   Choice::manifest, Choice::open_i, Choice::manifest,
                                Choice::chexpert, Choice::padchest, Choice::rsna,   Choice::nih};
  return choices[byte % 8];
}

data::Collection read_tables(std::uint8_t byte, std::string_view text) {
  layouts::Options options;
  if (byte / 8 % 2 != 0) options.projection = layouts::Projection::both;
  switch (choice_of(byte)) {
    case Choice::open_i:
      write_tables(text, {"indiana_reports.csv", "indiana_projections.csv"});
      return layouts::read_open_i(folder(), options);
    case Choice::manifest:
      write_tables(text, {"manifest.csv"});
      if (byte % 8 == 3) options.label_columns = {"x"};
      return layouts::read_manifest(folder() / "manifest.csv", options);
    case Choice::chexpert:
      write_tables(text, {"train.csv", "valid.csv", "test.csv"});
      return layouts::read_chexpert(folder(), options);
    case Choice::padchest:
      write_tables(text, {"PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"});
      return layouts::read_padchest(folder(), options);
    case Choice::rsna:
      options.rsna_protocol = static_cast<layouts::RsnaProtocol>(byte / 16 % 3);
      write_tables(text, {"stage_2_train_labels.csv", "split.csv"});
      return layouts::read_rsna(folder(), options);
    case Choice::nih:
      write_tables(text,
                   {"Data_Entry_2017.csv", "train_val_list.txt", "test_list.txt", "BBox_List_2017.csv"});
      return layouts::read_nih(folder(), options);
  }
  return {};
}

void check_entry(const data::Collection& table, const data::Entry& entry, Choice choice) {
  const bool has_report = !entry.report.empty() && !layouts::detail::is_absent(entry.report);
  promise(has_report || (choice != Choice::open_i && !table.labels.empty()),
          "every pair has a report, or labels");
  promise(std::filesystem::is_regular_file(entry.image), "every pair has an image");
  if (choice != Choice::manifest)
    promise(std::filesystem::canonical(entry.image).string().starts_with(folder().string() + "/"),
            "an image is in the folder of its collection");
  promise(entry.labels.size() == table.labels.size(), "every entry has all labels");
  for (const data::Label label : entry.labels) promise(label <= data::Label::positive, "labels are labels");
  for (const data::LabelBox& box : entry.boxes) {
    promise(box.label < table.labels.size(), "a box has a label");
    promise(box.box.left >= 0 && box.box.top >= 0 && box.box.left < box.box.right &&
                box.box.top < box.box.bottom && std::isfinite(box.box.right) && std::isfinite(box.box.bottom),
            "a box has an area");
  }
}

void check_pairs(const data::Collection& table, Choice choice) {
  promise(!table.entries.empty(), "a table has pairs");
  const data::Entry* before = nullptr;
  for (const data::Entry& pair : table.entries) {
    check_entry(table, pair, choice);
    promise(pair.line > 1 && (before == nullptr || before->table != pair.table || before->line < pair.line),
            "pairs are in file order");
    before = &pair;
  }
  // A bad row of RSNA is one of a patient, and one of another table than the first is of no image.
  std::size_t bad = 0;
  for (const data::BadRow& row : table.bad) bad += row.table.empty() || choice == Choice::chexpert;
  const std::size_t left_out = table.missing.size() + bad + static_cast<std::size_t>(table.without_report);
  const std::size_t accounted = table.entries.size() + left_out, rows = static_cast<std::size_t>(table.rows);
  promise(choice == Choice::rsna ? accounted >= rows && accounted - bad <= rows : accounted == rows,
          "every row is accounted for");
  for (const data::BadRow& row : table.bad)
    promise(row.line > 1 && !row.what.empty() && row.what.size() < 1000, "a bad row has a line and a reason");
  promise(data::describe(table.path, table.bad).size() < 4096, "bad rows make no endless message");
}

void check_labels(data::Collection table, std::uint8_t byte) {
  vlp::fuzz::reads([&] {
    const data::FiveClasses classes = data::draw_chexpert_five(table, byte, 1);
    for (const auto& entries : classes)
      promise(entries.size() == 1 && entries[0] < table.entries.size(), "as many as asked for");
  });
  const auto policy = static_cast<data::UncertainLabels>(byte % 6);
  data::resolve_uncertain(table, policy);
  for (const data::LabelCounts& counts : data::label_counts(table)) {
    promise(counts.positive + counts.negative + counts.uncertain + counts.unknown ==
                static_cast<vlp::Index>(table.entries.size()),
            "every label is counted");
    if (policy == data::UncertainLabels::ignore || policy == data::UncertainLabels::zeros ||
        policy == data::UncertainLabels::ones)
      promise(counts.uncertain == 0, "no label stays uncertain");
  }
  const std::string text = data::describe_labels(table);
  promise(std::count(text.begin(), text.end(), '\n') ==
              (table.labels.empty() ? 0 : 2 + static_cast<std::ptrdiff_t>(table.labels.size())),
          "a table has a line for each label");
}

void check_split(const data::Collection& table, double share) {
  const auto& pairs = table.entries;
  const data::EntryGroups groups = data::group_entries(table);
  const data::Split split = data::choose_held_out(table, groups, share);
  promise(groups.group.size() == pairs.size() && split.held_out.size() == pairs.size(), "as many of all");
  for (std::size_t i = 0; i < pairs.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) {
      const bool one_image = std::filesystem::equivalent(pairs[i].image, pairs[j].image);
      promise(one_image == (groups.image[i] == groups.image[j]), "one file is one image");
      const bool one_patient = !pairs[i].patient.empty() && pairs[i].patient == pairs[j].patient;
      const bool one_group = !pairs[i].group.empty() && pairs[i].group == pairs[j].group;
      if (one_image || one_patient || one_group)
        promise(groups.group[i] == groups.group[j], "images, patients and groups are not divided");
      if (groups.group[i] == groups.group[j] && split.held_out[i] != split.held_out[j])
        promise(!split.fault[i].empty() || !split.fault[j].empty(), "a group with both sides is faulty");
    }
  for (std::size_t i = 0; i < pairs.size(); ++i)
    if (!split.held_out[i] && split.fault[i].empty() && data::detail::has_splits(pairs))
      promise(pairs[i].split.size() == 5, "only `train`, in any case, is trained on");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static const bool images = (make_images(), true);
  if (size < 1 || !images) return 0;
  const std::string_view text = vlp::fuzz::text_of(bytes + 1, size - 1);
  data::Collection table;
  if (!vlp::fuzz::reads([&] { table = read_tables(bytes[0], text); })) return 0;
  check_pairs(table, choice_of(bytes[0]));
  check_labels(table, bytes[0]);
  check_split(table, bytes[0] / 256.0);
  return 0;
}
