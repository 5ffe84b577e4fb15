#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/temporary_folder.hpp"

#include <sys/stat.h>

#include <vlp/core/stop.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/labels.hpp>
#include <vlp/data/layouts/manifest.hpp>
#include <vlp/io/image.hpp>

#include <atomic>
#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace vlp;
using namespace vlp::data;
using io::Path;
using vlp::test::TemporaryFolder;

/// A manifest in a folder with the images a.png and b.png.
struct ManifestFolder : TemporaryFolder {
  ManifestFolder() {
    for (const char* name : {"a.png", "b.png"}) io::write_png(*this / name, io::make_gray_image(2, 2));
  }
  [[nodiscard]] Collection read(const std::string& text, const layouts::Options& options = {}) const {
    return layouts::read_manifest(write("manifest.csv", text), options);
  }
};

TEST_CASE("a manifest gives pairs with paths relative to it") {
  const ManifestFolder folder;
  const Collection table = folder.read(
      "report,image,split,other\n"
      "\"Clear lungs,\nno effusion.\",a.png,train,x\n"
      "Effusion XXXX.," +
      (folder / "b.png").string() + ",test,y\n");
  REQUIRE(table.entries.size() == 2);
  CHECK(table.rows == 2);
  CHECK(table.missing.empty());
  CHECK(table.entries[0].image == folder / "a.png");
  CHECK(table.entries[0].report == "Clear lungs,\nno effusion.");
  CHECK(table.entries[0].split == "train");
  CHECK(table.entries[0].findings.empty());
  CHECK(table.entries[0].group.empty());
  CHECK(table.entries[0].patient.empty());
  CHECK(table.entries[0].study.empty());
  CHECK(table.bad.empty());
  CHECK(table.entries[0].line == 2);
  CHECK(table.entries[1].image == folder / "b.png");
  CHECK(table.entries[1].report == "Effusion XXXX.");
  CHECK(table.entries[1].line == 4);
  CHECK(table.notes == std::vector<std::string>{table.path + ": 2 pairs of an image and a report"});
}

TEST_CASE("findings and impression stand in for a report") {
  const ManifestFolder folder;
  const Collection both = folder.read("image,findings,impression\na.png,Seen.,Meant.\nb.png,,Meant.\n");
  CHECK(both.entries[0].report == "Seen. Meant.");
  CHECK(both.entries[0].findings == "Seen.");
  CHECK(both.entries[0].impression == "Meant.");
  CHECK(both.entries[1].report == "Meant.");
  CHECK(folder.read("image,findings\na.png,Seen.\n").entries[0].report == "Seen.");
  CHECK(folder.read("image,impression\na.png,Meant.\n").entries[0].report == "Meant.");
  const Collection all = folder.read("image,report,impression\na.png,Said.,Meant.\n");
  CHECK(all.entries[0].report == "Said.");
  CHECK(all.entries[0].impression == "Meant.");
}

TEST_CASE("group, patient and study are read under their names, or one column that is asked for") {
  const ManifestFolder folder;
  const std::string text = "image,report,patient,group,study\na.png,Clear., p ,g,s\n";
  const Entry all = folder.read(text).entries[0];
  CHECK(all.group == "g");
  CHECK(all.patient == "p");
  CHECK(all.study == "s");
  const Entry one = folder.read(text, {.group_column = "study"}).entries[0];
  CHECK(one.group == "s");
  CHECK(one.patient.empty());
  CHECK(one.study.empty());
  CHECK_MESSAGE_HAS(folder.read(text, {.group_column = "clinic"}), "manifest.csv", "'clinic'", "study");
  for (const char* name : {"patient", "patient_id", "subject_id"})
    CHECK(folder.read(concat("image,report,", name, "\na.png,Clear.,p\n")).entries[0].patient == "p");
  for (const char* name : {"study", "study_id"})
    CHECK(folder.read(concat("image,report,", name, "\na.png,Clear.,s\n")).entries[0].study == "s");
  // Patients that are not known are not one patient.
  CHECK(folder.read("image,report,patient\na.png,Clear.,nan\n").entries[0].patient.empty());
}

