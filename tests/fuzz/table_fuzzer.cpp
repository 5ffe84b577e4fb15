// libFuzzer target: any bytes as a manifest, or as the two tables of Open-I, divided for training. The first
// byte chooses; the two tables are separated by a line of three equals signs.
#include "fuzzer.hpp"

#include <vlp/data/layouts/all.hpp>
#include <vlp/data/split.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace {

namespace data = vlp::data;
namespace io = vlp::io;
using vlp::fuzz::file_with;
using vlp::fuzz::folder;
using vlp::fuzz::promise;

/// Makes the images that tables may name: two files, of which one has a second name and a link.
void make_images() {
  namespace fs = std::filesystem;
  fs::create_directory(folder() / "images_normalized");
  for (const char* name : {"a.png", "b.png", "images_normalized/a.png", "images_normalized/b.png"})
    file_with("an image", name);
  fs::create_hard_link(folder() / "a.png", folder() / "c.png");
  fs::create_symlink("a.png", folder() / "d.png");
}

void check_pairs(const data::Collection& table) {
  promise(!table.entries.empty(), "a table has pairs");
  vlp::Index line = 0;
  for (const data::Entry& pair : table.entries) {
    promise(!pair.report.empty() && !io::detail::is_absent(pair.report), "every pair has a report");
    promise(std::filesystem::is_regular_file(pair.image), "every pair has an image");
    promise(pair.line > line, "pairs are in file order");
    line = pair.line;
  }
  const std::size_t left_out =
      table.missing.size() + table.bad.size() + static_cast<std::size_t>(table.without_report);
  promise(table.entries.size() + left_out == static_cast<std::size_t>(table.rows),
          "every row is accounted for");
  for (const data::BadRow& row : table.bad)
    promise(row.line > 1 && !row.what.empty() && row.what.size() < 1000, "a bad row has a line and a reason");
  promise(data::describe(table.path, table.bad).size() < 4096, "bad rows make no endless message");
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
  const bool is_read = vlp::fuzz::reads([&] {
    if (bytes[0] % 2 != 0) {
      table = data::layouts::read_manifest(file_with(text, "manifest.csv"));
      return;
    }
    constexpr std::string_view separator = "\n===\n";
    const std::size_t at = text.find(separator);
    file_with(text.substr(0, at), "indiana_reports.csv");
    file_with(at == text.npos ? "" : text.substr(at + separator.size()), "indiana_projections.csv");
    table = data::layouts::read_open_i(
        folder(), {.projection = bytes[0] % 4 == 0 ? data::layouts::Projection::both
                                                   : data::layouts::Projection::frontal});
  });
  if (!is_read) return 0;
  check_pairs(table);
  check_split(table, bytes[0] / 256.0);
  return 0;
}
