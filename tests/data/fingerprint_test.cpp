#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

#include <vlp/data/fingerprint.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/image.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

using namespace vlp;
using test::TemporaryFolder;

TEST_CASE("a fingerprint changes with any pixel, any report and any move") {
  Cpu device(1);
  auto dataset = data::make_dataset(device, 6, {.image_size = 2}, [](std::size_t i) {
    return data::ComputedPair{{.report = "study"}, data::Pixels(4, static_cast<std::uint16_t>(i))};
  });
  std::set<std::string> prints{data::fingerprint(dataset).values};
  CHECK(prints.begin()->size() == 16);
  CHECK(data::fingerprint(dataset).sources.empty());  // nobody has said what the images were made of
  std::vector<data::Pixels> pixels;
  for (std::uint16_t i = 0; i < 6; ++i) pixels.emplace_back(4, i);
  pixels[1][3] ^= 1;
  dataset.images = std::make_shared<const data::Images>(2, pixels);
  prints.insert(data::fingerprint(dataset).values);
  dataset.held_out[0].report += ".";
  prints.insert(data::fingerprint(dataset).values);
  dataset.held_out.push_back(dataset.train.back());
  dataset.train.pop_back();
  prints.insert(data::fingerprint(dataset).values);
  CHECK(prints.size() == 4);
}

TEST_CASE("a fingerprint knows files by their bytes, wherever they lie, and tells them from their pixels") {
  const TemporaryFolder folder;
  const auto image_of_width = [&](Index width) {
    io::GrayImage image = io::make_gray_image(width, 4);
    for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<float>(i % 4) / 4;
    return image;
  };
  const auto print_of = [&](const std::string& name, data::ReadImages when = data::ReadImages::first) {
    data::Collection table;
    for (const std::string report : {"clear", "opacity"}) {
      data::Entry& pair = table.entries.emplace_back();
      pair.image = folder / (report + name);  // two files, since pairs of one are on one side
      std::filesystem::copy_file(folder / name, pair.image,
                                 std::filesystem::copy_options::overwrite_existing);
      pair.report = report;
      pair.line = static_cast<int>(table.entries.size()) + 1;
      pair.group = report;
    }
    Cpu device(1);
    return data::fingerprint(data::read_dataset(device, table, {.image_size = 8, .read_images = when}));
  };
  io::write_png(folder / "a.png", image_of_width(4));
  io::write_png(folder / "b.png", image_of_width(12));
  std::filesystem::copy_file(folder / "a.png", folder / "moved.png");
  const data::Fingerprint a = print_of("a.png"), b = print_of("b.png"), moved = print_of("moved.png");
  CHECK(a.sources.size() == 16);
  CHECK(moved.sources == a.sources);
  CHECK(moved.values == a.values);
  CHECK(b.sources != a.sources);

  // Images that are decoded later are known by the sizes of their files, which the first way knows as well.
  const data::Fingerprint later = print_of("a.png", data::ReadImages::ahead);
  CHECK(later.values.empty());
  CHECK(later.sources.empty());
  CHECK(later.sizes.size() == 16);
  CHECK(later.sizes == a.sizes);
  CHECK(print_of("moved.png", data::ReadImages::ahead).sizes == later.sizes);
  CHECK(print_of("b.png", data::ReadImages::ahead).sizes != later.sizes);
}
