// libFuzzer target: any bytes as the tables and a report of MIMIC-CXR. The first byte chooses the projection
// and which of the tables there are; lines of three equals signs separate metadata, splits, labels, sections
// and the report.
#include "fuzzer.hpp"

#include <vlp/data/layouts/mimic_cxr.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>

namespace {

namespace data = vlp::data;
namespace layouts = vlp::data::layouts;
using vlp::fuzz::file_with;
using vlp::fuzz::folder;
using vlp::fuzz::promise;

/// Makes the images that tables may name, two studies of one patient, and one file outside of files/.
void make_images() {
  std::filesystem::create_directories(folder() / "files/p10/p10/s11");
  std::filesystem::create_directories(folder() / "files/p10/p10/s12");
  for (const char* name : {"files/p10/p10/s11/a.jpg", "files/p10/p10/s11/b.dcm", "files/p10/p10/s12/c.jpg",
                           "files/p10/p10/s12/c.dcm", "outside.jpg"})
    file_with("an image", name);
  file_with("FINDINGS: Clear.", "files/p10/p10/s12.txt");
}

void check_collection(const data::Collection& table) {
  promise(!table.entries.empty(), "a collection has pairs");
  const std::string files = (folder() / "files").string() + "/";
  std::set<std::string> images;
  vlp::Index line = 1;
  for (const data::Entry& entry : table.entries) {
    promise(entry.report.empty() == table.entries.front().report.empty() &&
                (!entry.report.empty() || !table.labels.empty()),
            "every image has a report, or all have labels alone");
    promise(std::filesystem::is_regular_file(entry.image), "every pair has an image");
    promise(entry.image.string().starts_with(files) && entry.image.string().find("..") == std::string::npos,
            "no image is outside of the collection");
    promise(images.insert(entry.image.string()).second, "an image stands in one row");
    promise(entry.labels.size() == table.labels.size(), "every pair has all labels");
    promise(entry.patient == "10" && (entry.study == "11" || entry.study == "12"), "studies are as they are");
    promise(
        entry.split.empty() || entry.split == "train" || entry.split == "validate" || entry.split == "test",
        "splits are those of MIMIC-CXR");
    promise(entry.line > line, "pairs are in file order");
    line = entry.line;
  }
  line = 0;
  for (const data::BadRow& row : table.bad) {
    promise(row.line > 1 && row.line >= line && !row.what.empty() && row.what.size() < 4096,
            "a bad row has a line, in order, and a reason");
    line = row.line;
  }
  const std::size_t left_out =
      table.missing.size() + table.bad.size() + static_cast<std::size_t>(table.without_report);
  promise(table.entries.size() + left_out == static_cast<std::size_t>(table.rows),
          "every row is accounted for");
  promise(data::describe(table.path, table.bad).size() < 4096, "bad rows make no endless message");
  for (const std::string& note : table.notes) promise(note.size() < 4096, "a note is a sentence");
}

void check_report(std::string_view text) {
  const layouts::detail::MimicReport report = layouts::detail::parse_mimic_report(text);
  for (const std::string* part : {&report.findings, &report.impression, &report.other}) {
    promise(text.find(*part) != text.npos, "parts of a report stand in it");
    promise(vlp::trimmed(*part) == *part, "parts have no white space at their ends");
  }
  promise(report.other.empty() || (report.findings.empty() && report.impression.empty()),
          "a paragraph stands for a report without findings and impression alone");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static const bool images = (make_images(), true);
  if (size < 1 || !images) return 0;
  std::string_view text = vlp::fuzz::text_of(bytes + 1, size - 1);
  constexpr std::string_view separator = "\n===\n";
  constexpr std::array<const char*, 5> names{"mimic-cxr-2.0.0-metadata.csv", "mimic-cxr-2.0.0-split.csv",
                                             "mimic-cxr-2.0.0-chexpert.csv", "mimic_cxr_sectioned.csv",
                                             "files/p10/p10/s11.txt"};
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::size_t at = i + 1 < names.size() ? text.find(separator) : text.npos;
    const std::string_view part = text.substr(0, at);
    text.remove_prefix(at == text.npos ? text.size() : at + separator.size());
    if ((bytes[0] >> i & 1) != 0)
      file_with(part, names[i]);
    else
      std::filesystem::remove(folder() / names[i]);
    if (i + 1 == names.size()) check_report(part);
  }
  const layouts::Options options{.projection = (bytes[0] >> 5 & 1) != 0 ? layouts::Projection::both
                                                                        : layouts::Projection::frontal};
  data::Collection table;
  if (vlp::fuzz::reads([&] { table = layouts::read_mimic_cxr(folder(), options); })) check_collection(table);
  return 0;
}
