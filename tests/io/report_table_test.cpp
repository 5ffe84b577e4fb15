#include "support/temporary_folder.hpp"

#include <sys/stat.h>

#include <vlp/core/stop.hpp>
#include <vlp/io/image.hpp>
#include <vlp/io/report_table.hpp>

#include <atomic>
#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace vlp;
using namespace vlp::io;
using vlp::test::TemporaryFolder;

/// A manifest in a folder with the images a.png and b.png.
struct ManifestFolder : TemporaryFolder {
  ManifestFolder() {
    for (const char* name : {"a.png", "b.png"}) write_png(*this / name, make_gray_image(2, 2));
  }
  [[nodiscard]] ReportTable read(const std::string& text, const ManifestOptions& options = {}) const {
    return read_manifest(write("manifest.csv", text), options);
  }
};

TEST_CASE("a manifest gives pairs with paths relative to it") {
  const ManifestFolder folder;
  const ReportTable table = folder.read(
      "report,image,split,other\n"
      "\"Clear lungs,\nno effusion.\",a.png,train,x\n"
      "Effusion XXXX.," +
      (folder / "b.png").string() + ",test,y\n");
  REQUIRE(table.pairs.size() == 2);
  CHECK(table.rows == 2);
  CHECK(table.missing.empty());
  CHECK(table.pairs[0].image == folder / "a.png");
  CHECK(table.pairs[0].report == "Clear lungs,\nno effusion.");
  CHECK(table.pairs[0].split == "train");
  CHECK(table.pairs[0].findings.empty());
  CHECK(table.pairs[0].group.empty());
  CHECK(table.pairs[0].patient.empty());
  CHECK(table.pairs[0].study.empty());
  CHECK(table.bad.empty());
  CHECK(table.pairs[0].line == 2);
  CHECK(table.pairs[1].image == folder / "b.png");
  CHECK(table.pairs[1].report == "Effusion XXXX.");
  CHECK(table.pairs[1].line == 4);
  CHECK(table.notes == std::vector<std::string>{table.path + ": 2 pairs of an image and a report"});
}

TEST_CASE("findings and impression stand in for a report") {
  const ManifestFolder folder;
  const ReportTable both = folder.read("image,findings,impression\na.png,Seen.,Meant.\nb.png,,Meant.\n");
  CHECK(both.pairs[0].report == "Seen. Meant.");
  CHECK(both.pairs[0].findings == "Seen.");
  CHECK(both.pairs[0].impression == "Meant.");
  CHECK(both.pairs[1].report == "Meant.");
  CHECK(folder.read("image,findings\na.png,Seen.\n").pairs[0].report == "Seen.");
  CHECK(folder.read("image,impression\na.png,Meant.\n").pairs[0].report == "Meant.");
  const ReportTable all = folder.read("image,report,impression\na.png,Said.,Meant.\n");
  CHECK(all.pairs[0].report == "Said.");
  CHECK(all.pairs[0].impression == "Meant.");
}

TEST_CASE("group, patient and study are read under their names, or one column that is asked for") {
  const ManifestFolder folder;
  const std::string text = "image,report,patient,group,study\na.png,Clear., p ,g,s\n";
  const ReportImagePair all = folder.read(text).pairs[0];
  CHECK(all.group == "g");
  CHECK(all.patient == "p");
  CHECK(all.study == "s");
  const ReportImagePair one = folder.read(text, {.group_column = "study"}).pairs[0];
  CHECK(one.group == "s");
  CHECK(one.patient.empty());
  CHECK(one.study.empty());
  CHECK_MESSAGE_HAS(folder.read(text, {.group_column = "clinic"}), "manifest.csv", "'clinic'", "study");
  for (const char* name : {"patient", "patient_id", "subject_id"})
    CHECK(folder.read(concat("image,report,", name, "\na.png,Clear.,p\n")).pairs[0].patient == "p");
  for (const char* name : {"study", "study_id"})
    CHECK(folder.read(concat("image,report,", name, "\na.png,Clear.,s\n")).pairs[0].study == "s");
  // Patients that are not known are not one patient.
  CHECK(folder.read("image,report,patient\na.png,Clear.,nan\n").pairs[0].patient.empty());
}

