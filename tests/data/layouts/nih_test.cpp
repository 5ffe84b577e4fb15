#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/temporary_folder.hpp"

#include <vlp/core/stop.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/label_counts.hpp>
#include <vlp/data/layouts/all.hpp>
#include <vlp/data/layouts/nih.hpp>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace vlp;
using namespace vlp::data;
using io::Path;
using vlp::test::TemporaryFolder;

const std::string header =
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View "
    "Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n";

std::string row(const std::string& image, const std::string& findings, const std::string& patient = "1") {
  return image + "," + findings + ",0," + patient + ",58,M,PA,2682,2749,0.143,0.143,\n";
}

/// A folder with four images in the folders that NIH distributes, and lists of splits.
struct NihFolder : TemporaryFolder {
  NihFolder() {
    add_image("images/1_000.png");
    add_image("images_001/images/1_001.png");
    add_image("images_012/images/2_000.png");
    add_image("images_002/3_000.png");
    write("train_val_list.txt", "1_000.png\r\n1_001.png\r\n3_000.png\r\n");
    write("test_list.txt", "2_000.png\n\n4_000.png");
  }
  void add_image(const std::string& name) const {
    std::filesystem::create_directories((*this / name).parent_path());
    write(name, "image");
  }
  [[nodiscard]] Collection read(const std::string& rows, const layouts::Options& options = {}) const {
    write("Data_Entry_2017.csv", header + rows);
    return layouts::read_nih(path(), options);
  }
};

TEST_CASE("NIH's tables and lists give images with labels, patients and splits") {
  const NihFolder folder;
  const Collection collection =
      folder.read(row("1_000.png", "Cardiomegaly|Effusion") + row("1_001.png", "No Finding") +
                  row("2_000.png", "Pleural_Thickening", "2") + row("3_000.png", "Mass | Hernia", "3") +
                  row("4_000.png", "Edema", "4"));
  REQUIRE(collection.entries.size() == 4);
  CHECK(collection.rows == 5);
  CHECK(collection.bad.empty());
  CHECK(collection.missing == std::vector<Path>{folder / "images/4_000.png"});
  CHECK(collection.labels.size() == 15);
  const Entry& first = collection.entries[0];
  CHECK(first.image == folder / "images/1_000.png");
  CHECK(first.patient == "1");
  CHECK(first.study == "0");
  CHECK(first.split == "train");
  CHECK(first.line == 2);
  CHECK(collection.entries[1].image == folder / "images_001/images/1_001.png");
  CHECK(collection.entries[2].image == folder / "images_012/images/2_000.png");
  CHECK(collection.entries[2].split == "test");
  CHECK(collection.entries[3].image == folder / "images_002/3_000.png");
  const auto positive = [&](std::size_t entry) {
    std::string names;
    for (std::size_t i = 0; i < collection.labels.size(); ++i) {
      const Label label = collection.entries[entry].labels[i];
      CHECK((label == Label::positive || label == Label::negative));
      if (label == Label::positive) names += collection.labels[i] + ";";
    }
    return names;
  };
  CHECK(positive(0) == "Cardiomegaly;Effusion;");
  CHECK(positive(1) == "No Finding;");
  CHECK(positive(2) == "Pleural_Thickening;");
  CHECK(positive(3) == "Hernia;Mass;");
  CHECK(layouts::read("nih:" + folder.path().string()).entries.size() == 4);
  CHECK_MESSAGE_HAS(folder.read(row("1_000.png", "Mass"), {.projection = layouts::Projection::lateral}),
                    "frontal images alone");
}

TEST_CASE("NIH's second table is read where the first is not there, and lists may be absent") {
  const NihFolder folder;
  folder.write("Data_Entry_2017_v2020.csv", "Image Index,Finding Labels\n1_000.png,Nodule\n");
  std::filesystem::remove(folder / "train_val_list.txt");
  CHECK_MESSAGE_HAS(layouts::read_nih(folder.path()), "train_val_list.txt", "No such file");
  std::filesystem::remove(folder / "test_list.txt");
  const Collection collection = layouts::read_nih(folder.path());
  REQUIRE(collection.entries.size() == 1);
  CHECK(collection.entries[0].split.empty());
  CHECK(collection.entries[0].patient.empty());
  CHECK(collection.notes.front().find("no train_val_list.txt and no test_list.txt") != std::string::npos);
  folder.write("Data_Entry_2017.csv", "Image Index,Finding Labels\n1_001.png,Nodule\n");
  CHECK(layouts::read_nih(folder.path()).entries[0].image.filename() == "1_001.png");
  CHECK_MESSAGE_HAS(layouts::read_nih(folder / "none"), "Data_Entry_2017.csv", "No such file");
  folder.write("Data_Entry_2017.csv", "Image Index,Labels\n");
  CHECK_MESSAGE_HAS(layouts::read_nih(folder.path()), "no column 'Finding Labels'");
}

