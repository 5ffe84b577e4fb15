#include "dicom/dicom_bytes.hpp"
#include "io/image_bytes.hpp"
#include "support/temporary_folder.hpp"

#include <rapidcheck.h>

#include <vlp/io/dicom.hpp>
#include <vlp/io/npy.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace vlp;
using vlp::test::DicomFile;
using vlp::test::DicomWriter;

std::vector<float> greys(const DicomFile& file) {
  return io::decode_dicom(file.bytes(), "scan").pixels;
}

void check(const DicomFile& file, const std::vector<double>& expected) {
  const std::vector<float> found = greys(file);
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    INFO("pixel " << i);
    CHECK(found[i] == Approx(expected[i]).margin(1e-6));
  }
}

const DicomWriter little(test::explicit_little);

/// A row of 16-bit values.
DicomFile row(const std::vector<int>& values, const std::string& more = {}) {
  return {
      .width = static_cast<int>(values.size()), .height = 1, .pixels = little.words(values), .more = more};
}

std::string window(const std::string& center, const std::string& width, const std::string& function = {}) {
  return little.element(0x00281050, "DS", center) + little.element(0x00281051, "DS", width) +
         (function.empty() ? "" : little.element(0x00281056, "CS", function));
}

std::string rescale(const std::string& slope, const std::string& intercept) {
  return little.element(0x00281052, "DS", intercept) + little.element(0x00281053, "DS", slope);
}

TEST_CASE("stored values are what BitsStored, HighBit and PixelRepresentation say") {
  // 12 of 16 bits; what stands above them belongs to no value.
  DicomFile file = row({0xF000, 0x0FFF, 0x1800, 0x3400});
  file.stored = 12;
  check(file, {0, 1, 0x800 / 4095.0, 0x400 / 4095.0});
  // The same bits with a sign: 0, -1, -2048, 1024.
  file.representation = 1;
  check(file, {2048 / 3072.0, 2047 / 3072.0, 0, 1});
  // And those that end in the highest bit.
  file.representation = 0;
  file.high = 15;  // 0xF00, 0x0FF, 0x180, 0x340
  check(file, {1, 0, (0x180 - 0xFF) / double{0xF00 - 0xFF}, (0x340 - 0xFF) / double{0xF00 - 0xFF}});
  file.representation = 1;  // -256, 255, 384, 832
  check(file, {0, 511 / 1088.0, 640 / 1088.0, 1});

  file = row({0, 0x7FFF, 0x8000, 0xFFFF});
  check(file, {0, 32767 / 65535.0, 32768 / 65535.0, 1});
  file.representation = 1;
  check(file, {32768 / 65535.0, 1, 0, 32767 / 65535.0});

  DicomFile bytes{.width = 3, .height = 1, .pixels = "\x10\x80\xFF", .allocated = 8, .stored = 8};
  check(bytes, {0, (0x80 - 0x10) / 239.0, 1});
  bytes.representation = 1;  // 16, -128, -1
  check(bytes, {1, 0, 127 / 144.0});

  const DicomFile bits{.width = 5, .height = 2, .pixels = {'\x36', '\x01'}, .allocated = 1, .stored = 1};
  check(bits, {0, 1, 1, 0, 1, 1, 0, 0, 1, 0});
}

TEST_CASE("rows and columns are where the file has them") {
  const DicomFile file{.width = 2, .height = 3, .pixels = little.words({0, 1, 2, 3, 4, 5})};
  const io::GrayImage image = io::decode_dicom(file.bytes(), "scan");
  CHECK(image.width == 2);
  CHECK(image.height == 3);
  CHECK(image.at(1, 2) == 1);
  CHECK(image.at(1, 0) == Approx(0.2));
  // Bytes in words of the other order.
  check({.width = 3,
         .height = 1,
         .pixels = {1, 0, 9, 4},
         .allocated = 8,
         .stored = 8,
         .syntax = test::explicit_big,
         .pixel_vr = "OW"},
        {0, 0.25, 1});
  check({.width = 3,
         .height = 1,
         .pixels = {0, 1, 4, 9},
         .allocated = 8,
         .stored = 8,
         .syntax = test::explicit_big},
        {0, 0.25, 1});
}

