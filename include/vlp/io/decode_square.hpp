/// \file
/// Radiographs from the bytes of their files to the squares that an image encoder takes, in the memory of a
/// few rows.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/io/detail/gray_rows.hpp>
#include <vlp/io/detail/orientation.hpp>
#include <vlp/io/image.hpp>
#include <vlp/io/pixels.hpp>
#include <vlp/io/resize.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::io {

namespace detail {

/// Resizes an image while its rows come, of which it keeps those that the next row of the square is made
/// from.
class SquareImage final : public RowSink {
 public:
  SquareImage(Index size, Fit fit) : square_(make_gray_image(size, size)), fit_(fit) {}

  void begin(Index width, Index height) override {
    width_ = static_cast<std::size_t>(width);
    plan_ = plan_fit(width, height, square_.width, fit_);
    resizer_.emplace(plan_.width, plan_.height, plan_.new_width, plan_.new_height);
    kept_.resize(width_ * static_cast<std::size_t>(resizer_->rows()));
  }
  float* next_row() override { return kept(row_); }
  void finish_row() override {
    const Index v = row_++ - plan_.top;
    if (v < 0 || v >= plan_.height) return;
    const auto source = [this](Index row) { return kept(plan_.top + row) + plan_.left; };
    resizer_->note_range(source(v));
    for (; y_ < plan_.new_height && resizer_->first_row(y_) + resizer_->rows() <= v + 1; ++y_)
      resizer_->make_row(y_, source, &square_.at(plan_.x, plan_.y + y_));
  }
  /// The square, when all rows have come.
  [[nodiscard]] GrayImage take() {
    for (Index y = 0; y < plan_.new_height; ++y)
      resizer_->limit(&square_.at(plan_.x, plan_.y + y), plan_.new_width);
    return std::move(square_);
  }

 private:
  [[nodiscard]] float* kept(Index row) {
    return &kept_[width_ * static_cast<std::size_t>(row % resizer_->rows())];
  }

  GrayImage square_;
  Fit fit_;
  FitPlan plan_{};
  std::optional<RowResizer> resizer_;
  std::vector<float> kept_;  // the last rows, row v in place v % resizer_->rows()
  std::size_t width_ = 0;
  Index row_ = 0, y_ = 0;  // the next of the image and of the square
};

}  // namespace detail

/// Decodes an image file to a square of `size` x `size` pixels: fit_square(decode_image(...), size, fit), bit
/// for bit, with the same errors, but without ever holding the whole image of a PNG or JPEG file, so in less
/// time and in the memory of a few rows. Images that are stored turned, mirrored or interlaced are held all
/// the same, as are the samples of a JPEG of several scans. `admit` is called as by decode_image; `other`
/// decodes what is neither PNG nor JPEG, such as decode_radiograph of io/dicom.hpp, as a whole.
[[nodiscard]] inline GrayImage decode_square(std::string_view bytes, const std::string& name, Index size,
                                             Fit fit = Fit::crop, Index max_pixels = default_max_pixels,
                                             const Admit& admit = {},
                                             const ImageDecoder& other = decode_image) {
  require(size > 0, "decode_square: size ", size);
  if (!detail::is_png(bytes) && !detail::is_jpeg(bytes))
    return fit_square(other(bytes, name, max_pixels, admit), size, fit);
  detail::SquareImage square(size, fit);
  detail::WholeImage whole;
  int orientation = 1;
  detail::decode_rows(bytes, name, max_pixels, admit, [&](int stored) -> detail::RowSink& {
    orientation = stored;
    if (orientation == 1) return square;
    return whole;
  });
  return orientation == 1 ? square.take() : fit_square(detail::upright(whole.take(), orientation), size, fit);
}

}  // namespace vlp::io
