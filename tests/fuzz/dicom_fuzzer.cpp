// Any bytes as a DICOM file, and as the compressed pixels of one.
#include "../dicom/dicom_bytes.hpp"
#include "fuzzer.hpp"

#include <vlp/io/dicom.hpp>

#include <string>
#include <vector>

namespace {

using namespace vlp;
using namespace vlp::fuzz;

constexpr Index max_pixels = 1 << 14;  // to be quick

void look_at(std::string_view bytes) {
  io::GrayImage image;
  Index admitted = 0;
  const auto admit = [&](Index pixels) { admitted += pixels; };
  if (!reads([&] { image = io::decode_dicom(bytes, "x", max_pixels, admit); })) return;
  promise(image.width > 0 && image.height > 0, "an image has pixels");
  promise(image.width * image.height <= max_pixels, "no more pixels than allowed");
  promise(admitted == image.width * image.height, "memory for its pixels was asked for");
  promise(static_cast<Index>(image.pixels.size()) == image.width * image.height, "every pixel is there");
  for (const float pixel : image.pixels) promise(pixel >= 0 && pixel <= 1, "a pixel is from 0 to 1");
  // Memory that nobody wrote to would differ from call to call.
  promise(io::decode_dicom(bytes, "x", max_pixels).pixels == image.pixels, "an image is the same each time");
  io::GrayImage part;
  if (reads([&] { part = io::decode_dicom(bytes.substr(0, bytes.size() / 2), "x", max_pixels); }))
    promise(part.pixels == image.pixels, "a file that is cut is refused, unless the image is whole");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = text_of(data, size);
  if (bytes.size() >= 132 && bytes.substr(128, 4) == "DICM") {
    look_at(bytes);
    return 0;
  }
  // A byte that says which coding and how many bits, and a frame of it. JPEG has its size in the frame.
  if (bytes.size() < 2) return 0;
  constexpr const char* codings[]{"1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.5",
                                  "1.2.840.10008.1.2.1.99"};
  const auto choice = static_cast<unsigned char>(bytes[0]);
  const std::string_view frame = bytes.substr(1);
  test::DicomFile file{
      .width = 8, .height = 8, .pixels = {}, .syntax = codings[choice % 4], .fragments = true};
  if ((choice & 4) != 0) file.allocated = file.stored = 8;
  if ((choice & 8) != 0) file.channels = 3, file.photometric = "RGB";
  for (std::size_t at = 0; choice % 4 < 2 && at + 9 < frame.size(); ++at) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(frame[at + i]); };
    if (byte(0) != 0xFF || (byte(1) != 0xC0 && byte(1) != 0xC1 && byte(1) != 0xC3 && byte(1) != 0xF7))
      continue;
    file.height = byte(5) << 8 | byte(6);
    file.width = byte(7) << 8 | byte(8);
    file.allocated = file.stored = byte(4) > 8 ? 16 : 8;
    file.channels = byte(9) == 3 ? 3 : 1;
    file.photometric = file.channels == 3 ? "YBR_FULL" : "MONOCHROME1";
    break;
  }
  const test::DicomWriter writer(test::explicit_little);
  file.pixels = writer.item("") + writer.item(std::string(frame));
  look_at(choice % 4 == 3 ? file.meta() + std::string(frame) : file.bytes());
  return 0;
}
