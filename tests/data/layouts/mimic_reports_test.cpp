#include "mimic_folder.hpp"
#include "support/gzip.hpp"
#include "support/messages.hpp"

#include <vlp/core/stop.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/labels.hpp>
#include <vlp/data/layouts/mimic_cxr.hpp>
#include <vlp/io/file.hpp>

#include <atomic>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace vlp;
using namespace vlp::data;
using namespace vlp::test;

layouts::detail::MimicReport parsed(std::string_view text) {
  return layouts::detail::parse_mimic_report(text);
}

TEST_CASE("the last findings and impression of a report of MIMIC-CXR are taken") {
  const auto wet = parsed(
      " WET READ: ___ 9:12 PM\n  IMPRESSION:  No pneumothorax.\n"
      " ______________________________________________________________________________\n"
      "                                 FINAL REPORT\n INDICATION:  Line placement.\n\n"
      " IMPRESSION:  Small right apical pneumothorax.\n");
  CHECK(wet.impression == "Small right apical pneumothorax.");
  CHECK(wet.findings.empty());
  CHECK(wet.text() == "Small right apical pneumothorax.");
  const auto twice = parsed("FINDINGS: Clear.\nIMPRESSION: Normal.\nFINDINGS:\nIMPRESSION: Stable.\n");
  CHECK(twice.findings == "Clear.");
  CHECK(twice.impression == "Stable.");
  const auto misspelt = parsed(" FINDNGS:  Lungs are clear.\n\n IMPRESSON:  No acute process.\n");
  CHECK(misspelt.findings == "Lungs are clear.");
  CHECK(misspelt.impression == "No acute process.");
  CHECK(parsed("FINDINGS AND IMPRESSION: Clear.\n").findings == "Clear.");
  CHECK(parsed("FINDINGS: Dry.\nFINDINGS AND IMPRESSION: Clear.\n").findings == "Dry.");
  CHECK(parsed("CONCLUSION: Clear.\n").impression == "Clear.");
  CHECK(parsed("IMPRESSION: Dry.\nCONCLUSION: Clear.\n").impression == "Dry.");
  CHECK(parsed("FINDINGS: Clear.\n\n NOTIFICATION: Called at 3:15 PM.\n\n Signed.\n").other.empty());
}

TEST_CASE("the last paragraph stands for a report without findings and impression") {
  const auto other = [](std::string_view text) {
    const auto report = parsed(text);
    CHECK(report.findings.empty());
    CHECK(report.impression.empty());
    CHECK(report.text() == report.other);
    return report.other;
  };
  // A paragraph that lost its header, after one of a section that says how or why.
  CHECK(other("                                 FINAL REPORT\n CHEST RADIOGRAPH\n\n INDICATION:  Cough.\n\n"
              " COMPARISON:  ___.\n \n PA and lateral views\n show no effusion.\n") ==
        "PA and lateral views\n show no effusion.");
  CHECK(other("AP CHEST, 5:45 A.M., ___\n\n Lungs are low.\n\n Heart is large.\n") == "Heart is large.");
  CHECK(other("CHEST, PA AND LATERAL:  Hyperinflated.\n") == "Hyperinflated.");
  CHECK(other("CHEST: Clear.\n\n NOTIFICATION: Called at 3:15 PM.\n") == "Clear.");
  CHECK(other("No header at all.") == "No header at all.");
  // Nothing is said of the images.
  CHECK(other("").empty());
  CHECK(other(" FINAL REPORT\n").empty());
  CHECK(other("INDICATION: Cough.\n\n COMPARISON: ___.\n\n TECHNIQUE: PA.\n").empty());
  CHECK(other("FINDINGS:\n\n IMPRESSION:\n").empty());
}

TEST_CASE("paragraphs end at blank lines, whatever ends a line") {
  using layouts::detail::last_paragraph;
  CHECK(last_paragraph("one\ntwo") == "one\ntwo");
  CHECK(last_paragraph("one\n\ntwo\nthree") == "two\nthree");
  CHECK(last_paragraph("one\r\n \r\ntwo") == "two");
  CHECK(last_paragraph("one\r\rtwo") == "two");
  CHECK(last_paragraph("one\n\n\n\ttwo") == "two");
  CHECK(last_paragraph("one\n\ntwo\n\n\n") == "two");
  CHECK(last_paragraph("").empty());
}

