#include "io/image_bytes.hpp"
#include "support/temporary_folder.hpp"

#include <rapidcheck.h>

#include <vlp/io/image.hpp>

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace vlp;
using namespace vlp::io;
using vlp::test::TemporaryFolder;

std::vector<std::uint8_t> noise(std::size_t count) {
  std::vector<std::uint8_t> samples(count);
  for (std::size_t i = 0; i < count; ++i) samples[i] = static_cast<std::uint8_t>(i * i * 31 % 251);
  return samples;
}

Path stored(const std::string& name) {
  return Path(VLP_TEST_DATA_DIR) / "../io/data/images" / name;
}

/// The same picture as JPEG files of all codings, as 33 x 21 pixels.
std::vector<std::string> jpegs() {
  const std::vector<std::uint8_t> gray = noise(33 * 21), rgb = noise(3 * 33 * 21);
  static const std::array<jpeg_scan_info, 3> one_component_each{
      {{1, {0}, 0, 63, 0, 0}, {1, {1}, 0, 63, 0, 0}, {1, {2}, 0, 63, 0, 0}}};
  return {test::jpeg(33, 21, 1, gray),
          test::jpeg(33, 21, 1, gray, [](jpeg_compress_struct& j) { j.restart_interval = 2; }),
          test::jpeg(33, 21, 1, gray, [](jpeg_compress_struct& j) { jpeg_simple_progression(&j); }),
          test::jpeg(33, 21, 3, rgb, [](jpeg_compress_struct& j) { jpeg_simple_progression(&j); }),
          test::jpeg(33, 21, 3, rgb, [](jpeg_compress_struct& j) {
            j.scan_info = one_component_each.data();
            j.num_scans = 3;
          })};
}

/// The same in two scans, of which each brings its coefficients whole.
std::string in_two_scans() {
  static const std::array<jpeg_scan_info, 2> script{{{1, {0}, 0, 0, 0, 0}, {1, {0}, 1, 63, 0, 0}}};
  return test::jpeg(33, 21, 1, noise(33 * 21), [](jpeg_compress_struct& j) {
    j.scan_info = script.data();
    j.num_scans = static_cast<int>(script.size());
  });
}

std::string refusal(std::string_view bytes) {
  return test::message_of([&] { static_cast<void>(decode_image(bytes, "scan")); });
}

bool is_refused(std::string_view bytes) {
  return refusal(bytes).starts_with("scan: ");
}

/// Where the last segment of that marker begins, and the bytes that it takes.
std::pair<std::size_t, std::size_t> segment(const std::string& jpeg, char marker) {
  const std::size_t at = jpeg.rfind(std::string{'\xFF', marker});
  const auto byte = [&](std::size_t i) {
    return static_cast<std::size_t>(static_cast<unsigned char>(jpeg.at(i)));
  };
  return {at, 2 + (byte(at + 2) << 8 | byte(at + 3))};
}

/// The JPEG file without its segments of that marker.
std::string without(std::string jpeg, char marker) {
  while (jpeg.find(std::string{'\xFF', marker}) != std::string::npos) {
    const auto [at, size] = segment(jpeg, marker);
    jpeg.erase(at, size);
  }
  return jpeg;
}

TEST_CASE("an image that is cut short anywhere is refused by name") {
  const TemporaryFolder folder;
  const std::vector<std::uint8_t> samples = noise(33 * 21);
  write_png(folder / "whole.png", RgbImage{11, 21, samples});
  std::vector<std::string> files = jpegs();
  files.push_back(read_file(folder / "whole.png"));
  files.push_back(test::png(11, 21, 3, 8, {samples.begin(), samples.end()}));
  for (const std::string& bytes : files) {
    REQUIRE_NOTHROW(decode_image(bytes, "x"));
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      INFO(size << " of " << bytes.size() << " bytes");
      REQUIRE(is_refused(std::string_view(bytes).substr(0, size)));
    }
    const Path path = folder.write("cut", std::string_view(bytes).substr(0, bytes.size() / 2));
    CHECK_MESSAGE_HAS(read_image(path), path.string(), "truncated", bytes[0] == '\xFF' ? "JPEG" : "PNG");
    CHECK_NOTHROW(decode_image(bytes + "trailing bytes", "x"));
  }
  CHECK(refusal(files.front().substr(0, files.front().size() - 2)) ==
        "scan: truncated JPEG image (no end marker)");
  CHECK(refusal(files.back().substr(0, files.back().size() - 12)) ==
        "scan: truncated PNG image (no end chunk)");
}

