/// \file
/// Context vectors: what a word sees of an image.
#pragma once

#include <vlp/core/buffer.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/cpu/detail/attention.hpp>

#include <algorithm>

namespace vlp::detail {

/// The contexts c_w = sum_r attention[w, r] C[r] of a tile of words in each of some images, with the
/// attention as detail::attend leaves it, in two forms that give the same numbers. The direct form makes c_w.
/// The Gram form never does: with G = C C^T [R, R], |c_w|^2 = a_w G a_w^T and <c_w, C_r> = (a_w G)_r, so that
/// products of depth or width D become products of depth R, at the price of G; G and its gradient are
/// symmetric, so little more than half of them is computed. In floating point it sees lengths |c_w| below
/// about sqrt(epsilon) of the regions' own only as noise.
///
/// For each strip of images: begin; for each tile: form, and for gradients gather; finish.
template <class Scalar>
class Contexts {
 public:
  /// Scratch for up to `images` images with `regions` regions of `features` features each, and tiles of up to
  /// `rows` words.
  Contexts(Arena::Scope& scratch, bool gram, Index images, Index regions, Index features, Index rows)
      : gram_(gram), count_(regions) {
    if (gram) {
      products_ = scratch.take_view<Scalar>(images, regions, regions);
      d_products_ = scratch.take_view<Scalar>(images, regions, regions);
    } else {
      contexts_ = scratch.take_view<Scalar>(images, rows, features);
    }
  }

  /// Starts with `images` images, whose regions are the rows of `regions`.
  void begin(MatrixView<const Scalar> regions, Index images) {
    regions_ = regions;
    images_ = images;
    gathered_ = false;
    if (!gram_) return;
    for (Index i = 0; i < images; ++i) {
      symmetric_matmul_serial<Scalar>(image(i), Op::none, image(i), Op::transpose, products_[i], 0);
      mirror_lower(products_[i]);
    }
  }

  /// Takes in the attention of a tile. Writes context_dots[w, r] = <c_w, C_r> for each image's columns; the
  /// direct form does so only if `needs_dots`.
  void form(MatrixView<const Scalar> attention, MatrixView<Scalar> context_dots, bool needs_dots) {
    for (Index i = 0; i < images_; ++i) {
      if (gram_) {
        matmul_serial<Scalar>(columns(attention, i), Op::none, products_[i], Op::none,
                              columns(context_dots, i), 1, 0);
        continue;
      }
      const auto context = contexts_[i].slice(0, attention.rows());
      matmul_serial<Scalar>(columns(attention, i), Op::none, image(i), Op::none, context, 1, 0);
      if (needs_dots)
        matmul_serial<Scalar>(context, Op::none, image(i), Op::transpose, columns(context_dots, i), 1, 0);
    }
  }

  /// |c_w|^2 of a word of the tile that form was given last, with what form wrote.
  [[nodiscard]] Scalar squared_norm(MatrixView<Scalar> attention, MatrixView<Scalar> context_dots, Index row,
                                    Index i) const {
    if (!gram_) return as_eigen(contexts_[i]).row(row).squaredNorm();
    const Scalar* a = image_row(attention, row, i, count_);
    return std::max(dot(a, image_row(context_dots, row, i, count_), count_), Scalar(0));
  }

  /// Adds the gradient that reaches the regions through the c_w of |c_w|^2, for the tile that form was given
  /// last: sum_w weighted[w, r] c_w, where `weighted` is the attention with each row times its word's factor.
  void gather(MatrixView<const Scalar> weighted, MatrixView<const Scalar> attention,
              MatrixView<Scalar> d_regions) {
    const Scalar beta = gathered_ ? 1 : 0;
    for (Index i = 0; i < images_; ++i) {
      if (gram_)
        symmetric_matmul_serial<Scalar>(columns(weighted, i), Op::transpose, columns(attention, i), Op::none,
                                        d_products_[i], beta);
      else
        matmul_serial<Scalar>(columns(weighted, i), Op::transpose, contexts_[i].slice(0, attention.rows()),
                              Op::none, d_regions.slice(i * count_, count_), 1, beta);
    }
    gathered_ = true;
  }

  /// Completes d_regions [images * R, D] once all tiles are gathered.
  void finish(MatrixView<Scalar> d_regions) const {
    if (!gram_) return;
    for (Index i = 0; i < images_; ++i) {
      mirror_lower(d_products_[i]);
      matmul_serial<Scalar>(d_products_[i], Op::none, image(i), Op::none, d_regions.slice(i * count_, count_),
                            1, 0);
    }
  }

 private:
  [[nodiscard]] MatrixView<const Scalar> image(Index i) const { return regions_.slice(i * count_, count_); }

  template <class T>
  [[nodiscard]] MatrixView<T> columns(const MatrixView<T>& tile, Index i) const {
    return block(tile, 0, i * count_, tile.rows(), count_);
  }

  bool gram_;
  bool gathered_ = false;
  Index count_;  // regions of an image
  Index images_ = 0;
  MatrixView<const Scalar> regions_;
  BatchView<Scalar> products_, d_products_;  // Gram form: C C^T of each image, and what is gathered for it
  BatchView<Scalar> contexts_;               // direct form: c_w of the tile in each image
};

}  // namespace vlp::detail
