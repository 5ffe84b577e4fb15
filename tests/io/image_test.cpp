#include "io/image_bytes.hpp"
#include "support/temporary_folder.hpp"

#include <vlp/io/image.hpp>
#include <vlp/io/resize.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace {

using namespace vlp;
using namespace vlp::io;
using vlp::test::TemporaryFolder;

/// A file of tests/io/data/images.
Path stored(const std::string& name) {
  return Path(VLP_TEST_DATA_DIR) / "../io/data/images" / name;
}

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

/// 1 row of 16 samples that count up.
std::vector<std::uint16_t> counting(int values) {
  std::vector<std::uint16_t> samples;
  for (int i = 0; i < 16; ++i) samples.push_back(static_cast<std::uint16_t>(i % values));
  return samples;
}

TEST_CASE("a PNG image is read at 1, 2 and 4 bits") {
  for (int depth : {1, 2, 4}) {
    const int values = 1 << depth;
    const GrayImage image = decode_image(test::png({.depth = depth}, 16, 1, counting(values)), "x");
    for (int i = 0; i < 16; ++i) CHECK(image.at(i, 0) == Approx((i % values) / (values - 1.0)));
  }
}

TEST_CASE("a PNG image is read by its palette at 1, 2, 4 and 8 bits") {
  for (int depth : {1, 2, 4, 8}) {
    const int values = std::min(1 << depth, 16);
    std::string colours;
    for (int i = 0; i < values; ++i) colours += {static_cast<char>(15 * i), '\0', static_cast<char>(255 - i)};
    const std::string palette = test::png_chunk("PLTE", colours);
    const GrayImage image = decode_image(
        test::png({.colour_type = 3, .depth = depth, .before_data = palette}, 16, 1, counting(values)), "x");
    for (int i = 0; i < 16; ++i)
      CHECK(image.at(i, 0) == Approx((0.299 * 15 * (i % values) + 0.114 * (255 - i % values)) / 255));
  }
}

TEST_CASE("an interlaced PNG image is the same image") {
  for (int colour_type : {0, 2, 4, 6}) {
    for (int depth : {1, 8, 16}) {
      if (depth == 1 && colour_type != 0) continue;
      for (std::uint32_t width : {1U, 2U, 5U, 8U, 19U}) {
        for (std::uint32_t height : {1U, 3U, 5U, 17U}) {
          std::vector<std::uint16_t> samples(4 * std::size_t{width} * height);
          for (std::size_t i = 0; i < samples.size(); ++i)
            samples[i] = static_cast<std::uint16_t>(i * i * 31 % 65521 & ((1U << depth) - 1));
          test::PngForm form{.colour_type = colour_type, .depth = depth};
          const GrayImage expected = decode_image(test::png(form, width, height, samples), "x");
          form.interlaced = true;
          CHECK(decode_image(test::png(form, width, height, samples), "x").pixels == expected.pixels);
        }
      }
    }
  }
}