TEST_CASE("missing images are counted and the rest goes on") {
  const ManifestFolder folder;
  const ReportTable table = folder.read("image,report\nnone.png,Clear.\na.png,Clear.\nsub/none.png,Clear.\n");
  CHECK(table.rows == 3);
  REQUIRE(table.pairs.size() == 1);
  CHECK(table.pairs[0].image == folder / "a.png");
  CHECK(table.missing == std::vector<Path>{folder / "none.png", folder / "sub/none.png"});
  CHECK(table.notes.front().find("2 of 3 images are missing") != std::string::npos);
  CHECK(table.notes.front().find("none.png") != std::string::npos);
  CHECK_MESSAGE_HAS(folder.read("image,report\nnone.png,Clear.\n"), "manifest.csv", "no pair", "none.png");
}

TEST_CASE("a manifest that lacks what it must have is refused by file and line") {
  const ManifestFolder folder;
  const std::string file = (folder / "manifest.csv").string();
  CHECK_MESSAGE_HAS(read_manifest(folder / "none.csv"), "none.csv", "No such file");
  CHECK_MESSAGE_HAS(folder.read("path,report\na.png,Clear.\n"), file, "'image'", "path, report");
  CHECK_MESSAGE_HAS(folder.read("image,text\na.png,Clear.\n"), file, "'report'", "image, text");
  CHECK_MESSAGE_HAS(folder.read("image,findings,impression\na.png,,\n"), "no pair",
                    file + ":2: empty report");
  CHECK_MESSAGE_HAS(folder.read("image,report,report\na.png,Clear.,Effusion.\n"), file,
                    "two columns are called 'report'");
  CHECK(folder.read("image,report,x,x\na.png,Clear.,1,2\n").pairs.size() == 1);
  CHECK_MESSAGE_HAS(folder.read("image,report\n"), file, "no pair", "no rows");
  CHECK_MESSAGE_HAS(folder.read("image,report\na.png\n"), file + ":2", "1 fields");
}

TEST_CASE("rows without an image or a report are left out and listed with their lines") {
  const ManifestFolder folder;
  const ReportTable table = folder.read(
      "image,report\na.png,\"A\nB\"\nb.png,\" \"\n\"\",Clear.\nnan,Clear.\nb.png,\xC2\xA0\nnone.png,\n");
  REQUIRE(table.pairs.size() == 1);
  CHECK(table.missing.empty());
  CHECK(describe(table.path, table.bad) ==
        table.path +
            ":4: empty report; line 5: no image; line 6: no image; line 7: empty report; line 8: empty "
            "report");
  const ReportTable sections = folder.read("image,findings,impression\na.png,,Normal chest.\nb.png,,\n");
  CHECK(sections.pairs.size() == 1);
  CHECK(describe(sections.path, sections.bad) == sections.path + ":3: empty report");
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
  const ReportTable table = folder.read(
      "image,findings,impression\na.png,nan,Normal chest.\nb.png,NaN,nan\na.png,Clear.,None\nb.png,n/a,NULL\n"
      "b.png,None.,\nb.png,Nan,is well.\n");
  REQUIRE(table.pairs.size() == 4);
  CHECK(table.pairs[0].report == "Normal chest.");
  CHECK(table.pairs[0].findings.empty());
  CHECK(table.pairs[1].report == "Clear.");
  CHECK(table.pairs[2].report == "None.");  // a sentence
  CHECK(table.pairs[3].report == "is well.");
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
  CHECK_THROWS_AS(read_manifest(path, {}, StopToken(flag)), Stopped);
  // A pipe into which nobody writes.
  REQUIRE(::mkfifo((folder / "pipe.csv").c_str(), 0600) == 0);
  std::atomic<bool> later{false};
  std::thread signal([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    later = true;
  });
  CHECK_THROWS_AS(read_manifest(folder / "pipe.csv", {}, StopToken(later)), Stopped);
  signal.join();
}

/// A small Open-I folder: uid 1 whole, uid 2 without impression, uid 3 without any text, uid 4 without
/// images.
struct OpenIFolder : TemporaryFolder {
  OpenIFolder() {
    write("indiana_reports.csv",
          "uid,MeSH,findings,impression\n1,normal,Heart XXXX.,Normal.\n2,x,\"Left, \"\"small\"\"\",\n3,x,,\n"
          "4,x,Seen.,Meant.\n");
    write("indiana_projections.csv",
          "uid,filename,projection\n1,1_f.png,Frontal\n1,1_l.png,Lateral\n2,2_f.png,Frontal\n3,3_f.png,"
          "Frontal\n"
          "4,4_f.png,Frontal\n");
    std::filesystem::create_directory(*this / "images_normalized");
    for (const char* name : {"1_f.png", "1_l.png", "2_f.png", "3_f.png"})
      write_png(*this / (std::string("images_normalized/") + name), make_gray_image(2, 2));
  }
};