TEST_CASE("a JPEG image that is cut short and closed with an end marker is refused") {
  for (const std::string& bytes : jpegs()) {
    // The last coded byte may hold nothing but the bits that fill it.
    for (std::size_t size = 20; size + 3 < bytes.size(); ++size) {
      INFO(size << " of " << bytes.size() << " bytes");
      REQUIRE(is_refused(bytes.substr(0, size) + "\xFF\xD9"));
    }
  }
  CHECK_MESSAGE_HAS(read_image(stored("restart_cut_with_end.jpg")), "truncated JPEG");
}

TEST_CASE("a JPEG image that lacks a whole scan is refused") {
  std::vector<std::string> files = jpegs();
  files.push_back(in_two_scans());
  for (std::size_t i = 2; i < files.size(); ++i) {
    std::string bytes = files[i];
    for (int scans = 0; bytes.rfind("\xFF\xDA") != bytes.find("\xFF\xDA"); ++scans) {
      bytes = bytes.substr(0, bytes.rfind("\xFF\xDA")) + "\xFF\xD9";
      INFO("file " << i << " without its last " << scans + 1 << " scans");
      CHECK(refusal(bytes) == "scan: truncated JPEG image (a scan is missing)");
    }
  }
}

TEST_CASE("a PNG image with any byte changed is refused") {
  const TemporaryFolder folder;
  const std::vector<std::uint8_t> samples = noise(9 * 5);
  write_png(folder / "whole.png", RgbImage{3, 5, samples});
  const std::string text = test::png_chunk("tEXt", "a chunk that changes no pixel");
  for (const std::string& whole :
       {read_file(folder / "whole.png"),
        test::png({.before_data = text}, 9, 5, {samples.begin(), samples.end()})}) {
    for (std::size_t i = 0; i < whole.size(); ++i) {
      for (const int change : {1, 0x20, 0x80}) {
        std::string bytes = whole;
        bytes[i] = static_cast<char>(bytes[i] ^ change);
        INFO("byte " << i);
        REQUIRE(is_refused(bytes));
      }
    }
  }
}

TEST_CASE("a PNG image whose data are not those of its pixels is refused") {
  const std::vector<std::uint16_t> samples{1, 2, 3, 4, 5, 6};
  const test::PngForm form;
  const std::string rows = test::png_rows(form, 3, 2, samples);
  CHECK_FALSE(is_refused(test::png_of_rows(form, 3, 2, rows)));
  CHECK(is_refused(test::png_of_rows(form, 3, 2, rows.substr(0, rows.size() - 1))));
  CHECK(is_refused(test::png_of_rows(form, 3, 2, rows + rows)));
  CHECK(is_refused(test::png_of_rows(form, 3, 2, "\x05" + rows.substr(1))));  // an unknown filter
  // Compressed data have a checksum of their own beside the chunk's.
  const std::string whole = test::png(form, 3, 2, samples);
  const std::string data = test::zlib_stored(rows);
  std::string wrong = data;
  wrong.back() = static_cast<char>(wrong.back() ^ 1);
  const auto with_data = [&](const std::string& other) {
    std::string bytes = whole;
    return bytes.replace(bytes.find("IDAT") - 4, data.size() + 12, test::png_chunk("IDAT", other));
  };
  CHECK_FALSE(is_refused(with_data(data)));
  CHECK(is_refused(with_data(wrong)));
  CHECK(is_refused(with_data(data + "behind")));
  // Two of three colours.
  const test::PngForm palette{.colour_type = 3, .before_data = test::png_chunk("PLTE", "aaabbb")};
  CHECK_FALSE(is_refused(test::png(palette, 2, 1, {0, 1})));
  CHECK(refusal(test::png(palette, 2, 1, {0, 2})) ==
        "scan: damaged PNG image (a pixel of colour 2 of a palette of 2)");
  CHECK(is_refused(test::png({.colour_type = 3}, 2, 1, {0, 1})));
}