TEST_CASE("a window is that of LINEAR unless the file says otherwise") {
  // PS3.3, C.11.2.1.2.1: of width 5 around 10 there are the values 8 to 12, of which 8 is not above black's
  // end.
  const std::vector<int> values{7, 8, 9, 10, 11, 12, 13};
  check(row(values, window("10", "5")), {0, 0.125, 0.375, 0.625, 0.875, 1, 1});
  check(row(values, window("10", "5", "LINEAR")), {0, 0.125, 0.375, 0.625, 0.875, 1, 1});
  check(row(values, window("10", "5", "LINEAR_EXACT")), {0, 0.1, 0.3, 0.5, 0.7, 0.9, 1});
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-4 * (x - 10) / 5)); };
  check(row(values, window("10", "5", "SIGMOID")),
        {sigmoid(7), sigmoid(8), sigmoid(9), 0.5, sigmoid(11), sigmoid(12), sigmoid(13)});
  // A window of one value is a step (the standard's remark on a width of 1).
  check(row({9, 10, 11}, window("10", "1")), {0, 1, 1});
  check(row({9, 10, 11}, window("10.5", "1")), {0, 0, 1});
  check(row({0, 1, 4095}, window("2048", "4096")), {0, 1 / 4095.0, 1});
  // Where numbers are so large that the window's end is rounded, nothing is beyond white.
  check(row({0, 2, 4}, rescale("1", "1e16") + window("10000000000000002", "3", "LINEAR_EXACT")), {0, 0.5, 1});
}

TEST_CASE("the first of several windows and tables counts") {
  check(row({0, 5, 10}, window("5.5\\0", "11\\1")), {0, 0.5, 1});
  check(row({0, 5, 10}, window(" 5.50 \\0", "+1.1e1")), {0, 0.5, 1});
  const std::string tables = little.sequence(
      0x00283010, little.item(little.table(0, 8, {0, 51, 255})) + little.item(little.table(0, 8, {9, 9, 9})));
  check(row({0, 1, 2}, tables), {0, 0.2, 1});
}

TEST_CASE("a rescaling comes before the window") {
  // 3 x - 10: -10, -4, 2, 20; of the window of -4 to 2 exactly.
  check(row({0, 2, 4, 10}, rescale("3", "-10") + window("-1", "6", "LINEAR_EXACT")), {0, 0, 1, 1});
  check(row({2, 3, 4}, rescale("3", "-10") + window("-1", "6", "LINEAR_EXACT")), {0, 0.5, 1});
  // A negative slope swaps black and white, with a window and without.
  check(row({0, 1, 4}, rescale("-1", "0")), {1, 0.75, 0});
  check(row({0, 1, 4}, rescale("-1", "4") + window("2", "4", "LINEAR_EXACT")), {1, 0.75, 0});
  check(row({0, 1, 4}, little.element(0x00281053, "DS", "-1")), {1, 0.75, 0});
}

TEST_CASE("a modality table stands in the place of a rescaling") {
  const auto table = [](int first) {
    return little.sequence(0x00283000, little.item(little.table(first, 16, {100, 300, 200, 500})));
  };
  // Below the first mapped value is the first entry, above the last the last.
  check(row({0, 10, 11, 12, 13, 99}, table(10)), {0, 0, 0.5, 0.25, 1, 1});
  check(row({10, 11, 12, 13}, table(10) + rescale("-1", "0")), {0, 0.5, 0.25, 1});
  check(row({10, 11, 12, 13}, table(10) + window("300", "400", "LINEAR_EXACT")), {0, 0.5, 0.25, 1});
  // Values with a sign: -2, -1, 0, 1.
  DicomFile with_sign = row({0xFFFE, 0xFFFF, 0, 1}, table(-2));
  with_sign.representation = 1;
  check(with_sign, {0, 0.5, 0.25, 1});
}

