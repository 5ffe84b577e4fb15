#include "support/catch.hpp"
#include "support/gzip.hpp"
#include "support/messages.hpp"
#include "support/temporary_folder.hpp"

#include <vlp/core/stop.hpp>
#include <vlp/data/chexpert_classes.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/label_counts.hpp>
#include <vlp/data/layouts/all.hpp>
#include <vlp/data/layouts/chexpert.hpp>
#include <vlp/data/split.hpp>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <string>
#include <vector>

namespace {

using namespace vlp;
using namespace vlp::data;
using io::Path;
using layouts::Projection;
using vlp::test::TemporaryFolder;

const std::string header =
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung "
    "Lesion,Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural "
    "Other,Fracture,Support Devices\n";
const std::string view1 = "patient00001/study1/view1_frontal.jpg",
                  view2 = "patient00002/study2/view1_frontal.jpg",
                  view3 = "patient00002/study1/view2_lateral.jpg",
                  view4 = "patient64541/study1/view1_frontal.jpg";
const std::string train = header + "CheXpert-v1.0-small/train/" + view1 +
                          ",Female,68,Frontal,AP,1.0,,,,,,,,,0.0,,,,1.0\n"
                          "CheXpert-v1.0-small/train/" +
                          view2 +
                          ",Female,87,Frontal,AP,,,-1.0,1.0,,-1.0,-1.0,,-1.0,,-1.0,,1.0,\n"
                          "CheXpert-v1.0-small/train/" +
                          view3 + ",Female,83,Lateral,,,,,1.0,,,-1.0,,,,,,1.0,\n";
const std::string valid = header + "CheXpert-v1.0-small/valid/" + view4 +
                          ",Male,73,Frontal,AP,0.0,1.0,1.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0\n";

/// A folder "chex" with tables and images, in a folder that may have others.
struct ChexpertFolder : TemporaryFolder {
  ChexpertFolder() {
    std::filesystem::create_directory(*this / "chex");
    write("chex/train.csv", train);
    write("chex/valid.csv", valid);
    for (const std::string& image : {view1, view2, view3}) add_image("chex/train/" + image);
    add_image("chex/valid/" + view4);
  }
  void add_image(const std::string& name) const {
    std::filesystem::create_directories((*this / name).parent_path());
    write(name, "image");
  }
  [[nodiscard]] Path folder() const { return *this / "chex"; }
  [[nodiscard]] Collection read(const layouts::Options& options = {}) const {
    return layouts::read_chexpert(folder(), options);
  }
  /// Reads `rows` for train.csv, without a valid.csv.
  [[nodiscard]] Collection read_rows(const std::string& rows, const layouts::Options& options = {}) const {
    write("chex/train.csv", header + rows);
    std::filesystem::remove(*this / "chex/valid.csv");
    return read(options);
  }
};

/// The rest of a frontal row with fourteen labels, of which Edema is given.
std::string rest(const std::string& edema = "") {
  return ",Male,50,Frontal,PA,,,,,," + edema + ",,,,,,,,\n";
}

TEST_CASE("CheXpert's tables give images with patients, studies, splits and labels") {
  const ChexpertFolder folder;
  const Collection all = folder.read({.projection = Projection::both});
  REQUIRE(all.entries.size() == 4);
  CHECK(all.path == folder.folder().string());
  CHECK(all.rows == 4);
  CHECK(all.bad.empty());
  CHECK(all.missing.empty());
  CHECK(std::equal(all.labels.begin(), all.labels.end(), chexpert_labels.begin(), chexpert_labels.end()));
  const Entry& first = all.entries[0];
  CHECK(first.image == folder.folder() / ("train/" + view1));
  CHECK(first.patient == "patient00001");
  CHECK(first.study == "study1");
  CHECK(first.split == "train");
  CHECK(first.report.empty());
  CHECK(first.line == 2);
  CHECK(first.table == (folder.folder() / "train.csv").string());
  using enum Label;
  CHECK(first.labels == std::vector<Label>{positive, unknown, unknown, unknown, unknown, unknown, unknown,
                                           unknown, unknown, negative, unknown, unknown, unknown, positive});
  CHECK(all.entries[1].labels == std::vector<Label>{unknown, unknown, uncertain, positive, unknown, uncertain,
                                                    uncertain, unknown, uncertain, unknown, uncertain,
                                                    unknown, positive, unknown});
  CHECK(all.entries[2].patient == "patient00002");
  CHECK(all.entries[3].split == "valid");
  CHECK(all.entries[3].line == 2);
  CHECK(all.entries[3].table == (folder.folder() / "valid.csv").string());
  CHECK(label_counts(all)[6] == LabelCounts{"Consolidation", 0, 1, 2, 1});
  CHECK(all.notes ==
        std::vector<std::string>{all.path + ": there is no test.csv", all.path + ": 4 images with labels"});
  CHECK(choose_held_out(all, group_entries(all), 0.1).held_out == std::vector<char>{0, 0, 0, 1});

  CHECK(folder.read().entries.size() == 3);
  const Collection lateral = folder.read({.projection = Projection::lateral});
  REQUIRE(lateral.entries.size() == 1);
  CHECK(lateral.rows == 1);
  CHECK(lateral.entries[0].line == 4);
  CHECK(layouts::read("chexpert:" + folder.folder().string()).entries.size() == 3);
}

TEST_CASE("CheXpert's images are found whatever its folder is called and wherever it lies") {
  const ChexpertFolder folder;
  const auto at = [&](const std::string& name) {
    const Collection collection = folder.read_rows("CheXpert-v1.0-small/train/" + view1 + rest());
    CHECK(collection.entries.at(0).image == folder.folder() / name);
  };
  at("train/" + view1);
  std::filesystem::remove_all(folder / "chex/train");
  folder.add_image("chex/CheXpert-v1.0 batch 2 (train 1)/" + view1);
  at("CheXpert-v1.0 batch 2 (train 1)/" + view1);
  std::filesystem::rename(folder / "chex/CheXpert-v1.0 batch 2 (train 1)",
                          folder / "CheXpert-v1.0 batch 2 (train 1)");
  CHECK(std::filesystem::equivalent(
      folder.read_rows("CheXpert-v1.0/train/" + view1 + rest()).entries.at(0).image,
      folder / ("CheXpert-v1.0 batch 2 (train 1)/" + view1)));
  // Where several batches have an image, the first by name gives it; another folder is no batch.
  for (const char* batch : {"9", "7", "5", "8", "4", "6", "3"})
    folder.add_image(concat("chex/CheXpert-v1.0 batch ", batch, " (train)/", view1));
  folder.add_image("chex/A batch 1/" + view1);
  at("CheXpert-v1.0 batch 3 (train)/" + view1);
  folder.add_image("chex/CheXpert-v1.0 batch 1 (validate & csv)/train/" + view1);
  at("CheXpert-v1.0 batch 1 (validate & csv)/train/" + view1);
  folder.add_image("CheXpert-v1.0-small/train/" + view1);
  at("../CheXpert-v1.0-small/train/" + view1);
  folder.add_image("chex/CheXpert-v1.0-small/train/" + view1);
  at("CheXpert-v1.0-small/train/" + view1);
}

TEST_CASE("CheXpert's tables are read packed, and the one that is not packed before that which is") {
  const ChexpertFolder folder;
  folder.write("chex/train.csv.gz", test::gzip(header + "x/train/" + view1 + rest()));
  CHECK(folder.read().entries.size() == 3);
  std::filesystem::remove(folder / "chex/train.csv");
  const Collection packed = folder.read();
  REQUIRE(packed.entries.size() == 2);
  CHECK(packed.entries[0].table == (folder.folder() / "train.csv.gz").string());
  std::filesystem::remove(folder / "chex/train.csv.gz");
  CHECK(folder.read().notes.front() == folder.folder().string() + ": there is no train.csv and no test.csv");
}

TEST_CASE("a test set of CheXpert without all columns is read, and what it lacks is said") {
  const ChexpertFolder folder;
  folder.add_image("chex/test/patient64741/study1/view1_frontal.jpg");
  folder.add_image("chex/test/patient64741/study1/view2_lateral.jpg");
  // The folder's name tells no projection.
  folder.write(
      "chex/test.csv",
      "Path,Edema,Cardiomegaly\ntest/patient64741/study1/view1_frontal.jpg,1,0\n"
      "a_frontal/test/patient64741/study1/view2_lateral.jpg,1,0\ntest/patient64742/study1/view1.jpg,1,0\n");
  const Collection frontal = folder.read();
  REQUIRE(frontal.entries.size() == 4);
  CHECK(frontal.entries[3].split == "test");
  CHECK(frontal.entries[3].labels[5] == Label::positive);
  CHECK(frontal.entries[3].labels[2] == Label::negative);
  CHECK(frontal.entries[3].labels[0] == Label::unknown);
  REQUIRE(frontal.bad.size() == 1);
  CHECK(frontal.bad[0].line == 4);
  CHECK(frontal.bad[0].what == "Path 'test/patient64742/study1/view1.jpg' has neither _frontal nor _lateral");
  CHECK(
      frontal.notes.front() ==
      (folder.folder() / "test.csv").string() +
          ": no columns of No Finding, Enlarged Cardiomediastinum, Lung Opacity, Lung Lesion, Consolidation, "
          "Pneumonia, Atelectasis, Pneumothorax, Pleural Effusion, Pleural Other, Fracture, Support Devices; "
          "they are unknown here");
  CHECK(folder.read({.projection = Projection::lateral}).entries.size() == 2);
}

TEST_CASE("a table of CheXpert's studies gives all images of each") {
  const ChexpertFolder folder;
  for (const char* name : {"view3_frontal.jpg", "view9_lateral.jpg", "view7_lateral.jpg", "view8_lateral.jpg",
                           "view6_lateral.jpg", "view1_frontal.jpg", "notes.txt"})
    folder.add_image(concat("chex/test/patient64741/study1/", name));
  // The first has images in two places.
  for (const char* image : {"patient64741/study1/view1_frontal.jpg", "patient64742/study1/view2_frontal.jpg"})
    folder.add_image(concat("CheXpert-v1.0/test/", image));
  folder.add_image("chex/CheXpert-v1.0/test/patient64744/study1/view5_frontal.jpg");
  // A projection of a study says nothing of its images.
  folder.write("chex/test.csv",
               "Study,No Finding,Edema,Frontal/Lateral\nCheXpert-v1.0/test/patient64741/study1,0,1,Lateral\n"
               "CheXpert-v1.0/test/patient64742/study1,1,0,\nCheXpert-v1.0/test/patient64743/study1,1,0,\n"
               "../test/patient64741/study1,0,0,\n,0,0,\nCheXpert-v1.0/test/patient64742/study1,2,0,\n"
               "CheXpert-v1.0/test/patient64742/study1,1,0,\nCheXpert-v1.0/test/patient64744/study1,1,0,\n");
  const Collection frontal = folder.read();
  REQUIRE(frontal.entries.size() == 7);
  const Path study = folder.folder() / "test/patient64741/study1";
  CHECK(frontal.entries[3].image == study / "view1_frontal.jpg");
  CHECK(frontal.entries[4].image == study / "view3_frontal.jpg");
  CHECK(frontal.entries[4].patient == "patient64741");
  CHECK(frontal.entries[4].study == "study1");
  CHECK(frontal.entries[4].split == "test");
  CHECK(frontal.entries[4].line == 2);
  CHECK(frontal.entries[4].labels[5] == Label::positive);
  CHECK(frontal.entries[5].image ==
        folder.folder() / "../CheXpert-v1.0/test/patient64742/study1/view2_frontal.jpg");
  CHECK(frontal.entries[6].image ==
        folder.folder() / "CheXpert-v1.0/test/patient64744/study1/view5_frontal.jpg");
  CHECK(frontal.missing == std::vector<Path>{
                               folder.folder() / "test/patient64743/study1/view1_frontal.jpg",
                           });
  REQUIRE(frontal.bad.size() == 4);
  CHECK(frontal.bad[0].what == "Study '../test/patient64741/study1/view1_frontal.jpg' leaves its folder");
  CHECK(frontal.bad[1].what == "no Study");
  CHECK(frontal.bad[2].what == "'No Finding' is '2', but a label is 1, 0, -1 or empty");
  CHECK(frontal.bad[3].what == "its image stands in " + (folder.folder() / "test.csv").string() + ":3 too");
  CHECK(folder.read({.projection = Projection::both}).entries.size() == 12);
  const Collection lateral = folder.read({.projection = Projection::lateral});
  REQUIRE(lateral.entries.size() == 5);
  for (const std::size_t i : {1, 2, 3, 4})
    CHECK(lateral.entries[i].image == study / concat("view", i + 5, "_lateral.jpg"));
}

TEST_CASE("every bad row of CheXpert is named, with column and value") {
  const ChexpertFolder folder;
  folder.write("outside.jpg", "image");
  const std::string path = "x/train/" + view1;
  const std::vector<std::pair<std::string, std::string>> bad{
      {path + rest("2.0"), "'Edema' is '2.0', but a label is 1, 0, -1 or empty"},
      {path + ",Male,50,Frontal,PA,a,b,,,,0.5,,,,,,,,x\n",
       "'No Finding' is 'a' and 'Enlarged Cardiomediastinum' is 'b' and 'Edema' is '0.5' and so on in 1 more "
       "columns, but a label is 1, 0, -1 or empty"},
      {path + ",Male,50,frontal,PA,,,,,,,,,,,,,,\n", "Frontal/Lateral is 'frontal'"},
      {rest(), "no Path"},
      {"nan" + rest(), "no Path"},
      {"../../etc/passwd" + rest(), "Path '../../etc/passwd' leaves its folder"},
      {"x/../" + view1 + rest(), "Path 'x/../" + view1 + "' leaves its folder"},
      {(folder / "outside.jpg").string() + rest(), " is not relative to its folder"},
      {"x//" + view1 + rest(), " has an empty part"},
      {"x/./" + view1 + rest(), " has an empty part"},
      {"\"x/train/patient1/study1/a\nb.jpg\"" + rest(), " has a control character"},
      {"x/train/view1_frontal.jpg" + rest(), " does not end in a patient, a study and a file"},
      {"train/p1/study1/view1_frontal.jpg" + rest(), " does not end in a patient, a study and a file"},
      {"study1/patient1/view1_frontal.jpg" + rest(), " does not end in a patient, a study and a file"},
      {std::string(1 << 20, 'p') + rest(), "more than a path here may have"},
      {"x/train/" + view2 + rest(),
       "its image stands in " + (folder.folder() / "train.csv").string() + ":2 too"}};
  std::string rows = "x/train/" + view2 + rest();
  for (const auto& [row, what] : bad) rows += row;
  const Collection collection = folder.read_rows(rows);
  CHECK(collection.entries.size() == 1);
  CHECK(collection.rows == static_cast<Index>(bad.size()) + 1);
  REQUIRE(collection.bad.size() == bad.size());
  for (std::size_t i = 0; i < bad.size(); ++i) {
    INFO(collection.bad[i].what);
    CHECK(collection.bad[i].what.find(bad[i].second) != std::string::npos);
    CHECK(collection.bad[i].what.size() < 300);
  }
  // Line 12 takes two, for the file's name has a line break.
  CHECK(collection.bad[10].line == 13);
  CHECK(collection.bad[11].line == 15);
  CHECK_MESSAGE_HAS(folder.read_rows(bad[0].first), "no image with labels", "train.csv:2: 'Edema' is '2.0'");
  CHECK_MESSAGE_HAS(folder.read_rows(std::string("x\0y", 3) + rest()), "train.csv:2", "zero byte");
}

TEST_CASE("a folder that is not CheXpert is refused with what is there") {
  const ChexpertFolder folder;
  CHECK_MESSAGE_HAS(layouts::read_chexpert(folder.path()), folder.path().string(),
                    "there is no train.csv and no valid.csv and no test.csv");
  CHECK_MESSAGE_HAS(layouts::read_chexpert(folder / "none"), "none", "there is no train.csv");
  folder.write("df_chexpert_plus_240401.csv", "x\n");
  CHECK_MESSAGE_HAS(layouts::read_chexpert(folder.path()), "CheXpert Plus");
  folder.write("train.csv", "path_to_image,report\nx,y\n");
  CHECK_MESSAGE_HAS(layouts::read_chexpert(folder.path()), "train.csv", "CheXpert Plus");
  folder.write("train.csv", "path,Edema\nx,0\n");
  CHECK_MESSAGE_HAS(layouts::read_chexpert(folder.path()), "train.csv", "no column 'Path'");
  folder.write("train.csv", "Path,edema\nx,0\n");
  CHECK_MESSAGE_HAS(layouts::read_chexpert(folder.path()), "train.csv", "no column of a label (No Finding, ");
  folder.write("train.csv", "Path,Edema,Edema\nx,0,1\n");
  CHECK_MESSAGE_HAS(layouts::read_chexpert(folder.path()), "two columns are called 'Edema'");
  folder.write("train.csv", header);
  CHECK_MESSAGE_HAS(layouts::read_chexpert(folder.path()), "no image with labels", "no rows");
  folder.write("train.csv", train);
  CHECK_MESSAGE_HAS(layouts::read_chexpert(folder.path()), "2 of 2 images are missing", "train/" + view1);
  std::atomic<bool> stop{true};
  CHECK_THROWS_AS(folder.read({.stop = StopToken(stop)}), Stopped);
}

TEST_CASE("a patient of two of CheXpert's splits is named with both tables") {
  const ChexpertFolder folder;
  folder.write("chex/valid.csv", header + "x/train/" + view3 + rest());
  const Collection collection = folder.read();
  const Split split = choose_held_out(collection, group_entries(collection), 0.1);
  REQUIRE(split.fault.size() == 3);
  CHECK(split.fault[0].empty());
  CHECK(split.fault[1] == "to train on, though line 2 of " + (folder.folder() / "valid.csv").string() +
                              ", of the same image, patient, study or group, is held out");
}

TEST_CASE("the real CheXpert has the rows that are published", "[data]") {
  const auto folder = test::real_collection("chexpert");
  if (!folder) return;
  const Collection collection = layouts::read_chexpert(*folder, {.projection = Projection::both});
  Index train_rows = 0, valid_rows = 0;
  for (const Entry& entry : collection.entries) {
    train_rows += entry.split == "train";
    valid_rows += entry.split == "valid";
  }
  CHECK(collection.bad.empty());
  if (collection.missing.empty()) {
    CHECK(train_rows == 223414);
    CHECK(valid_rows == 234);
  }
  CHECK(draw_chexpert_five(layouts::read_chexpert(*folder), 0)[4].size() == 200);
}

}  // namespace
