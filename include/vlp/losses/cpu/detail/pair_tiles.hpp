/// \file
/// The scores of all pairs of images and texts, a tile at a time, forward and backward.
#pragma once

#include <Eigen/Core>

#include <vlp/core/buffer.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/detail/unit_length.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/core/view.hpp>

#include <algorithm>
#include <cstddef>

namespace vlp::detail {

/// Streams S = scale * X^ Y^T [b, n], with X^ [b, D], Y^ [n, D] the normalised rows of image and text, in
/// tiles; no more than a strip of tile_rows rows of S exists at a time, except the rows that are kept for
/// backward. The normalisation and the scale are factors of rows and columns, applied to each tile of X Y^T,
/// so the inputs are read as they are.
///
/// Strips follow each other; the tiles of a strip are worked on in parallel. A column's tiles are therefore
/// met in order of rows, whatever the number of threads.
template <class Scalar>
class PairTiles {
 public:
  static constexpr Index tile_rows = 256, tile_cols = 256;

  /// Tiles in a strip of n columns.
  [[nodiscard]] static Index tiles(Index texts) noexcept { return (texts + tile_cols - 1) / tile_cols; }

  /// Rows of S [images, texts] that fit in `bytes`: all of them, or whole strips.
  [[nodiscard]] static Index rows_kept(Index images, Index texts, std::size_t bytes) {
    if (texts <= 0) return 0;
    const auto rows_that_fit = static_cast<Index>(bytes / (static_cast<std::size_t>(texts) * sizeof(Scalar)));
    return rows_that_fit < images ? rows_that_fit / tile_rows * tile_rows : images;
  }

  /// Reads the norms of image and text. `kept` [rows_kept, n] is where the first rows of S are kept.
  PairTiles(Arena::Scope& scratch, Cpu& device, MatrixView<const Scalar> image, MatrixView<const Scalar> text,
            double scale, MatrixView<Scalar> kept)
      : image_(image), text_(text), kept_(kept) {
    Scalar* row_factor = scratch.take<Scalar>(image.rows());
    Scalar* inverse_image = scratch.take<Scalar>(image.rows());
    Scalar* inverse_text = scratch.take<Scalar>(text.rows());
    device.parallel_ranges(std::max(image.rows(), text.rows()), 256, [&](Index begin, Index end) {
      for (Index i = begin; i < std::min(end, image.rows()); ++i) {
        inverse_image[i] = inverse_norm(image[i].data(), image.cols());
        row_factor[i] = static_cast<Scalar>(scale * static_cast<double>(inverse_image[i]));
      }
      for (Index j = begin; j < std::min(end, text.rows()); ++j)
        inverse_text[j] = inverse_norm(text[j].data(), text.cols());
    });
    row_factor_ = row_factor;
    inverse_image_ = inverse_image;
    inverse_text_ = inverse_text;
  }

  [[nodiscard]] Index images() const noexcept { return image_.rows(); }
  [[nodiscard]] Index texts() const noexcept { return text_.rows(); }

  /// S[i, j] alone.
  [[nodiscard]] Scalar score(Index i, Index j) const {
    return row_factor_[i] * inverse_text_[j] * as_eigen(image_).row(i).dot(as_eigen(text_).row(j));
  }

  /// Calls visit(scores, row, column, tile number) for each tile, then merge(row, rows) for each strip. visit
  /// may overwrite the scores.
  template <class Visit, class Merge>
  void forward(Cpu& device, Visit&& visit, Merge&& merge) const {
    const SerialProducts serial;
    auto scratch = device.scratch().scope();
    const auto memory = tile_memory(scratch, device);
    for (Index row = 0; row < images(); row += tile_rows) {
      const Index rows = std::min(tile_rows, images() - row);
      device.parallel_for(tiles(texts()), [&](Index tile, int worker) {
        const Index column = tile * tile_cols;
        const auto scores = block(memory[worker], 0, 0, rows, std::min(tile_cols, texts() - column));
        compute(row, column, scores);
        if (row < kept_.rows()) as_eigen(kept(row, column, scores)) = as_eigen(scores);
        visit(scores, row, column, tile);
      });
      merge(row, rows);
    }
  }