TEST_CASE("a VOI table comes before a window, and is scaled by its bits") {
  const std::string table = little.sequence(0x00283010, little.item(little.table(2, 10, {0, 1023, 341})));
  check(row({0, 2, 3, 4, 9}, table + window("0", "1")), {0, 0, 1, 1 / 3.0, 1 / 3.0});
  // After a rescaling that makes negative values, the first mapped one has a sign where the file does not
  // say.
  DicomFile file = row({0, 1, 2, 3});
  file.syntax = test::implicit_little;
  const DicomWriter implicit = file.writer();
  file.more = implicit.element(0x00281052, "DS", "-2") + implicit.element(0x00281053, "DS", "1") +
              implicit.sequence(0x00283010, implicit.item(implicit.table(-2, 8, {0, 51, 102, 255})));
  check(file, {0, 0.2, 0.4, 1});
  // Up to 8 bits, two entries may share a word; with an odd number of them a byte is left over.
  const std::string packed = little.element(0x00283002, "US", little.words({3, 0, 8})) +
                             little.element(0x00283006, "OW", std::string("\x00\x33\xFF\x00", 4));
  check(row({0, 1, 2}, little.sequence(0x00283010, little.item(packed))), {0, 0.2, 1});
}

TEST_CASE("a table of 65536 entries has no number for them") {
  std::vector<int> entries(65536);
  for (int i = 0; i < 65536; ++i) entries[static_cast<std::size_t>(i)] = 65535 - i;
  const std::string table = little.element(0x00283002, "US", little.words({0, 0, 16})) +
                            little.element(0x00283006, "OW", little.words(entries));
  check(row({0, 13107, 65535}, little.sequence(0x00283010, little.item(table))), {1, 0.8, 0});
}

TEST_CASE("MONOCHROME1 and the shape INVERSE swap black and white, once") {
  const std::string inverse = little.element(0x20500020, "CS", "INVERSE");
  const std::string identity = little.element(0x20500020, "CS", "IDENTITY");
  DicomFile file = row({0, 1, 4});
  file.photometric = "MONOCHROME1";
  check(file, {1, 0.75, 0});
  file.more = inverse;
  check(file, {1, 0.75, 0});
  file.more = window("2", "4", "LINEAR_EXACT");
  check(file, {1, 0.75, 0});
  check(row({0, 1, 4}, inverse), {1, 0.75, 0});
  check(row({0, 1, 4}, identity), {0, 0.25, 1});
}

TEST_CASE("without a window the image's values are the range, padding left out") {
  check(row({7, 7, 7}), {0, 0, 0});
  const std::string padding = little.us(0x00280120, 0);
  check(row({0, 100, 150, 200}), {0, 0.5, 0.75, 1});
  check(row({0, 100, 150, 200}, padding), {0, 0, 0.5, 1});
  check(row({0, 9, 100, 150, 200}, padding + little.us(0x00280121, 10)), {0, 0, 0, 0.5, 1});
  check(row({0, 0}, padding), {0, 0});  // nothing else
  check(row({5, 9}, padding + little.us(0x00280121, 10)), {0, 1});
  DicomFile file = row({0x8000, 0xFFFF, 0, 1}, little.element(0x00280120, "SS", little.words({0x8000})));
  file.representation = 1;  // -32768, -1, 0, 1
  check(file, {0, 0, 0.5, 1});
  // With a window padding is a value like any other.
  check(row({0, 1, 4}, little.us(0x00280120, 4) + window("2", "4", "LINEAR_EXACT")), {0, 0.25, 1});
}

