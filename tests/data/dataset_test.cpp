#include "data/small_table.hpp"
#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/temporary_folder.hpp"

#include <rapidcheck.h>

#include <vlp/core/stop.hpp>
#include <vlp/data/dataset.hpp>
#include <vlp/io/file.hpp>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

using namespace vlp;
using test::message_of;
using test::table_of;
using test::TemporaryFolder;

namespace {

std::set<std::string> reports_of(const std::vector<data::Example>& examples) {
  std::set<std::string> reports;
  for (const auto& example : examples) reports.insert(example.report);
  return reports;
}

std::set<std::string> all_reports(const data::Dataset& dataset) {
  std::set<std::string> reports = reports_of(dataset.train);
  reports.merge(reports_of(dataset.held_out));
  return reports;
}

}  // namespace

TEST_CASE("a table becomes a dataset with sections, identities and notes") {
  const TemporaryFolder folder;
  Cpu device(2);
  const auto table = table_of(folder, 10);
  const auto dataset = data::read_dataset(device, table, {.image_size = 8, .held_out = 0.3});
  CHECK(dataset.train.size() == 7);
  CHECK(dataset.held_out.size() == 3);
  CHECK(dataset.images->image_size() == 8);
  CHECK(dataset.notes.back() == "7 pairs to train on, 3 held out, 5 different reports");
  for (const auto* examples : {&dataset.train, &dataset.held_out})
    for (const data::Example& a : *examples) {
      CHECK(dataset.images->pixels(a.image_id).size() == 64);
      CHECK(a.report == a.findings + " " + a.impression);
      CHECK(a.impression == "Normal.");
      for (const data::Example& b : dataset.train) CHECK((a.text_id == b.text_id) == (a.report == b.report));
    }
}

TEST_CASE("an image of more pixels than allowed is refused by name") {
  const TemporaryFolder folder;
  Cpu device(2);
  const auto table = table_of(folder, 4);  // of 9 x 7 pixels
  CHECK_NOTHROW(data::read_dataset(device, table, {.image_size = 8, .max_image_pixels = 63}));
  CHECK_MESSAGE_HAS(
      data::read_dataset(device, table, {.image_size = 8, .max_image_pixels = 62}),
      (folder / "image0.png").string() + ": an image of 9 x 7 pixels is too large; max_pixels is 62");
}

TEST_CASE("reports are equal when their whole texts are, and a note says what is cut off") {
  const TemporaryFolder folder;
  Cpu device(1);
  const auto table = table_of(folder, 6);  // "finding number 0 normal" and so on, of which 0 comes twice
  const auto notes = [&](Index max_words) {
    return data::read_dataset(device, table, {.image_size = 8, .held_out = 0.3, .max_words = max_words})
        .notes;
  };
  CHECK(notes(2).back() == "4 pairs to train on, 2 held out, 5 different reports");
  CHECK(notes(2).at(0) ==
        "6 of 6 reports are longer than 2 words (max-words), and what follows is not read; 6 reports differ "
        "from "
        "others only there");
  CHECK(notes(3).at(0) == "6 of 6 reports are longer than 3 words (max-words), and what follows is not read");
  CHECK(notes(4).size() == 1);
}

TEST_CASE("findings or impression alone can be taken for the report") {
  const TemporaryFolder folder;
  Cpu device(1);
  auto table = table_of(folder, 6);
  const auto read = [&](data::ReportPart part) {
    return data::read_dataset(device, table, {.image_size = 8, .held_out = 0.3, .report_part = part});
  };
  CHECK(reports_of(read(data::ReportPart::impression).train) == std::set<std::string>{"Normal."});
  CHECK(all_reports(read(data::ReportPart::findings)).count("Finding number 3.") == 1);
  CHECK(all_reports(read(data::ReportPart::findings_and_impression)).count("Finding number 3. Normal.") == 1);
  // Sections of a whole report where the table does not tell them apart; reports without are left out.
  for (auto& pair : table.entries) {
    pair.findings.clear();
    pair.impression.clear();
    pair.report = "FINDINGS: A tube.\nIMPRESSION: Normal " + std::to_string(pair.line) + ".";
  }
  table.entries[4].report = "Seen.";
  const auto impressions = read(data::ReportPart::impression);
  CHECK(impressions.train.size() + impressions.held_out.size() == 5);
  CHECK(impressions.notes.at(0) == "1 of 6 pairs are left out, for their report has no impression");
  CHECK(all_reports(impressions).count("Normal 2.") == 1);
  CHECK(all_reports(read(data::ReportPart::findings_and_impression)).count("Seen.") == 0);
  for (auto& pair : table.entries) pair.report = "Seen.";
  CHECK_MESSAGE_HAS(read(data::ReportPart::findings), "table.csv: 0 pairs to train on and 0 held out");
}

