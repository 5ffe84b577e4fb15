/// \file
/// PNG and JPEG files made from samples, in forms that vlp does not write itself.
#pragma once

#include <cstddef>
#include <cstdio>
// libjpeg's own header needs what stands above it.
#include <jpeglib.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::test {

inline std::string big_endian(std::uint32_t value, int bytes = 4) {
  std::string out;
  for (int i = bytes; i-- > 0;) out += static_cast<char>(value >> (8 * i) & 0xFF);
  return out;
}

inline std::uint32_t crc32(std::string_view bytes) {
  std::uint32_t crc = 0xFFFFFFFF;
  for (char c : bytes) {
    crc ^= static_cast<std::uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? 0xEDB88320 ^ crc >> 1 : crc >> 1;
  }
  return ~crc;
}

inline std::string png_chunk(const std::string& type, const std::string& data) {
  return big_endian(static_cast<std::uint32_t>(data.size())) + type + data + big_endian(crc32(type + data));
}

/// A zlib stream of stored blocks.
inline std::string zlib_stored(std::string_view data) {
  std::string out = "\x78\x01";
  std::uint32_t a = 1, b = 0;
  for (char c : data) {
    a = (a + static_cast<std::uint8_t>(c)) % 65521;
    b = (b + a) % 65521;
  }
  do {
    const std::string_view block = data.substr(0, 65535);
    data.remove_prefix(block.size());
    const auto size = static_cast<std::uint32_t>(block.size());
    out += data.empty() ? '\1' : '\0';
    for (std::uint32_t n : {size, ~size})
      out += {static_cast<char>(n & 0xFF), static_cast<char>(n >> 8 & 0xFF)};
    out += block;
  } while (!data.empty());
  return out + big_endian(b << 16 | a);
}

inline const std::string png_signature = "\x89PNG\r\n\x1A\n";

/// How a PNG file is made.
struct PngForm {
  int colour_type = 0;  ///< 0 grey, 2 colour, 3 palette, 4 grey with alpha, 6 colour with alpha
  int depth = 8;        ///< bits per sample
  bool interlaced = false;
  std::string before_data = {}, after_data = {};  ///< chunks
};

/// The rows of a PNG file, without compression. `samples` are interleaved, row by row. Columns and rows that
/// are taken begin at `x0` and `y0`, by steps.
inline std::string png_rows(const PngForm& form, std::uint32_t width, std::uint32_t height,
                            const std::vector<std::uint16_t>& samples, std::uint32_t x0 = 0,
                            std::uint32_t y0 = 0, std::uint32_t x_step = 1, std::uint32_t y_step = 1) {
  constexpr std::array<std::size_t, 7> channels_of{1, 0, 3, 1, 2, 0, 4};
  const std::size_t channels = channels_of[static_cast<std::size_t>(form.colour_type)];
  std::string rows;
  if (x0 >= width) return rows;
  for (std::uint32_t y = y0; y < height; y += y_step) {
    rows += '\0';  // no filter
    std::uint32_t bits = 0;
    int count = 0;
    for (std::uint32_t x = x0; x < width; x += x_step) {
      for (std::size_t c = 0; c < channels; ++c) {
        bits = bits << form.depth | samples[(std::size_t{y} * width + x) * channels + c];
        for (count += form.depth; count >= 8; count -= 8) rows += static_cast<char>(bits >> (count - 8));
      }
    }
    if (count > 0) rows += static_cast<char>(bits << (8 - count));
  }
  return rows;
}

/// A PNG file of `rows`, which png_rows makes.
inline std::string png_of_rows(const PngForm& form, std::uint32_t width, std::uint32_t height,
                               const std::string& rows) {
  const std::string header = big_endian(width) + big_endian(height) + static_cast<char>(form.depth) +
                             static_cast<char>(form.colour_type) + std::string(2, '\0') +
                             (form.interlaced ? '\1' : '\0');
  return png_signature + png_chunk("IHDR", header) + form.before_data + png_chunk("IDAT", zlib_stored(rows)) +
         form.after_data + png_chunk("IEND", "");
}

/// A PNG file of `samples`, which are interleaved, row by row.
inline std::string png(const PngForm& form, std::uint32_t width, std::uint32_t height,
                       const std::vector<std::uint16_t>& samples) {
  std::string rows;
  if (!form.interlaced) {
    rows = png_rows(form, width, height, samples);
  } else {
    constexpr std::array<std::array<std::uint32_t, 4>, 7> adam7{
        {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}}};
    for (const auto& [x0, y0, x_step, y_step] : adam7)
      rows += png_rows(form, width, height, samples, x0, y0, x_step, y_step);
  }
  return png_of_rows(form, width, height, rows);
}

/// A PNG file of 8 or 16 bits per sample. `channels`: 1 grey, 2 grey with alpha, 3 colour, 4 colour with
/// alpha.
inline std::string png(std::uint32_t width, std::uint32_t height, int channels, int depth,
                       const std::vector<std::uint16_t>& samples) {
  constexpr std::array<int, 5> colour_type{0, 0, 4, 2, 6};
  return png({.colour_type = colour_type[static_cast<std::size_t>(channels)], .depth = depth}, width, height,
             samples);
}

/// A JPEG file of 8-bit samples: baseline, with libjpeg's defaults, unless `adjust` says otherwise.
/// `channels`: 1 grey, 3 RGB, 4 CMYK.
inline std::string jpeg(int width, int height, int channels, std::vector<std::uint8_t> samples,
                        const std::function<void(jpeg_compress_struct&)>& adjust = {}) {
  jpeg_compress_struct jpeg;
  jpeg_error_mgr errors;
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &bytes, &size);
  jpeg.image_width = static_cast<JDIMENSION>(width);
  jpeg.image_height = static_cast<JDIMENSION>(height);
  jpeg.input_components = channels;
  jpeg.in_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, 95, TRUE);
  if (adjust) adjust(jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  while (jpeg.next_scanline < jpeg.image_height) {
    JSAMPROW row =
        &samples[static_cast<std::size_t>(jpeg.next_scanline) * static_cast<std::size_t>(width * channels)];
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  std::string out(reinterpret_cast<const char*>(bytes), size);
  std::free(bytes);
  return out;
}

/// EXIF data that hold an orientation alone, in either order of bytes.
inline std::string exif(int orientation, bool little) {
  const auto number = [little](std::uint32_t value, int bytes) {
    const std::string big = big_endian(value, bytes);
    return little ? std::string(big.rbegin(), big.rend()) : big;
  };
  return (little ? "II" : "MM") + number(42, 2) + number(8, 4) + number(1, 2) + number(0x0112, 2) +
         number(3, 2) + number(1, 4) + number(static_cast<std::uint32_t>(orientation), 2) + number(0, 2) +
         number(0, 4);
}

/// A JPEG file with a segment put behind its start marker.
inline std::string with_segment(std::string jpeg, char marker, const std::string& data) {
  const auto size = static_cast<std::uint32_t>(data.size() + 2);
  return jpeg.insert(2, std::string{'\xFF', marker} + big_endian(size, 2) + data);
}

}  // namespace vlp::test