TEST_CASE("bytes between the parts of a JPEG image are padding or damage") {
  const std::string whole = jpegs().front();
  const GrayImage expected = decode_image(whole, "x");
  for (const std::size_t at :
       {whole.size() - 2, segment(whole, '\xDB').first, segment(whole, '\xDA').first}) {
    std::string bytes = whole;
    CHECK(decode_image(bytes.insert(at, 40, '\0'), "x").pixels == expected.pixels);
    CHECK(decode_image(bytes.insert(at + 40, 5, '\xFF'), "x").pixels == expected.pixels);
    bytes[at + 20] = 'x';
    CHECK(is_refused(bytes));
  }
  // The thumbnail of a segment ends with a marker of its own.
  CHECK(decode_image(test::with_segment(whole, '\xE1', "ab\xFF\xD9"), "x").pixels == expected.pixels);
  // A later version of JFIF, and a scan whose range of coefficients some encoders leave 0.
  std::string later = whole, range = whole;
  later[later.find("JFIF") + 5] = '\x09';
  const auto [scan, size] = segment(range, '\xDA');
  range[scan + size - 2] = '\0';
  CHECK(decode_image(later, "x").pixels == expected.pixels);
  CHECK(decode_image(range, "x").pixels == expected.pixels);
}

TEST_CASE(
    "a JPEG image without Huffman tables has the standard ones, and one without quantisation is refused") {
  const std::string whole = jpegs().front();
  CHECK(decode_image(without(whole, '\xC4'), "x").pixels == decode_image(whole, "x").pixels);
  CHECK(is_refused(without(whole, '\xDB')));
  CHECK_MESSAGE_HAS(read_image(stored("huffman_table_of_660.jpg")), "damaged or truncated JPEG");
}

TEST_CASE("JPEG files that random changes made are refused") {
  for (int i = 1; i <= 12; ++i) {
    INFO("damaged_" << i << ".jpg");
    CHECK_THROWS_AS(read_image(stored(concat("damaged_", i, ".jpg"))), std::runtime_error);
  }
}

TEST_CASE("a JPEG image of a kind that is not supported is named as such") {
  const std::string whole = jpegs().front();
  const std::size_t frame = segment(whole, '\xC0').first;
  const auto changed = [&](std::size_t at, char to) {
    std::string bytes = whole;
    bytes[frame + at] = to;
    return refusal(bytes);
  };
  const std::string kind = "a JPEG image of a kind that is not supported";
  CHECK_THAT(changed(4, 12), ContainsSubstring(kind));  // bits per sample
  CHECK_THAT(changed(4, 16), ContainsSubstring(kind));
  CHECK_THAT(changed(1, '\xC5'), ContainsSubstring(kind));  // hierarchical
  CHECK_THAT(changed(1, '\xF7'), ContainsSubstring(kind + " (JPEG-LS)"));
  CHECK(!changed(1, '\xC3').empty());  // lossless, which some versions of the library decode
  std::string two(whole);
  two.insert(frame + 13, std::string("\x02\x11\0", 3)).replace(frame + 2, 2, std::string("\0\x0E", 2));
  two[frame + 9] = 2;
  CHECK_THAT(refusal(two), ContainsSubstring(kind + " (2 components)"));
}

TEST_CASE("what is no PNG or JPEG image is refused by name") {
  const TemporaryFolder folder;
  CHECK_MESSAGE_HAS(read_image(folder / "none.png"), "none.png", "No such file");
  CHECK(refusal("some text") == "scan: neither a PNG nor a JPEG image");
  const std::string neither = ", neither a PNG nor a JPEG image";
  CHECK(refusal("") == "scan: an empty file" + neither);
  CHECK(refusal("GIF89a") == "scan: a GIF image" + neither);
  CHECK(refusal("BM......") == "scan: a BMP image" + neither);
  CHECK(refusal("RIFF....WEBPVP8 ") == "scan: a WebP image" + neither);
  CHECK(refusal(std::string_view("II*\0....", 8)) == "scan: a TIFF image" + neither);
  CHECK(refusal(std::string_view("MM\0*....", 8)) == "scan: a TIFF image" + neither);
  CHECK(refusal("\xFF\x4F\xFF\x51....") == "scan: a JPEG 2000 image" + neither);
  CHECK(refusal(std::string_view("\0\0\0\x0CjP  ....", 12)) == "scan: a JPEG 2000 image" + neither);
  CHECK(refusal(std::string(128, '\0') + "DICM") == "scan: a DICOM file" + neither);
  CHECK(is_refused("\xFF\xD8\xFF"));
  CHECK(is_refused(test::png_signature));
}

std::string png_without_data(std::uint32_t width, std::uint32_t height) {
  return test::png_signature +
         test::png_chunk(
             "IHDR", test::big_endian(width) + test::big_endian(height) + std::string("\x08\0\0\0\0", 5)) +
         test::png_chunk("IDAT", "") + test::png_chunk("IEND", "");
}