TEST_CASE("all bad rows are named at once, before any image is read, or left out") {
  const TemporaryFolder folder;
  Cpu device(2);
  auto table = table_of(folder, 8);
  table.entries[2].report = " ... ";
  table.entries[5].report = "\"";
  table.bad.push_back({3, "no image"});
  folder.write("image1.png", "no image at all");  // line 3
  const data::DatasetOptions stop{.image_size = 8, .held_out = 0.3};
  data::DatasetOptions skip = stop;
  skip.bad_rows = data::BadRows::skip;
  CHECK(message_of<std::runtime_error>([&] { return data::read_dataset(device, table, stop); }) ==
        "table.csv:3: no image; line 4: its report has no words; line 7: its report has no words (bad-rows "
        "skip would "
        "leave them out)");
  const auto dataset = data::read_dataset(device, table, skip);
  CHECK(dataset.train.size() + dataset.held_out.size() == 5);
  CHECK(dataset.notes.at(0) ==
        "3 bad rows are left out: table.csv:3: no image; line 4: its report has no words; line 7: its report "
        "has "
        "no words");
  CHECK(dataset.notes.at(1).find("1 bad row is left out: table.csv:3: ") == 0);

  // With sound reports, all images that cannot be read.
  table = table_of(folder, 8);
  for (const char* name : {"image1.png", "image6.png"}) folder.write(name, "no image at all");
  const std::string message =
      message_of<std::runtime_error>([&] { return data::read_dataset(device, table, stop); });
  INFO(message);
  CHECK(message.find("table.csv:3: ") == 0);
  CHECK(message.find("image1.png") != std::string::npos);
  CHECK(message.find("; line 8: ") != std::string::npos);
  CHECK(message.find("image6.png") != std::string::npos);
  CHECK(data::read_dataset(device, table, skip).notes.at(0).find("2 bad rows are left out: table.csv:3: ") ==
        0);
  for (const auto& pair : table.entries) folder.write(pair.image.filename().string(), "");
  CHECK_MESSAGE_HAS(data::read_dataset(device, table, skip), "table.csv: 0 pairs to train on and 0 held out");
}

TEST_CASE("a split of the table's own is kept, and an empty side is refused") {
  const TemporaryFolder folder;
  Cpu device(1);
  auto table = table_of(folder, 5);
  const std::vector<std::string> splits{"train", "test", "TRAIN", "validate", "Train"};
  for (std::size_t i = 0; i < 5; ++i) table.entries[i].split = splits[i];
  const auto dataset = data::read_dataset(device, table, {.image_size = 8});
  REQUIRE(dataset.held_out.size() == 2);
  CHECK(dataset.held_out[0].report == table.entries[1].report);
  CHECK(dataset.notes.at(0) ==
        "table.csv: the table's own split, to train on: 'TRAIN' 1, 'Train' 1, 'train' 1; held out: 'test' 1, "
        "'validate' 1");
  for (auto& pair : table.entries) pair.split = "train";
  CHECK_MESSAGE_HAS(data::read_dataset(device, table, {.image_size = 8}),
                    "table.csv: 5 pairs to train on and 0 held out", "'train' 5; held out: none");
  for (auto& pair : table.entries) pair.split = "training";
  CHECK_MESSAGE_HAS(data::read_dataset(device, table, {.image_size = 8}),
                    "0 pairs to train on and 5 held out", "to train on: none; held out: 'training' 5");
}

TEST_CASE("a row without a split among others with one is bad, and one that divides an image or patient") {
  const TemporaryFolder folder;
  Cpu device(1);
  auto table = table_of(folder, 6);
  const std::vector<std::string> splits{"train", "test", "", "train", "test", "train"};
  for (std::size_t i = 0; i < 6; ++i) table.entries[i].split = splits[i];
  table.entries[3].patient = table.entries[4].patient = "p";
  table.entries[5].image = table.entries[1].image;
  CHECK(
      message_of<std::runtime_error>([&] { return data::read_dataset(device, table, {.image_size = 8}); }) ==
      "table.csv:4: no split, though other rows have one; line 5: to train on, though line 6, of the same "
      "image, patient, study or group, is held out; line 7: to train on, though line 3, of the same image, "
      "patient, study or group, is held out (bad-rows skip would leave them out)");
  const auto dataset = data::read_dataset(device, table, {.image_size = 8, .bad_rows = data::BadRows::skip});
  CHECK(dataset.train.size() == 1);
  CHECK(dataset.held_out.size() == 2);
}

