/// \file
/// One radiograph and its report, in memory.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/eval/pointing_game.hpp>
#include <vlp/io/image.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace vlp::data {

/// The true place of something that a report names.
struct Mark {
  std::string word;  ///< the noun that names it: a normalised word of the report
  std::string kind;  ///< under which results are summed, e.g. "nodule"
  eval::Box box;     ///< in pixels of the image at the size of the model
};

/// One radiograph and its report.
struct Example {
  std::string name;                   ///< file of the image, or another name by which messages call it
  std::vector<std::uint16_t> pixels;  ///< [image_size, image_size], 0 black to 65535 white
  std::string report;                 ///< the whole text, as written
  std::string findings;               ///< the section that says what is seen; empty where not told apart
  std::string impression;             ///< the section with the conclusion; empty where not told apart
  std::uint64_t source = 0;           ///< hash of what the image was made of, such as a file; 0: unknown
  std::int64_t image_id = 0;          ///< equal for examples of one image
  std::int64_t text_id = 0;           ///< equal for reports whose whole texts, normalised, are equal
  /// The text_id of every report of this image, ascending; null where it has this one alone. Shared by the
  /// examples of the image.
  std::shared_ptr<const std::vector<std::int64_t>> image_texts;
  std::vector<Mark> marks;  ///< empty where no true places are known
};

/// An image with pixels in [0, 1] as the pixels of an Example, rounded to 16 bits: no source has more, and a
/// collection fits in memory.
[[nodiscard]] inline std::vector<std::uint16_t> to_pixels(const io::GrayImage& image) {
  std::vector<std::uint16_t> pixels(image.pixels.size());
  std::transform(image.pixels.begin(), image.pixels.end(), pixels.begin(), [](float value) {
    return static_cast<std::uint16_t>(std::lround(65535.0f * std::clamp(value, 0.0f, 1.0f)));
  });
  return pixels;
}

/// The image of an example, in [0, 1]. Throws std::invalid_argument, naming the example, unless it has
/// image_size x image_size pixels.
[[nodiscard]] inline io::GrayImage image_of(const Example& example, Index image_size) {
  require(static_cast<Index>(example.pixels.size()) == image_size * image_size, example.name, ": ",
          example.pixels.size(), " pixels are not an image of ", image_size, " x ", image_size);
  io::GrayImage image = io::make_gray_image(image_size, image_size);
  std::transform(example.pixels.begin(), example.pixels.end(), image.pixels.begin(),
                 [](std::uint16_t pixel) { return static_cast<float>(pixel) / 65535.0f; });
  return image;
}

}  // namespace vlp::data
