/// \file
/// PNG and JPEG files made from samples, in forms that vlp does not write itself.
#pragma once

#include <stb/stb_image_write.h>

#include <array>
#include <cstdint>
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

/// A PNG file of 8 or 16 bits per sample. `samples` are interleaved, row by row; `channels`: 1 grey, 2 grey
/// with alpha, 3 colour, 4 colour with alpha.
inline std::string png(std::uint32_t width, std::uint32_t height, int channels, int depth,
                       const std::vector<std::uint16_t>& samples) {
  constexpr std::array<char, 5> colour_type{0, 0, 4, 2, 6};
  std::string rows;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    if (i % (width * static_cast<std::size_t>(channels)) == 0) rows += '\0';  // no filter
    rows += big_endian(samples[i], depth / 8);
  }
  const std::string header = big_endian(width) + big_endian(height) + static_cast<char>(depth) +
                             colour_type[static_cast<std::size_t>(channels)] + std::string(3, '\0');
  return "\x89PNG\r\n\x1A\n" + png_chunk("IHDR", header) + png_chunk("IDAT", zlib_stored(rows)) +
         png_chunk("IEND", "");
}

/// A baseline JPEG file of 8-bit samples.
inline std::string jpeg(int width, int height, int channels, const std::vector<std::uint8_t>& samples) {
  std::string out;
  const auto append = [](void* to, void* data, int size) {
    static_cast<std::string*>(to)->append(static_cast<const char*>(data), static_cast<std::size_t>(size));
  };
  stbi_write_jpg_to_func(append, &out, width, height, channels, samples.data(), 95);
  return out;
}

}  // namespace vlp::test
