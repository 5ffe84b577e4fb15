// Any bytes as a PNG or JPEG file.
#include "../io/image_bytes.hpp"
#include "fuzzer.hpp"

#include <vlp/io/decode_square.hpp>
#include <vlp/io/image.hpp>
#include <vlp/io/resize.hpp>

#include <string>
#include <vector>

namespace {

using namespace vlp;
using namespace vlp::fuzz;

constexpr Index max_pixels = 1 << 18;  // to be quick

void look_at(std::string_view bytes) {
  io::GrayImage image;
  if (!reads([&] { image = io::decode_image(bytes, "x", max_pixels); })) return;
  promise(image.width > 0 && image.height > 0, "an image has pixels");
  promise(image.width * image.height <= max_pixels, "no more pixels than allowed");
  promise(static_cast<Index>(image.pixels.size()) == image.width * image.height, "every pixel is there");
  for (const float pixel : image.pixels) promise(pixel >= 0 && pixel <= 1, "a pixel is from 0 to 1");

  // Memory that nobody wrote to would differ from call to call.
  promise(io::decode_image(bytes, "x", max_pixels).pixels == image.pixels, "an image is the same each time");
  // PNG has checksums, so no part of a file is an image unless the rest stands behind its end.
  const bool png = bytes.starts_with(test::png_signature);
  for (const std::size_t missing : {std::size_t{1}, std::size_t{2}, bytes.size() / 2}) {
    io::GrayImage part;
    const std::string_view cut = bytes.substr(0, bytes.size() - missing);
    if (reads([&] { part = io::decode_image(cut, "x", max_pixels); }) && png)
      promise(part.pixels == image.pixels, "a PNG image that is cut is refused");
  }

  for (const auto fit : {io::Fit::crop, io::Fit::pad, io::Fit::squash}) {
    const io::GrayImage square = io::fit_square(image, 8, fit);
    for (const float pixel : square.pixels) promise(pixel >= 0 && pixel <= 1, "resizing keeps the range");
    promise(io::decode_square(bytes, "x", 8, fit, max_pixels).pixels == square.pixels,
            "decoding to a square is decoding and resizing");
  }
}

/// The file with right checksums of its chunks, which random changes would not find.
std::string mended(std::string png) {
  std::size_t at = test::png_signature.size();
  while (png.size() >= at + 12) {
    std::size_t length = 0;
    for (std::size_t i = 0; i < 4; ++i) length = length << 8 | static_cast<unsigned char>(png[at + i]);
    if (length > png.size() - at - 12) break;
    const std::string_view checked = std::string_view(png).substr(at + 4, length + 4);
    png.replace(at + 8 + length, 4, test::big_endian(test::crc32(checked)));
    at += 12 + length;
  }
  return png;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = text_of(data, size);
  look_at(bytes);
  if (bytes.starts_with(test::png_signature)) look_at(mended(std::string(bytes)));
  return 0;
}