TEST_CASE("colour is its luma, by pixel and by plane") {
  DicomFile file{.width = 2,
                 .height = 1,
                 .pixels = {'\xFF', 0, 0, 0, '\xFF', '\x33'},
                 .allocated = 8,
                 .stored = 8,
                 .channels = 3,
                 .photometric = "RGB"};
  check(file, {0.299, 0.587 + 0.2 * 0.114});
  file.pixels = {'\xFF', 0, 0, '\xFF', 0, '\x33'};
  file.planar = 1;
  check(file, {0.299, 0.587 + 0.2 * 0.114});
  file.photometric = "YBR_FULL";
  check(file, {1, 0});
  file.planar = 0;
  check(file, {1, 1});
  file = {
      .width = 1, .height = 1, .pixels = little.words({0xFFFF, 0, 0}), .channels = 3, .photometric = "RGB"};
  check(file, {0.299});
}

TEST_CASE("attributes are found behind sequences of any form, and what they nest counts for nothing") {
  for (const char* syntax : {test::implicit_little, test::explicit_little, test::explicit_big}) {
    for (const bool undefined : {false, true}) {
      DicomFile file{.width = 3, .height = 1, .syntax = syntax};
      const DicomWriter w = file.writer();
      INFO(syntax << ", undefined " << undefined);
      file.pixels = w.words({0, 5, 10});
      // An icon with rows and pixels of its own, some of them compressed, in a sequence within one.
      const std::string fragments =
          w.header(0x7FE00010, "OB", 0xFFFFFFFF) + w.item("") + w.item("ab") + w.item_header(0xFFFEE0DD, 0);
      const std::string icon = w.us(0x00280010, 77) + w.element(0x7FE00010, "OB", "pixels") + fragments;
      const std::string nested = w.sequence(0x00081140, w.item(icon, undefined), undefined);
      file.more =
          w.sequence(0x00880200, w.item(nested, undefined) + w.item("", undefined), undefined) +
          w.element(0x00281050, "DS", "5.5") + w.element(0x00281051, "DS", "11") +
          w.sequence(0x00283010, w.item(w.table(0, 8, {255}), undefined) + w.item("", undefined), undefined);
      check(file, {1, 1, 1});
    }
  }
}

TEST_CASE("a sequence of unknown representation is read as one without any") {
  const DicomWriter implicit(test::implicit_little);
  const std::string items = implicit.item(implicit.us(0x00280010, 7), true) + implicit.item("", false);
  DicomFile file =
      row({0, 1, 4}, little.header(0x00091010, "UN", 0xFFFFFFFF) + items + little.item_header(0xFFFEE0DD, 0));
  check(file, {0, 0.25, 1});
  file.more = little.element(0x00283010, "UN", implicit.item(implicit.table(0, 8, {255})));
  check(file, {1, 1, 1});
  // And within another sequence, whose elements go on as before.
  const std::string unknown =
      little.header(0x00091010, "UN", 0xFFFFFFFF) + items + little.item_header(0xFFFEE0DD, 0);
  file.more = little.sequence(0x00081140, little.item(unknown + little.us(0x00280010, 7), true), true);
  check(file, {0, 0.25, 1});
}