TEST_CASE("groups are never divided, and the same ones are held out every time") {
  const TemporaryFolder folder;
  Cpu device(1);
  auto table = table_of(folder, 24);
  for (std::size_t i = 0; i < 24; ++i) {
    table.entries[i].patient = "patient " + std::to_string(i / 3);
    table.entries[i].report = table.entries[i].patient;
  }
  const auto dataset = data::read_dataset(device, table, {.image_size = 8, .held_out = 0.2});
  const auto held_out = reports_of(dataset.held_out);
  CHECK(held_out.size() == 2);
  CHECK(dataset.held_out.size() == 6);
  for (const std::string& patient : reports_of(dataset.train)) CHECK(held_out.count(patient) == 0);
  // In any order of the rows, also where an image joins two patients.
  const auto drawn = [&] {
    return reports_of(data::read_dataset(device, table, {.image_size = 8, .held_out = 0.2}).held_out);
  };
  for (int order = 0; order < 5; ++order) {
    CHECK(drawn() == held_out);
    std::rotate(table.entries.begin(), table.entries.begin() + 7, table.entries.end());
  }
  std::sort(table.entries.begin(), table.entries.end(), [](auto& a, auto& b) { return a.line < b.line; });
  for (std::size_t i = 0; i < 12; i += 3) table.entries[i].image = table.entries[21 - i].image;
  const auto joined = drawn();
  std::reverse(table.entries.begin(), table.entries.end());
  CHECK(drawn() == joined);
  std::rotate(table.entries.begin(), table.entries.begin() + 10, table.entries.end());
  CHECK(drawn() == joined);
}

TEST_CASE("an image in several rows is one image, read once, with several right reports, on one side") {
  const TemporaryFolder folder;
  Cpu device(2);
  auto table = table_of(folder, 12);
  std::filesystem::create_directory(folder / "sub");
  std::filesystem::create_symlink(folder / "image0.png", folder / "linked.png");
  std::filesystem::create_hard_link(folder / "image0.png", folder / "hard.png");
  table.entries[3].image = folder / "sub/../image0.png";
  table.entries[6].image = folder / "linked.png";
  table.entries[5].image = folder / "hard.png";
  for (const double share : {0.1, 0.3, 0.5, 0.7}) {
    const auto dataset = data::read_dataset(device, table, {.image_size = 8, .held_out = share});
    CHECK(dataset.notes.at(0) ==
          "table.csv: 12 pairs show 9 different images; all reports of an image are right for it, and its "
          "pairs stay "
          "on one side of the split");
    std::vector<const data::Example*> same;
    int sides = 0;
    for (const auto* side : {&dataset.train, &dataset.held_out}) {
      const std::size_t before = same.size();
      for (const data::Example& example : *side) {
        CHECK(dataset.images->pixels(example.image_id).size() == 64);
        if (example.image_texts) same.push_back(&example);
      }
      sides += same.size() > before;
    }
    REQUIRE(same.size() == 4);
    CHECK(sides == 1);
    std::set<std::int64_t> texts;
    for (const data::Example* example : same) {
      CHECK(example->image_id == same[0]->image_id);
      texts.insert(example->text_id);
    }
    // Rows 0, 3, 5 and 6 have the reports 0, 3, 0 and 1.
    CHECK(*same[0]->image_texts == std::vector<std::int64_t>(texts.begin(), texts.end()));
    CHECK(texts.size() == 3);
  }
  // Rows of one image that cannot be read are bad, each of them.
  folder.write("image0.png", "damaged");
  CHECK_MESSAGE_HAS(data::read_dataset(device, table, {.image_size = 8}),
                    "table.csv:2: ", "; line 5: ", "; line 7: ", "; line 8: ");
}

TEST_CASE("symbolic links to an image, or to its folder, are the image") {
  const TemporaryFolder folder;
  auto table = table_of(folder, 4);
  std::filesystem::create_symlink("image0.png", folder / "linked.png");
  std::filesystem::create_directory_symlink(".", folder / "here");
  table.entries[1].image = folder / "linked.png";
  table.entries[2].image = folder / "here/image0.png";
  CHECK(data::group_entries(table).image == std::vector<std::int64_t>{0, 0, 0, 1});
}