TEST_CASE("missing images are counted and the rest goes on") {
  const ManifestFolder folder;
  const Collection table = folder.read("image,report\nnone.png,Clear.\na.png,Clear.\nsub/none.png,Clear.\n");
  CHECK(table.rows == 3);
  REQUIRE(table.entries.size() == 1);
  CHECK(table.entries[0].image == folder / "a.png");
  CHECK(table.missing == std::vector<Path>{folder / "none.png", folder / "sub/none.png"});
  CHECK(table.notes.front().find("2 of 3 images are missing") != std::string::npos);
  CHECK(table.notes.front().find("none.png") != std::string::npos);
  CHECK_MESSAGE_HAS(folder.read("image,report\nnone.png,Clear.\n"), "manifest.csv", "no pair", "none.png");
}

TEST_CASE("a manifest that lacks what it must have is refused by file and line") {
  const ManifestFolder folder;
  const std::string file = (folder / "manifest.csv").string();
  CHECK_MESSAGE_HAS(layouts::read_manifest(folder / "none.csv"), "none.csv", "No such file");
  CHECK_MESSAGE_HAS(folder.read("path,report\na.png,Clear.\n"), file, "'image'", "path, report");
  CHECK_MESSAGE_HAS(folder.read("image,text\na.png,Clear.\n"), file, "'report'", "image, text");
  CHECK_MESSAGE_HAS(folder.read("image,findings,impression\na.png,,\n"), "no pair",
                    file + ":2: empty report");
  CHECK_MESSAGE_HAS(folder.read("image,report,report\na.png,Clear.,Effusion.\n"), file,
                    "two columns are called 'report'");
  CHECK(folder.read("image,report,x,x\na.png,Clear.,1,2\n").entries.size() == 1);
  CHECK_MESSAGE_HAS(folder.read("image,report\n"), file, "no pair", "no rows");
  CHECK_MESSAGE_HAS(folder.read("image,report\na.png\n"), file + ":2", "1 fields");
}

TEST_CASE("rows without an image or a report are left out and listed with their lines") {
  const ManifestFolder folder;
  const Collection table = folder.read(
      "image,report\na.png,\"A\nB\"\nb.png,\" \"\n\"\",Clear.\nnan,Clear.\nb.png,\xC2\xA0\nnone.png,\n");
  REQUIRE(table.entries.size() == 1);
  CHECK(table.missing.empty());
  CHECK(describe(table.path, table.bad) ==
        table.path +
            ":4: empty report; line 5: no image; line 6: no image; line 7: empty report; line 8: empty "
            "report");
  const Collection sections = folder.read("image,findings,impression\na.png,,Normal chest.\nb.png,,\n");
  CHECK(sections.entries.size() == 1);
  CHECK(describe(sections.path, sections.bad) == sections.path + ":3: empty report");
}

TEST_CASE("a manifest has labels in columns that are called so, or that are asked for") {
  const ManifestFolder folder;
  const std::string text =
      "image,report,label:Edema,Mass,label: Pleural Effusion \na.png,Clear.,1.0,0,-1\nb.png,Wet.,,True,nan\n";
  const Collection marked = folder.read(text);
  CHECK(marked.labels == std::vector<std::string>{"Edema", "Pleural Effusion"});
  REQUIRE(marked.entries.size() == 2);
  CHECK(marked.entries[0].labels == std::vector<Label>{Label::positive, Label::uncertain});
  CHECK(marked.entries[1].labels == std::vector<Label>{Label::unknown, Label::unknown});
  CHECK(marked.entries[0].report == "Clear.");
  CHECK(marked.notes.back() == marked.path + ": 2 pairs of an image and a report");
  const Collection asked = folder.read(text, {.label_columns = {"Mass", "label:Edema"}});
  CHECK(asked.labels == std::vector<std::string>{"Edema", "Pleural Effusion", "Mass"});
  CHECK(asked.entries[0].labels[2] == Label::negative);
  CHECK(asked.entries[1].labels[2] == Label::positive);
  CHECK(folder.read("image,report\na.png,Clear.\n").entries[0].labels.empty());
  CHECK_MESSAGE_HAS(folder.read(text, {.label_columns = {"mass"}}), "manifest.csv", "no column 'mass'");
  CHECK_MESSAGE_HAS(folder.read("image,label:x,label: x\na.png,1,1\n"), "two columns hold the label 'x'");
  CHECK_MESSAGE_HAS(folder.read("image,label:x,x\na.png,1,1\n", {.label_columns = {"x"}}),
                    "two columns hold the label 'x'");
  CHECK_MESSAGE_HAS(folder.read("image,label:x,label:x\na.png,1,1\n"), "two columns");
  CHECK_MESSAGE_HAS(folder.read("image,label: \na.png,1\n"), "the column 'label:' names no label");
}

