/// \file
/// Radiographs from PNG and JPEG files, and pictures to PNG files.
///
/// stb decodes and encodes. The target vlp::io links it as a library, so a translation unit that includes
/// this header does not compile it.
#pragma once

#include <stb/stb_image.h>
#include <stb/stb_image_write.h>

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/io/detail/jpeg_end.hpp>
#include <vlp/io/file.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
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

/// A black image.
[[nodiscard]] inline GrayImage make_gray_image(Index width, Index height) {
  require(width > 0 && height > 0, "image: size ", width, " x ", height);
  return {width, height, std::vector<float>(static_cast<std::size_t>(width * height), 0.0F)};
}

/// A black image.
[[nodiscard]] inline RgbImage make_rgb_image(Index width, Index height) {
  require(width > 0 && height > 0, "image: size ", width, " x ", height);
  return {width, height, std::vector<std::uint8_t>(static_cast<std::size_t>(3 * width * height), 0)};
}

namespace detail {

struct StbFree {
  void operator()(void* memory) const noexcept { stbi_image_free(memory); }
};

/// Converts interleaved samples to grey: colour to its luma by ITU-R BT.601, without any alpha channel.
template <class Sample>
GrayImage to_gray(const Sample* samples, int width, int height, int channels) {
  constexpr float scale = 1.0F / static_cast<float>(std::numeric_limits<Sample>::max());
  GrayImage image = make_gray_image(width, height);
  for (float& pixel : image.pixels) {
    const float value = channels < 3 ? static_cast<float>(samples[0])
                                     : 0.299F * static_cast<float>(samples[0]) +
                                           0.587F * static_cast<float>(samples[1]) +
                                           0.114F * static_cast<float>(samples[2]);
    pixel = std::min(value * scale, 1.0F);
    samples += channels;
  }
  return image;
}

inline void write_png(const Path& path, Index width, Index height, int channels,
                      const std::vector<std::uint8_t>& samples) {
  require(width > 0 && height > 0 && static_cast<Index>(samples.size()) == width * height * channels,
          "write_png: ", samples.size(), " samples for ", width, " x ", height, " pixels of ", channels);
  require(samples.size() < static_cast<std::size_t>(std::numeric_limits<int>::max()) / 2,
          "write_png: ", width, " x ", height, " pixels are too many");
  struct Sink {
    std::string bytes;
    bool failed = false;
  } sink;
  // The encoder is C: no exception may pass through it.
  const auto append = [](void* to, void* data, int size) noexcept {
    auto* out = static_cast<Sink*>(to);
    try {
      out->bytes.append(static_cast<const char*>(data), static_cast<std::size_t>(size));
    } catch (...) {
      out->failed = true;
    }
  };
  const int written = stbi_write_png_to_func(append, &sink, static_cast<int>(width), static_cast<int>(height),
                                             channels, samples.data(), static_cast<int>(width) * channels);
  ensure(written != 0 && !sink.failed, path.string(), ": cannot write: out of memory");
  write_file(path, sink.bytes);
}

}  // namespace detail

/// Decodes the contents of a PNG or JPEG file, 8 or 16 bits per sample, of any size. Colour becomes luma, an
/// alpha channel is left out. Throws std::runtime_error, which begins with `name`, for other formats and for
/// damaged or truncated contents.
[[nodiscard]] inline GrayImage decode_image(std::string_view bytes, const std::string& name) {
  const bool png = bytes.substr(0, 8) == "\x89PNG\r\n\x1A\n";
  const bool jpeg = bytes.substr(0, 3) == "\xFF\xD8\xFF";
  ensure(png || jpeg, name, ": neither a PNG nor a JPEG image");
  ensure(bytes.size() <= static_cast<std::size_t>(std::numeric_limits<int>::max()), name,
         ": an image file of ", bytes.size(), " bytes is too large");
  // From its version 2.28 on, stb fills what a truncated JPEG lacks with grey and says nothing.
  ensure(!jpeg || detail::has_jpeg_end(bytes), name, ": truncated JPEG image (no end marker)");
  const auto* data = reinterpret_cast<const stbi_uc*>(bytes.data());
  const int size = static_cast<int>(bytes.size());
  int width = 0, height = 0, channels = 0;
  const bool deep = stbi_is_16_bit_from_memory(data, size) != 0;
  const std::unique_ptr<void, detail::StbFree> samples(
      deep ? static_cast<void*>(stbi_load_16_from_memory(data, size, &width, &height, &channels, 0))
           : static_cast<void*>(stbi_load_from_memory(data, size, &width, &height, &channels, 0)));
  ensure(samples != nullptr, name, ": damaged or truncated ", png ? "PNG" : "JPEG", " image (",
         stbi_failure_reason(), ")");
  if (deep) return detail::to_gray(static_cast<const std::uint16_t*>(samples.get()), width, height, channels);
  return detail::to_gray(static_cast<const std::uint8_t*>(samples.get()), width, height, channels);
}

/// Reads a PNG or JPEG file; see decode_image. Every message names the file.
[[nodiscard]] inline GrayImage read_image(const Path& path) {
  return decode_image(read_file(path), path.string());
}

/// Writes an 8-bit colour PNG file, atomically.
inline void write_png(const Path& path, const RgbImage& image) {
  detail::write_png(path, image.width, image.height, 3, image.pixels);
}

/// Writes an 8-bit grey PNG file, atomically; values are cut off to [0, 1] first and NaN is black.
inline void write_png(const Path& path, const GrayImage& image) {
  std::vector<std::uint8_t> samples(image.pixels.size());
  std::transform(image.pixels.begin(), image.pixels.end(), samples.begin(), [](float value) {
    return static_cast<std::uint8_t>(std::lround(255.0F * (value > 0 ? std::min(value, 1.0F) : 0.0F)));
  });
  detail::write_png(path, image.width, image.height, 1, samples);
}

}  // namespace vlp::io
