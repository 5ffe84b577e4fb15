/// \file
/// Drawing on a colour image: rectangles, text, colours for numbers.
#pragma once

#include <stb/stb_easy_font.h>

#include <vlp/core/errors.hpp>
#include <vlp/io/image.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
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

  /// One line of text with its upper left corner at (x, y), which must not be negative, `scale` pixels a dot
  /// of the font (capitals are 7 dots high).
  void text(Index x, Index y, std::string_view line, Colour colour, Index scale = 2) {
    std::string printable = ascii(line);
    // Every character is at least a dot wide: more of them lie outside, and would cost time and memory.
    printable.resize(std::min(printable.size(), static_cast<std::size_t>(image_.width / scale)));
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

/// Returns the next word of `text` and removes it; empty where there is none.
inline std::string_view next_word(std::string_view& text) {
  constexpr std::string_view blanks = " \n\t\r";
  text.remove_prefix(std::min(text.find_first_not_of(blanks), text.size()));
  const std::string_view word = text.substr(0, text.find_first_of(blanks));
  text.remove_prefix(word.size());
  return word;
}

/// `word`, or as much of its beginning as goes into `width` pixels with "..." behind it.
inline std::string fitted(std::string_view word, Index width, Index scale) {
  const auto most = static_cast<std::size_t>(width / scale);  // characters are at least a dot wide
  if (word.size() <= most && Canvas::text_width(word, scale) <= width) return std::string(word);
  std::string cut(word.substr(0, most));
  while (!cut.empty() && Canvas::text_width(cut + "...", scale) > width) cut.pop_back();
  return cut + "...";
}

/// Breaks text between words into at most `most_lines` lines of at most `width` pixels. A word that is longer
/// is cut; so is the text, and then a further line says how many words are left out.
inline std::vector<std::string> wrap(std::string_view text, Index width, std::size_t most_lines,
                                     Index scale = 2) {
  std::vector<std::string> lines;
  std::string line;
  for (std::string_view word = next_word(text); !word.empty(); word = next_word(text)) {
    std::string part = fitted(word, width, scale);
    if (!line.empty() && Canvas::text_width(line + ' ' + part, scale) > width) {
      lines.push_back(std::exchange(line, {}));
      if (lines.size() == most_lines) {
        std::size_t left = 1;
        while (!next_word(text).empty()) ++left;
        lines.push_back(concat("(... ", left, left == 1 ? " more word)" : " more words)"));
        return lines;
      }
    }
    line = line.empty() ? std::move(part) : line + ' ' + part;
  }
  if (!line.empty()) lines.push_back(line);
  return lines;
}

}  // namespace vlp::pictures::detail
