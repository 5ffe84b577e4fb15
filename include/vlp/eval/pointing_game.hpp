/// \file
/// The pointing game, which asks whether the attention of a word peaks where its finding is.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/eval/accuracy.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::eval {

/// A rectangle in pixels of the image the model sees: x to the right, y down, the centre of the first pixel
/// at (0.5, 0.5). `right` and `bottom` are the far edges.
struct Box {
  float left = 0, top = 0, right = 0, bottom = 0;
  friend bool operator==(const Box&, const Box&) = default;
};

/// The outcome of one turn of the pointing game.
struct Pointing {
  bool hit = false;
  double chance = 0;  ///< share of the cells that would have been a hit, in (0, 1]
};

namespace detail {

/// The cells of a grid [rows, cols] over an image [height, width] that count as inside a box.
class HitCells {
 public:
  HitCells(Index rows, Index cols, Index height, Index width, const Box& box, double tolerance)
      : cell_height_(static_cast<double>(height) / static_cast<double>(rows)),
        cell_width_(static_cast<double>(width) / static_cast<double>(cols)),
        box_(box),
        tolerance_(tolerance),
        home_row_(cell_of((box.top + box.bottom) / 2.0, cell_height_, rows)),
        home_col_(cell_of((box.left + box.right) / 2.0, cell_width_, cols)) {}

  [[nodiscard]] bool operator()(Index row, Index col) const {
    if (row == home_row_ && col == home_col_) return true;
    const double x = (static_cast<double>(col) + 0.5) * cell_width_;
    const double y = (static_cast<double>(row) + 0.5) * cell_height_;
    return x >= box_.left - tolerance_ && x < box_.right + tolerance_ && y >= box_.top - tolerance_ &&
           y < box_.bottom + tolerance_;
  }

 private:
  static Index cell_of(double position, double cell, Index count) {
    // Within the grid first: an Index does not hold every float.
    return static_cast<Index>(std::clamp(std::floor(position / cell), 0.0, static_cast<double>(count - 1)));
  }

  double cell_height_, cell_width_;
  Box box_;
  double tolerance_;
  Index home_row_, home_col_;
};

}  // namespace detail

/// One turn (Zhang et al., "Top-down neural attention by excitation backprop", ECCV 2016): a hit when the
/// cell with the most attention lies in the box.
///
/// `attention` [rows, cols]: of one word over the regions of the image, any scale; the grid covers an image
/// of `height` x `width` pixels evenly. A cell lies in the box when its centre does, after the box has grown
/// by `tolerance` >= 0 pixels on each side; a cell that straddles the border with its centre outside does
/// not. The cell that holds the centre of the box always does, so that a box smaller than a cell can be hit.
/// When several cells share the maximum, all of them must be hits; any NaN makes it a miss.
/// Throws std::invalid_argument for an empty grid or image, a box that is empty, not finite or entirely
/// outside the image, or a tolerance that is negative or not finite.
template <class T>
[[nodiscard]] Pointing point(MatrixView<T> attention, const Box& box, Index height, Index width,
                             double tolerance = 0) {
  const Index rows = attention.rows(), cols = attention.cols();
  require(rows >= 1 && cols >= 1, "point: attention is ", rows, " x ", cols, " cells");
  require(height >= 1 && width >= 1, "point: the image is ", height, " x ", width, " pixels");
  require(std::isfinite(box.left) && std::isfinite(box.top) && std::isfinite(box.right) &&
              std::isfinite(box.bottom) && box.left < box.right && box.top < box.bottom,
          "point: the box from (", box.left, ", ", box.top, ") to (", box.right, ", ", box.bottom,
          ") is empty or not finite");
  require(box.right > 0 && box.bottom > 0 && box.left < static_cast<float>(width) &&
              box.top < static_cast<float>(height),
          "point: the box from (", box.left, ", ", box.top, ") to (", box.right, ", ", box.bottom,
          ") is outside the image of ", height, " x ", width, " pixels");
  require(tolerance >= 0 && std::isfinite(tolerance), "point: tolerance must be 0 or more, but is ",
          tolerance);

  const detail::HitCells in_box(rows, cols, height, width, box, tolerance);
  Index hit_cells = 0;
  bool any_nan = false, all_maxima_hit = true;
  auto most = attention(0, 0);
  for (Index row = 0; row < rows; ++row)
    for (Index col = 0; col < cols; ++col) {
      const auto value = attention(row, col);
      const bool hit = in_box(row, col);
      hit_cells += hit;
      any_nan |= value != value;
      if (value > most) {
        most = value;
        all_maxima_hit = hit;
      } else if (value == most) {
        all_maxima_hit &= hit;
      }
    }
  return {all_maxima_hit && !any_nan, static_cast<double>(hit_cells) / static_cast<double>(rows * cols)};
}

/// Turns of the pointing game, summed by kind of finding.
class PointingGame {
 public:
  /// All turns of one kind; `chance` is the mean over its turns.
  struct Row {
    std::string kind;
    Accuracy accuracy;
  };

  /// Adds one turn, for a finding of this kind ("nodule").
  void add(std::string_view kind, const Pointing& pointing) {
    auto row = std::find_if(rows_.begin(), rows_.end(), [&](const Row& r) { return r.kind == kind; });
    if (row == rows_.end()) row = rows_.insert(rows_.end(), {std::string(kind), {}});
    row->accuracy.add(pointing.hit, pointing.chance);
    overall_.add(pointing.hit, pointing.chance);
  }

  /// One row for each kind, in the order they came first.
  [[nodiscard]] const std::vector<Row>& kinds() const noexcept { return rows_; }
  /// All turns together, each counted once.
  [[nodiscard]] const Accuracy& overall() const noexcept { return overall_; }

 private:
  std::vector<Row> rows_;
  Accuracy overall_;
};

}  // namespace vlp::eval