TEST_CASE("a file is known by any path to it, and by none to another") {
  const TemporaryFolder folder;
  const io::Path root = folder.path();
  std::filesystem::create_directories(root / "a/b");
  std::filesystem::create_directory_symlink("a/b", root / "linked");
  std::filesystem::create_directory_symlink("../..", root / "a/b/up");
  for (const char* name : {"x.png", "a/x.png", "a/b/x.png", "a/b/y.png"}) folder.write(name, name);
  std::filesystem::create_symlink("b/x.png", root / "a/link.png");
  std::filesystem::create_hard_link(root / "a/b/y.png", root / "a/hard.png");
  std::filesystem::create_symlink("nowhere", root / "broken.png");
  const std::string here = std::filesystem::relative(root).string();  // from the current folder
  std::vector<io::Path> paths;
  for (const std::string& start : {root.string(), root.string() + "/.", here, "/proc/self/cwd/" + here})
    for (const char* rest :
         {"x.png", "a/x.png", "a/../x.png", "a//x.png", "a/b/x.png", "linked/x.png", "a/b/up/x.png",
          "linked/up/linked/y.png", "a/link.png", "a/hard.png", "a/b/../../linked/./x.png"})
      paths.push_back(start + "/" + rest);
  data::detail::FileIdentity identity;
  std::vector<std::string> names;
  for (const io::Path& path : paths) names.push_back(identity(path));
  bool right = true;
  for (std::size_t i = 0; i < paths.size(); ++i)
    for (std::size_t j = 0; j < paths.size(); ++j)
      right = right && (names[i] == names[j]) == std::filesystem::equivalent(paths[i], paths[j]);
  CHECK(right);
  CHECK(identity(root / "broken.png") != identity(root / "none.png"));
  CHECK(identity("/none.png") == "/none.png");
  CHECK(identity("//none.png") == "/none.png");
}

TEST_CASE("copies of an image under other names are counted in a note") {
  const TemporaryFolder folder;
  Cpu device(1);
  auto table = table_of(folder, 6);
  for (const char* name : {"image2.png", "image4.png", "image5.png"})
    folder.write(name, io::read_file(folder / "image1.png"));
  for (std::size_t i = 0; i < 6; ++i) table.entries[i].split = i < 3 ? "train" : "test";
  const auto dataset = data::read_dataset(device, table, {.image_size = 8});
  CHECK(dataset.notes.at(1) ==
        "table.csv: 3 image files are copies of others under other names and count as different images; 2 "
        "pairs held "
        "out show a copy of an image that is trained on");
  CHECK(dataset.train[1].image_id != dataset.train[2].image_id);
}

