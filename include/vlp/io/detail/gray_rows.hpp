/// \file
/// From the samples of an image file to grey, a row at a time.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/io/pixels.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

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

/// Takes the rows of an image as they are decoded, top row first.
class RowSink {
 public:
  RowSink() = default;
  RowSink(const RowSink&) = delete;
  RowSink& operator=(const RowSink&) = delete;
  virtual ~RowSink() = default;

  /// Called once, before the first row.
  virtual void begin(Index width, Index height) = 0;
  /// Memory for the next row.
  [[nodiscard]] virtual float* next_row() = 0;
  /// Called when the memory of next_row() has been filled.
  virtual void finish_row() = 0;
};

/// Keeps all rows, in memory that is taken as they come.
class WholeImage final : public RowSink {
 public:
  void begin(Index width, Index height) override {
    image_ = {width, height, {}};
    row_.resize(static_cast<std::size_t>(width));
    image_.pixels.reserve(static_cast<std::size_t>(width * height));
  }
  float* next_row() override { return row_.data(); }
  void finish_row() override { image_.pixels.insert(image_.pixels.end(), row_.begin(), row_.end()); }
  [[nodiscard]] GrayImage take() { return std::move(image_); }

 private:
  GrayImage image_;
  std::vector<float> row_;
};

}  // namespace vlp::io::detail
