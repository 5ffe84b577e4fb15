/// \file
/// Drawing on a colour image: rectangles, text, colours for numbers.
#pragma once

#include <stb/stb_easy_font.h>

#include <vlp/io/image.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::pictures::detail {

struct Colour {
  std::uint8_t red = 0, green = 0, blue = 0;
};

/// Between two colours; `share` of the second, in [0, 1].
inline Colour mix(Colour a, Colour b, float share) {
  const auto channel = [&](std::uint8_t from, std::uint8_t to) {
    return static_cast<std::uint8_t>(
        std::lround(static_cast<float>(from) * (1 - share) + static_cast<float>(to) * share));
  };
  return {channel(a.red, b.red), channel(a.green, b.green), channel(a.blue, b.blue)};
}

/// Dark to bright with even steps to the eye: matplotlib's "inferno" (N. Smith and S. van der Walt, CC0), by
/// nine of its colours. `value` in [0, 1].
inline Colour inferno(float value) {
  constexpr std::array<Colour, 9> stops{{{0, 0, 4},
                                         {33, 12, 74},
                                         {87, 16, 110},
                                         {138, 34, 106},
                                         {188, 55, 84},
                                         {228, 90, 49},
                                         {249, 142, 9},
                                         {249, 203, 53},
                                         {252, 255, 164}}};
  const float at = std::clamp(value, 0.0F, 1.0F) * static_cast<float>(stops.size() - 1);
  const auto below = std::min(static_cast<std::size_t>(at), stops.size() - 2);
  return mix(stops[below], stops[below + 1], at - static_cast<float>(below));
}

/// An image to draw on. Parts of a drawing that lie outside are left out.
class Canvas {
 public:
  Canvas(Index width, Index height, Colour background) : image_(io::make_rgb_image(width, height)) {
    fill(0, 0, width, height, background);
  }

  [[nodiscard]] Index width() const { return image_.width; }
  [[nodiscard]] const io::RgbImage& image() const { return image_; }

  void set(Index x, Index y, Colour colour) {
    if (x < 0 || y < 0 || x >= image_.width || y >= image_.height) return;
    std::uint8_t* pixel = &image_.pixels[static_cast<std::size_t>(3 * (y * image_.width + x))];
    pixel[0] = colour.red;
    pixel[1] = colour.green;
    pixel[2] = colour.blue;
  }

  void fill(Index x, Index y, Index width, Index height, Colour colour) {
    for (Index row = std::max<Index>(y, 0); row < std::min(y + height, image_.height); ++row)
      for (Index col = std::max<Index>(x, 0); col < std::min(x + width, image_.width); ++col)
        set(col, row, colour);
  }

  /// The outline of a rectangle, `thickness` pixels inwards.
  void outline(Index x, Index y, Index width, Index height, Index thickness, Colour colour) {
    fill(x, y, width, thickness, colour);
    fill(x, y + height - thickness, width, thickness, colour);
    fill(x, y, thickness, height, colour);
    fill(x + width - thickness, y, thickness, height, colour);
  }

  /// One line of text with its upper left corner at (x, y), `scale` pixels a dot of the font (capitals are 7
  /// dots high).
  void text(Index x, Index y, std::string_view line, Colour colour, Index scale = 2) {
    std::string printable = ascii(line);
    std::vector<char> quads(printable.size() * 400 + 400);
    const int count =
        stb_easy_font_print(0, 0, printable.data(), nullptr, quads.data(), static_cast<int>(quads.size()));
    for (int q = 0; q < count; ++q) {
      const auto corner = [&](int k) {  // x, y of one of the four vertices of 16 bytes each
        std::array<float, 2> at{};
        std::memcpy(at.data(), quads.data() + 16 * (4 * q + k), sizeof at);
        return at;
      };
      const auto upper_left = corner(0), lower_right = corner(2);
      const auto dots = [](float v) { return static_cast<Index>(std::lround(v)); };
      fill(x + scale * dots(upper_left[0]), y + scale * dots(upper_left[1]),
           scale * dots(lower_right[0] - upper_left[0]), scale * dots(lower_right[1] - upper_left[1]),
           colour);
    }
  }

  /// Width of a line of text in pixels.
  [[nodiscard]] static Index text_width(std::string_view line, Index scale = 2) {
    std::string printable = ascii(line);
    return scale * stb_easy_font_width(printable.data());
  }

 private:
  /// The font has the printable characters of ASCII; a "?" stands for each other (one per UTF-8 sequence).
  static std::string ascii(std::string_view text) {
    std::string out;
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte >= 0x80 && byte < 0xC0) continue;  // the rest of a sequence
      out += byte >= 32 && byte < 127 ? c : (byte < 32 ? ' ' : '?');
    }
    return out;
  }

  io::RgbImage image_;
};

/// Breaks text between words into lines of at most `width` pixels; a longer word has a line of its own.
inline std::vector<std::string> wrap(std::string_view text, Index width, Index scale = 2) {
  std::vector<std::string> lines;
  std::string line;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find_first_of(" \n\t\r", begin), text.size());
    if (const std::string_view word = text.substr(begin, end - begin); !word.empty()) {
      const std::string longer = line.empty() ? std::string(word) : line + ' ' + std::string(word);
      if (line.empty() || Canvas::text_width(longer, scale) <= width) {
        line = longer;
      } else {
        lines.push_back(line);
        line = word;
      }
    }
    begin = end + 1;
  }
  if (!line.empty()) lines.push_back(line);
  return lines;
}

}  // namespace vlp::pictures::detail
