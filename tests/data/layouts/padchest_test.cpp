#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/temporary_folder.hpp"

#include <rapidcheck.h>

#include <vlp/core/stop.hpp>
#include <vlp/core/text_encoding.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/layouts/all.hpp>
#include <vlp/data/layouts/padchest.hpp>

#include <atomic>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace vlp;
using namespace vlp::data;
using io::Path;
using layouts::Projection;
using layouts::detail::parse_python_list;
using vlp::test::TemporaryFolder;

const std::string table = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv";
const std::string header =
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,"
    "Projection,MethodProjection,Pediatric,ReportID,Report,MethodLabel,Labels,labelCUIS\n";

std::string row(const std::string& image, const std::string& labels, const std::string& view = "PA") {
  return "0," + image + ",0,20140915,s1,p1,1930.0,F,POSTEROANTERIOR," + view +
         ",Manual review of DICOM fields,No,4765777,sin hallazg .,Physician,\"" + labels +
         "\",['C0205307']\n";
}

/// A folder with images in it, in `0/` and in `images/`.
struct PadChestFolder : TemporaryFolder {
  PadChestFolder() {
    for (const char* folder : {"0", "images"}) std::filesystem::create_directory(*this / folder);
    for (const char* name : {"a.png", "0/b.png", "images/c.png"}) write(name, "image");
  }
  [[nodiscard]] Collection read(const std::string& rows, const layouts::Options& options = {}) const {
    write(table, header + rows);
    return layouts::read_padchest(path(), options);
  }
};

TEST_CASE("PadChest's lists of labels are those of Python") {
  using List = std::vector<std::string>;
  CHECK(parse_python_list("['normal']") == List{"normal"});
  CHECK(parse_python_list(" [ 'a' ,\"b's\",' c d ', '' ] ") == List{"a", "b's", "c d"});
  CHECK(parse_python_list("['it\\'s', 'a\\\\b']") == List{"it's", "a\\b"});
  CHECK(parse_python_list("[]") == List{});
  CHECK(parse_python_list("['a',]") == List{"a"});
  for (const char* text : {"", "[", "]", "'a'", "['a", "['a'", "['a]", "[a]", "['a' 'b']", "['a', b]",
                           "['a\\]", "[,'a']", "['a',,'b']", "['a']x", "['a'']", "['a\\xa0']", "['\\n']"})
    CHECK(parse_python_list(text) == std::nullopt);
}

TEST_CASE("any list that Python writes is read back") {
  CHECK(rc::check([] {
    const auto items = *rc::gen::container<std::vector<std::string>>(
        rc::gen::container<std::string>(rc::gen::elementOf(std::string("ab'\"\\,[] "))));
    std::string text = "[";
    std::vector<std::string> expected;
    for (const std::string& item : items) {
      // As Python does: in single quotes, or in double ones where there are single ones and no double.
      const char quote = item.find('\'') != item.npos && item.find('"') == item.npos ? '"' : '\'';
      text += text.size() > 1 ? ", " : "";
      text += quote;
      for (const char c : item) {
        if (c == quote || c == '\\') text += '\\';
        text += c;
      }
      text += quote;
      if (const std::string_view name = trimmed(item); !name.empty()) expected.emplace_back(name);
    }
    RC_ASSERT(parse_python_list(text + "]") == expected);
  }));
}

