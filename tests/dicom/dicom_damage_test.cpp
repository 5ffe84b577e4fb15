#include "dicom/dicom_bytes.hpp"
#include "dicom/dicom_recoded.hpp"
#include "support/messages.hpp"
#include "support/temporary_folder.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <vlp/io/dicom.hpp>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace vlp;
using vlp::test::DicomFile;
using vlp::test::DicomWriter;
using vlp::test::recoded;

const DicomWriter little(test::explicit_little);

/// 5 x 4 pixels of 12 bits with a window and a VOI table, which are not both used.
DicomFile small() {
  std::vector<int> values;
  for (int i = 0; i < 20; ++i) values.push_back(i * i * 11 % 4096);
  return {.width = 5,
          .height = 4,
          .pixels = little.words(values),
          .stored = 12,
          .more = little.element(0x00281050, "DS", "2000") + little.element(0x00281051, "DS", "4000") +
                  little.sequence(0x00283010, little.item(little.table(0, 8, {0, 51, 255}), true), true)};
}

/// The same in all codings.
std::vector<std::string> codings() {
  std::vector<std::string> files{small().bytes()};
  for (const E_TransferSyntax syntax :
       {EXS_LittleEndianImplicit, EXS_BigEndianExplicit, EXS_DeflatedLittleEndianExplicit, EXS_RLELossless,
        EXS_JPEGProcess14SV1})
    files.push_back(recoded(small().bytes(), syntax));
  return files;
}

std::string refusal(const std::string& bytes, Index max_pixels = io::default_max_pixels) {
  return test::message_of([&] { static_cast<void>(io::decode_dicom(bytes, "scan", max_pixels)); });
}

void check_refusal(const std::string& bytes, const std::string& part) {
  const std::string message = refusal(bytes);
  INFO(message);
  INFO("expected: " << part);
  CHECK(message.starts_with("scan: "));
  CHECK(message.find(part) != std::string::npos);
}

TEST_CASE("a DICOM file that is cut short anywhere is refused by name") {
  for (const std::string& file : codings()) {
    REQUIRE(refusal(file) == "no error");
    int taken = 0;
    // An end without pixels: the byte that makes deflated data even, and zlib's padding, are no part of them.
    for (std::size_t size = 0; size + 2 < file.size(); ++size) {
      const std::string message = refusal(file.substr(0, size));
      if (!message.starts_with("scan: ")) ++taken;
    }
    CHECK(taken == 0);
  }
}

TEST_CASE("a damaged DICOM file is read or refused by name, and nothing else") {
  for (const std::string& file : codings())
    for (std::size_t at = 128; at < file.size(); ++at)
      for (const int change : {1, 0x80, 0xFF}) {
        std::string damaged = file;
        damaged[at] = static_cast<char>(damaged[at] ^ change);
        const std::string message = refusal(damaged, 4096);
        if (message != "no error" && !message.starts_with("scan: ")) FAIL_CHECK(message);
      }
}

TEST_CASE("a DICOM image of more pixels than allowed is refused before memory is taken") {
  DicomFile file = small();
  CHECK(refusal(file.bytes(), 20) == "no error");
  CHECK(refusal(file.bytes(), 19) == "scan: an image of 5 x 4 pixels is too large; max_pixels is 19");
  file.width = file.height = 65535;
  check_refusal(file.bytes(), "an image of 65535 x 65535 pixels is too large");
  // As large as it may be, but without the data for it.
  CHECK(refusal(file.bytes(), Index{1} << 33).find("40 bytes of pixel data, but 65535 x 65535 pixels take") !=
        std::string::npos);
  for (const std::string& compressed : codings()) {
    std::string claim = compressed;
    for (const char* tag : {"\x28\x00\x10\x00", "\x28\x00\x11\x00"}) {
      const std::size_t at = claim.find(std::string(tag, 4) + "US");
      if (at != std::string::npos) claim.replace(at + 8, 2, "\xFF\xFF");
    }
    if (claim == compressed) continue;  // implicit, big-endian or deflated
    CHECK(refusal(claim, Index{1} << 33).starts_with("scan: "));
  }
  CHECK_THROWS_AS(io::decode_dicom(file.bytes(), "scan", 0), std::invalid_argument);
  CHECK_THROWS_AS(io::decode_radiograph(file.bytes(), "scan", 0), std::invalid_argument);
}