TEST_CASE("transparency, colour profiles and text of a PNG image change nothing") {
  const std::string odd = test::png_chunk("iCCP", "known to be odd") + test::png_chunk("tRNS", "") +
                          test::png_chunk("gAMA", "") + test::png_chunk("tEXt", std::string(300'000, 'x')) +
                          test::png_chunk("prVt", std::string(9'000'000, 'x'));
  const std::vector<std::uint16_t> samples{0, 100, 200, 255};
  const GrayImage image = decode_image(test::png({.before_data = odd}, 4, 1, samples), "x");
  CHECK(image.pixels == decode_image(test::png({}, 4, 1, samples), "x").pixels);
  // Alpha of a palette makes no fourth channel.
  const std::string palette =
      test::png_chunk("PLTE", "aaabbbccc") + test::png_chunk("tRNS", std::string(3, '\0'));
  const test::PngForm form{.colour_type = 3, .before_data = palette};
  CHECK(decode_image(test::png(form, 2, 1, {2, 0}), "x").at(0, 0) == Approx('c' / 255.0));
}

TEST_CASE("a PNG image that notes too small a window of compression is read all the same") {
  const TemporaryFolder folder;
  RgbImage image = make_rgb_image(300, 40);  // equal rows, further apart than the window that is noted
  for (std::size_t i = 0; i < image.pixels.size(); ++i)
    image.pixels[i] = static_cast<std::uint8_t>(i % 900 * (i % 900) * 31 % 251);
  write_png(folder / "x.png", image);
  std::string bytes = read_file(folder / "x.png");
  const std::size_t data = bytes.find("IDAT") + 4, size = bytes.size() - 12 - 4 - data;
  const std::string noted = bytes.substr(data, size).replace(0, 2, "\x08\x1D");  // 256 bytes
  bytes.replace(data - 8, size + 12, test::png_chunk("IDAT", noted));
  CHECK(decode_image(bytes, "x").pixels == read_image(folder / "x.png").pixels);
}

/// A picture that has no axis of symmetry.
std::vector<std::uint8_t> slope(int width, int height) {
  std::vector<std::uint8_t> samples;
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) samples.push_back(static_cast<std::uint8_t>(20 + 4 * x + 2 * y));
  return samples;
}

TEST_CASE("a JPEG image of any coding is the same image") {
  const std::vector<std::uint8_t> samples = slope(40, 24);
  const GrayImage expected = decode_image(test::jpeg(40, 24, 1, samples), "x");
  const auto same = [&](const auto& adjust) {
    return decode_image(test::jpeg(40, 24, 1, samples, adjust), "x").pixels == expected.pixels;
  };
  CHECK(same([](jpeg_compress_struct& j) { jpeg_simple_progression(&j); }));
  CHECK(same([](jpeg_compress_struct& j) { j.optimize_coding = TRUE; }));
  CHECK(same([](jpeg_compress_struct& j) { j.restart_interval = 2; }));
  CHECK(same([](jpeg_compress_struct& j) { j.write_JFIF_header = FALSE; }));
}

TEST_CASE("a JPEG image in arithmetic coding is the same image, where the library has that") {
  std::vector<std::uint8_t> samples;
  for (int i = 0; i < 16 * 16; ++i) samples.push_back(static_cast<std::uint8_t>(i * 7 % 251));
  const std::string baseline =
      test::jpeg(16, 16, 1, samples, [](jpeg_compress_struct& j) { jpeg_set_quality(&j, 50, TRUE); });
  GrayImage image;
  const std::string message = test::message_of([&] { image = read_image(stored("arithmetic.jpg")); });
  if (message == "no error") {
    CHECK(image.pixels == decode_image(baseline, "x").pixels);
  } else {
    CHECK_THAT(message, ContainsSubstring("a JPEG image of a kind that is not supported"));
  }
}

TEST_CASE("the grey of a colour JPEG image is its luma") {
  constexpr int edge = 32;
  std::vector<std::uint8_t> rgb;
  for (int i = 0; i < edge * edge; ++i) rgb.insert(rgb.end(), {200, 60, 20});
  const double expected = (0.299 * 200 + 0.587 * 60 + 0.114 * 20) / 255;
  const auto is_expected = [&](const auto& adjust) {
    const GrayImage image = decode_image(test::jpeg(edge, edge, 3, rgb, adjust), "x");
    return std::all_of(image.pixels.begin(), image.pixels.end(),
                       [&](float pixel) { return std::abs(pixel - expected) < 0.006; });
  };
  CHECK(is_expected([](jpeg_compress_struct&) {}));
  CHECK(is_expected([](jpeg_compress_struct& j) { jpeg_simple_progression(&j); }));
  CHECK(is_expected([](jpeg_compress_struct& j) { jpeg_set_colorspace(&j, JCS_RGB); }));
  CHECK(is_expected([](jpeg_compress_struct& j) {  // scans of one component each
    static const std::array<jpeg_scan_info, 3> scans{
        {{1, {0}, 0, 63, 0, 0}, {1, {1}, 0, 63, 0, 0}, {1, {2}, 0, 63, 0, 0}}};
    j.scan_info = scans.data();
    j.num_scans = 3;
  }));
}

TEST_CASE("the grey of a CMYK JPEG image is that of its colours on paper") {
  constexpr int edge = 16;
  std::vector<std::uint8_t> cmyk;  // 255 is no ink
  for (int i = 0; i < edge * edge; ++i) cmyk.insert(cmyk.end(), {200, 60, 20, 128});
  const double expected = (0.299 * 200 + 0.587 * 60 + 0.114 * 20) / 255 * 128 / 255;
  for (const J_COLOR_SPACE coded : {JCS_CMYK, JCS_YCCK}) {
    const std::string bytes =
        test::jpeg(edge, edge, 4, cmyk, [&](jpeg_compress_struct& j) { jpeg_set_colorspace(&j, coded); });
    CHECK(decode_image(bytes, "x").at(7, 7) == Approx(expected).margin(0.006));
  }
}

void check_corners(const GrayImage& image) {
  CHECK(image.at(1, 1) == Approx(0.902).margin(0.01));
  CHECK(image.at(image.width - 2, 1) == Approx(0.314).margin(0.01));
  CHECK(image.at(1, image.height - 2) == Approx(0.08).margin(0.01));
  CHECK(image.at(image.width - 2, image.height - 2) == Approx(0.843).margin(0.01));
}

TEST_CASE("one radiograph in grey and in CMYK, with and without Adobe's marker, is one image") {
  for (const char* name : {"baseline.jpg", "cmyk_adobe.jpg", "cmyk_no_adobe.jpg"}) {
    INFO(name);
    const GrayImage image = read_image(stored(name));
    check_corners(image);
    double sum = 0;
    for (const float pixel : image.pixels) sum += static_cast<double>(pixel);
    CHECK(sum / static_cast<double>(image.pixels.size()) == Approx(0.4126).margin(0.0005));
  }
}

TEST_CASE("an image is turned as its EXIF orientation says") {
  // Where the corner at the top left of the stored image is seen, and where the one at the top right.
  struct Case {
    int orientation;
    bool first_right, first_down, second_right, second_down;
  };
  const std::vector<Case> cases{{1, false, false, true, false}, {2, true, false, false, false},
                                {3, true, true, false, true},   {4, false, true, true, true},
                                {5, false, false, false, true}, {6, true, false, true, true},
                                {7, true, true, true, false},   {8, false, true, false, false}};
  const std::vector<std::uint8_t> samples = slope(32, 16);  // 20 at the top left, 144 at the top right
  for (const Case& c : cases) {
    for (const bool little : {false, true}) {
      const std::string exif = test::exif(c.orientation, little);
      const std::string chunk = test::png_chunk("eXIf", exif);
      const std::vector<std::uint16_t> wide(samples.begin(), samples.end());
      for (const std::string& bytes :
           {test::with_segment(test::jpeg(32, 16, 1, samples), '\xE1', std::string("Exif\0\0", 6) + exif),
            test::png({.before_data = chunk}, 32, 16, wide),
            test::png({.after_data = chunk}, 32, 16, wide)}) {
        INFO(c.orientation << (little ? " little" : " big"));
        const GrayImage image = decode_image(bytes, "x");
        REQUIRE(image.width == (c.orientation < 5 ? 32 : 16));
        REQUIRE(image.height == (c.orientation < 5 ? 16 : 32));
        const auto corner = [&](bool right, bool down) {
          return image.at(right ? image.width - 1 : 0, down ? image.height - 1 : 0);
        };
        CHECK(corner(c.first_right, c.first_down) == Approx(20 / 255.0).margin(0.01));
        CHECK(corner(c.second_right, c.second_down) == Approx(144 / 255.0).margin(0.01));
      }
    }
  }
  for (const char* name : {"exif2.jpg", "exif3.jpg", "exif6.jpg"}) {  // made by another program
    INFO(name);
    const GrayImage image = read_image(stored(name));
    CHECK(image.width == 128);
    check_corners(image);
  }
}

TEST_CASE("EXIF data that are damaged or name no orientation leave an image as it is") {
  const std::vector<std::uint16_t> samples{0, 50, 100, 150, 200, 250};
  const std::vector<float> expected = decode_image(test::png({}, 3, 2, samples), "x").pixels;
  const auto left = [&](const std::string& exif) {
    const GrayImage image =
        decode_image(test::png({.before_data = test::png_chunk("eXIf", exif)}, 3, 2, samples), "x");
    return image.pixels == expected;
  };
  const std::string whole = test::exif(3, false);
  REQUIRE(!left(whole));
  CHECK(left(""));
  for (std::size_t size = 0; size < 22; ++size) CHECK(left(whole.substr(0, size)));
  for (const int orientation : {0, 9, 65535}) CHECK(left(test::exif(orientation, true)));
  for (const std::size_t at : {std::size_t{0}, std::size_t{3}, std::size_t{4}, std::size_t{8},
                               std::size_t{11}, std::size_t{13}, std::size_t{17}}) {
    std::string changed = whole;
    changed[at] = at == 8 ? '\0' : '\x7F';
    if (at == 8) changed[9] = '\0';  // no entries
    INFO(at);
    CHECK(left(changed));
  }
}

TEST_CASE("an image is the same whatever was read before it") {
  std::vector<std::string> files;
  for (const char* name : {"baseline.jpg", "cmyk_adobe.jpg", "restart_cut_with_end.jpg", "damaged_8.jpg",
                           "exif6.jpg", "huffman_table_of_660.jpg", "damaged_1.jpg"})
    files.push_back(read_file(stored(name)));
  files.push_back(test::png({.interlaced = true}, 3, 2, {0, 1, 2, 3, 4, 5}));
  const auto outcome = [](const std::string& bytes) {
    try {
      return decode_image(bytes, "x").pixels;
    } catch (const std::runtime_error&) {
      return std::vector<float>{};
    }
  };
  std::vector<std::vector<float>> first;
  for (const std::string& bytes : files) first.push_back(outcome(bytes));
  std::vector<std::size_t> order(files.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  for (int round = 0; round < 20; ++round) {
    std::next_permutation(order.begin(), order.end());
    std::rotate(order.begin(), order.begin() + 3, order.end());
    for (const std::size_t i : order) REQUIRE(outcome(files[i]) == first[i]);
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
  constexpr Index too_long = max_image_edge + 1, wraps = Index{1} << 32;  // 2^32 x 2^32 is 0 modulo 2^64
  CHECK_THROWS_AS(make_gray_image(wraps, wraps), std::invalid_argument);
  CHECK_THROWS_AS(make_rgb_image(wraps, wraps), std::invalid_argument);
  const GrayImage line{too_long, 1, std::vector<float>(static_cast<std::size_t>(too_long))};
  CHECK_THROWS_WITH(write_png(folder / "no.png", line),
                    "write_png: size 1000001 x 1; an edge has at most 1000000 pixels");
  CHECK(folder.file_count() == 2);
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
