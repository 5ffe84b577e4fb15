#include "dicom/dicom_bytes.hpp"
#include "dicom/dicom_recoded.hpp"
#include "io/image_bytes.hpp"
#include "support/messages.hpp"

#include <vlp/io/dicom.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace vlp;
using vlp::test::DicomFile;
using vlp::test::DicomWriter;
using vlp::test::recoded;

constexpr int width = 37, height = 22;  // neither is a multiple of a block

/// An image that is smooth with grain, from 0 to about `largest`.
std::vector<int> values(int largest, int channels = 1) {
  std::vector<int> out;
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < channels; ++c)
        out.push_back(((x * 3 + y * 5 + 40 * c) * largest / 260 + (x * x * 7 + y * 13) % (largest / 32 + 2)) %
                      (largest + 1));
  return out;
}

/// A file of `stored` bits whose values cover them all.
DicomFile image(int stored, bool is_signed = false) {
  const DicomWriter w(test::explicit_little);
  DicomFile file{.width = width, .height = height, .stored = stored, .representation = is_signed ? 1 : 0};
  const std::vector<int> stored_values = values((1 << stored) - 1);
  if (stored <= 8) {
    file.allocated = 8;
    for (const int value : stored_values) file.pixels += static_cast<char>(value);
  } else {
    file.pixels = w.words(stored_values);
  }
  return file;
}

std::vector<float> greys(const std::string& bytes) {
  const io::GrayImage image = io::decode_dicom(bytes, "scan");
  CHECK(image.width == width);
  CHECK(image.height == height);
  return image.pixels;
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, double{std::abs(a[i] - b[i])});
  return most;
}

/// The fragments of the compressed pixels, the table of offsets first.
std::vector<std::string> fragments_of(const std::string& file) {
  const DicomWriter w(test::explicit_little);
  const std::string header = w.header(0x7FE00010, "OB", 0xFFFFFFFF);
  const std::size_t at = file.find(header) + header.size();
  REQUIRE(at >= header.size());
  io::detail::DicomWalker items(std::string_view(file).substr(at), {}, file);
  std::vector<std::string> fragments;
  while (const auto item = items.next_item()) fragments.emplace_back(*item);
  return fragments;
}

/// The file with its compressed pixels in other fragments.
std::string with_fragments(const DicomFile& image, const std::string& syntax,
                           const std::vector<std::string>& fragments) {
  const DicomWriter w(test::explicit_little);
  DicomFile file = image;
  file.syntax = syntax;
  file.fragments = true;
  file.pixels.clear();
  for (const std::string& fragment : fragments) file.pixels += w.item(fragment);
  return file.bytes();
}

const std::string sv1 = "1.2.840.10008.1.2.4.70", baseline = "1.2.840.10008.1.2.4.50";

TEST_CASE("an image is the same in every lossless transfer syntax") {
  const std::vector<E_TransferSyntax> syntaxes{EXS_LittleEndianImplicit, EXS_LittleEndianExplicit,
                                               EXS_BigEndianExplicit,    EXS_DeflatedLittleEndianExplicit,
                                               EXS_RLELossless,          EXS_JPEGProcess14,
                                               EXS_JPEGProcess14SV1};
  for (const int stored : {8, 10, 12, 15, 16}) {
    for (const bool is_signed : {false, true}) {
      const DicomFile file = image(stored, is_signed);
      const std::vector<float> expected = greys(file.bytes());
      CHECK(std::set<float>(expected.begin(), expected.end()).size() > 100);
      for (const E_TransferSyntax syntax : syntaxes) {
        INFO(DcmXfer(syntax).getXferName() << ", " << stored << " bits, signed " << is_signed);
        const std::string bytes = recoded(file.bytes(), syntax);
        CHECK(bytes.find(DcmXfer(syntax).getXferID()) != std::string::npos);
        CHECK(greys(bytes) == expected);
      }
    }
  }
}