TEST_CASE("a table of sections goes before the reports' files, which stand in for its gaps") {
  const MimicFolder folder;
  folder.write("mimic_cxr_sectioned.csv",
               "study,impression,findings,last_paragraph,comparison\n"
               "s50414267,\" Dry.\n\",Clear., Not this.,None.\ns53189527,,nan,\"Kept.\",None.\n");
  const Collection table = folder.read();
  REQUIRE(table.entries.size() == 3);
  CHECK(table.entries[0].report == "Clear. Dry.");
  CHECK(table.entries[0].impression == "Dry.");
  CHECK(table.entries[1].report == "Kept.");
  CHECK(table.entries[1].findings.empty());
  CHECK(table.entries[2].report == "Small effusion.");
  const std::string sections = folder.name("mimic_cxr_sectioned.csv");
  CHECK(has_note(table,
                 sections + ": the reports, except for those of 1 studies, which are read from their files"));
  CHECK(has_note(table,
                 sections +
                     ": 1 fields of reports that hold only nan, None, NULL or N/A are taken for empty, the "
                     "first on line 4"));
  // Without files there are the reports of the table.
  std::filesystem::remove(folder / "files/p11/p11000183/s51967845.txt");
  CHECK(folder.read().entries.size() == 2);
  CHECK(folder.read().without_report == 1);
  folder.write("mimic_cxr_sectioned.csv",
               "study,impression,findings\ns50414267,Dry.,Clear.\n50414267,Dry.,Clear.\n53189527,Wet.,\n");
  const Collection repeated = folder.read();
  CHECK(repeated.entries.size() == 1);
  CHECK(repeated.entries[0].report == "Wet.");
  CHECK(describe("t", repeated.bad) == "t:2: study '50414267' has a second row, " + sections + ":3");
  folder.write("mimic_cxr_sectioned.csv.gz", test::gzip("study,impression\n"));
  CHECK(has_note(folder.read(), folder.path().string() +
                                    ": mimic_cxr_sectioned.csv is read, and not mimic_cxr_sectioned.csv.gz"));
  std::filesystem::remove(folder / "mimic_cxr_sectioned.csv");
  CHECK_MESSAGE_HAS(folder.read(), "mimic_cxr_sectioned.csv.gz: no column 'findings'");
}

TEST_CASE("reports of MIMIC-CXR are also found in a folder of their own") {
  const MimicFolder folder;
  for (const char* report : {"p10/p10000032/s50414267.txt", "p10/p10000032/s53189527.txt"}) {
    const std::string text = io::read_file(folder / (std::string("files/") + report));
    std::filesystem::remove(folder / (std::string("files/") + report));
    folder.file(std::string("mimic-cxr-reports/files/") + report, text);
  }
  const Collection table = folder.read();
  CHECK(table.entries.size() == 3);
  CHECK(table.entries[0].report == "The lungs are clear. No pneumonia.");
}

TEST_CASE("MIMIC-CXR without any report is read for its labels") {
  const MimicFolder folder;
  folder.write(chexpert, label_header + "10000032,50414267,,,,,,,,,1.0,,,,,\n");
  std::filesystem::remove(folder / "files/p10/p10000032/s50414267.txt");
  std::filesystem::remove(folder / "files/p10/p10000032/s53189527.txt");
  CHECK(folder.read().entries.size() == 1);  // with a report
  CHECK(folder.read().without_report == 2);
  std::filesystem::remove(folder / "files/p11/p11000183/s51967845.txt");
  const Collection table = folder.read();
  REQUIRE(table.entries.size() == 3);
  CHECK(table.without_report == 0);
  for (const Entry& entry : table.entries) CHECK(entry.report.empty());
  CHECK(table.entries[0].labels[0] == Label::positive);
  CHECK(table.entries[2].image == folder / "files/p11/p11000183/s51967845/ccc-1.dcm");
  CHECK(has_note(table,
                 folder.path().string() + ": none of the reports of 3 studies is there; the first would be " +
                     folder.name("files/p10/p10000032/s50414267.txt") +
                     ", as it is where mimic-cxr-reports.zip is unpacked in this folder; the images have "
                     "labels alone"));
  CHECK(has_note(table, folder.name(metadata) + ": 3 images with labels"));
}

TEST_CASE("reports of MIMIC-CXR are read once a study, with their number told, until they are to stop") {
  const MimicFolder folder;
  std::string rows = image_header;
  for (int i = 0; i < 100; ++i) {
    for (const char* view : {"PA", "AP"}) {
      rows += image_row(concat(view, "-", i), "10000032", concat(50000000 + i), view);
      folder.image(concat("p10/p10000032/s", 50000000 + i, "/", view, "-", i, ".jpg"));
    }
    folder.report(concat("p10/p10000032/s", 50000000 + i, ".txt"), concat("FINDINGS: Number ", i, "."));
  }
  folder.write(metadata, rows);
  std::filesystem::remove(folder / split);
  Index last = 0, calls = 0;
  bool is_sound = true;
  layouts::Options options;
  options.progress = [&](std::string_view kind, Index done, Index total) {
    is_sound = is_sound && kind == "reports" && total == 100 && done > last;
    last = done;
    ++calls;
  };
  const Collection table = layouts::read_mimic_cxr(folder.path(), options);
  CHECK(is_sound);
  CHECK(last == 100);
  REQUIRE(table.entries.size() == 200);
  for (std::size_t i = 0; i < 200; ++i) CHECK(table.entries[i].findings == concat("Number ", i / 2, "."));
  // Studies whose images are missing need no report.
  std::filesystem::remove_all(folder / "files/p10/p10000032/s50000000");
  Index total = 0;
  options.progress = [&](std::string_view, Index, Index all) { total = all; };
  CHECK(layouts::read_mimic_cxr(folder.path(), options).entries.size() == 198);
  CHECK(total == 99);
  std::atomic<bool> flag{false};
  options.stop = StopToken(flag);
  options.progress = [&](std::string_view, Index, Index) { flag = true; };
  CHECK_THROWS_AS(layouts::read_mimic_cxr(folder.path(), options), Stopped);
  CHECK_THROWS_AS(layouts::read_mimic_cxr(folder.path(), options), Stopped);
  layouts::detail::MimicReport report;
  const io::Path file = folder / "files/p10/p10000032/s50000001.txt";
  CHECK_THROWS_AS(layouts::detail::read_mimic_report(file, options.stop, report), Stopped);
}

}  // namespace