TEST_CASE("memory for pixels is asked for once, and not for what is refused") {
  std::vector<Index> asked;
  const auto note = [&](Index pixels) { asked.push_back(pixels); };
  for (const std::string& file : codings()) static_cast<void>(io::decode_radiograph(file, "scan", 20, note));
  CHECK(asked == std::vector<Index>(codings().size(), 20));
  asked.clear();
  CHECK_THROWS(io::decode_dicom(small().bytes(), "scan", 19, note));
  CHECK(asked.empty());
  const auto refuse = [](Index) { throw Stopped(); };
  CHECK_THROWS_AS(io::decode_dicom(small().bytes(), "scan", 20, refuse), Stopped);
}

TEST_CASE("sequences that are nested without end are refused, and those of a given length are stepped over") {
  for (const char* syntax : {test::implicit_little, test::explicit_little}) {
    const DicomWriter w(syntax);
    DicomFile file = small();
    file.syntax = syntax;
    file.more.clear();
    std::string open;
    for (int i = 0; i < 100000; ++i)
      open += w.header(0x00081140, "SQ", 0xFFFFFFFF) + w.item_header(0xFFFEE000, 0xFFFFFFFF);
    file.more = open;
    check_refusal(file.bytes(), "sequences are nested more than 32 deep");
    std::string nested = w.us(0x00280010, 9);
    for (int i = 0; i < 32; ++i) nested = w.sequence(0x00081140, w.item(nested, true), true);
    file.more = nested;
    CHECK(refusal(file.bytes()) == "no error");
    file.more = w.sequence(0x00081140, w.item(nested, true), true);
    check_refusal(file.bytes(), "nested more than 32 deep");
    nested = w.sequence(0x00081140, w.item(""), true);
    for (int i = 0; i < 32; ++i) nested = w.sequence(0x00081140, w.item(nested, true), true);
    file.more = nested;
    check_refusal(file.bytes(), "nested more than 32 deep");
    file.more = w.element(0x00081140, "SQ", open);
    CHECK(refusal(file.bytes()) == "no error");
    file.more = open.substr(0, 300) + w.us(0x00280010, 9);
    CHECK(refusal(file.bytes()).starts_with("scan: "));
  }
}

TEST_CASE("lengths that are undefined or beyond the file are refused") {
  const auto with = [](const std::string& more) {
    DicomFile file = small();
    file.more = more;
    return file.bytes();
  };
  check_refusal(with(little.header(0x00281050, "UN", 0xFFFFFFFF)), "within the sequence (0028,1050)");
  check_refusal(with(little.header(0x00281050, "UN", 0xFFFFFFF0)), "4294967280 bytes of (0028,1050), but");
  check_refusal(with(little.header(0x00281050, "LT", 0xFFFF)), "65535 bytes of (0028,1050), but");
  check_refusal(with(little.item_header(0xFFFEE0DD, 0)), "(FFFE,E0DD) outside of a sequence");
  check_refusal(with(little.item_header(0x00281050, 0)), "(0028,1050) has no value representation");
  check_refusal(with(little.sequence(0x00081140, little.us(0x00280010, 1) + "    ", true)),
                "(0028,0010) within the sequence (0008,1140)");
  check_refusal(with(little.sequence(0x00081140, little.item(little.item_header(0xFFFEE0DD, 0), true), true)),
                "(FFFE,E0DD) within the sequence (0008,1140)");
  check_refusal(with(little.sequence(0x00283010, little.us(0x00280010, 1))), "(0028,0010) between items");
  check_refusal(with(little.us(0x00280010, 4)), "Rows is there twice");

  DicomFile file = small();
  file.missing = "PixelData";
  const auto with_pixels = [&](const std::string& element) {
    DicomFile other = file;
    other.more += element;
    return other.bytes();
  };
  check_refusal(with_pixels(little.header(0x7FE00010, "OW", 0xFFFFFFFF)),
                "uncompressed pixel data of undefined");
  check_refusal(with_pixels(little.header(0x7FE00010, "OW", 40) + "abc"),
                "40 bytes of pixel data, but 3 are left");
  check_refusal(with_pixels(little.element(0x7FE00010, "OW", std::string(38, 'a'))),
                "38 bytes of pixel data, but 5 x 4 pixels take 40");
  check_refusal(with_pixels(little.element(0x7FE00010, "OW", std::string(80, 'a'))),
                "80 bytes of pixel data, but 5 x 4 pixels take 40");
  CHECK(refusal(with_pixels(little.element(0x7FE00010, "OW", std::string(78, 'a')))) == "no error");
  file.syntax = test::rle_lossless;
  check_refusal(with_pixels(little.element(0x7FE00010, "OB", "abcd")),
                "compressed pixel data of a given length");
  check_refusal(with_pixels(little.header(0x7FE00010, "OB", 0xFFFFFFFF)), "without items");
  check_refusal(
      with_pixels(little.header(0x7FE00010, "OB", 0xFFFFFFFF) + little.item("") + little.item("ab")),
      "its pixel data have no end");
  check_refusal(with_pixels(little.header(0x7FE00010, "OB", 0xFFFFFFFF) + little.item("") +
                            little.item_header(0xFFFEE000, 0xFFFFFFF0)),
                "truncated DICOM file (4294967280 bytes");
}