TEST_CASE("all seven predictors of lossless JPEG are read") {
  const DicomFile file = image(12);
  const std::vector<float> expected = greys(file.bytes());
  for (int predictor = 1; predictor <= 7; ++predictor) {
    const DJ_RPLossless parameter(predictor, 0);
    CHECK(greys(recoded(file.bytes(), EXS_JPEGProcess14, &parameter)) == expected);
  }
}

TEST_CASE("lossy JPEG is read as near as they were written") {
  const DJ_RPLossy quality(95);
  const std::vector<float> bytes = greys(image(8).bytes()), words = greys(image(12).bytes());
  CHECK(distance(greys(recoded(image(8).bytes(), EXS_JPEGProcess1, &quality)), bytes) < 0.06);
  CHECK(distance(greys(recoded(image(8).bytes(), EXS_JPEGProcess2_4, &quality)), bytes) < 0.06);
  CHECK(distance(greys(recoded(image(12).bytes(), EXS_JPEGProcess2_4, &quality)), words) < 0.06);
}

TEST_CASE("colour that is compressed is its luma") {
  DicomFile file{
      .width = width, .height = height, .allocated = 8, .stored = 8, .channels = 3, .photometric = "RGB"};
  file.planar = 0;
  for (const int value : values(255, 3)) file.pixels += static_cast<char>(value);
  const std::vector<float> expected = greys(file.bytes());
  for (const E_TransferSyntax syntax : {EXS_RLELossless, EXS_JPEGProcess14SV1, EXS_BigEndianExplicit})
    CHECK(greys(recoded(file.bytes(), syntax)) == expected);
  const DJ_RPLossy quality(98);
  CHECK(distance(greys(recoded(file.bytes(), EXS_JPEGProcess1, &quality)), expected) < 0.1);
}

TEST_CASE("a frame may be in several fragments") {
  const DicomFile file = image(12);
  const std::vector<float> expected = greys(file.bytes());
  const std::vector<std::pair<E_TransferSyntax, std::string>> syntaxes{{EXS_JPEGProcess14SV1, sv1},
                                                                       {EXS_RLELossless, test::rle_lossless}};
  for (const auto& [syntax, uid] : syntaxes) {
    const std::vector<std::string> fragments = fragments_of(recoded(file.bytes(), syntax));
    REQUIRE(fragments.size() == 2);
    const std::string& whole = fragments[1];
    CHECK(greys(with_fragments(file, uid, {"", whole})) == expected);
    CHECK(greys(with_fragments(file, uid,
                               {std::string(4, '\0'), whole.substr(0, 100), whole.substr(100, 2), "",
                                whole.substr(102)})) == expected);
  }
}

TEST_CASE("runs of RLE are literal, repeated and empty") {
  const DicomWriter w(test::explicit_little);
  DicomFile file{
      .width = 5, .height = 1, .allocated = 8, .stored = 8, .syntax = test::rle_lossless, .fragments = true};
  // Three of 9, nothing, and the two bytes 200 and 0; then padding.
  const std::string segment{'\xFE', 9, '\x80', 1, '\xC8', 0, 0, 0};
  std::string header = w.number(1, 4) + w.number(64, 4) + std::string(56, '\0');
  file.pixels = w.item("") + w.item(header + segment);
  const std::vector<float> pixels = io::decode_dicom(file.bytes(), "scan").pixels;
  REQUIRE(pixels.size() == 5);
  CHECK(pixels == std::vector<float>{pixels[0], pixels[0], pixels[0], 1, 0});
  CHECK(std::abs(pixels[0] - 9 / 200.0F) < 1e-6F);

  const auto refusal = [&](const std::string& frame) {
    file.pixels = w.item("") + w.item(frame);
    return test::message_of([&] { static_cast<void>(io::decode_dicom(file.bytes(), "scan")); });
  };
  CHECK(refusal(header + std::string{'\xFD', 9, 1, '\xC8', 0, 0}).find("more bytes than pixels") !=
        std::string::npos);
  CHECK(refusal(header + std::string{'\xFE', 9, 2, '\xC8', 0}).find("truncated RLE") != std::string::npos);
  CHECK(refusal(header + std::string{'\xFE', 9}).find("truncated RLE") != std::string::npos);
  CHECK(refusal(header + std::string{'\xFE'}).find("truncated RLE") != std::string::npos);
  CHECK(refusal(w.number(2, 4) + header.substr(4) + segment).find("its header is not that of") !=
        std::string::npos);
  CHECK(refusal(w.number(1, 4) + w.number(9999, 4) + header.substr(8) + segment)
            .find("segment 1 is not in it") != std::string::npos);
  CHECK(
      refusal(w.number(1, 4) + w.number(4, 4) + header.substr(8) + segment).find("segment 1 is not in it") !=
      std::string::npos);
  CHECK(refusal(header.substr(0, 62)).find("its header is not that of") != std::string::npos);
}