TEST_CASE("pixels of any rescaling, window and bits are those of the definition in double") {
  CHECK(rc::check([] {
    const int stored = *rc::gen::inRange(1, 17);
    const int high = *rc::gen::inRange(stored - 1, 16);
    const bool is_signed = *rc::gen::arbitrary<bool>();
    const auto words = *rc::gen::nonEmpty(rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 65536)));
    const int slope = *rc::gen::suchThat(rc::gen::inRange(-40, 41), [](int s) { return s != 0; });
    const int intercept = *rc::gen::inRange(-3000, 3000), center = *rc::gen::inRange(-4000, 4000);
    const int width = *rc::gen::inRange(1, 9000), function = *rc::gen::inRange(0, 4);  // 3: no window
    const bool inverse = *rc::gen::arbitrary<bool>();

    const std::string names[]{"LINEAR", "LINEAR_EXACT", "SIGMOID"};
    DicomFile file = row(words, rescale(concat(slope / 8.0), concat(intercept)));
    if (function < 3) file.more += window(concat(center), concat(width), names[function]);
    if (inverse) file.photometric = "MONOCHROME1";
    file.stored = stored;
    file.high = high;
    file.representation = is_signed ? 1 : 0;

    std::vector<double> values;
    for (const int word : words) {
      int value = (word >> (high + 1 - stored)) % (1 << stored);
      if (is_signed && value >= 1 << (stored - 1)) value -= 1 << stored;
      values.push_back(value * (slope / 8.0) + intercept);
    }
    const auto [least, most] = std::minmax_element(values.begin(), values.end());
    const double low = *least, range = *most - *least, c = center, w = width;
    const std::vector<float> found = greys(file);
    RC_ASSERT(found.size() == values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double x = values[i];
      double y = 0;
      if (function == 0)
        y = x <= c - 0.5 - (w - 1) / 2 ? 0 : x > c - 0.5 + (w - 1) / 2 ? 1 : (x - (c - 0.5)) / (w - 1) + 0.5;
      else if (function == 1)
        y = x <= c - w / 2 ? 0 : x > c + w / 2 ? 1 : (x - c) / w + 0.5;
      else if (function == 2)
        y = 1 / (1 + std::exp(-4 * (x - c) / w));
      else
        y = range > 0 ? (x - low) / range : 0;
      if (inverse) y = 1 - y;
      RC_ASSERT(std::abs(found[i] - y) < 1e-6);
    }
  }));
}

TEST_CASE("a real radiograph is as pydicom makes it") {
  const io::Path folder = io::Path(VLP_TEST_DATA_DIR) / "../dicom/data";
  const io::GrayImage image = io::decode_dicom(io::read_file(folder / "radiograph.dcm"), "radiograph.dcm");
  const std::vector<float> expected = io::read_npy(folder / "radiograph.npy").as<float>();
  REQUIRE(image.width == 64);
  REQUIRE(image.pixels.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(std::abs(image.pixels[i] - expected[i]) < 1e-6F);
}

TEST_CASE("a radiograph is told by its first bytes") {
  const DicomFile file = row({0, 1, 4});
  CHECK(io::is_dicom(file.bytes()));
  CHECK(io::decode_radiograph(file.bytes(), "scan").pixels == greys(file));
  for (const std::string& bytes : {test::png(2, 1, 1, 8, {0, 51}), test::jpeg(2, 1, 1, {0, 51})})
    CHECK(io::decode_radiograph(bytes, "image").pixels == io::decode_image(bytes, "image").pixels);
  CHECK_MESSAGE_HAS(io::decode_radiograph("plain text", "notes.txt"),
                    "notes.txt: neither a PNG, a JPEG nor a DICOM file");
  CHECK_MESSAGE_HAS(io::decode_radiograph("", "empty"), "empty: an empty file");
  CHECK_MESSAGE_HAS(io::decode_dicom("\x89PNG", "scan"), "scan: not a DICOM file");
}

TEST_CASE("real DICOM files are read, or refused in a sentence, where VLP_REAL_DATA names them") {
  const char* folder = std::getenv("VLP_REAL_DATA");
  if (folder == nullptr) {
    WARN("skipped: VLP_REAL_DATA names no folder, below which files *.dcm would be read");
    return;
  }
  int read = 0, refused = 0;
  using Walk = std::filesystem::recursive_directory_iterator;
  for (const auto& entry : Walk(folder, std::filesystem::directory_options::skip_permission_denied)) {
    if (entry.path().extension() != ".dcm" || read + refused == 1000) continue;
    const std::string name = entry.path().filename().string();
    try {
      const io::GrayImage image = io::decode_dicom(io::read_file(entry.path()), name);
      const auto [least, most] = std::minmax_element(image.pixels.begin(), image.pixels.end());
      INFO(name);
      CHECK(*least >= 0);
      CHECK(*most <= 1);
      ++read;
    } catch (const std::runtime_error& error) {
      CHECK(std::string(error.what()).starts_with(name + ": "));
      UNSCOPED_INFO(error.what());
      ++refused;
    }
  }
  WARN("VLP_REAL_DATA: " << read << " DICOM files read, " << refused << " refused");
}

}  // namespace
