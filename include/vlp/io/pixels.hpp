/// \file
/// Images in memory.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace vlp::io {

/// A grey image, [height, width], row-major, top row first. Black is 0 and white is 1 as read from a file.
struct GrayImage {
  Index width = 0;
  Index height = 0;
  std::vector<float> pixels;

  [[nodiscard]] float& at(Index x, Index y) { return pixels[static_cast<std::size_t>(y * width + x)]; }
  [[nodiscard]] float at(Index x, Index y) const { return pixels[static_cast<std::size_t>(y * width + x)]; }
};

/// A colour image, [height, width, 3], row-major, top row first, 8 bits per channel (sRGB).
struct RgbImage {
  Index width = 0;
  Index height = 0;
  std::vector<std::uint8_t> pixels;
};

/// The longest edge, in pixels, of an image that is made, read or written.
inline constexpr Index max_image_edge = 1'000'000;

/// Function that is called with an image's number of pixels before memory is taken for them. It may wait, and
/// it may throw.
using Admit = std::function<void(Index pixels)>;

namespace detail {

/// Throws std::invalid_argument, which begins with `what`, unless both edges are from 1 to max_image_edge.
inline void require_image_size(const char* what, Index width, Index height) {
  require(width > 0 && height > 0, what, ": size ", width, " x ", height);
  require(width <= max_image_edge && height <= max_image_edge, what, ": size ", width, " x ", height,
          "; an edge has at most ", max_image_edge, " pixels");
}

}  // namespace detail

/// A black image. Throws std::invalid_argument unless both edges are from 1 to max_image_edge.
[[nodiscard]] inline GrayImage make_gray_image(Index width, Index height) {
  detail::require_image_size("image", width, height);
  return {width, height, std::vector<float>(static_cast<std::size_t>(width * height), 0.0F)};
}

/// A black image. Throws std::invalid_argument unless both edges are from 1 to max_image_edge.
[[nodiscard]] inline RgbImage make_rgb_image(Index width, Index height) {
  detail::require_image_size("image", width, height);
  return {width, height, std::vector<std::uint8_t>(static_cast<std::size_t>(3 * width * height), 0)};
}

}  // namespace vlp::io
