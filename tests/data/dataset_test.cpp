#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/temporary_folder.hpp"

#include <vlp/data/dataset.hpp>

#include <set>
#include <stdexcept>
#include <string>

using namespace vlp;
using test::message_of;
using test::TemporaryFolder;

namespace {

/// Pairs of a table whose images are all the same small file.
io::ReportTable table_of(const TemporaryFolder& folder, int pairs) {
  io::GrayImage image = io::make_gray_image(9, 7);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<float>(i) / 63.0f;
  io::write_png(folder / "image.png", image);
  io::ReportTable table;
  table.path = "table.csv";
  for (int i = 0; i < pairs; ++i) {
    io::ReportImagePair pair;
    pair.image = folder / "image.png";
    pair.findings = "Finding number " + std::to_string(i % 5) + ".";
    pair.impression = "Normal.";
    pair.report = pair.findings + " " + pair.impression;
    pair.line = i + 2;
    table.pairs.push_back(pair);
  }
  return table;
}

std::set<std::string> reports_of(const std::vector<data::Example>& examples) {
  std::set<std::string> reports;
  for (const auto& example : examples) reports.insert(example.report);
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
  CHECK(dataset.image_size == 8);
  CHECK(dataset.notes.back() == "7 pairs to train on, 3 held out, 5 different reports");
  for (const auto* examples : {&dataset.train, &dataset.held_out})
    for (const data::Example& a : *examples) {
      CHECK(a.pixels.size() == 64);
      CHECK(a.report == a.findings + " " + a.impression);
      CHECK(a.impression == "Normal.");
      for (const data::Example& b : dataset.train) CHECK((a.text_id == b.text_id) == (a.report == b.report));
    }
}

TEST_CASE("reports are equal as far as their words are kept") {
  const TemporaryFolder folder;
  Cpu device(1);
  auto table = table_of(folder, 4);
  const auto dataset = data::read_dataset(device, table, {.image_size = 8, .held_out = 0.3, .max_words = 2});
  CHECK(dataset.notes.back().ends_with(" 1 different reports"));  // "finding number"
  table.pairs[2].report = " ... ";
  CHECK(message_of<std::runtime_error>([&] {
          return data::read_dataset(device, table, {.image_size = 8});
        }).find("image.png: its report has no words") != std::string::npos);
}

TEST_CASE("a split of the table's own is kept, and an empty side is refused") {
  const TemporaryFolder folder;
  Cpu device(1);
  auto table = table_of(folder, 5);
  for (std::size_t i = 0; i < 5; ++i) table.pairs[i].split = i == 1 ? "test" : i == 3 ? "" : "train";
  const auto dataset = data::read_dataset(device, table, {.image_size = 8});
  REQUIRE(dataset.held_out.size() == 1);
  CHECK(dataset.held_out[0].report == table.pairs[1].report);
  for (auto& pair : table.pairs) pair.split = "train";
  CHECK(message_of<std::runtime_error>([&] {
          return data::read_dataset(device, table, {.image_size = 8});
        }).find("table.csv: 5 pairs to train on and 0 held out") != std::string::npos);
}

TEST_CASE("groups are never divided, and the same ones are held out every time") {
  const TemporaryFolder folder;
  Cpu device(1);
  auto table = table_of(folder, 24);
  for (std::size_t i = 0; i < 24; ++i) {
    table.pairs[i].group = "patient " + std::to_string(i / 3);
    table.pairs[i].report = table.pairs[i].group;
  }
  const auto dataset = data::read_dataset(device, table, {.image_size = 8, .held_out = 0.2});
  const auto held_out = reports_of(dataset.held_out);
  CHECK(held_out.size() == 2);
  CHECK(dataset.held_out.size() == 6);
  for (const std::string& patient : reports_of(dataset.train)) CHECK(held_out.count(patient) == 0);
  std::reverse(table.pairs.begin(), table.pairs.end());
  CHECK(reports_of(data::read_dataset(device, table, {.image_size = 8, .held_out = 0.2}).held_out) ==
        held_out);
}

TEST_CASE("a computed dataset holds out its last studies, at least one") {
  Cpu device(3);
  const auto make = [](std::size_t i) {
    data::Example example;
    example.name = "study " + std::to_string(i);
    example.pixels.assign(4, static_cast<std::uint16_t>(i));
    example.report = "study " + std::to_string(i);
    return example;
  };
  const auto dataset = data::make_dataset(device, 10, {.image_size = 2, .held_out = 0.25}, make);
  REQUIRE(dataset.held_out.size() == 3);
  CHECK(dataset.held_out[0].name == "study 7");
  CHECK(data::make_dataset(device, 3, {.image_size = 2, .held_out = 0.01}, make).held_out.size() == 1);
  CHECK(data::make_dataset(device, 3, {.image_size = 2, .held_out = 0.99}, make).train.size() == 1);
  CHECK_THROWS_AS(data::make_dataset(device, 1, {.image_size = 2}, make), std::invalid_argument);
  CHECK(message_of<std::runtime_error>([&] {
          return data::make_dataset(device, 1'000'000'000, {.image_size = 512}, make);
        }).find("1000000000 images of 512 x 512 pixels take") != std::string::npos);
  CHECK_THROWS_AS(data::make_dataset(device, 5, {.image_size = 2},
                                     [](std::size_t i) -> data::Example {
                                       throw std::runtime_error("study " + std::to_string(i));
                                     }),
                  std::runtime_error);
}

TEST_CASE("a fingerprint changes with any pixel, any report and any move") {
  Cpu device(1);
  auto dataset = data::make_dataset(device, 6, {.image_size = 2}, [](std::size_t i) {
    data::Example example;
    example.pixels.assign(4, static_cast<std::uint16_t>(i));
    example.report = "study";
    return example;
  });
  std::set<std::string> prints{data::fingerprint(dataset)};
  CHECK(prints.begin()->size() == 16);
  dataset.train[1].pixels[3] ^= 1;
  prints.insert(data::fingerprint(dataset));
  dataset.held_out[0].report += ".";
  prints.insert(data::fingerprint(dataset));
  dataset.held_out.push_back(dataset.train.back());
  dataset.train.pop_back();
  prints.insert(data::fingerprint(dataset));
  CHECK(prints.size() == 4);
}

TEST_CASE("an image goes into 16 bits and back") {
  io::GrayImage image = io::make_gray_image(2, 2);
  image.pixels = {0.0f, 1.0f, 0.5f, -3.0f};
  data::Example example;
  example.name = "a.png";
  example.pixels = data::to_pixels(image);
  CHECK(example.pixels == std::vector<std::uint16_t>{0, 65535, 32768, 0});
  CHECK(std::abs(data::image_of(example, 2).pixels[2] - 0.5f) < 1e-5f);
  CHECK(message_of<std::invalid_argument>([&] { return data::image_of(example, 3); }) ==
        "a.png: 4 pixels are not an image of 3 x 3");
}
