/// \file
/// From the samples of an image file to grey, a row at a time.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/io/pixels.hpp>

#include <algorithm>
#include <string>

namespace vlp::io::detail {

/// Luma of a colour by ITU-R BT.601.
inline float luma(float red, float green, float blue) {
  return 0.299F * red + 0.587F * green + 0.114F * blue;
}

/// A sample in [0, 1], where `largest` stands for white.
inline float in_unit(float sample, float largest) {
  return std::min(sample * (1.0F / largest), 1.0F);
}

/// Throws std::runtime_error, which begins with `name`, for an image that is larger than the limits.
inline void ensure_size(const std::string& name, Index width, Index height, Index max_pixels) {
  ensure(width <= max_image_edge && height <= max_image_edge, name, ": an image of ", width, " x ", height,
         " pixels is too large; an edge may have ", max_image_edge);
  ensure(width * height <= max_pixels, name, ": an image of ", width, " x ", height,
         " pixels is too large; max_pixels is ", max_pixels);
}

}  // namespace vlp::io::detail
