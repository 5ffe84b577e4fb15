/// \file
/// The two softmaxes of local alignment and their gradient, on a tile of scores between words and regions.
///
/// A tile has the words of some whole reports as rows and the regions of some images side by side as columns.
/// Its rows are padded to whole cache lines, so that exponentials run over aligned vectors whatever the
/// number of regions. The padding of the scores must be finite; what padding holds never reaches a result.
#pragma once

#include <Eigen/Core>

#include <vlp/core/buffer.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>

#include <type_traits>

namespace vlp::detail {

/// `count` rounded up to whole cache lines of Scalars.
template <class Scalar>
constexpr Index padded(Index count) {
  constexpr auto line = static_cast<Index>(memory_alignment / sizeof(Scalar));
  return (count + line - 1) / line * line;
}

template <class T>
using RowArray =
    std::conditional_t<std::is_const_v<T>,
                       const Eigen::Array<std::remove_const_t<T>, 1, Eigen::Dynamic, Eigen::RowMajor>,
                       Eigen::Array<T, 1, Eigen::Dynamic, Eigen::RowMajor>>;

/// A row of a tile, padding and all.
template <class T>
auto padded_row(const MatrixView<T>& tile, Index row) {
  return Eigen::Map<RowArray<T>, Eigen::AlignedMax>(tile.data() + row * tile.stride(0), tile.stride(0));
}

/// The columns of image `image` in a row of a tile.
template <class T>
auto image_row(const MatrixView<T>& tile, Index row, Index image, Index regions) {
  return Eigen::Map<RowArray<T>>(tile.data() + row * tile.stride(0) + image * regions, regions);
}

/// out = softmax of `scores` over rows [row, row + words), the words of one report, for each column.
/// `statistics` [2, columns] is scratch.
template <class Scalar>
void softmax_over_words(const MatrixView<Scalar>& scores, Index row, Index words,
                        const MatrixView<Scalar>& statistics, const MatrixView<Scalar>& out) {
  auto max = padded_row(statistics, 0), sum = padded_row(statistics, 1);
  max = padded_row(scores, row);
  for (Index w = row + 1; w < row + words; ++w) max = max.max(padded_row(scores, w));
  sum.setZero();
  for (Index w = row; w < row + words; ++w) {
    padded_row(out, w) = (padded_row(scores, w) - max).exp();
    sum += padded_row(out, w);
  }
  sum = sum.inverse();
  for (Index w = row; w < row + words; ++w) padded_row(out, w) *= sum;
}

/// Given `weights`, the result of softmax_over_words, and the gradient for them: out = the gradient for the
/// scores.
template <class Scalar>
void softmax_over_words_gradient(const MatrixView<Scalar>& weights, const MatrixView<Scalar>& d_weights,
                                 Index row, Index words, const MatrixView<Scalar>& statistics,
                                 const MatrixView<Scalar>& out, Index out_row) {
  auto mean = padded_row(statistics, 0);
  mean.setZero();
  for (Index w = row; w < row + words; ++w) mean += padded_row(weights, w) * padded_row(d_weights, w);
  for (Index w = row; w < row + words; ++w)
    padded_row(out, out_row + w - row) = padded_row(weights, w) * (padded_row(d_weights, w) - mean);
}

/// out = softmax of temperature * `weights` over each image's regions, in one row. `weights` are in [0, 1].
/// out may be weights.
template <class Scalar>
void softmax_over_regions(const MatrixView<Scalar>& weights, Index row, Index images, Index regions,
                          Scalar temperature, const MatrixView<Scalar>& out) {
  constexpr Scalar tame = 40;  // exp(tame) times any number of regions is far inside the range of float
  auto whole = padded_row(out, row);
  whole = padded_row(weights, row) * temperature;
  if (temperature > tame) {
    for (Index i = 0; i < images; ++i) {
      auto attention = image_row(out, row, i, regions);
      attention -= attention.maxCoeff();
    }
  }
  whole = whole.exp();
  for (Index i = 0; i < images; ++i) {
    auto attention = image_row(out, row, i, regions);
    attention *= 1 / attention.sum();
  }
}

}  // namespace vlp::detail
