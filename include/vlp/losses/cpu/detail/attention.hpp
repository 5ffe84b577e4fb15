/// \file
/// The two softmaxes of local alignment and their gradient, on a tile of scores between words and regions.
///
/// A tile has the words of some whole reports as rows and the regions of some images side by side as columns.
/// Its rows are padded to whole cache lines, so that exponentials run over aligned vectors whatever the
/// number of regions. The padding of the scores must be finite; what padding holds never reaches a result.
///
/// The softmax over the regions stays undivided here: its sums are factors of a word in an image, cheaper to
/// apply to what comes of the attention than to the attention.
#pragma once

#include <Eigen/Core>

#include <vlp/core/buffer.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>

#include <algorithm>

namespace vlp::detail {

/// Elements of a cache line.
template <class Scalar>
inline constexpr auto line = static_cast<Index>(memory_alignment / sizeof(Scalar));

/// `count` rounded up to whole cache lines of Scalars.
template <class Scalar>
constexpr Index padded(Index count) {
  return (count + line<Scalar> - 1) / line<Scalar> * line<Scalar>;
}

/// Calls visit.template operator()<width>(column) for runs of columns that together cover a tile's row,
/// padding and all: few enough that the running values of a run stay in registers.
template <class Scalar, class Visit>
void for_each_run(const MatrixView<Scalar>& tile, Visit&& visit) {
  constexpr Index wide = 4 * line<Scalar>;
  Index column = 0;
  for (; column + wide <= tile.stride(0); column += wide) visit.template operator()<wide>(column);
  for (; column < tile.stride(0); column += line<Scalar>) visit.template operator()<line<Scalar>>(column);
}

/// The run of `width` columns of a row from `column` on.
template <Index width, class Scalar>
auto run(const MatrixView<Scalar>& tile, Index row, Index column) {
  return Eigen::Map<Eigen::Array<Scalar, 1, width>, Eigen::AlignedMax>(tile.data() + row * tile.stride(0) +
                                                                       column);
}

/// The columns of image `image` in a row of a tile.
template <class Scalar>
Scalar* image_row(const MatrixView<Scalar>& tile, Index row, Index image, Index regions) {
  return tile.data() + row * tile.stride(0) + image * regions;
}

/// sum_r a[r] b[r]
template <class Scalar>
Scalar dot(const Scalar* a, const Scalar* b, Index count) {
  Scalar out = 0;
#pragma omp simd reduction(+ : out)
  for (Index r = 0; r < count; ++r) out += a[r] * b[r];
  return out;
}

/// The tiles that attend reads and writes, each with the regions of some images side by side as columns.
template <class Scalar>
struct AttentionTiles {
  MatrixView<Scalar> scores, word_weights, attention;
  Index images, regions;  // regions of each image
};

/// Both softmaxes, for the words of one report: rows [row, row + words). word_weights = softmax of `scores`
/// over the words, for each column; attention = exp(temperature * word_weights), in each image's columns up
/// to a factor. word_weights may be attention, which then is all there is.
template <class Scalar>
void attend(const AttentionTiles<Scalar>& tiles, Index row, Index words, Scalar temperature) {
  const MatrixView<Scalar>&scores = tiles.scores, &word_weights = tiles.word_weights,
        &attention = tiles.attention;
  // exp(safe_temperature) squared, times any number of regions and any feature, is far inside the range of
  // float.
  constexpr Scalar safe_temperature = 10;
  for_each_run(scores, [&]<Index width>(Index column) {
    using Run = Eigen::Array<Scalar, 1, width>;
    Run max = run<width>(scores, row, column);
    for (Index w = row + 1; w < row + words; ++w) max = max.max(run<width>(scores, w, column));
    Run sum = Run::Zero();
    for (Index w = row; w < row + words; ++w) {
      const Run e = (run<width>(scores, w, column) - max).exp();
      run<width>(word_weights, w, column) = e;
      sum += e;
    }
    sum = sum.inverse();
    for (Index w = row; w < row + words; ++w) {
      const Run weight = run<width>(word_weights, w, column) * sum;
      run<width>(word_weights, w, column) = weight;
      if (temperature <= safe_temperature)
        run<width>(attention, w, column) = (weight * temperature).exp();
      else
        run<width>(attention, w, column) = weight * temperature;
    }
  });
  if (temperature <= safe_temperature) return;
  for (Index w = row; w < row + words; ++w)
    for (Index i = 0; i < tiles.images; ++i) {
      Eigen::Map<Eigen::Array<Scalar, 1, Eigen::Dynamic>> a(image_row(attention, w, i, tiles.regions),
                                                            tiles.regions);
      a = (a - a.maxCoeff()).exp();
    }
}

/// Given word_weights of attend and the gradient for them: out = the gradient for the scores, in rows [row,
/// row + words) and from out_row on.
template <class Scalar>
void softmax_over_words_gradient(const MatrixView<Scalar>& word_weights,
                                 const MatrixView<Scalar>& d_word_weights, Index row, Index words,
                                 const MatrixView<Scalar>& out, Index out_row) {
  for_each_run(word_weights, [&]<Index width>(Index column) {
    using Run = Eigen::Array<Scalar, 1, width>;
    Run mean = Run::Zero();
    for (Index w = row; w < row + words; ++w)
      mean += run<width>(word_weights, w, column) * run<width>(d_word_weights, w, column);
    for (Index w = row; w < row + words; ++w)
      run<width>(out, out_row + w - row, column) =
          run<width>(word_weights, w, column) * (run<width>(d_word_weights, w, column) - mean);
  });
}

}  // namespace vlp::detail
