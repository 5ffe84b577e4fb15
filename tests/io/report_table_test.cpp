#include "support/temporary_folder.hpp"

#include <vlp/io/image.hpp>
#include <vlp/io/report_table.hpp>

#include <set>
#include <string>
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

TEST_CASE("the group is the column asked for, else group, else patient") {
  const ManifestFolder folder;
  const std::string text = "image,report,patient,group,study\na.png,Clear.,p,g,s\n";
  CHECK(folder.read(text).pairs[0].group == "g");
  CHECK(folder.read(text, {.group_column = "study"}).pairs[0].group == "s");
  CHECK(folder.read("image,report,patient\na.png,Clear.,p\n").pairs[0].group == "p");
  CHECK_MESSAGE_HAS(folder.read(text, {.group_column = "clinic"}), "manifest.csv", "'clinic'", "study");
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
  CHECK_MESSAGE_HAS(folder.read("image,report\na.png,\"A\nB\"\nb.png,\" \"\n"), file + ":4", "empty report");
  CHECK_MESSAGE_HAS(folder.read("image,findings,impression\na.png,,\n"), file + ":2", "empty report");
  CHECK_MESSAGE_HAS(folder.read("image,report\n\"\",Clear.\n"), file + ":2", "no image");
  CHECK_MESSAGE_HAS(folder.read("image,report\n"), file, "no pair", "no rows");
  CHECK_MESSAGE_HAS(folder.read("image,report\na.png\n"), file + ":2", "1 fields");
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
  CHECK(frontal.pairs[0].group == "1");
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
  has(with(projections, "uid,filename,projection\n1,1_f.png,frontal\n"),
      projections + ":2: projection 'frontal'");
  has(with(projections, "uid,filename,projection\n9,1_f.png,Frontal\n"),
      projections + ":2: no report of uid 9");
  has(with(projections, "uid,file,projection\n"), "no column 'filename'");
  has(with(projections, "uid,filename,projection\n"), "no pair");
  has(with(reports, "uid,findings,impression\n1,a,b\n1,c,d\n"), reports + ":3: a second report of uid 1");
  has(with(reports, "uid,findings\n"), "no column 'impression'");
  CHECK_MESSAGE_HAS(read_open_i(folder / "none"), "indiana_reports.csv", "No such file");
  std::filesystem::remove_all(folder / "images_normalized");
  CHECK_MESSAGE_HAS(read_open_i(folder.path()), projections, "no pair", "4 of 4 images are missing");
}

TEST_CASE("the real tables are read", "[data]") {
  const auto data = test::real_data();
  if (!data) return;
  const ReportTable covid = read_manifest(*data / "covid_cxr/manifest.csv");
  CHECK(covid.pairs.size() == 101);
  CHECK(covid.missing.empty());
  std::set<std::string> patients;
  for (const ReportImagePair& pair : covid.pairs) patients.insert(pair.group);
  CHECK(patients.count("") == 0);
  CHECK(patients.size() > 10);
  const ReportTable open_i = read_open_i(*data / "open_i", Projection::both);
  CHECK(open_i.rows == 7466);
  CHECK(open_i.rows ==
        static_cast<Index>(open_i.pairs.size() + open_i.missing.size()) + open_i.without_report);
  CHECK(read_csv(*data / "open_i/indiana_reports.csv").rows.size() == 3851);
}

}  // namespace