TEST_CASE("a DICOM file without what its pixels need is refused by the attribute's name") {
  for (const char* name : {"SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated",
                           "BitsStored", "PixelRepresentation", "PixelData"}) {
    DicomFile file = small();
    file.missing = name;
    check_refusal(file.bytes(), concat("a DICOM file without ", name));
  }
  DicomFile file = small();
  file.missing = "HighBit";
  CHECK(refusal(file.bytes()) == "no error");
  file.syntax = "";
  check_refusal(file.bytes(), "without TransferSyntaxUID");
}

TEST_CASE("transfer syntaxes that are not read are refused by their names") {
  const std::vector<std::pair<const char*, const char*>> syntaxes{
      {"1.2.840.10008.1.2.4.90", "JPEG2000LosslessOnly"},
      {"1.2.840.10008.1.2.4.91", "JPEG2000"},
      {"1.2.840.10008.1.2.4.55", "JPEGFullProgression"},
      {"1.2.840.10008.1.2.4.80", "JPEGLSLossless"},
      {"1.2.840.10008.1.2.4.100", "MPEG2"},
      {"1.2.840.10008.1.2.4.102", "MPEG4"},
      {"1.2.3.4", "unknown, 1.2.3.4"}};
  for (const auto& [uid, name] : syntaxes) {
    DicomFile file = small();
    file.syntax = uid;
    check_refusal(file.bytes(), "a transfer syntax that is not supported (");
    check_refusal(file.bytes(), name);
    check_refusal(file.bytes(), uid);
  }
}

TEST_CASE("what is no radiograph is refused by what it is") {
  const auto refused = [](const std::string& more, const std::string& part, auto... change) {
    DicomFile file = small();
    (change(file), ...);
    file.more = more;
    check_refusal(file.bytes(), part);
  };
  refused(little.element(0x00280008, "IS", "2"), "a DICOM file of 2 frames, but a radiograph has one");
  refused(little.element(0x00280008, "IS", "x"), "NumberOfFrames is no number");
  refused(little.element(0x7FE00008, "OF", "abcd"), "pixels of floating point");
  refused(little.element(0x7FE00009, "OD", "abcdefgh"), "pixels of floating point");
  refused(little.sequence(0x52009229, ""), "an enhanced object");
  refused(little.sequence(0x52009230, ""), "an enhanced object");
  refused("", "PALETTE COLOR is not supported", [](DicomFile& f) { f.photometric = "PALETTE COLOR"; });
  refused("", "YBR_PARTIAL_422 is not supported", [](DicomFile& f) { f.photometric = "YBR_PARTIAL_422"; });
  refused("", "YBR_FULL_422 that is not compressed", [](DicomFile& f) {
    f.photometric = "YBR_FULL_422";
    f.channels = 3;
    f.stored = 16;
  });
  refused("", "MONOCHROME2 with 3 samples", [](DicomFile& f) { f.channels = 3; });
  refused("", "RGB with 1 samples", [](DicomFile& f) { f.photometric = "RGB"; });
  refused("", "in colour with samples other than", [](DicomFile& f) {
    f.photometric = "RGB";
    f.channels = 3;
  });
  refused("", "BitsAllocated 32 is not supported", [](DicomFile& f) { f.allocated = 32; });
  refused("", "BitsStored 17, HighBit 16, BitsAllocated 16", [](DicomFile& f) { f.stored = 17; });
  refused("", "BitsStored 12, HighBit 10", [](DicomFile& f) { f.high = 10; });
  refused("", "HighBit 16", [](DicomFile& f) { f.high = 16; });
  refused("", "BitsStored 0", [](DicomFile& f) {
    f.stored = 0;
    f.high = 0;
  });
  refused("", "PixelRepresentation 2", [](DicomFile& f) { f.representation = 2; });
  refused("", "0 x 4 pixels", [](DicomFile& f) { f.width = 0; });
}

