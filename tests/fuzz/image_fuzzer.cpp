// Any bytes as a PNG or JPEG file.
#include "fuzzer.hpp"

#include <vlp/io/image.hpp>
#include <vlp/io/resize.hpp>

#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vlp;
  using namespace vlp::fuzz;
  constexpr Index max_pixels = 1 << 18;  // to be quick
  const std::string_view bytes = text_of(data, size);
  io::GrayImage image;
  const bool whole = reads([&] { image = io::decode_image(bytes, "x", max_pixels); });
  if (!whole) return 0;
  promise(image.width > 0 && image.height > 0, "an image has pixels");
  promise(image.width * image.height <= max_pixels, "no more pixels than allowed");
  promise(static_cast<Index>(image.pixels.size()) == image.width * image.height, "every pixel is there");
  for (const float pixel : image.pixels) promise(pixel >= 0 && pixel <= 1, "a pixel is from 0 to 1");

  // Memory that nobody wrote to would differ from call to call.
  promise(io::decode_image(bytes, "x", max_pixels).pixels == image.pixels, "an image is the same each time");
  // PNG has checksums, so no part of a file is an image unless the rest stands behind its end.
  const bool png = bytes.starts_with("\x89PNG");
  for (const std::size_t missing : {std::size_t{1}, std::size_t{2}, size / 2}) {
    io::GrayImage part;
    if (reads([&] { part = io::decode_image(bytes.substr(0, size - missing), "x", max_pixels); }) && png)
      promise(part.pixels == image.pixels, "a PNG image that is cut is refused");
  }

  for (const auto fit : {io::Fit::crop, io::Fit::pad, io::Fit::squash})
    for (const float pixel : io::fit_square(image, 8, fit).pixels)
      promise(pixel >= -1e-5F && pixel <= 1 + 1e-5F, "resizing keeps the range");
  return 0;
}