TEST_CASE("a manifest may have labels alone, and rows whose labels are none are listed") {
  const ManifestFolder folder;
  const Collection table =
      folder.read("image,label:x,label:y\na.png,1,0\nb.png,2.0,maybe\nnone.png,1,1\n,1,1\n");
  REQUIRE(table.entries.size() == 1);
  CHECK(table.entries[0].report.empty());
  CHECK(table.entries[0].labels == std::vector<Label>{Label::positive, Label::negative});
  CHECK(describe(table.path, table.bad) ==
        table.path +
            ":3: 'label:x' is '2.0' and 'label:y' is 'maybe', but a label is 1, 0, -1 or empty; line "
            "5: no image");
  CHECK(table.notes.back() == table.path + ": 1 images with labels");
  CHECK_MESSAGE_HAS(folder.read("image,label:x\na.png,y\n"), "no image with labels", ":2: 'label:x' is 'y'");
  // Where there is a column for reports, they are not optional.
  CHECK_MESSAGE_HAS(folder.read("image,report,label:x\na.png,,1\n"), "no pair", ":2: empty report");
}

TEST_CASE("of many bad rows the first twenty are named and the others counted") {
  std::vector<BadRow> rows;
  for (Index line = 30; line >= 2; --line) rows.push_back({line, "empty report"});
  const std::string text = describe("t.csv", rows);
  CHECK(text.find("t.csv:2: empty report; line 3: empty report") == 0);
  CHECK(text.find("line 21: ") != std::string::npos);
  CHECK(text.find("line 22: ") == std::string::npos);
  CHECK(text.ends_with("; and 9 more rows"));
  CHECK(describe("t.csv", {{3, "no image"}}) == "t.csv:3: no image");
  for (BadRow& row : rows) row.what = std::string(1000, 'x');
  CHECK(describe("t.csv", rows).size() < 4100);
}

TEST_CASE("words that programs write for an absent value are no report") {
  const ManifestFolder folder;
  const Collection table = folder.read(
      "image,findings,impression\na.png,nan,Normal chest.\nb.png,NaN,nan\na.png,Clear.,None\nb.png,n/a,NULL\n"
      "b.png,None.,\nb.png,Nan,is well.\n");
  REQUIRE(table.entries.size() == 4);
  CHECK(table.entries[0].report == "Normal chest.");
  CHECK(table.entries[0].findings.empty());
  CHECK(table.entries[1].report == "Clear.");
  CHECK(table.entries[2].report == "None.");  // a sentence
  CHECK(table.entries[3].report == "is well.");
  CHECK(table.bad.size() == 2);
  CHECK(table.notes.front() ==
        table.path +
            ": 7 fields of reports that hold only nan, None, NULL or N/A are taken for "
            "empty, the first on line 2");
  CHECK(folder.read("image,report\na.png,Clear.\n").notes.size() == 1);
}

TEST_CASE("reading a manifest ends when it is asked to") {
  const ManifestFolder folder;
  const std::atomic<bool> flag{true};
  const Path path = folder.write("manifest.csv", "image,report\na.png,Clear.\n");
  CHECK_THROWS_AS(layouts::read_manifest(path, {.stop = StopToken(flag)}), Stopped);
  // A pipe into which nobody writes.
  REQUIRE(::mkfifo((folder / "pipe.csv").c_str(), 0600) == 0);
  std::atomic<bool> later{false};
  std::thread signal([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    later = true;
  });
  CHECK_THROWS_AS(layouts::read_manifest(folder / "pipe.csv", {.stop = StopToken(later)}), Stopped);
  signal.join();
}

TEST_CASE("a real manifest is read", "[data]") {
  const auto data = test::real_data();
  if (!data) return;
  const Collection covid = layouts::read_manifest(*data / "covid_cxr/manifest.csv");
  CHECK(covid.entries.size() == 101);
  CHECK(covid.missing.empty());
  std::set<std::string> patients;
  for (const Entry& entry : covid.entries) patients.insert(entry.patient);
  CHECK(patients.count("") == 0);
  CHECK(patients.size() > 10);
}

}  // namespace