TEST_CASE("windows, rescalings and tables that have no meaning are refused") {
  const auto refused = [](const std::string& more, const std::string& part) {
    DicomFile file = small();
    file.more = more;
    check_refusal(file.bytes(), part);
  };
  const auto window = [](const std::string& width, const std::string& function) {
    return little.element(0x00281050, "DS", "7") + little.element(0x00281051, "DS", width) +
           little.element(0x00281056, "CS", function);
  };
  refused(little.element(0x00281050, "DS", "7"), "one of WindowCenter and WindowWidth");
  refused(little.element(0x00281051, "DS", "7"), "one of WindowCenter and WindowWidth");
  refused(window("0.5", ""), "WindowWidth must be at least 1, but is 0.5");
  refused(window("0", "LINEAR_EXACT"), "WindowWidth must be positive, but is 0");
  refused(window("-1", "SIGMOID"), "WindowWidth must be positive, but is -1");
  refused(window("7", "CUBIC"), "VOILUTFunction CUBIC is not supported");
  for (const char* text : {"abc", "nan", "inf", "1e400", "1e101", "7,5", "7 5", "0x7", "--7"})
    refused(little.element(0x00281052, "DS", text),
            concat("RescaleIntercept is no number up to 1e+100: \"", text));
  refused(little.element(0x00281053, "DS", "0"), "RescaleSlope is 0");
  DicomFile empty = small();
  empty.more = little.element(0x00281050, "DS", "") + little.element(0x00281051, "DS", "  ") +
               little.sequence(0x00283010, "") + little.element(0x00280120, "US", "");
  CHECK(refusal(empty.bytes()) == "no error");

  const auto table = [](const std::string& descriptor, const std::string& data) {
    return little.sequence(0x00283000, little.item(descriptor + data));
  };
  const auto descriptor = [](const std::vector<int>& numbers) {
    return little.element(0x00283002, "US", little.words(numbers));
  };
  const auto data = [](const std::string& bytes) { return little.element(0x00283006, "OW", bytes); };
  const char* without = "ModalityLUTSequence has a table without a descriptor of three numbers, or data";
  refused(table(descriptor({2, 0, 8}), ""), without);
  refused(table("", data("abcd")), without);
  refused(table(descriptor({2, 0}), data("abcd")), without);
  refused(table(descriptor({2, 0, 0}), data("abcd")), "a table of 0 bits");
  refused(table(descriptor({2, 0, 17}), data("abcd")), "a table of 17 bits");
  refused(table(descriptor({3, 0, 16}), data("abcd")), "a table of 3 entries in 4 bytes");
  refused(table(descriptor({4, 0, 9}), data("abcd")), "a table of 4 entries in 4 bytes");
  refused(table(descriptor({0, 0, 16}), data("abcd")), "a table of 65536 entries in 4 bytes");
  refused(table(descriptor({2, 0, 8}), data(little.words({255, 256}))), "the entry 256 in a table of 8 bits");
  refused(little.element(0x00280120, "US", "abcd"), "PixelPaddingValue must have 2 bytes, but has 4");
}

TEST_CASE("nothing is printed, whatever the file, without DCMTK's dictionary too") {
  // DCMTK looks for its dictionary once, and so not at all where another test has run before. Its encoders
  // need it, so the files are those of the fuzzer.
  ::setenv("DCMDICTPATH", "/nowhere", 1);
  std::vector<std::string> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(io::Path(VLP_TEST_DATA_DIR) / "../fuzz/seeds/dicom"))
    files.push_back(io::read_file(entry.path()));
  std::erase_if(files, [](const std::string& bytes) { return !io::is_dicom(bytes); });
  CHECK(files.size() > 15);
  for (const std::string& bytes : files) CHECK(refusal(bytes) == "no error");
  const test::TemporaryFolder folder;
  const std::string log = (folder / "stderr").string();
  const int saved = ::dup(STDERR_FILENO), file = ::open(log.c_str(), O_CREAT | O_WRONLY, 0600);
  REQUIRE(saved >= 0);
  REQUIRE(::dup2(file, STDERR_FILENO) >= 0);
  for (const std::string& bytes : files)
    for (std::size_t at = 200; at < bytes.size(); at += 3) {
      std::string damaged = bytes;
      damaged[at] = '\x7F';
      static_cast<void>(refusal(damaged, 4096));
    }
  ::dup2(saved, STDERR_FILENO);
  ::close(saved);
  ::close(file);
  CHECK(io::read_file(log).empty());
}

}  // namespace
