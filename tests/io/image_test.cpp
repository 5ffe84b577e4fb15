#include "io/image_bytes.hpp"
#include "support/temporary_folder.hpp"

#include <rapidcheck.h>

#include <vlp/io/image.hpp>
#include <vlp/io/resize.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace {

using namespace vlp;
using namespace vlp::io;
using vlp::test::TemporaryFolder;

TEST_CASE("a grey PNG image is read at 8 and at 16 bits") {
  const GrayImage eight = decode_image(test::png(3, 2, 1, 8, {0, 51, 102, 153, 204, 255}), "x");
  REQUIRE(eight.width == 3);
  REQUIRE(eight.height == 2);
  for (int i = 0; i < 6; ++i) CHECK(eight.pixels[static_cast<std::size_t>(i)] == Approx(0.2 * i));
  CHECK(eight.at(0, 1) == Approx(0.6));
  const GrayImage sixteen = decode_image(test::png(2, 2, 1, 16, {0, 1, 32768, 65535}), "x");
  CHECK(sixteen.at(1, 0) == Approx(1 / 65535.0));  // lost if read at 8 bits
  CHECK(sixteen.at(0, 1) == Approx(32768 / 65535.0));
  CHECK(sixteen.at(1, 1) == 1.0F);
}

TEST_CASE("colour becomes luma and alpha is left out") {
  for (int depth : {8, 16}) {
    const auto full = static_cast<std::uint16_t>((1 << depth) - 1);
    const GrayImage rgb =
        decode_image(test::png(4, 1, 3, depth, {full, 0, 0, 0, full, 0, 0, 0, full, full, full, full}), "x");
    CHECK(rgb.at(0, 0) == Approx(0.299));
    CHECK(rgb.at(1, 0) == Approx(0.587));
    CHECK(rgb.at(2, 0) == Approx(0.114));
    CHECK(rgb.at(3, 0) == Approx(1));
    CHECK(rgb.at(3, 0) <= 1.0F);
    CHECK(decode_image(test::png(1, 1, 2, depth, {full, 0}), "x").at(0, 0) == 1.0F);
    CHECK(decode_image(test::png(1, 1, 4, depth, {full, 0, 0, 0}), "x").at(0, 0) == Approx(0.299));
  }
}

TEST_CASE("a JPEG image is read in grey and in colour") {
  std::vector<std::uint8_t> grey, colour;
  for (int y = 0; y < 24; ++y) {
    for (int x = 0; x < 40; ++x) {
      grey.push_back(static_cast<std::uint8_t>(4 * x + 2 * y));
      for (int c = 0; c < 3; ++c) colour.push_back(grey.back());
    }
  }
  for (const std::string& bytes : {test::jpeg(40, 24, 1, grey), test::jpeg(40, 24, 3, colour)}) {
    const GrayImage image = decode_image(bytes, "x");
    REQUIRE(image.width == 40);
    REQUIRE(image.height == 24);
    for (std::size_t i = 0; i < grey.size(); ++i)
      REQUIRE(std::abs(image.pixels[i] - grey[i] / 255.0F) < 0.03F);
  }
}

