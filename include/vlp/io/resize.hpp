/// \file
/// Resizing: radiographs of any size become square images of mean 0 and deviation 1, as an image encoder
/// takes them.
///
/// The filter is vlp's own, so that a training run does not depend on which version of a library is
/// installed.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/io/image.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace vlp::io {

namespace detail {

/// The source pixels that make up each target pixel along one dimension, and their weights, which sum to 1.
struct ResizeWeights {
  std::vector<Index> first;    // [target]
  std::vector<float> weights;  // [target, taps]
  Index taps = 0;
};

/// Shrinking averages the stretch of source pixels that a target pixel covers, parts of pixels in proportion;
/// growing interpolates linearly between pixel centres and repeats the edge.
inline ResizeWeights resize_weights(Index source, Index target) {
  const double scale = static_cast<double>(source) / static_cast<double>(target);
  ResizeWeights out;
  out.taps = std::min(source, scale > 1 ? static_cast<Index>(std::ceil(scale)) + 1 : Index{2});
  out.first.resize(static_cast<std::size_t>(target));
  out.weights.assign(static_cast<std::size_t>(target * out.taps), 0.0F);
  for (Index t = 0; t < target; ++t) {
    const double centre = (static_cast<double>(t) + 0.5) * scale;
    // Both filters weigh by the distance from the centre within which a pixel still counts.
    const double begin = scale > 1 ? static_cast<double>(t) * scale : centre - 1;
    const double end = scale > 1 ? begin + scale : centre + 1;
    const Index first = std::clamp(static_cast<Index>(std::floor(scale > 1 ? begin : centre - 0.5)), Index{0},
                                   source - out.taps);
    out.first[static_cast<std::size_t>(t)] = first;
    double sum = 0;
    std::vector<double> raw(static_cast<std::size_t>(out.taps));
    for (Index k = 0; k < out.taps; ++k) {
      const double left = static_cast<double>(first + k);
      const double weight =
          scale > 1 ? std::min(end, left + 1) - std::max(begin, left)
                    : 1 - std::abs(left + 0.5 - std::clamp(centre, 0.5, static_cast<double>(source) - 0.5));
      sum += raw[static_cast<std::size_t>(k)] = std::max(weight, 0.0);
    }
    for (Index k = 0; k < out.taps; ++k)
      out.weights[static_cast<std::size_t>(t * out.taps + k)] =
          static_cast<float>(raw[static_cast<std::size_t>(k)] / sum);
  }
  return out;
}

}  // namespace detail

/// An image of the given size. Along each dimension it is averaged over area where it shrinks and
/// interpolated linearly where it grows. Values stay within those of `image`.
[[nodiscard]] inline GrayImage resize(const GrayImage& image, Index width, Index height) {
  require(image.width > 0 && image.height > 0, "resize: an image of ", image.width, " x ", image.height);
  require(width > 0 && height > 0, "resize: to ", width, " x ", height);
  if (width == image.width && height == image.height) return image;
  const detail::ResizeWeights across = detail::resize_weights(image.width, width);
  const detail::ResizeWeights down = detail::resize_weights(image.height, height);
  GrayImage narrowed = make_gray_image(width, image.height);
  for (Index y = 0; y < image.height; ++y) {
    for (Index x = 0; x < width; ++x) {
      const Index first = across.first[static_cast<std::size_t>(x)];
      const float* weight = &across.weights[static_cast<std::size_t>(x * across.taps)];
      float sum = 0;
      for (Index k = 0; k < across.taps; ++k) sum += weight[k] * image.at(first + k, y);
      narrowed.at(x, y) = sum;
    }
  }
  GrayImage out = make_gray_image(width, height);
  for (Index y = 0; y < height; ++y) {
    for (Index k = 0; k < down.taps; ++k) {
      const float weight = down.weights[static_cast<std::size_t>(y * down.taps + k)];
      const Index from = down.first[static_cast<std::size_t>(y)] + k;
      for (Index x = 0; x < width; ++x) out.at(x, y) += weight * narrowed.at(x, from);
    }
  }
  // A mean of thousands of equal values is off by its rounding.
  const auto [low, high] = std::minmax_element(image.pixels.begin(), image.pixels.end());
  for (float& pixel : out.pixels) pixel = std::clamp(pixel, *low, *high);
  return out;
}

/// The way in which an oblong image becomes a square one.
enum class Fit {
  crop,   ///< the centre square: nothing distorted, the ends of the longer side lost. The usual choice for
          ///< chest radiographs (resize the shorter side, crop the centre).
  pad,    ///< the whole image in the middle of a black square: nothing lost
  squash  ///< the whole image, its sides scaled differently
};

/// A square image of `size` x `size` pixels.
[[nodiscard]] inline GrayImage fit_square(const GrayImage& image, Index size, Fit fit = Fit::crop) {
  require(size > 0, "fit_square: size ", size);
  require(image.width > 0 && image.height > 0, "fit_square: an image of ", image.width, " x ", image.height);
  if (fit == Fit::squash || image.width == image.height) return resize(image, size, size);
  if (fit == Fit::crop) {  // cropping first costs less and gives the same
    const Index side = std::min(image.width, image.height);
    const Index left = (image.width - side) / 2, top = (image.height - side) / 2;
    GrayImage square = make_gray_image(side, side);
    for (Index y = 0; y < side; ++y)
      std::copy_n(&image.pixels[static_cast<std::size_t>((top + y) * image.width + left)], side,
                  &square.at(0, y));
    return resize(square, size, size);
  }
  const double scale = static_cast<double>(size) / static_cast<double>(std::max(image.width, image.height));
  const auto scaled = [&](Index side) {
    return std::clamp(static_cast<Index>(std::llround(scale * static_cast<double>(side))), Index{1}, size);
  };
  const GrayImage whole = resize(image, scaled(image.width), scaled(image.height));
  const Index left = (size - whole.width) / 2, top = (size - whole.height) / 2;
  GrayImage square = make_gray_image(size, size);
  for (Index y = 0; y < whole.height; ++y)
    std::copy_n(&whole.pixels[static_cast<std::size_t>(y * whole.width)], whole.width,
                &square.at(left, top + y));
  return square;
}

/// Shifts and scales the values to mean 0 and standard deviation 1, whatever exposure and bit depth they were
/// taken with. An image of one value becomes all zeros.
inline void standardise(GrayImage& image) {
  if (image.pixels.empty()) return;
  double sum = 0, squares = 0;
  for (float value : image.pixels) sum += static_cast<double>(value);
  const double mean = sum / static_cast<double>(image.pixels.size());
  for (float value : image.pixels)
    squares += (static_cast<double>(value) - mean) * (static_cast<double>(value) - mean);
  const double deviation = std::sqrt(squares / static_cast<double>(image.pixels.size()));
  const double scale = deviation > 1e-7 ? 1 / deviation : 0;  // float noise around one value is no contrast
  for (float& value : image.pixels) value = static_cast<float>((static_cast<double>(value) - mean) * scale);
}

}  // namespace vlp::io