TEST_CASE("an image of more pixels than allowed is refused before it is decoded") {
  const std::string png = test::png({}, 3, 2, {0, 1, 2, 3, 4, 5});
  const std::string jpeg = jpegs().front();
  CHECK_NOTHROW(decode_image(png, "x", 6));
  CHECK_MESSAGE_HAS(decode_image(png, "x", 5), "x: an image of 3 x 2 pixels is too large; max_pixels is 5");
  CHECK_NOTHROW(decode_image(jpeg, "x", 33 * 21));
  CHECK_MESSAGE_HAS(decode_image(jpeg, "x", 33 * 21 - 1), "x: an image of 33 x 21 pixels is too large");
  CHECK_THROWS_AS(decode_image(png, "x", 0), std::invalid_argument);
  CHECK_THROWS_AS(read_image("none.png", -1), std::invalid_argument);
  for (const std::uint32_t edge : {32'000U, 0x7FFFFFFFU})
    CHECK_THAT(refusal(png_without_data(edge, edge)), ContainsSubstring("is too large"));
  CHECK_THAT(refusal(png_without_data(1'000'001, 1)), ContainsSubstring("an edge may have 1000000"));
  CHECK(is_refused(png_without_data(0x80000000U, 1)));
  CHECK(is_refused(png_without_data(0, 1)));
  // An allowed size, but no data for it: memory for the pixels is not taken first.
  CHECK(refusal(png_without_data(11'000, 11'000)) ==
        "scan: truncated PNG image (57 bytes cannot hold 11000 x 11000 pixels)");
}

TEST_CASE("a caller is asked before memory is taken for an image's pixels") {
  for (const std::string& bytes : {jpegs()[0], jpegs()[2], test::png({}, 3, 2, {0, 1, 2, 3, 4, 5})}) {
    Index asked = 0;
    const GrayImage image =
        decode_image(bytes, "x", default_max_pixels, [&](Index pixels) { asked += pixels; });
    CHECK(asked == image.width * image.height);
    const auto refuse = [](Index) { throw std::runtime_error("not now"); };
    CHECK_THROWS_WITH(decode_image(bytes, "x", default_max_pixels, refuse), "not now");
  }
}

TEST_CASE("a file that is larger than any image is refused unread") {
  const TemporaryFolder folder;
  const Path path = folder.write("sparse.png", test::png_signature);
  std::filesystem::resize_file(path, std::uintmax_t{9} << 30);
  CHECK_MESSAGE_HAS(read_image(path), path.string() + ": has 9663676416 bytes, more than the");
}

TEST_CASE("a PNG image with far more data than pixels is refused before they are decompressed") {
  const std::string surplus = test::png_chunk("IDAT", std::string(100'000, '\0'));
  CHECK(refusal(test::png({.after_data = surplus}, 3, 2, {0, 1, 2, 3, 4, 5})) ==
        "scan: damaged PNG image (more data than pixels)");
}

TEST_CASE("a JPEG image in more scans than any encoder makes is refused") {
  const std::string bytes = in_two_scans();
  const std::size_t last = bytes.rfind("\xFF\xDA");
  const std::string scan = bytes.substr(last, bytes.size() - 2 - last);
  std::string many = bytes.substr(0, last);
  for (int i = 1; i < 100; ++i) many += scan;
  CHECK(decode_image(many + "\xFF\xD9", "x").pixels == decode_image(bytes, "x").pixels);
  CHECK(refusal(many + scan + "\xFF\xD9") == "scan: a JPEG image of 33 x 21 pixels in more than 100 scans");
}

TEST_CASE("a damaged image is read or refused and nothing else") {
  const std::vector<std::uint8_t> samples = noise(24 * 16);
  for (const std::string& whole :
       {test::jpeg(24, 16, 1, samples), test::png(24, 16, 1, 8, {samples.begin(), samples.end()})}) {
    CHECK(rc::check([&](const std::vector<std::pair<std::uint16_t, char>>& changes) {
      std::string bytes = whole;
      for (const auto& [at, value] : changes) bytes[at % 300] = value;  // where the headers are
      try {
        const GrayImage image = decode_image(bytes, "scan");
        RC_ASSERT(image.pixels.size() == static_cast<std::size_t>(image.width * image.height));
      } catch (const std::runtime_error& error) {
        RC_ASSERT(std::string(error.what()).find("scan: ") == 0U);
      }
    }));
  }
}

}  // namespace
