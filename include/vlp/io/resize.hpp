/// \file
/// Resizing: radiographs of any size become square images of mean 0 and deviation 1, as an image encoder
/// takes them.
///
/// The filter is vlp's own, so that a training run does not depend on which version of a library is
/// installed.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/io/pixels.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
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

/// The rows of one image made from those of another, each from the few that it covers. Rows are combined
/// first, whole ones, which processors do fast; then the columns of the one row that is left.
class RowResizer {
 public:
  RowResizer(Index source_width, Index source_height, Index width, Index height)
      : across_(resize_weights(source_width, width)),
        down_(resize_weights(source_height, height)),
        combined_(static_cast<std::size_t>(source_width)) {}

  /// The first of the rows() source rows that target row `y` is made from.
  [[nodiscard]] Index first_row(Index y) const { return down_.first[static_cast<std::size_t>(y)]; }
  [[nodiscard]] Index rows() const { return down_.taps; }

  /// Takes note of the values of a source row, which those of the target may not exceed. To be called once
  /// for each row, in any order.
  void note_range(const float* row) {
    const std::size_t width = combined_.size();
    float low = low_, high = high_;
#pragma omp simd reduction(min : low) reduction(max : high)
    for (std::size_t x = 0; x < width; ++x) {
      low = row[x] < low ? row[x] : low;
      high = row[x] > high ? row[x] : high;
    }
    low_ = low;
    high_ = high;
  }

  /// Writes target row `y` to `out`; `row(v)` points to source row `v`.
  template <class Row>
  void make_row(Index y, const Row& row, float* out) {
    const float* weights = &down_.weights[static_cast<std::size_t>(y * down_.taps)];
    bool is_first = true;
    for (Index k = 0; k < down_.taps; ++k) {
      if (weights[k] == 0) continue;
      combine(weights[k], row(first_row(y) + k), is_first);
      is_first = false;
    }
    for (std::size_t x = 0; x < across_.first.size(); ++x) {
      const float* weight = &across_.weights[x * static_cast<std::size_t>(across_.taps)];
      const float* from = &combined_[static_cast<std::size_t>(across_.first[x])];
      float sum = 0;
      for (Index k = 0; k < across_.taps; ++k) sum += weight[k] * from[k];
      out[x] = sum;
    }
  }

  /// Cuts the values of target rows off at those of the source: a mean of thousands of equal values is off by
  /// its rounding.
  void limit(float* values, Index count) const {
    for (Index i = 0; i < count; ++i) values[i] = std::clamp(values[i], low_, high_);
  }

 private:
  /// Writes or adds a source row, weighted, to the combined one.
  void combine(float weight, const float* row, bool is_first) {
    float* to = combined_.data();
    const std::size_t width = combined_.size();
    if (is_first) {
#pragma omp simd
      for (std::size_t x = 0; x < width; ++x) to[x] = weight * row[x];
    } else {
#pragma omp simd
      for (std::size_t x = 0; x < width; ++x) to[x] += weight * row[x];
    }
  }

  ResizeWeights across_, down_;
  std::vector<float> combined_;  // source rows, weighted for one target row
  float low_ = std::numeric_limits<float>::infinity(), high_ = -low_;
};

/// A part of an image, and where it goes in a square one.
struct FitPlan {
  Index left, top, width, height;     // of the source
  Index x, y, new_width, new_height;  // of the target
};

/// Resizes the part of `image` into its place in `out`.
inline void resize_into(const GrayImage& image, const FitPlan& plan, GrayImage& out) {
  RowResizer resizer(plan.width, plan.height, plan.new_width, plan.new_height);
  const auto row = [&](Index v) {
    return &image.pixels[static_cast<std::size_t>((plan.top + v) * image.width + plan.left)];
  };
  Index noted = 0;
  for (Index y = 0; y < plan.new_height; ++y) {
    for (; noted < resizer.first_row(y) + resizer.rows(); ++noted) resizer.note_range(row(noted));
    resizer.make_row(y, row, &out.at(plan.x, plan.y + y));
  }
  for (Index y = 0; y < plan.new_height; ++y) resizer.limit(&out.at(plan.x, plan.y + y), plan.new_width);
}

}  // namespace detail

/// An image of the given size. Along each dimension it is averaged over area where it shrinks and
/// interpolated linearly where it grows. Values stay within those of `image`.
[[nodiscard]] inline GrayImage resize(const GrayImage& image, Index width, Index height) {
  require(image.width > 0 && image.height > 0, "resize: an image of ", image.width, " x ", image.height);
  require(width > 0 && height > 0, "resize: to ", width, " x ", height);
  if (width == image.width && height == image.height) return image;
  GrayImage out = make_gray_image(width, height);
  detail::resize_into(image, {0, 0, image.width, image.height, 0, 0, width, height}, out);
  return out;
}

/// The way in which an oblong image becomes a square one.
enum class Fit {
  crop,   ///< the centre square: nothing distorted, the ends of the longer side lost. The usual choice for
          ///< chest radiographs (resize the shorter side, crop the centre).
  pad,    ///< the whole image in the middle of a black square: nothing lost
  squash  ///< the whole image, its sides scaled differently
};

namespace detail {

/// The part of a `width` x `height` image that goes into a square of `size`, and its place there.
inline FitPlan plan_fit(Index width, Index height, Index size, Fit fit) {
  if (fit == Fit::squash) return {0, 0, width, height, 0, 0, size, size};
  if (fit == Fit::crop) {
    const Index side = std::min(width, height);
    return {(width - side) / 2, (height - side) / 2, side, side, 0, 0, size, size};
  }
  const double scale = static_cast<double>(size) / static_cast<double>(std::max(width, height));
  const auto scaled = [&](Index side) {
    return std::clamp(static_cast<Index>(std::llround(scale * static_cast<double>(side))), Index{1}, size);
  };
  const Index new_width = scaled(width), new_height = scaled(height);
  return {0, 0, width, height, (size - new_width) / 2, (size - new_height) / 2, new_width, new_height};
}

}  // namespace detail

/// A square image of `size` x `size` pixels.
[[nodiscard]] inline GrayImage fit_square(const GrayImage& image, Index size, Fit fit = Fit::crop) {
  require(size > 0, "fit_square: size ", size);
  require(image.width > 0 && image.height > 0, "fit_square: an image of ", image.width, " x ", image.height);
  if (image.width == size && image.height == size) return image;
  GrayImage square = make_gray_image(size, size);
  detail::resize_into(image, detail::plan_fit(image.width, image.height, size, fit), square);
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