TEST_CASE("an image that is cut short anywhere is refused by name") {
  const TemporaryFolder folder;
  std::vector<std::uint8_t> noise(33 * 21);
  for (std::size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<std::uint8_t>(i * i * 31 % 251);
  write_png(folder / "whole.png", RgbImage{11, 21, std::vector<std::uint8_t>(noise.begin(), noise.end())});
  const std::string compressed = read_file(folder / "whole.png");
  const std::string stored = test::png(11, 21, 3, 8, {noise.begin(), noise.end()});
  const std::string coded = test::jpeg(33, 21, 1, noise);
  for (const std::string& bytes : {compressed, stored, coded}) {
    CHECK_NOTHROW(decode_image(bytes, "x"));
    // The last 4 bytes of a PNG file are a checksum of nothing.
    const std::size_t end = bytes[0] == '\x89' ? bytes.size() - 4 : bytes.size();
    for (std::size_t size = 0; size < end; ++size) {
      INFO(size << " of " << bytes.size() << " bytes");
      const std::string message =
          test::message_of([&] { static_cast<void>(decode_image(bytes.substr(0, size), "scan")); });
      REQUIRE(message.find("scan: ") == 0);
    }
  }
  const Path path = folder.write("cut.jpg", coded.substr(0, coded.size() / 2));
  CHECK_MESSAGE_HAS(read_image(path), path.string(), "truncated JPEG", "no end marker");
  const Path png = folder.write("cut.png", compressed.substr(0, compressed.size() / 2));
  CHECK_MESSAGE_HAS(read_image(png), png.string(), "damaged or truncated PNG");
}

TEST_CASE("the end marker of a thumbnail is not the end of a JPEG image") {
  std::string bytes = test::jpeg(16, 16, 1, std::vector<std::uint8_t>(256, 100));
  const std::string thumbnail = std::string(
      "\xFF\xE1\x00\x08"
      "ab\xFF\xD9"
      "cd",
      10);
  bytes.insert(2, thumbnail);
  CHECK_NOTHROW(decode_image(bytes, "x"));
  CHECK_MESSAGE_HAS(decode_image(std::string_view(bytes).substr(0, bytes.size() - 2), "x"), "no end marker");
  CHECK_NOTHROW(decode_image(bytes + "trailing bytes", "x"));
}

TEST_CASE("what is no PNG or JPEG image is refused by name") {
  const TemporaryFolder folder;
  CHECK_MESSAGE_HAS(read_image(folder / "none.png"), "none.png", "No such file");
  CHECK_MESSAGE_HAS(decode_image("", "scan"), "scan: neither");
  CHECK_MESSAGE_HAS(decode_image("GIF89a", "scan"), "scan: neither");
  CHECK_MESSAGE_HAS(decode_image(std::string(132, '\0') + "DICM", "scan"), "scan: neither");
  const std::string huge = "\x89PNG\r\n\x1A\n" + test::png_chunk("IHDR", test::big_endian(0x7FFFFFFF) +
                                                                             test::big_endian(0x7FFFFFFF) +
                                                                             std::string("\x08\0\0\0\0", 5));
  CHECK_MESSAGE_HAS(decode_image(huge, "scan"), "scan: damaged");
}

TEST_CASE("a damaged image is read or refused and nothing else") {
  std::vector<std::uint8_t> noise(24 * 16);
  for (std::size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<std::uint8_t>(i * i * 31 % 251);
  for (const std::string& whole :
       {test::jpeg(24, 16, 1, noise), test::png(24, 16, 1, 8, {noise.begin(), noise.end()})}) {
    CHECK(rc::check([&](const std::vector<std::pair<std::uint16_t, char>>& changes) {
      std::string bytes = whole;
      for (const auto& [at, value] : changes) bytes[at % 300] = value;  // where the headers are
      // Not an image of a billion pixels: stb would decode it, but not within a test's time.
      if (bytes[0] == '\x89') bytes.replace(16, 8, whole.substr(16, 8));
      try {
        const GrayImage image = decode_image(bytes, "scan");
        RC_ASSERT(image.pixels.size() == static_cast<std::size_t>(image.width * image.height));
      } catch (const std::runtime_error& error) {
        RC_ASSERT(std::string(error.what()).find("scan: ") == 0U);
      }
    }));
  }
}

TEST_CASE("a PNG image is written as it is") {
  const TemporaryFolder folder;
  GrayImage image = make_gray_image(4, 2);
  image.pixels = {0, 1, 0.5F, -3, 7, std::numeric_limits<float>::quiet_NaN(), 100 / 255.0F, 0.9999F};
  write_png(folder / "grey.png", image);
  const GrayImage back = read_image(folder / "grey.png");
  const std::vector<int> expected{0, 255, 128, 0, 255, 0, 100, 255};
  REQUIRE(back.width == 4);
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(std::lround(back.pixels[i] * 255) == expected[i]);
  RgbImage colour = make_rgb_image(2, 1);
  colour.pixels = {255, 0, 0, 0, 255, 0};
  write_png(folder / "colour.png", colour);
  CHECK(read_image(folder / "colour.png").at(0, 0) == Approx(0.299));
  CHECK(folder.file_count() == 2);
  colour.pixels.pop_back();
  CHECK_THROWS_AS(write_png(folder / "no.png", colour), std::invalid_argument);
  CHECK_THROWS_AS(write_png(folder / "no.png", GrayImage{}), std::invalid_argument);
  CHECK_MESSAGE_HAS(write_png(folder / "no/such.png", image), "no/such.png", "No such file");
  CHECK_THROWS_AS(make_gray_image(0, 3), std::invalid_argument);
}

TEST_CASE("real radiographs are read", "[data]") {
  const auto data = test::real_data();
  if (!data) return;
  int images = 0;
  for (const char* folder : {"covid_cxr/images", "open_i/images_normalized"}) {
    for (const auto& entry : std::filesystem::directory_iterator(*data / folder)) {
      GrayImage image = fit_square(read_image(entry.path()), 64);
      standardise(image);
      for (float value : image.pixels) REQUIRE(std::isfinite(value));
      REQUIRE(
          std::any_of(image.pixels.begin(), image.pixels.end(), [](float value) { return value > 0.5F; }));
      ++images;
    }
  }
  CHECK(images == 105);
}

}  // namespace
