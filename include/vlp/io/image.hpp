/// \file
/// Radiographs from PNG and JPEG files, and pictures to PNG files.
///
/// libpng and libjpeg decode and encode; the target vlp::io links them.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/io/detail/gray_rows.hpp>
#include <vlp/io/detail/jpeg_reader.hpp>
#include <vlp/io/detail/orientation.hpp>
#include <vlp/io/detail/png_reader.hpp>
#include <vlp/io/detail/png_writer.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/pixels.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::io {

/// The pixels that an image file may have where nothing else is said: twice the largest radiographs, which
/// are stitched images of the spine and mammograms.
inline constexpr Index default_max_pixels = Index{1} << 27;

/// True for the contents of a DICOM file (PS3.10, 7.1): "DICM" behind 128 bytes of anything. io/dicom.hpp
/// decodes it.
[[nodiscard]] inline bool is_dicom(std::string_view bytes) {
  return bytes.size() >= 132 && bytes.substr(128, 4) == "DICM";
}

namespace detail {

/// The name, with its article, of a format that is neither PNG nor JPEG; empty for unknown ones.
inline std::string_view format_name(std::string_view bytes) {
  if (bytes.empty()) return "an empty file";
  if (is_dicom(bytes)) return "a DICOM file";
  const std::string_view head = bytes.substr(0, 4);
  if (head == std::string_view("II*\0", 4) || head == std::string_view("MM\0*", 4)) return "a TIFF image";
  if (head == "GIF8") return "a GIF image";
  if (head == "RIFF" && bytes.size() >= 12 && bytes.substr(8, 4) == "WEBP") return "a WebP image";
  if (head == "\xFF\x4F\xFF\x51" || bytes.substr(0, 8) == std::string_view("\0\0\0\x0CjP  ", 8))
    return "a JPEG 2000 image";
  if (head.substr(0, 2) == "BM") return "a BMP image";
  return {};
}

inline bool is_png(std::string_view bytes) {
  return bytes.substr(0, 8) == "\x89PNG\r\n\x1A\n";
}
inline bool is_jpeg(std::string_view bytes) {
  return bytes.substr(0, 3) == "\xFF\xD8\xFF";
}

/// Decodes a PNG or JPEG file and passes its rows to the sink `sink_for(orientation)`.
template <class SinkFor>
void decode_rows(std::string_view bytes, const std::string& name, Index max_pixels, const Admit& admit,
                 const SinkFor& sink_for) {
  require(max_pixels > 0, "decode_image: max_pixels must be positive, but is ", max_pixels);
  if (is_png(bytes)) return PngReader(bytes, name).read(sink_for, max_pixels, admit);
  if (is_jpeg(bytes)) return JpegReader(bytes, name).read(sink_for, max_pixels, admit);
  const std::string_view format = format_name(bytes);
  ensure(false, name, ": ", format, format.empty() ? "" : ", ", "neither a PNG nor a JPEG image");
}

inline void write_png(const Path& path, Index width, Index height, int channels,
                      const std::vector<std::uint8_t>& samples) {
  require_image_size("write_png", width, height);
  require(static_cast<Index>(samples.size()) == width * height * channels, "write_png: ", samples.size(),
          " samples for ", width, " x ", height, " pixels of ", channels);
  const std::string name = path.string();
  write_file(path, PngWriter(name).write(width, height, channels, samples.data()));
}

}  // namespace detail

/// Decodes the contents of a PNG file (1 to 16 bits per sample, palette, interlaced) or JPEG file (8 bits per
/// sample; baseline or progressive; grey, YCbCr, RGB, CMYK or YCCK), of up to `max_pixels` pixels. Colour
/// becomes luma by ITU-R BT.601, an alpha channel is left out, and the image is turned and mirrored as its
/// EXIF orientation says. Takes 4 bytes of memory a pixel, 8 for an image that is turned or
/// interlaced, and for a JPEG of several scans 2 a sample beside the first 4. The result depends on the bytes
/// alone.
///
/// Throws std::runtime_error, which begins with `name`, for other formats, for images that are too large, and
/// for damaged or truncated contents: wrong checksums, missing data, and whatever a decoder would have to
/// guess. Bytes behind the image's end are no damage. `admit`, where given, is called once the
/// header has been read.
[[nodiscard]] inline GrayImage decode_image(std::string_view bytes, const std::string& name,
                                            Index max_pixels = default_max_pixels, const Admit& admit = {}) {
  detail::WholeImage image;
  int orientation = 1;
  detail::decode_rows(bytes, name, max_pixels, admit, [&](int stored) -> detail::RowSink& {
    orientation = stored;
    return image;
  });
  return detail::upright(image.take(), orientation);
}

/// Function that decodes the contents of image files as decode_image does: the same bytes always give the
/// same pixels. It is called on several threads at a time.
using ImageDecoder = std::function<GrayImage(std::string_view bytes, const std::string& name,
                                             Index max_pixels, const Admit& admit)>;

/// Reads the bytes of an image file. A file larger than any image of `max_pixels` pixels is refused unread.
[[nodiscard]] inline std::string read_image_file(const Path& path, Index max_pixels = default_max_pixels) {
  require(max_pixels > 0, "read_image_file: max_pixels must be positive, but is ", max_pixels);
  constexpr std::size_t largest_pixel = 8, around = std::size_t{1} << 26;  // bytes: 16-bit RGBA; metadata
  return read_file(path, {.max_bytes = static_cast<std::size_t>(max_pixels) * largest_pixel + around});
}

/// Reads a PNG or JPEG file; see decode_image and read_image_file. Every message names the file.
[[nodiscard]] inline GrayImage read_image(const Path& path, Index max_pixels = default_max_pixels) {
  return decode_image(read_image_file(path, max_pixels), path.string(), max_pixels);
}

/// Writes an 8-bit colour PNG file, atomically.
inline void write_png(const Path& path, const RgbImage& image) {
  detail::write_png(path, image.width, image.height, 3, image.pixels);
}

/// Writes an 8-bit grey PNG file, atomically; values are cut off to [0, 1] first and NaN is black.
inline void write_png(const Path& path, const GrayImage& image) {
  std::vector<std::uint8_t> samples(image.pixels.size());
  std::transform(image.pixels.begin(), image.pixels.end(), samples.begin(), [](float value) {
    return static_cast<std::uint8_t>(std::lround(255.0F * (value > 0 ? std::min(value, 1.0F) : 0.0F)));
  });
  detail::write_png(path, image.width, image.height, 1, samples);
}

}  // namespace vlp::io
