/// \file
/// The orientation that a camera or a viewer has noted in an image file.
#pragma once

#include <vlp/core/scalar.hpp>
#include <vlp/io/pixels.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::io::detail {

/// The orientation, 1 to 8, of EXIF data, which begin with a TIFF header (CIPA DC-008-2019, 4.6.4, tag 274).
/// It is 1, upright, where the data name none or are damaged: they only accompany the image.
inline int orientation_of(std::string_view exif) {
  if (exif.size() < 8) return 1;
  const bool little = exif.substr(0, 4) == std::string_view("II*\0", 4);
  if (!little && exif.substr(0, 4) != std::string_view("MM\0*", 4)) return 1;
  const auto number = [&](std::size_t at, std::size_t bytes) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i)
      value = value << 8 | static_cast<unsigned char>(exif[little ? at + bytes - 1 - i : at + i]);
    return value;
  };
  constexpr std::size_t entry_size = 12;
  const std::size_t directory = number(4, 4);
  if (directory > exif.size() - 2) return 1;
  const std::size_t present = (exif.size() - directory - 2) / entry_size;
  const std::size_t entries = std::min<std::size_t>(number(directory, 2), present);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + i * entry_size;
    if (number(entry, 2) != 0x0112) continue;
    const bool is_one_short = number(entry + 2, 2) == 3 && number(entry + 4, 4) == 1;
    const std::uint32_t value = number(entry + 8, 2);
    return is_one_short && value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

/// The image as it is to be looked at, when `image` was stored in that orientation.
inline GrayImage upright(GrayImage image, int orientation) {
  if (orientation == 1) return image;
  // Row and column 0 of the stored image, seen upright: 2 top right, 3 bottom right, 4 bottom left, 5 left
  // top, 6 right top, 7 right bottom, 8 left bottom.
  const bool mirrored = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
  const bool upside_down = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
  const bool turned = orientation >= 5;
  GrayImage out{image.width, image.height, std::vector<float>(image.pixels.size())};
  if (turned) std::swap(out.width, out.height);
  for (Index y = 0; y < image.height; ++y)
    for (Index x = 0; x < image.width; ++x) {
      const Index across = turned ? y : x, down = turned ? x : y;
      out.at(mirrored ? out.width - 1 - across : across, upside_down ? out.height - 1 - down : down) =
          image.at(x, y);
    }
  return out;
}

}  // namespace vlp::io::detail
