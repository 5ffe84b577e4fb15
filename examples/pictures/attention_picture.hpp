/// \file
/// Where a model looks for a word: its attention over the regions, laid on the radiograph.
#pragma once

#include "pictures/detail/canvas.hpp"

#include <vlp/core/errors.hpp>
#include <vlp/core/view.hpp>
#include <vlp/eval/pointing_game.hpp>
#include <vlp/io/image.hpp>
#include <vlp/io/resize.hpp>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::pictures {

/// The attention of one word.
struct AttentionPanel {
  std::string word;
  MatrixView<const float> attention;  ///< over the grid of regions [rows, cols]; any scale
  std::optional<eval::Box> box;       ///< true place of what the word names, in pixels of the image, if known
};

/// How the panels of a picture are laid out.
struct AttentionLayout {
  Index panel_width = 448;  ///< pixels
  Index columns = 4;        ///< panels in a row
};

/// Layout for all words of a text, some dozens: small panels, eight in a row.
inline constexpr AttentionLayout every_word{.panel_width = 224, .columns = 8};

namespace detail {

inline constexpr Colour ink{235, 235, 235}, faint_ink{150, 150, 160}, paper{18, 18, 24};
inline constexpr Colour box_colour{0, 229, 255}, hit_colour{105, 240, 130}, miss_colour{255, 138, 128},
    word_colour{255, 202, 60};

/// The letters and digits of ASCII of a word, in lower case: what is left of it without punctuation.
inline std::string bare_word(std::string_view word) {
  std::string letters;
  for (const char c : word)
    if (std::isalnum(static_cast<unsigned char>(c)))
      letters += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return letters;
}

/// Values stretched to [0, 1], NaN to 0; all 0 when they are alike.
inline io::GrayImage stretched(io::GrayImage image) {
  // double holds the difference of any two floats.
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const double v : image.pixels)
    if (std::isfinite(v)) {
      low = std::min(low, v);
      high = std::max(high, v);
    }
  for (float& v : image.pixels)
    v = high > low && std::isfinite(v) ? static_cast<float>((v - low) / (high - low)) : 0.0F;
  return image;
}

inline io::GrayImage as_image(const MatrixView<const float>& attention) {
  io::GrayImage out = io::make_gray_image(attention.cols(), attention.rows());
  for (Index row = 0; row < out.height; ++row)
    for (Index col = 0; col < out.width; ++col) out.at(col, row) = attention(row, col);
  return stretched(std::move(out));
}

/// The panels of one picture and how they fit together.
class AttentionCanvas {
 public:
  AttentionCanvas(const io::GrayImage& image, std::span<const AttentionPanel> panels, std::string_view report,
                  const AttentionLayout& layout)
      : original_(image),
        panels_(panels),
        panel_width_(layout.panel_width),
        panel_height_(std::max<Index>(1, image.height * panel_width_ / image.width)),
        columns_(std::min(layout.columns, static_cast<Index>(panels.size()) + 1)),
        label_scale_(panel_width_ < 320 ? 2 : 3),
        has_boxes_(
            std::ranges::any_of(panels, [](const AttentionPanel& panel) { return panel.box.has_value(); })),
        rows_((static_cast<Index>(panels.size()) + columns_) / columns_),
        lines_(wrap(report, columns_ * (panel_width_ + gap) - gap, most_lines)),
        picture_(stretched(io::resize(image, panel_width_, panel_height_))),
        canvas_(columns_ * (panel_width_ + gap) + gap,
                rows_ * row_height() + legend + line * static_cast<Index>(lines_.size()) + gap, paper) {
    draw_original();
    for (std::size_t k = 0; k < panels.size(); ++k) draw_panel(static_cast<Index>(k) + 1, panels[k]);
    draw_legend_and_report();
  }

  [[nodiscard]] const io::RgbImage& image() const { return canvas_.image(); }

