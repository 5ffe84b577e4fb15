/// \file
/// The scores of all pairs of a batch, a tile at a time, forward and backward.
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

/// Streams S = scale * X^ Y^T [B, B], with X^, Y^ [B, D] the normalised rows of image and text, in tiles; no
/// more than a strip of tile_rows rows of S exists at a time, except the rows that the caller lets it keep
/// for backward. The normalisation and the scale are factors of rows and columns, applied to each tile of X
/// Y^T, so the inputs are read as they are.
///
/// Strips follow each other; the tiles of a strip are worked on in parallel. A column's tiles are therefore
/// met in order of rows, whatever the number of threads.
template <class Scalar>
class PairTiles {
 public:
  static constexpr Index tile_rows = 256, tile_cols = 256;

  /// Tiles in a strip.
  [[nodiscard]] static Index tiles(Index batch) noexcept { return (batch + tile_cols - 1) / tile_cols; }

  /// Reads the norms of image and text, both [B, D]. Strips of S that fit in `kept_bytes` are kept.
  void prepare(Cpu& device, MatrixView<const Scalar> image, MatrixView<const Scalar> text, double scale,
               std::size_t kept_bytes) {
    const auto row_bytes = static_cast<std::size_t>(text.rows()) * sizeof(Scalar);
    const auto rows_that_fit = static_cast<Index>(kept_bytes / row_bytes);
    kept_rows_ = rows_that_fit < image.rows() ? rows_that_fit / tile_rows * tile_rows : image.rows();
    kept_.reshape(kept_rows_, text.rows());
    Scalar* row_factor = row_factor_.resize(image.rows());
    Scalar* inverse_image = inverse_image_.resize(image.rows());
    Scalar* inverse_text = inverse_text_.resize(text.rows());
    device.parallel_ranges(image.rows(), 256, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) {
        inverse_image[i] = inverse_norm(image[i].data(), image.cols());
        inverse_text[i] = inverse_norm(text[i].data(), text.cols());
        row_factor[i] = static_cast<Scalar>(scale * static_cast<double>(inverse_image[i]));
      }
    });
  }

  /// Calls visit(scores, row, column, tile number) for each tile, then merge(row, rows) for each strip. visit
  /// may overwrite the scores.
  template <class Visit, class Merge>
  void forward(Cpu& device, MatrixView<const Scalar> image, MatrixView<const Scalar> text, Visit&& visit,
               Merge&& merge) {
    const Index batch = image.rows();
    const SerialProducts serial;
    auto scratch = device.scratch().scope();
    const auto memory =
        scratch.take_view<Scalar>(device.threads(), std::min(tile_rows, batch), std::min(tile_cols, batch));
    for (Index row = 0; row < batch; row += tile_rows) {
      const Index rows = std::min(tile_rows, batch - row);
      device.parallel_for(tiles(batch), [&](Index tile, int worker) {
        const Index column = tile * tile_cols;
        const auto scores = block(memory[worker], 0, 0, rows, std::min(tile_cols, batch - column));
        compute(image, text, row, column, scores);
        if (row < kept_rows_) as_eigen(kept(batch, row, column, scores)) = as_eigen(scores);
        visit(scores, row, column, tile);
      });
      merge(row, rows);
    }
  }

  /// Takes each tile that was kept, computes each other again, and calls differentiate(scores, row, column,
  /// tile number, gradient), which writes dL/dS of the tile to gradient. Writes (or adds to) the gradients of
  /// image and text that are not empty. Returns dL/d(log scale) = sum_ij S dL/dS.
  template <class Differentiate>
  double backward(Cpu& device, MatrixView<const Scalar> image, MatrixView<const Scalar> text,
                  MatrixView<Scalar> d_image, MatrixView<Scalar> d_text, Into into,
                  Differentiate&& differentiate) const {
    const Index batch = image.rows(), strip_rows = std::min(tile_rows, batch);
    const SerialProducts serial;
    auto scratch = device.scratch().scope();
    const auto memory = scratch.take_view<Scalar>(device.threads(), strip_rows, std::min(tile_cols, batch));
    const auto strip = scratch.take_view<Scalar>(strip_rows, tiles(batch) * tile_cols);
    const auto row_dot = scratch.take_view<double>(tiles(batch), strip_rows);
    double* column_dot = scratch.take<double>(batch);
    std::fill_n(column_dot, batch, 0.0);
    double d_log_scale = 0;
    for (Index row = 0; row < batch; row += tile_rows) {
      const Index rows = std::min(tile_rows, batch - row);
      device.parallel_for(tiles(batch), [&](Index tile, int worker) {
        const Index column = tile * tile_cols, cols = std::min(tile_cols, batch - column);
        const auto own = block(memory[worker], 0, 0, rows, cols);
        const auto gradient = block(strip, 0, column, rows, cols);
        const bool is_kept = row < kept_rows_;
        if (!is_kept) compute(image, text, row, column, own);
        const MatrixView<const Scalar> scores = is_kept ? kept(batch, row, column, own) : own;
        differentiate(scores, row, column, tile, gradient);
        reduce_products(scores, gradient, row_dot[tile].data(), column_dot + column);
        apply_factors(gradient, row, column);
        if (d_text.given())
          matmul_serial<Scalar>(gradient, Op::transpose, image.slice(row, rows), Op::none,
                                d_text.slice(column, cols), 1,
                                row > 0 || into == Into::add ? Scalar(1) : Scalar(0));
      });
      for (Index tile = 1; tile < tiles(batch); ++tile)
        for (Index r = 0; r < rows; ++r) row_dot(0, r) += row_dot(tile, r);
      for (Index r = 0; r < rows; ++r) d_log_scale += row_dot(0, r);
      if (d_image.given())
        finish_rows(device, block(strip, 0, 0, rows, batch), text,
                    {image.slice(row, rows), inverse_image_.data() + row, row_dot[0].data()},
                    d_image.slice(row, rows), into);
    }
    if (d_text.given())
      device.parallel_ranges(batch, tile_rows, [&](Index begin, Index end) {
        project({text.slice(begin, end - begin), inverse_text_.data() + begin, column_dot + begin},
                d_text.slice(begin, end - begin));
      });
    return d_log_scale;
  }

 private:
  /// Where a tile of the extents of `like` is kept.
  [[nodiscard]] MatrixView<Scalar> kept(Index batch, Index row, Index column,
                                        const MatrixView<Scalar>& like) const {
    return block(MatrixView<Scalar>(kept_.data(), {kept_rows_, batch}), row, column, like.rows(),
                 like.cols());
  }

  void compute(MatrixView<const Scalar> image, MatrixView<const Scalar> text, Index row, Index column,
               MatrixView<Scalar> scores) const {
    matmul_serial<Scalar>(image.slice(row, scores.rows()), Op::none, text.slice(column, scores.cols()),
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
        inverse_text_.data() + column, tile.cols());
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

  Index kept_rows_ = 0;
  Buffer<Scalar> kept_;        // [kept_rows_, B], the first rows of S
  Buffer<Scalar> row_factor_;  // scale / |x|
  Buffer<Scalar> inverse_image_, inverse_text_;
};

}  // namespace vlp::detail