TEST_CASE("pairs of one image, patient, study or group belong together, through others too") {
  const TemporaryFolder folder;
  auto table = table_of(folder, 10);
  const auto groups = [&] { return data::group_entries(table).group; };
  CHECK(groups() == std::vector<std::size_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  table.entries[0].patient = table.entries[1].patient = "a";
  table.entries[1].study = table.entries[2].study = "s";  // the study of patient a, whose name one row lacks
  table.entries[3].image = table.entries[2].image;
  table.entries[4].group = table.entries[3].group = "g";
  // A study within each of two patients, and one of its rows without a patient.
  table.entries[5].patient = "b";
  table.entries[6].patient = "c";
  table.entries[5].study = table.entries[6].study = table.entries[7].study = table.entries[8].study = "1";
  CHECK(groups() == std::vector<std::size_t>{0, 0, 0, 0, 0, 5, 6, 7, 7, 9});
  const auto notes = data::group_entries(table).notes;
  REQUIRE(notes.size() == 3);
  CHECK(notes[1] ==
        "table.csv: names of studies that several patients have, taken for numbers within a patient: 1");
  CHECK(notes[2] == "table.csv: 5 groups of pairs that share an image, a patient, a study or a group");
}

TEST_CASE("a group of most pairs is not held out while there are smaller ones") {
  const TemporaryFolder folder;
  auto table = table_of(folder, 20);
  const auto held_out = [&](double share) {
    const data::Split split = data::choose_held_out(table, data::group_entries(table), share);
    return std::count(split.held_out.begin(), split.held_out.end(), 1);
  };
  for (std::size_t large = 0; large < 20; ++large) {
    for (std::size_t i = 0; i < 20; ++i) table.entries[i].patient = i >= large ? "many" : std::to_string(i);
    CHECK(held_out(0.1) == (large == 0 ? 0 : large == 1 ? 1 : 2));
  }
  for (std::size_t i = 0; i < 20; ++i) table.entries[i].patient = i < 9 ? "fewer" : "many";
  CHECK(held_out(0.1) == 9);
  CHECK(held_out(0.99) == 9);  // something is left to train on
}

TEST_CASE("whatever pairs have in common, no group is on both sides of a split") {
  const TemporaryFolder folder;
  const auto all = table_of(folder, 12);
  CHECK(rc::check([&] {
    auto table = all;
    for (auto& pair : table.entries) {
      const auto name = [] {
        const int n = *rc::gen::inRange(0, 12);
        return n < 6 ? std::string() : std::to_string(n);
      };
      pair.image = all.entries[*rc::gen::inRange<std::size_t>(0, 12)].image;
      pair.patient = name();
      pair.study = name();
      pair.group = name();
    }
    const data::EntryGroups groups = data::group_entries(table);
    const double share = *rc::gen::element(0.1, 0.5, 0.9);
    const data::Split split = data::choose_held_out(table, groups, share);
    for (std::size_t i = 0; i < 12; ++i)
      for (std::size_t j = 0; j < i; ++j) {
        const auto &a = table.entries[i], &b = table.entries[j];
        const bool together = a.image == b.image || (a.patient == b.patient && !a.patient.empty()) ||
                              (a.group == b.group && !a.group.empty());
        if (together) RC_ASSERT(groups.group[i] == groups.group[j]);
        if (groups.group[i] == groups.group[j]) RC_ASSERT(split.held_out[i] == split.held_out[j]);
        RC_ASSERT((groups.image[i] == groups.image[j]) == (a.image == b.image));
      }
  }));
}

TEST_CASE("reading and making data end when they are asked to") {
  const TemporaryFolder folder;
  Cpu device(3);
  const auto table = table_of(folder, 4);
  std::atomic<bool> flag{true};
  CHECK_THROWS_AS(data::read_dataset(device, table, {.image_size = 8}, StopToken(flag)), Stopped);
  // Asked by any thread, in the middle, the work not yet begun is left.
  flag = false;
  std::atomic<int> made{0};
  const auto make = [&](std::size_t) {
    if (++made == 20) flag = true;
    return data::ComputedPair{{.report = "study"}, data::Pixels(4, 1)};
  };
  CHECK_THROWS_AS(data::make_dataset(device, 100'000, {.image_size = 2}, make, StopToken(flag)), Stopped);
  CHECK(made < 100);
}

TEST_CASE("a computed dataset holds out its last studies, at least one") {
  Cpu device(3);
  const auto make = [](std::size_t i) {
    const std::string name = "study " + std::to_string(i);
    return data::ComputedPair{{.name = name, .report = name}, data::Pixels(4, static_cast<std::uint16_t>(i))};
  };
  const auto dataset = data::make_dataset(device, 10, {.image_size = 2, .held_out = 0.25}, make);
  REQUIRE(dataset.held_out.size() == 3);
  CHECK(dataset.held_out[0].name == "study 7");
  CHECK(dataset.train[1].image_id != dataset.train[2].image_id);
  CHECK_FALSE(dataset.train[1].image_texts);
  CHECK(data::make_dataset(device, 3, {.image_size = 2, .held_out = 0.01}, make).held_out.size() == 1);
  CHECK(data::make_dataset(device, 3, {.image_size = 2, .held_out = 0.99}, make).train.size() == 1);
  CHECK_THROWS_AS(data::make_dataset(device, 1, {.image_size = 2}, make), std::invalid_argument);
  CHECK(message_of<std::runtime_error>([&] {
          return data::make_dataset(device, 1'000'000'000, {.image_size = 512}, make);
        }).find("1000000000 images of 512 x 512 pixels take") != std::string::npos);
  CHECK_THROWS_AS(data::make_dataset(device, 5, {.image_size = 2},
                                     [](std::size_t i) -> data::ComputedPair {
                                       throw std::runtime_error("study " + std::to_string(i));
                                     }),
                  std::runtime_error);
}

TEST_CASE("a computed dataset is of the part of its reports that is asked for") {
  Cpu device(1);
  std::string words = "Normal.";
  const auto make = [&](std::size_t i) {
    data::ComputedPair pair{{}, data::Pixels(4, 1)};
    data::Example& example = pair.example;
    example.name = "study " + std::to_string(i);
    example.impression = i == 0 ? "" : words;
    example.report = "Seen. " + example.impression;
    return pair;
  };
  const data::DatasetOptions options{
      .image_size = 2, .held_out = 0.5, .report_part = data::ReportPart::impression};
  const auto dataset = data::make_dataset(device, 4, options, make);
  CHECK(dataset.train.size() == 1);
  CHECK(dataset.train[0].report == "Normal.");
  CHECK_MESSAGE_HAS(data::make_dataset(device, 2, options, make),
                    "make_dataset: 0 studies to train on and 1 held out have the part impression");
  words = "...";
  CHECK_MESSAGE_HAS(data::make_dataset(device, 4, options, make), "study 1: its report has no words");
}
