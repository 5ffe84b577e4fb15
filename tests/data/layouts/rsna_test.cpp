#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/temporary_folder.hpp"

#include <vlp/core/enum_names.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/layouts/all.hpp>
#include <vlp/data/layouts/rsna.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace {

using namespace vlp;
using namespace vlp::data;
using io::Path;
using layouts::RsnaProtocol;
using vlp::test::TemporaryFolder;

const std::string header = "patientId,x,y,width,height,Target\n";

/// A folder with images of patients a to e: of c as PNG, of d as JPEG, of e none.
struct RsnaFolder : TemporaryFolder {
  RsnaFolder() {
    std::filesystem::create_directory(*this / "stage_2_train_images");
    for (const char* name : {"a.dcm", "b.dcm", "c.png", "c.jpg", "d.jpg", "f.jpeg"})
      write(concat("stage_2_train_images/", name), "image");
  }
  [[nodiscard]] Collection read(const std::string& rows, const layouts::Options& options = {}) const {
    write("stage_2_train_labels.csv", header + rows);
    return layouts::read_rsna(path(), options);
  }
};

TEST_CASE("RSNA's rows are joined to patients with a label and boxes") {
  const RsnaFolder folder;
  const Collection collection = folder.read(
      "a,,,,,0\nb,264.0,152.0,213.0,379.0,1\nb,562.0,152.0,256.0,453.0,1\nc,1,2,3.5,4,1\nd,,,,,0\ne,,,,,0\n");
  REQUIRE(collection.entries.size() == 4);
  CHECK(collection.path == (folder / "stage_2_train_labels.csv").string());
  CHECK(collection.labels == std::vector<std::string>{"Pneumonia"});
  CHECK(collection.rows == 5);
  CHECK(collection.bad.empty());
  CHECK(collection.missing == std::vector<Path>{folder / "stage_2_train_images/e.dcm"});
  const Entry& a = collection.entries[0];
  CHECK(a.image == folder / "stage_2_train_images/a.dcm");
  CHECK(a.patient == "a");
  CHECK(a.line == 2);
  CHECK(a.labels == std::vector<Label>{Label::negative});
  CHECK(a.boxes.empty());
  CHECK(a.report.empty());
  const Entry& b = collection.entries[1];
  CHECK(b.labels == std::vector<Label>{Label::positive});
  CHECK(b.line == 3);
  REQUIRE(b.boxes.size() == 2);
  CHECK(b.boxes[0].label == 0);
  CHECK(b.boxes[0].box == eval::Box{264, 152, 477, 531});
  CHECK(b.boxes[1].box == eval::Box{562, 152, 818, 605});
  CHECK(collection.entries[2].image == folder / "stage_2_train_images/c.png");
  CHECK(collection.entries[2].boxes[0].box == eval::Box{1, 2, 4.5, 6});
  CHECK(collection.entries[3].image == folder / "stage_2_train_images/d.jpg");
  CHECK(collection.notes.back() == collection.path + ": 4 images with labels");
  CHECK(layouts::read("rsna:" + folder.path().string()).entries.size() == 4);
  CHECK(folder.read("f,,,,,0\n").entries[0].image == folder / "stage_2_train_images/f.jpeg");
  CHECK(folder.read("a,,,,,0\n", {.projection = layouts::Projection::both}).entries.size() == 1);
  CHECK_MESSAGE_HAS(folder.read("a,,,,,0\n", {.projection = layouts::Projection::lateral}), "frontal images");
}