TEST_CASE("an image of NIH is a file, the first by its folder's name where several have it") {
  const NihFolder folder;
  std::filesystem::create_directory(folder / "images/2_000.png");
  for (const char* number : {"9", "7", "5", "8", "4", "6", "3"})
    folder.add_image(concat("images_00", number, "/images/3_001.png"));
  folder.add_image("images_011/1_000.png");
  folder.write("train_val_list.txt", "1_000.png\n3_001.png\n");
  const Collection collection =
      folder.read(row("1_000.png", "Mass") + row("2_000.png", "Mass") + row("3_001.png", "Mass"));
  REQUIRE(collection.entries.size() == 3);
  CHECK(collection.entries[0].image == folder / "images/1_000.png");
  CHECK(collection.entries[1].image == folder / "images_012/images/2_000.png");
  CHECK(collection.entries[2].image == folder / "images_003/images/3_001.png");
}

TEST_CASE("NIH's boxes are those of their images and findings") {
  const NihFolder folder;
  const std::string boxes = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n";
  folder.write("BBox_List_2017.csv", boxes +
                                         "1_000.png,Effusion,225.5,547,86.25,79.5,,,\n"
                                         "1_000.png,Infiltrate,0,0,1024,1024,,,\n9_000.png,Mass,1,1,1,1,,,\n"
                                         "1_000.png,Pneumonitis,1,1,1,1,,,\n1_000.png,Mass,1,-1,1,1,,,\n");
  const Collection collection = folder.read(row("1_000.png", "Effusion") + row("1_001.png", "Mass"));
  REQUIRE(collection.entries.size() == 2);
  const auto& first = collection.entries[0].boxes;
  REQUIRE(first.size() == 2);
  CHECK(collection.labels[first[0].label] == "Effusion");
  CHECK(first[0].box == eval::Box{225.5, 547, 311.75, 626.5});
  CHECK(collection.labels[first[1].label] == "Infiltration");
  CHECK(collection.entries[1].boxes.empty());
  CHECK(describe(collection.path, collection.bad) ==
        (folder / "BBox_List_2017.csv").string() +
            ":5: Finding Label 'Pneumonitis' is no label of NIH; line 6: the box's y is '-1', but must be a "
            "number of pixels from 0");
  CHECK(collection.notes.front() ==
        collection.path +
            ": BBox_List_2017.csv has boxes of 1 images that this table does not name; they are left out");
  folder.write("BBox_List_2017.csv", "Image Index,Finding Label,x,y,w,h\n");
  CHECK_MESSAGE_HAS(folder.read(row("1_000.png", "Effusion")), "BBox_List_2017.csv", "no column 'Bbox [x'");
}

TEST_CASE("every bad row of NIH is named") {
  const NihFolder folder;
  folder.write("outside.png", "image");
  folder.write("test_list.txt", "2_000.png\n3_000.png\n");
  const std::vector<std::pair<std::string, std::string>> bad{
      {row("1_001.png", "Effusion|Tuberculosis"),
       "Finding Labels name 'Tuberculosis', which is no label of NIH"},
      {row("1_001.png", ""), "its image stands in line 3 too"},
      {row("2_000.png", ""), "no Finding Labels"},
      {row("2_001.png", "No Finding|Mass"), "Finding Labels name 'No Finding' and a finding"},
      {row("2_002.png", "Mass||Hernia"), "Finding Labels name '', which"},
      {row("3_000.png", "Mass"), "its image is both in train_val_list.txt and in test_list.txt"},
      {row("5_000.png", "Mass"), "its image is neither in train_val_list.txt nor in test_list.txt"},
      {row("", "Mass"), "no Image Index"},
      {row("../outside.png", "Mass"), "Image Index '../outside.png' is not the name of a file"},
      {row("..", "Mass"), "Image Index '..' leaves its folder"}};
  std::string rows = row("1_000.png", "Mass");
  for (const auto& [text, what] : bad) rows += text;
  const Collection collection = folder.read(rows);
  CHECK(collection.entries.size() == 1);
  CHECK(collection.rows == static_cast<Index>(bad.size()) + 1);
  REQUIRE(collection.bad.size() == bad.size());
  for (std::size_t i = 0; i < bad.size(); ++i) {
    INFO(collection.bad[i].what);
    CHECK(collection.bad[i].line == static_cast<Index>(i) + 3);
    CHECK(collection.bad[i].what.find(bad[i].second) != std::string::npos);
  }
  CHECK_MESSAGE_HAS(folder.read(bad[0].first), "no image with labels",
                    "Data_Entry_2017.csv:2: Finding Labels");
  CHECK_MESSAGE_HAS(folder.read(row("4_000.png", "Mass")), "no image with labels");
  folder.write("test_list.txt", std::string("2_000.png\nx\0y\n", 14));
  CHECK_MESSAGE_HAS(folder.read(row("1_000.png", "Mass")), "test_list.txt:2", "zero byte");
  const std::atomic<bool> stop{true};
  CHECK_THROWS_AS(folder.read(row("1_000.png", "Mass"), {.stop = StopToken(stop)}), Stopped);
}

TEST_CASE("the real tables of NIH have the rows that are published", "[data]") {
  const auto folder = test::real_collection("nih");
  if (!folder) return;
  const Collection collection = layouts::read_nih(*folder);
  CHECK(collection.rows == 112120);
  CHECK(collection.bad.empty());
  if (!collection.missing.empty()) return;
  const auto test = std::count_if(collection.entries.begin(), collection.entries.end(),
                                  [](const Entry& entry) { return entry.split == "test"; });
  CHECK((test == 0 || test == 25596));
}

}  // namespace