TEST_CASE("PadChest's table gives images with all labels that are met") {
  const PadChestFolder folder;
  const std::string rows = row("a.png", "['pulmonary edema', ' cardiomegaly']") +
                           row("b.png", "['normal']", "AP") + row("c.png", "", "AP_horizontal") +
                           row("d.png", "['d']") + row("e.png", "['e']", "L") +
                           row("f.png", "['f']", "COSTAL");
  const Collection frontal = folder.read(rows);
  REQUIRE(frontal.entries.size() == 3);
  CHECK(frontal.rows == 4);
  CHECK(frontal.missing == std::vector<Path>{folder / "images/d.png"});
  CHECK(frontal.labels == std::vector<std::string>{"cardiomegaly", "d", "normal", "pulmonary edema"});
  using enum Label;
  CHECK(frontal.entries[0].labels == std::vector<Label>{positive, negative, negative, positive});
  CHECK(frontal.entries[1].labels == std::vector<Label>{negative, negative, positive, negative});
  CHECK(frontal.entries[2].labels == std::vector<Label>{unknown, unknown, unknown, unknown});
  CHECK(frontal.entries[0].image == folder / "a.png");
  CHECK(frontal.entries[1].image == folder / "0/b.png");
  CHECK(frontal.entries[2].image == folder / "images/c.png");
  CHECK(frontal.entries[0].patient == "p1");
  CHECK(frontal.entries[0].study == "s1");
  CHECK(frontal.entries[0].split.empty());
  CHECK(frontal.entries[2].line == 4);
  CHECK(frontal.bad.empty());
  REQUIRE(frontal.notes.size() == 4);
  CHECK(frontal.notes[0].find("1 images are left out, for their projection is neither") != std::string::npos);
  CHECK(frontal.notes[1].find("1 images have no Labels") != std::string::npos);
  CHECK(folder.read(rows, {.projection = Projection::both}).rows == 5);
  CHECK_MESSAGE_HAS(folder.read(rows, {.projection = Projection::lateral}), "1 of 1 images are missing",
                    "e.png");
  CHECK(layouts::read("padchest:" + folder.path().string()).entries.size() == 3);
}

TEST_CASE("every bad row of PadChest is named") {
  const PadChestFolder folder;
  folder.write("x", "image");
  const std::vector<std::pair<std::string, std::string>> bad{
      {row("b.png", "normal"), "Labels are 'normal', which is no list"},
      {row("b.png", "['normal']"), "its image stands on line 3 too"},
      {row("", "['normal']"), "no ImageID"},
      {row("../x", "['normal']"), "ImageID '../x' is not the name of a file"},
      {row("..", "['normal']"), "ImageID '..' leaves its folder"}};
  std::string rows = row("a.png", "['normal']");
  for (const auto& [text, what] : bad) rows += text;
  const Collection collection = folder.read(rows);
  CHECK(collection.entries.size() == 1);
  CHECK(collection.rows == 6);
  REQUIRE(collection.bad.size() == bad.size());
  for (std::size_t i = 0; i < bad.size(); ++i) {
    CHECK(collection.bad[i].line == static_cast<Index>(i) + 3);
    CHECK(collection.bad[i].what == bad[i].second);
  }
  CHECK_MESSAGE_HAS(folder.read(bad[0].first), "no image with labels", table + ":2: Labels are");
  CHECK_MESSAGE_HAS(folder.read(row("a.png", "") + row("b.png", "[]")), table,
                    "2 images, of which none has a label");
  std::string many = "['0'";
  for (int i = 1; i <= 1000; ++i) many += concat(",'", i, "'");
  CHECK_MESSAGE_HAS(folder.read(row("a.png", many + "]")), table, "more than 1000 different labels");
  folder.write(table, "ImageID,StudyID,PatientID,Projection\n");
  CHECK_MESSAGE_HAS(layouts::read_padchest(folder.path()), "no column 'Labels'");
  CHECK_MESSAGE_HAS(layouts::read_padchest(folder / "none"), table, "No such file");
  const std::atomic<bool> stop{true};
  CHECK_THROWS_AS(folder.read(rows, {.stop = StopToken(stop)}), Stopped);
}

TEST_CASE("the real table of PadChest is read", "[data]") {
  const auto folder = test::real_collection("padchest");
  if (!folder) return;
  const Collection collection = layouts::read_padchest(*folder, {.projection = Projection::both});
  CHECK(collection.rows > 150000);
  CHECK(collection.bad.empty());
  CHECK(collection.labels.size() > 100);
}

}  // namespace