 private:
  static constexpr std::size_t most_lines = 40;  // of the report: beyond 3,000 characters
  static constexpr Index gap = 16, header = 44, footer = 30, legend = 52, line = 26;

  /// Under the panels of a row there is room for whether the peak is inside the true box.
  [[nodiscard]] Index row_height() const { return panel_height_ + header + (has_boxes_ ? footer : gap); }
  [[nodiscard]] Index left_of(Index cell) const { return gap + cell % columns_ * (panel_width_ + gap); }
  [[nodiscard]] Index top_of(Index cell) const { return header + cell / columns_ * row_height(); }
  [[nodiscard]] Index label_top(Index cell) const { return top_of(cell) - 9 - 7 * label_scale_; }
  [[nodiscard]] Index to_panel(float pixel) const {
    return std::lround(pixel * static_cast<float>(panel_width_) / static_cast<float>(original_.width));
  }

  void draw_box(Index cell, const eval::Box& box) {
    const Index x = left_of(cell) + std::clamp<Index>(to_panel(box.left), 0, panel_width_ - 1);
    const Index y = top_of(cell) + std::clamp<Index>(to_panel(box.top), 0, panel_height_ - 1);
    const Index right = left_of(cell) + std::clamp<Index>(to_panel(box.right), 1, panel_width_);
    const Index bottom = top_of(cell) + std::clamp<Index>(to_panel(box.bottom), 1, panel_height_);
    canvas_.outline(x - 1, y - 1, right - x + 2, bottom - y + 2, 5, {0, 0, 0});
    canvas_.outline(x, y, right - x, bottom - y, 3, box_colour);
  }

  void draw_original() {
    canvas_.text(left_of(0), label_top(0), "radiograph", ink, label_scale_);
    for (Index y = 0; y < panel_height_; ++y)
      for (Index x = 0; x < panel_width_; ++x)
        canvas_.set(left_of(0) + x, top_of(0) + y, mix({0, 0, 0}, {255, 255, 255}, picture_.at(x, y)));
    for (const AttentionPanel& panel : panels_)
      if (panel.box) draw_box(0, *panel.box);
  }

  void draw_panel(Index cell, const AttentionPanel& panel) {
    canvas_.text(left_of(cell), label_top(cell), fitted('"' + panel.word + '"', panel_width_, label_scale_),
                 word_colour, label_scale_);
    const io::GrayImage heat = io::resize(as_image(panel.attention), panel_width_, panel_height_);
    for (Index y = 0; y < panel_height_; ++y)
      for (Index x = 0; x < panel_width_; ++x) {
        const Colour grey = mix({0, 0, 0}, {255, 255, 255}, 0.8F * picture_.at(x, y));
        // Where there is little attention the radiograph shows through.
        const float value = heat.at(x, y);
        canvas_.set(left_of(cell) + x, top_of(cell) + y,
                    mix(grey, inferno(0.25F + 0.75F * value),
                        0.75F * std::clamp((value - 0.15F) / 0.6F, 0.0F, 1.0F)));
      }
    if (panel.box) {
      draw_box(cell, *panel.box);
      const eval::Pointing pointing =
          eval::point(panel.attention, *panel.box, original_.height, original_.width);
      canvas_.text(left_of(cell), top_of(cell) + panel_height_ + 8,
                   pointing.hit ? "peak inside the true box" : "peak outside the true box",
                   pointing.hit ? hit_colour : miss_colour);
    }
    draw_peak(cell, panel.attention);
  }

  /// A cross on the centre of the region with the most attention.
  void draw_peak(Index cell, const MatrixView<const float>& attention) {
    Index row = 0, col = 0;
    for (Index r = 0; r < attention.rows(); ++r)
      for (Index c = 0; c < attention.cols(); ++c)
        if (attention(r, c) > attention(row, col)) row = r, col = c;
    const Index x = left_of(cell) + (2 * col + 1) * panel_width_ / (2 * attention.cols());
    const Index y = top_of(cell) + (2 * row + 1) * panel_height_ / (2 * attention.rows());
    canvas_.fill(x - 10, y - 3, 21, 7, {0, 0, 0});
    canvas_.fill(x - 3, y - 10, 7, 21, {0, 0, 0});
    canvas_.fill(x - 9, y - 1, 19, 3, {255, 255, 255});
    canvas_.fill(x - 1, y - 9, 3, 19, {255, 255, 255});
  }