TEST_CASE("JPEG data of another size, depth or process than their file are refused before they are decoded") {
  const DicomFile file = image(12);
  const std::string stream = fragments_of(recoded(file.bytes(), EXS_JPEGProcess14SV1)).at(1);
  const auto refusal = [&](const DicomFile& other, const std::string& bytes, const std::string& uid = sv1) {
    const std::string whole = with_fragments(other, uid, {"", bytes});
    return test::message_of([&] { static_cast<void>(io::decode_dicom(whole, "scan")); });
  };
  const auto has = [](const std::string& message, const std::string& part) {
    INFO(message);
    CHECK(message.starts_with("scan: "));
    CHECK(message.find(part) != std::string::npos);
  };
  REQUIRE(refusal(file, stream) == "no error");
  DicomFile other = file;
  other.width = width + 1;
  has(refusal(other, stream), "38 x 22 pixels of 1, but JPEG data of 37 x 22 pixels of 1");
  other = file;
  other.height = height - 1;
  has(refusal(other, stream), "37 x 21 pixels");
  other = file;
  other.allocated = other.stored = 8;
  has(refusal(other, stream), "JPEG data of 16 bits, BitsAllocated 8");

  const std::size_t frame = stream.find("\xFF\xC3");
  REQUIRE(frame != std::string::npos);
  for (const char process : {'\xC2', '\xC5', '\xC9', '\xF7'}) {
    std::string changed = stream;
    changed[frame + 1] = process;
    has(refusal(file, changed), "a process that its transfer syntax does not name");
  }
  const std::string segment = stream.substr(frame, 2 + 11);  // one component
  std::string twice = stream;
  twice.insert(frame, segment);
  has(refusal(file, twice), "a second frame");
  const std::size_t scan = stream.find("\xFF\xDA"), end = stream.rfind("\xFF\xD9");
  std::string scans = stream;
  scans.insert(end, stream.substr(scan, end - scan));
  has(refusal(file, scans), "more scans than components");
  has(refusal(file, stream.substr(0, end)), "no end marker");
  has(refusal(file, stream.substr(2)), "no start marker");
  has(refusal(file, stream.substr(0, scan) + "\xFF\xD9"), "no scan");
  has(refusal(file, stream.substr(0, frame) + stream.substr(scan)), "more scans than components");
  // Fewer bits than pixels.
  other = file;
  std::string large = stream;
  large.replace(frame + 5, 4, "\x0F\xA0\x0F\xA0");
  other.width = other.height = 4000;
  has(refusal(other, large), "bytes cannot hold 4000 x 4000 pixels");
  // Signed samples of fewer bits than are stored have no sign.
  other = image(12, true);
  other.stored = 16;
  const std::string short_stream = fragments_of(recoded(image(8).bytes(), EXS_JPEGProcess14SV1)).at(1);
  has(refusal(other, short_stream), "JPEG data of 8 bits");
  other.representation = 0;
  CHECK(refusal(other, short_stream) == "no error");
}

