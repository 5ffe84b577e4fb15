/// \file
/// From image files to images at the size of a model.
#pragma once

#include <unistd.h>

#include <vlp/core/hash.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/data/detail/pixel_budget.hpp>
#include <vlp/data/image_cache.hpp>
#include <vlp/io/decode_square.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/image.hpp>
#include <vlp/io/resize.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace vlp::data {

/// An image with pixels in [0, 1], rounded to 16 bits; values outside are cut off.
[[nodiscard]] inline Pixels to_pixels(const io::GrayImage& image) {
  Pixels pixels(image.pixels.size());
  std::transform(image.pixels.begin(), image.pixels.end(), pixels.begin(), [](float value) {
    return static_cast<std::uint16_t>(std::lround(65535.0f * std::clamp(value, 0.0f, 1.0f)));
  });
  return pixels;
}

/// How image files are read.
struct ImageReading {
  Index image_size = 64;  ///< pixels along an edge that images are brought to
  /// Pixels that an image file may have; a larger one cannot be read.
  Index max_pixels = io::default_max_pixels;
  /// Decodes what is neither PNG nor JPEG, on all threads that read; these are read by io::decode_square.
  io::ImageDecoder decode = io::decode_image;
  io::Path cache = {};  ///< folder of an ImageCache; empty: none
};

namespace detail {

/// Bytes of memory that this machine has.
inline double memory_present() {
  return static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGE_SIZE));
}

/// The pixels of images that may be decoded at the same time: half of the memory, where the costliest take 12
/// bytes each.
inline Index decoded_pixels() {
  constexpr double bytes_a_pixel = 12;
  return static_cast<Index>(memory_present() / 2 / bytes_a_pixel);
}

/// Reads image files, from a cache where there is one. Serves any number of threads.
class ImageReader {
 public:
  /// Throws what ImageCache throws.
  explicit ImageReader(const ImageReading& options) : options_(options) {
    if (!options.cache.empty()) cache_ = std::make_unique<ImageCache>(options.cache, options.image_size);
  }

  /// Throws what reading the file and decoding it throw.
  [[nodiscard]] ResizedImage read(const io::Path& file, PixelBudget& budget) const {
    const auto make = [&](std::string_view bytes) {
      PixelBudget::Share share(budget);
      const auto admit = [&](Index pixels) { share.take(pixels); };
      return to_pixels(io::decode_square(bytes, file.string(), options_.image_size, io::Fit::crop,
                                         options_.max_pixels, admit, options_.decode));
    };
    if (cache_) return cache_->image(file, options_.max_pixels, make);
    const std::string bytes = io::read_image_file(file, options_.max_pixels);
    return {make(bytes), hash_of(bytes), bytes.size()};
  }

  /// A sentence for the user about the cache; empty where there is nothing to say.
  [[nodiscard]] std::string note() const { return cache_ ? cache_->note() : std::string(); }

 private:
  ImageReading options_;
  std::unique_ptr<ImageCache> cache_;
};

}  // namespace detail

}  // namespace vlp::data