  /// Takes each tile that was kept, computes each other again, and calls differentiate(scores, row, column,
  /// tile number, gradient), which writes dL/dS of the tile to gradient. Writes (or adds to) the gradients of
  /// image and text that are given. Returns dL/d(log scale) = sum_ij S dL/dS.
  template <class Differentiate>
  double backward(Cpu& device, MatrixView<Scalar> d_image, MatrixView<Scalar> d_text, Into into,
                  Differentiate&& differentiate) const {
    const Index strip_rows = std::min(tile_rows, images()), tile_count = tiles(texts());
    const SerialProducts serial;
    auto scratch = device.scratch().scope();
    const auto memory = tile_memory(scratch, device);
    const auto strip = scratch.take_view<Scalar>(strip_rows, tile_count * tile_cols);
    const auto row_dot = scratch.take_view<double>(tile_count, strip_rows);
    double* column_dot = scratch.take<double>(texts());
    std::fill_n(column_dot, texts(), 0.0);
    double d_log_scale = 0;
    for (Index row = 0; row < images(); row += tile_rows) {
      const Index rows = std::min(tile_rows, images() - row);
      device.parallel_for(tile_count, [&](Index tile, int worker) {
        const Index column = tile * tile_cols, cols = std::min(tile_cols, texts() - column);
        const auto own = block(memory[worker], 0, 0, rows, cols);
        const auto gradient = block(strip, 0, column, rows, cols);
        const bool is_kept = row < kept_.rows();
        if (!is_kept) compute(row, column, own);
        const MatrixView<const Scalar> scores = is_kept ? kept(row, column, own) : own;
        differentiate(scores, row, column, tile, gradient);
        reduce_products(scores, gradient, row_dot[tile].data(), column_dot + column);
        apply_factors(gradient, row, column);
        if (d_text.given())
          matmul_serial<Scalar>(gradient, Op::transpose, image_.slice(row, rows), Op::none,
                                d_text.slice(column, cols), 1,
                                row > 0 || into == Into::add ? Scalar(1) : Scalar(0));
      });
      for (Index tile = 1; tile < tile_count; ++tile)
        for (Index r = 0; r < rows; ++r) row_dot(0, r) += row_dot(tile, r);
      for (Index r = 0; r < rows; ++r) d_log_scale += row_dot(0, r);
      if (d_image.given())
        finish_rows(device, block(strip, 0, 0, rows, texts()), text_,
                    {image_.slice(row, rows), inverse_image_ + row, row_dot[0].data()},
                    d_image.slice(row, rows), into);
    }
    if (d_text.given())
      device.parallel_ranges(texts(), tile_rows, [&](Index begin, Index end) {
        project({text_.slice(begin, end - begin), inverse_text_ + begin, column_dot + begin},
                d_text.slice(begin, end - begin));
      });
    return d_log_scale;
  }

 private:
  /// A tile for each thread.
  [[nodiscard]] BatchView<Scalar> tile_memory(Arena::Scope& scratch, const Cpu& device) const {
    return scratch.take_view<Scalar>(device.threads(), std::min(tile_rows, images()),
                                     std::min(tile_cols, texts()));
  }

  /// Where a tile of the extents of `like` is kept.
  [[nodiscard]] MatrixView<Scalar> kept(Index row, Index column, const MatrixView<Scalar>& like) const {
    return block(kept_, row, column, like.rows(), like.cols());
  }

  void compute(Index row, Index column, MatrixView<Scalar> scores) const {
    matmul_serial<Scalar>(image_.slice(row, scores.rows()), Op::none, text_.slice(column, scores.cols()),
                          Op::transpose, scores, 1, 0);
    apply_factors(scores, row, column);
  }

  /// row_dot[r] = sum_c scores * gradient; column_dot[c] += sum_r scores * gradient.
  static void reduce_products(MatrixView<const Scalar> scores, MatrixView<const Scalar> gradient,
                              double* row_dot, double* column_dot) {
    Eigen::Map<Eigen::Array<double, 1, Eigen::Dynamic, Eigen::RowMajor>> columns(column_dot, scores.cols());
    for (Index r = 0; r < scores.rows(); ++r) {
      const auto product = as_eigen(scores).row(r).array() * as_eigen(gradient).row(r).array();
      row_dot[r] = static_cast<double>(product.sum());
      columns += product.template cast<double>();
    }
  }

  /// tile[r, c] *= scale / (|x| |y|): from dot products to scores, and from the gradient for scores to that
  /// for dot products.
  void apply_factors(MatrixView<Scalar> tile, Index row, Index column) const {
    const Eigen::Map<const Eigen::Array<Scalar, 1, Eigen::Dynamic, Eigen::RowMajor>> factor(
        inverse_text_ + column, tile.cols());
    for (Index r = 0; r < tile.rows(); ++r) as_eigen(tile).row(r).array() *= row_factor_[row + r] * factor;
  }

  /// Rows that were normalised, with the numbers that their projection takes.
  struct NormalisedRows {
    MatrixView<const Scalar> x;
    const Scalar* inverse;  // 1 / |x| of each
    const double* dot;      // <x, gradient for x> of each
  };

  /// d_x (+)= gradient y, then the projection, for a strip of rows; cut along the features.
  static void finish_rows(Cpu& device, MatrixView<const Scalar> gradient, MatrixView<const Scalar> y,
                          const NormalisedRows& rows, MatrixView<Scalar> d_x, Into into) {
    device.parallel_ranges(y.cols(), 128, [&](Index begin, Index end) {
      const auto columns = [&](auto view) { return block(view, 0, begin, view.rows(), end - begin); };
      matmul_serial<Scalar>(gradient, Op::none, columns(y), Op::none, columns(d_x), 1,
                            into == Into::add ? 1 : 0);
      project({columns(rows.x), rows.inverse, rows.dot}, columns(d_x));
    });
  }

  static void project(const NormalisedRows& rows, MatrixView<Scalar> d_x) {
    for (Index i = 0; i < d_x.rows(); ++i)
      as_eigen(d_x).row(i) -= projection(rows.inverse[i], rows.dot[i]) * as_eigen(rows.x).row(i);
  }

  MatrixView<const Scalar> image_, text_;
  MatrixView<Scalar> kept_;             // [rows kept, n]
  const Scalar* row_factor_ = nullptr;  // scale / |x|
  const Scalar *inverse_image_ = nullptr, *inverse_text_ = nullptr;
};

}  // namespace vlp::detail