TEST_CASE("every bad row of RSNA is named, and leaves out all rows of its patient") {
  const RsnaFolder folder;
  std::string rows = "a,,,,,0\n";
  std::vector<std::string> expected;
  const auto add = [&](const std::string& row, const std::string& what) {
    rows += row + "\n";
    expected.push_back(what);
  };
  add("b,,,,,0", "");
  add("b,1,2,3,4,1", "Target 1 contradicts line 3 of the same patient");
  add("c,1,2,3,4,1", "");
  add("c,1,2,3,nan,1", "the box's height is 'nan', but must be a number of pixels above 0");
  add("c,1,2,0,4,1", "the box's width is '0', but must be a number of pixels above 0");
  add("d,,,,,2", "Target is '2', but must be 0 or 1");
  add("d,,,,,", "Target is '', but must be 0 or 1");
  add("e,1,2,3,4,0", "Target is 0, but there is a box");
  add("f,,,,,1", "the box's x is '', but must be a number of pixels from 0");
  add("g,-1,2,3,4,1", "the box's x is '-1', but must be a number of pixels from 0");
  add("h,1,2,-3,4,1", "the box's width is '-3', but must be a number of pixels above 0");
  add("i,1,inf,3,4,1", "the box's y is 'inf', but must be a number of pixels from 0");
  add("j,1,2,3,1e300,1", "the box's height is '1e300', but must be a number of pixels above 0");
  add("k,1,2,3,4x,1", "the box's height is '4x', but must be a number of pixels above 0");
  add("l,1000,2,1e-9,4,1", "the box is too small to have an area");
  add(",,,,,0", "no patientId");
  add("../a,,,,,0", "patientId '../a' is not the name of a file");
  add("..,,,,,0", "patientId '..' leaves its folder");
  add(std::string(1 << 20, 'p') + ",,,,,0", "more than a path here may have");
  add("a,,,,,0", "repeats line 2");
  add("m,1,2,3,4,1", "");
  add("m,1,2,3,4,1", "repeats a box of the same patient");
  rows += "n,,,,,0\n";
  folder.write("stage_2_train_images/n.dcm", "image");
  const Collection collection = folder.read(rows);
  REQUIRE(collection.entries.size() == 1);
  CHECK(collection.entries[0].patient == "n");
  CHECK(collection.rows == 18);
  std::size_t next = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (expected[i].empty()) continue;
    REQUIRE(next < collection.bad.size());
    INFO(collection.bad[next].what);
    CHECK(collection.bad[next].line == static_cast<Index>(i) + 3);
    CHECK(collection.bad[next].what.find(expected[i]) != std::string::npos);
    CHECK(collection.bad[next].what.size() < 300);
    ++next;
  }
  CHECK(next == collection.bad.size());
  CHECK_MESSAGE_HAS(folder.read("b,,,,,3\n"), "no image with labels", "stage_2_train_labels.csv:2: Target");
  CHECK_MESSAGE_HAS(folder.read("e,,,,,0\n"), "1 of 1 images are missing", "e.dcm");
  folder.write("stage_2_train_labels.csv", "patientId,x,y,width,Target\n");
  CHECK_MESSAGE_HAS(layouts::read_rsna(folder.path()), "no column 'height'");
  CHECK_MESSAGE_HAS(layouts::read_rsna(folder / "none"), "stage_2_train_labels.csv", "No such file");
}

TEST_CASE("RSNA's protocols have the sizes that are published") {
  using Sizes = std::array<std::size_t, 3>;
  using layouts::detail::rsna_sizes;
  CHECK(rsna_sizes(RsnaProtocol::benchx, 26684) == Sizes{18678, 4003, 4003});
  CHECK(rsna_sizes(RsnaProtocol::gloria, 26684) == Sizes{18678, 4003, 4003});
  CHECK(rsna_sizes(RsnaProtocol::mrm, 29684) == Sizes{25184, 1500, 3000});
  // The challenge's table has all but the test images of its second stage.
  CHECK(rsna_sizes(RsnaProtocol::mrm, 26684) == Sizes{22639, 1348, 2697});
  CHECK(rsna_sizes(RsnaProtocol::gloria, 11) == Sizes{7, 2, 2});
  CHECK(rsna_sizes(RsnaProtocol::gloria, 10) == Sizes{7, 2, 1});
  for (const RsnaProtocol protocol : {RsnaProtocol::benchx, RsnaProtocol::mrm, RsnaProtocol::gloria})
    for (std::size_t count = 2; count < 60; ++count) {
      const Sizes sizes = rsna_sizes(protocol, count);
      CHECK(sizes[0] + sizes[1] + sizes[2] == count);
      CHECK(*std::max_element(sizes.begin(), sizes.end()) == sizes[0]);
    }
}

/// A table of negative patients p0, p1, ...
std::string negatives(int count) {
  std::string rows;
  for (int i = 0; i < count; ++i) rows += concat("p", i, ",,,,,0\n");
  return rows;
}