TEST_CASE("JPEG data that libjpeg would mend by a guess are refused") {
  const DJ_RPLossy quality(95);
  const std::string stream = fragments_of(recoded(image(8).bytes(), EXS_JPEGProcess1, &quality)).at(1);
  const auto refusal = [&](const std::string& bytes) {
    const std::string whole = with_fragments(image(8), baseline, {"", bytes});
    return test::message_of([&] { static_cast<void>(io::decode_dicom(whole, "scan")); });
  };
  REQUIRE(refusal(stream) == "no error");
  const std::size_t scan = stream.find("\xFF\xDA"), end = stream.rfind("\xFF\xD9");
  CHECK(refusal(stream.substr(0, (scan + end) / 2) + "\xFF\xD9").find("mended by a guess") !=
        std::string::npos);
  // Zeros where a baseline scan has its 63 are no damage.
  const std::size_t numbers = scan + 7;
  REQUIRE(stream.substr(numbers, 3) == std::string("\0\x3F\0", 3));
  std::string odd = stream;
  odd[numbers + 1] = 0;
  CHECK(refusal(odd) == "no error");
  odd.replace(0, odd.size(), odd.substr(0, (scan + end) / 2) + "\xFF\xD9");
  CHECK(refusal(odd).find("mended by a guess") != std::string::npos);
}

TEST_CASE(
    "a deflated data set is inflated no further than its pixels, and never far beyond what they may be") {
  // More than what is inflated before the size of an image is known.
  const DicomFile large{.width = 3000, .height = 3000, .pixels = std::string(18000000, '\0')};
  const std::string bytes = recoded(large.bytes(), EXS_DeflatedLittleEndianExplicit);
  CHECK(bytes.size() < 100000);
  CHECK(io::decode_dicom(bytes, "scan").pixels == std::vector<float>(9000000, 0.0F));
  CHECK_MESSAGE_HAS(io::decode_dicom(bytes, "scan", 8999999), "3000 x 3000", "max_pixels is 8999999");
  CHECK_MESSAGE_HAS(io::decode_dicom(bytes.substr(0, bytes.size() / 2), "scan"), "truncated DICOM file");

  // Stored blocks, to say what no writer would.
  const auto deflated = [](DicomFile file) {
    file.syntax = "1.2.840.10008.1.2.1.99";
    const std::string stream = test::zlib_stored(file.data());
    return file.meta() + stream.substr(2, stream.size() - 6);
  };
  CHECK(greys(deflated(image(12))) == greys(image(12).bytes()));
  DicomFile claim{
      .width = 40000, .height = 40000, .pixels = "", .allocated = 8, .stored = 8, .missing = "PixelData"};
  claim.more =
      DicomWriter(test::explicit_little).header(0x7FE00010, "OB", 1600000000) + std::string(1000, '\0');
  CHECK_MESSAGE_HAS(io::decode_dicom(deflated(claim), "scan", Index{1} << 31),
                    "bytes cannot hold 40000 x 40000");
  std::string damaged = deflated(image(12));
  claim.syntax = "1.2.840.10008.1.2.1.99";
  damaged[claim.meta().size() + 1] = '\1';  // the length of the first block
  CHECK_MESSAGE_HAS(io::decode_dicom(damaged, "scan"), "scan: damaged DICOM file (ZLib Error");
}

TEST_CASE("many threads decode at once, each as if it were alone") {
  const DicomFile file = image(12);
  std::vector<std::string> files{file.bytes()};
  for (const E_TransferSyntax syntax :
       {EXS_DeflatedLittleEndianExplicit, EXS_RLELossless, EXS_JPEGProcess14SV1})
    files.push_back(recoded(file.bytes(), syntax));
  const std::vector<float> expected = greys(file.bytes());
  std::vector<int> right(4);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < right.size(); ++t)
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < 4 * files.size(); ++i) {
        const std::string& bytes = files[(i + t) % files.size()];
        if (io::decode_dicom(bytes, "scan").pixels == expected) ++right[t];
        try {
          static_cast<void>(io::decode_dicom(bytes.substr(0, bytes.size() - 40), "scan"));
        } catch (const std::runtime_error&) {
          ++right[t];
        }
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const int count : right) CHECK(count == static_cast<int>(8 * files.size()));
}

}  // namespace