  void draw_legend_and_report() {
    Index y = rows_ * row_height() + 8;
    constexpr Index bar = 160;
    Index x = gap;
    for (Index i = 0; i < bar; ++i)
      canvas_.fill(x + i, y, 1, 16, inferno(0.25F + 0.75F * static_cast<float>(i) / static_cast<float>(bar)));
    const auto label = [&](std::string_view words) {
      canvas_.text(x, y + 1, words, faint_ink);
      x += Canvas::text_width(words) + 28;
    };
    x += bar + 10;
    label("attention, least to most");
    canvas_.fill(x, y + 7, 17, 3, {255, 255, 255});
    canvas_.fill(x + 7, y, 3, 17, {255, 255, 255});
    x += 26;
    label("peak");
    if (has_boxes_) {
      canvas_.outline(x, y, 22, 17, 3, box_colour);
      x += 31;
      label("true box");
    }
    y += legend - 14;
    for (const std::string& text : lines_) {
      draw_report_line(text, y);
      y += line;
    }
  }

  /// The words that have a panel stand out.
  void draw_report_line(const std::string& text, Index y) {
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = std::min(text.find(' ', begin), text.size());
      const std::string word = text.substr(begin, end - begin);
      const std::string bare = bare_word(word);
      const bool named = std::any_of(panels_.begin(), panels_.end(), [&](const AttentionPanel& panel) {
        return bare_word(panel.word) == bare;
      });
      canvas_.text(gap + Canvas::text_width(text.substr(0, begin)), y, word, named ? word_colour : ink);
      begin = end + 1;
    }
  }

  const io::GrayImage& original_;
  std::span<const AttentionPanel> panels_;
  Index panel_width_, panel_height_, columns_, label_scale_;
  bool has_boxes_;
  Index rows_;
  std::vector<std::string> lines_;
  io::GrayImage picture_;
  Canvas canvas_;
};

}  // namespace detail

/// One picture for a radiograph and words of its report: the radiograph with all true boxes, then for each
/// word its attention on the radiograph with its true box, if that is known, and peak, in the words' order;
/// and the report below, or its first 40 lines and how many words follow.
///
/// `image`: any scale, stretched from darkest to brightest. The grid of regions covers the image evenly.
/// Throws std::invalid_argument for an empty image or grid, an image more than 16 times as high as wide, a
/// panel narrower than 64 pixels or wider than 4096, less than one column or more than 64, or a box that
/// eval::point refuses.
[[nodiscard]] inline io::RgbImage draw_attention(const io::GrayImage& image,
                                                 std::span<const AttentionPanel> panels,
                                                 std::string_view report,
                                                 const AttentionLayout& layout = {}) {
  require(image.width > 0 && image.height > 0 &&
              static_cast<Index>(image.pixels.size()) == image.width * image.height,
          "draw_attention: the image is ", image.width, " x ", image.height, " with ", image.pixels.size(),
          " pixels");
  require((image.height - 1) / 16 < image.width, "draw_attention: the image is ", image.width, " x ",
          image.height, ", too high for its width");
  require_range<Index>("draw_attention: panel_width", layout.panel_width, 64, 4096);
  require_range<Index>("draw_attention: columns", layout.columns, 1, 64);
  for (const AttentionPanel& panel : panels)
    require(panel.attention.given() && panel.attention.size() > 0, "draw_attention: the attention of \"",
            panel.word, "\" is ", panel.attention.rows(), " x ", panel.attention.cols(), " regions");
  return detail::AttentionCanvas(image, panels, report, layout).image();
}

}  // namespace vlp::pictures