TEST_CASE("RSNA's patients are drawn by protocol, always alike, whichever images and rows come first") {
  const RsnaFolder folder;
  for (int i = 0; i < 100; ++i) folder.write(concat("stage_2_train_images/p", i, ".dcm"), "image");
  const auto splits = [&](const std::string& rows, RsnaProtocol protocol) {
    std::map<std::string, std::string> of;
    for (const Entry& entry : folder.read(rows, {.rsna_protocol = protocol}).entries)
      of[entry.patient] = entry.split;
    return of;
  };
  const auto benchx = splits(negatives(100), RsnaProtocol::benchx);
  std::map<std::string, int> sizes;
  for (const auto& [patient, split] : benchx) ++sizes[split];
  CHECK(sizes == std::map<std::string, int>{{"train", 70}, {"valid", 15}, {"test", 15}});
  CHECK(splits(negatives(100), RsnaProtocol::benchx) == benchx);
  CHECK(splits(negatives(100), RsnaProtocol::gloria) != benchx);
  CHECK(splits(negatives(100), RsnaProtocol::mrm) != benchx);
  std::string reversed;
  for (int i = 100; i-- > 0;) reversed += concat("p", i, ",,,,,0\n");
  CHECK(splits(reversed, RsnaProtocol::benchx) == benchx);
  // Missing images do not move the others.
  for (int i = 0; i < 50; ++i) std::filesystem::remove(folder / concat("stage_2_train_images/p", i, ".dcm"));
  const auto fewer = splits(negatives(100), RsnaProtocol::benchx);
  CHECK(fewer.size() == 50);
  for (const auto& [patient, split] : fewer) CHECK(benchx.at(patient) == split);
  // A draw is the same on every machine and in every version: figures are compared.
  CHECK(fewer.at("p50") + fewer.at("p60") + fewer.at("p70") + fewer.at("p80") + fewer.at("p90") ==
        "testtesttraintestvalid");
  const Collection collection = folder.read(negatives(100), {.rsna_protocol = RsnaProtocol::gloria});
  CHECK(collection.notes.front().find(
            "protocol gloria: 70 patients to train on, 15 to validate, 15 to test") != std::string::npos);
  CHECK(collection.notes.front().find("MRM") == std::string::npos);
  CHECK(folder.read(negatives(100), {.rsna_protocol = RsnaProtocol::mrm})
            .notes.front()
            .find("protocol mrm: 85 patients to train on, 5 to validate, 10 to test, in proportion to MRM's "
                  "sizes") != std::string::npos);
  RsnaProtocol protocol{};
  from_text("mrm", protocol);
  CHECK(protocol == RsnaProtocol::mrm);
}

TEST_CASE("a split of the folder's own is taken for RSNA, and what is wrong with it is named") {
  const RsnaFolder folder;
  folder.write("split.csv", "patientId,split\na,train\nb,val\n");
  const Collection collection = folder.read("a,,,,,0\nb,,,,,0\n");
  REQUIRE(collection.entries.size() == 2);
  CHECK(collection.entries[0].split == "train");
  CHECK(collection.entries[1].split == "val");
  CHECK(collection.notes.front() == collection.path + ": split by " + (folder / "split.csv").string());
  folder.write("split.csv", "patientId,split\na,train\nb,val\nb,train\nc,train\nc,train\n,x\ny,\n");
  const Collection faulty = folder.read("a,,,,,0\nb,,,,,0\nc,,,,,0\nd,,,,,0\n");
  CHECK(faulty.bad[0].line == 3);
  CHECK(faulty.bad[1].line == 5);
  CHECK(faulty.entries.size() == 2);  // c is in the same split twice
  CHECK(describe(faulty.path, faulty.bad) ==
        faulty.path + ":3: its patient has no split, or several, in " + (folder / "split.csv").string() +
            "; line 5: its patient has no split, or several, in " + (folder / "split.csv").string() + "; " +
            (folder / "split.csv").string() +
            ":4: patientId 'b' stands in a row before; line 6: patientId 'c' stands in a row before; line 7: "
            "no patientId; line 8: no split");
  folder.write("split.csv", "patientId,set\n");
  CHECK_MESSAGE_HAS(folder.read("a,,,,,0\n"), "split.csv", "no column 'split'");
}

TEST_CASE("reading RSNA ends when it is asked to") {
  const RsnaFolder folder;
  const std::atomic<bool> stop{true};
  CHECK_THROWS_AS(folder.read("a,,,,,0\n", {.stop = StopToken(stop)}), Stopped);
}

TEST_CASE("the real table of RSNA has the rows that are published", "[data]") {
  const auto folder = test::real_collection("rsna");
  if (!folder) return;
  const Collection collection = layouts::read_rsna(*folder);
  CHECK(collection.rows == 26684);
  CHECK(collection.bad.empty());
  if (!collection.missing.empty()) return;
  std::size_t boxes = 0, positive = 0;
  std::map<std::string, int> sizes;
  for (const Entry& entry : collection.entries) {
    boxes += entry.boxes.size();
    positive += entry.labels[0] == Label::positive;
    ++sizes[entry.split];
  }
  CHECK(boxes == 9555);
  CHECK(positive == 6012);
  CHECK(collection.rows - static_cast<Index>(positive) + static_cast<Index>(boxes) == 30227);
  CHECK(sizes == std::map<std::string, int>{{"train", 18678}, {"valid", 4003}, {"test", 4003}});
}

}  // namespace
