#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/temporary_folder.hpp"

#include <vlp/data/collection.hpp>
#include <vlp/data/layouts/open_i.hpp>
#include <vlp/io/csv.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/image.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace {

using namespace vlp;
using namespace vlp::data;
using io::Path;
using vlp::test::TemporaryFolder;

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
      io::write_png(*this / (std::string("images_normalized/") + name), io::make_gray_image(2, 2));
  }
};

TEST_CASE("the two tables of Open-I are joined") {
  const OpenIFolder folder;
  const Collection frontal = layouts::read_open_i(folder.path());
  REQUIRE(frontal.entries.size() == 2);
  CHECK(frontal.entries[0].image == folder / "images_normalized/1_f.png");
  CHECK(frontal.entries[0].report == "Heart XXXX. Normal.");
  CHECK(frontal.entries[0].study == "1");
  CHECK(frontal.entries[0].line == 2);
  CHECK(frontal.entries[1].report == "Left, \"small\"");
  CHECK(frontal.entries[1].impression.empty());
  CHECK(frontal.rows == 4);
  CHECK(frontal.without_report == 1);
  CHECK(frontal.missing == std::vector<Path>{folder / "images_normalized/4_f.png"});
  CHECK(frontal.notes.size() == 3);
  CHECK(layouts::read_open_i(folder.path(), {.projection = layouts::Projection::lateral}).entries.size() ==
        1);
  CHECK(layouts::read_open_i(folder.path(), {.projection = layouts::Projection::both}).entries.size() == 3);
}

TEST_CASE("an Open-I folder that is not one is refused by name") {
  const OpenIFolder folder;
  const auto with = [&](const std::string& name, const std::string& text) {
    const std::string before = io::read_file(folder / name);
    folder.write(name, text);
    const std::string message =
        test::message_of([&] { static_cast<void>(layouts::read_open_i(folder.path())); });
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
  CHECK_MESSAGE_HAS(layouts::read_open_i(folder / "none"), "indiana_reports.csv", "No such file");
  std::filesystem::remove_all(folder / "images_normalized");
  CHECK_MESSAGE_HAS(layouts::read_open_i(folder.path()), projections, "no pair", "4 of 4 images are missing");
}

TEST_CASE("bad rows of Open-I are listed while the others are read, and character references decoded") {
  const OpenIFolder folder;
  folder.write("indiana_reports.csv",
               "uid,MeSH,findings,impression\n1,normal,Nodule &lt; 3 mm &amp; "
               "calcified.,Size &gt; 1 mm.\n2,x,Left.,\n2,x,Right.,\n"
               "3,x,&nbsp;,\n");
  const Collection table = layouts::read_open_i(folder.path());
  REQUIRE(table.entries.size() == 1);
  CHECK(table.entries[0].report == "Nodule < 3 mm & calcified. Size > 1 mm.");
  CHECK(table.without_report == 1);
  REQUIRE(table.bad.size() == 2);
  CHECK(table.bad[0].line == 4);
  CHECK(table.bad[0].what.find("uid '2' has a second report") == 0);
  CHECK(table.bad[1].what.find("no report of uid '4'") == 0);
}

TEST_CASE("the real tables of Open-I are read", "[data]") {
  const auto data = test::real_data();
  if (!data) return;
  const Collection open_i = layouts::read_open_i(*data / "open_i", {.projection = layouts::Projection::both});
  CHECK(open_i.rows == 7466);
  CHECK(open_i.rows ==
        static_cast<Index>(open_i.entries.size() + open_i.missing.size()) + open_i.without_report);
  CHECK(io::read_csv(*data / "open_i/indiana_reports.csv").rows.size() == 3851);
}

}  // namespace