TEST_CASE("the two tables of Open-I are joined") {
  const OpenIFolder folder;
  const ReportTable frontal = read_open_i(folder.path());
  REQUIRE(frontal.pairs.size() == 2);
  CHECK(frontal.pairs[0].image == folder / "images_normalized/1_f.png");
  CHECK(frontal.pairs[0].report == "Heart XXXX. Normal.");
  CHECK(frontal.pairs[0].study == "1");
  CHECK(frontal.pairs[0].line == 2);
  CHECK(frontal.pairs[1].report == "Left, \"small\"");
  CHECK(frontal.pairs[1].impression.empty());
  CHECK(frontal.rows == 4);
  CHECK(frontal.without_report == 1);
  CHECK(frontal.missing == std::vector<Path>{folder / "images_normalized/4_f.png"});
  CHECK(frontal.notes.size() == 3);
  CHECK(read_open_i(folder.path(), Projection::lateral).pairs.size() == 1);
  CHECK(read_open_i(folder.path(), Projection::both).pairs.size() == 3);
}

TEST_CASE("an Open-I folder that is not one is refused by name") {
  const OpenIFolder folder;
  const auto with = [&](const std::string& name, const std::string& text) {
    const std::string before = read_file(folder / name);
    folder.write(name, text);
    const std::string message = test::message_of([&] { static_cast<void>(read_open_i(folder.path())); });
    folder.write(name, before);
    return message;
  };
  const auto has = [](const std::string& message, const std::string& part) {
    INFO("message: " << message);
    CHECK(message.find(part) != std::string::npos);
  };
  const std::string projections = "indiana_projections.csv", reports = "indiana_reports.csv";
  has(with(projections, "uid,filename,projection\n1,1_f.png,frontal\n9,1_f.png,Frontal\n1,,Frontal\n"),
      projections + ":2: projection 'frontal' is neither Frontal nor Lateral; line 3: no report of uid '9'");
  has(with(projections, "uid,filename,projection\n1,,Frontal\n"), projections + ":2: no filename");
  has(with(projections, "uid,file,projection\n"), "no column 'filename'");
  has(with(projections, "uid,filename,projection\n"), "no pair");
  has(with(reports, "uid,findings,impression\n1,a,b\n1,c,d\n1,e,f\n"),
      projections + ":2: uid '1' has a second report, " + (folder / reports).string() + ":3");
  has(with(reports, "uid,findings\n"), "no column 'impression'");
  CHECK_MESSAGE_HAS(read_open_i(folder / "none"), "indiana_reports.csv", "No such file");
  std::filesystem::remove_all(folder / "images_normalized");
  CHECK_MESSAGE_HAS(read_open_i(folder.path()), projections, "no pair", "4 of 4 images are missing");
}

TEST_CASE("bad rows of Open-I are listed while the others are read, and character references decoded") {
  const OpenIFolder folder;
  folder.write("indiana_reports.csv",
               "uid,MeSH,findings,impression\n1,normal,Nodule &lt; 3 mm &amp; "
               "calcified.,Size &gt; 1 mm.\n2,x,Left.,\n2,x,Right.,\n"
               "3,x,&nbsp;,\n");
  const ReportTable table = read_open_i(folder.path());
  REQUIRE(table.pairs.size() == 1);
  CHECK(table.pairs[0].report == "Nodule < 3 mm & calcified. Size > 1 mm.");
  CHECK(table.without_report == 1);
  REQUIRE(table.bad.size() == 2);
  CHECK(table.bad[0].line == 4);
  CHECK(table.bad[0].what.find("uid '2' has a second report") == 0);
  CHECK(table.bad[1].what.find("no report of uid '4'") == 0);
}

TEST_CASE("the real tables are read", "[data]") {
  const auto data = test::real_data();
  if (!data) return;
  const ReportTable covid = read_manifest(*data / "covid_cxr/manifest.csv");
  CHECK(covid.pairs.size() == 101);
  CHECK(covid.missing.empty());
  std::set<std::string> patients;
  for (const ReportImagePair& pair : covid.pairs) patients.insert(pair.patient);
  CHECK(patients.count("") == 0);
  CHECK(patients.size() > 10);
  const ReportTable open_i = read_open_i(*data / "open_i", Projection::both);
  CHECK(open_i.rows == 7466);
  CHECK(open_i.rows ==
        static_cast<Index>(open_i.pairs.size() + open_i.missing.size()) + open_i.without_report);
  CHECK(read_csv(*data / "open_i/indiana_reports.csv").rows.size() == 3851);
}

}  // namespace
