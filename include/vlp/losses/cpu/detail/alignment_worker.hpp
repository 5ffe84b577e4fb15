/// \file
/// One thread's share of local alignment: all words of a block against a strip of its images.
#pragma once

#include <Eigen/Core>

#include <vlp/core/buffer.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/cpu/detail/attention.hpp>
#include <vlp/losses/cpu/detail/contexts.hpp>
#include <vlp/losses/cpu/detail/packed_words.hpp>

#include <algorithm>

namespace vlp::detail {

/// How a block is cut, by its shape alone, so that results do not depend on the number of threads.
struct AlignmentShape {
  Index all_images = 0;                            ///< b images of the block
  Index regions = 0;                               ///< R of an image
  Index features = 0;                              ///< D
  Index words = 0;                                 ///< of all reports together
  bool gram_forward = true, gram_backward = true;  ///< form of the contexts

  /// Images are taken in strips of about this many regions: wide enough that packing the words once for each
  /// strip is lost in the product.
  static constexpr Index strip_regions = 512;
  /// And in no fewer strips than this, for as many threads, while there are images.
  static constexpr Index fewest_strips = 8;
  /// Elements of a tile: four of them stay near the second-level cache.
  static constexpr Index tile_elements = 1 << 16;

  [[nodiscard]] Index strips() const {
    const Index wanted = (all_images * regions + strip_regions - 1) / strip_regions;
    return std::min(all_images, std::max((wanted + 3) / 4 * 4, fewest_strips));  // fours, to share out evenly
  }
  [[nodiscard]] Index first_image(Index strip) const { return strip * all_images / strips(); }
  [[nodiscard]] Index images(Index strip) const { return first_image(strip + 1) - first_image(strip); }
  [[nodiscard]] Index most_images() const { return (all_images + strips() - 1) / strips(); }
  template <class Scalar>
  [[nodiscard]] Index columns() const {
    return padded<Scalar>(most_images() * regions);
  }
  template <class Scalar>
  [[nodiscard]] Index tile_rows() const {
    return std::clamp<Index>(tile_elements / columns<Scalar>(), 64, 1024);
  }
};

/// Numbers that forward keeps for backward, and gradients for two of them: one of each for every image and
/// word.
template <class Scalar>
struct WordsInImages {
  MatrixView<Scalar> dot;            ///< [b, words] <t_w, c_w>
  MatrixView<Scalar> squared_norm;   ///< [b, words] |c_w|^2
  MatrixView<Scalar> inverse_sum;    ///< [b, words] what detail::attend leaves, times this, is the attention
  MatrixView<const Scalar> d_dot;    ///< [b, words] gradient of dot
  MatrixView<const Scalar> d_norm2;  ///< [b, words] twice the gradient of squared_norm
};

/// All words, and all regions, of the block as matrices.
template <class Scalar>
struct AlignmentRows {
  MatrixView<const Scalar> words;    ///< [words, D]
  MatrixView<const Scalar> regions;  ///< [b * R, D]
};

/// Attention that is an output: that of each image's own report.
template <class Scalar>
struct OwnAttention {
  BatchView<Scalar> attention;  ///< [b, W, R], or not given
  const Index* report;  ///< [b] place in the block of each image's own report, which may be outside it
};

/// The tiles of one thread, and the passes over them.
template <class Scalar>
class AlignmentWorker {
 public:
  AlignmentWorker(Arena::Scope& scratch, const AlignmentShape& shape, const PackedWords& words, bool backward)
      : shape_(shape),
        words_(&words),
        contexts_(scratch, backward ? shape.gram_backward : shape.gram_forward, shape.most_images(),
                  shape.regions, shape.features, words.tile_rows(shape.tile_rows<Scalar>())) {
    const Index rows = words.tile_rows(shape.tile_rows<Scalar>()), columns = shape.columns<Scalar>();
    scores_ = scratch.take_view<Scalar>(rows, columns);
    attention_ = scratch.take_view<Scalar>(rows, columns);
    context_dots_ = scratch.take_view<Scalar>(rows, columns);
    word_weights_ = backward ? scratch.take_view<Scalar>(rows, columns) : attention_;
    if (backward) d_regions_ = scratch.take_view<Scalar>(shape.most_images() * shape.regions, shape.features);
    std::fill_n(scores_.data(), scores_.size(), Scalar(0));
  }

  /// Fills dot and squared_norm for the images of a strip. Copies the attention of its images with their
  /// own reports to `own` if that was given.
  void forward(Index strip, const AlignmentRows<Scalar>& given, Scalar temperature,
               const WordsInImages<Scalar>& out, const OwnAttention<Scalar>& own) {
    begin(strip, given.regions);
    words_->for_each_tile(shape_.tile_rows<Scalar>(), [&](ReportRange reports) {
      const Tile tile = attend(reports, given.words, temperature);
      contexts_.form(tile.attention, tile.context_dots, false);
      for (Index row = 0; row < tile.rows; ++row)
        for (Index i = 0; i < images_; ++i) keep(tile, row, i, out);
      if (own.attention.given()) copy_own(reports, tile, out, own);
    });
  }

  /// Writes the gradients of the scores between all words and the regions of a strip to d_scores [words,
  /// columns], and those of its regions to `d_regions` [b, R, D] if that was given.
  void backward(Index strip, const AlignmentRows<Scalar>& rows, Scalar temperature,
                const WordsInImages<Scalar>& given, const MatrixView<Scalar>& d_scores,
                const BatchView<Scalar>& d_regions, Into into) {
    begin(strip, rows.regions);
    const auto d_strip = d_regions_.slice(0, images_ * shape_.regions);
    words_->for_each_tile(shape_.tile_rows<Scalar>(), [&](ReportRange reports) {
      const Tile tile = attend(reports, rows.words, temperature);
      contexts_.form(tile.attention, tile.context_dots, true);
      for (Index j = reports.first; j < reports.last; ++j)
        score_gradient(tile, words_->begin(j), words_->count(j), temperature, given, d_scores);
      if (d_regions.given()) contexts_.gather(tile.context_dots, tile.attention, d_strip);
    });
    if (!d_regions.given()) return;
    contexts_.finish(d_strip);
    matmul_serial<Scalar>(block(d_scores, 0, 0, d_scores.rows(), d_strip.rows()), Op::transpose, rows.words,
                          Op::none, d_strip, 1, 1);
    for (Index i = 0; i < images_; ++i) {
      auto out = as_eigen(d_regions[first_image_ + i]);
      const auto strip_rows = as_eigen(d_strip.slice(i * shape_.regions, shape_.regions));
      if (into == Into::add)
        out += strip_rows;
      else
        out = strip_rows;
    }
  }

 private:
  /// The tiles, cut to the words of some reports.
  struct Tile {
    Index first_word, rows;
    MatrixView<Scalar> scores, word_weights, attention, context_dots;
  };

  void begin(Index strip, MatrixView<const Scalar> regions) {
    first_image_ = shape_.first_image(strip);
    images_ = shape_.images(strip);
    regions_ = regions.slice(first_image_ * shape_.regions, images_ * shape_.regions);
    contexts_.begin(regions_, images_);
  }

  Scalar* image(const MatrixView<Scalar>& tile, Index row, Index i) const {
    return image_row(tile, row, i, shape_.regions);
  }

  /// Scores between the words of some reports and the regions of the strip, and both their softmaxes.
  Tile attend(ReportRange reports, MatrixView<const Scalar> words, Scalar temperature) {
    const Index first = words_->begin(reports.first), rows = words_->begin(reports.last) - first;
    const auto cut = [&](const MatrixView<Scalar>& tile) { return tile.slice(0, rows); };
    const Tile tile{first, rows, cut(scores_), cut(word_weights_), cut(attention_), cut(context_dots_)};
    matmul_serial<Scalar>(words.slice(first, rows), Op::none, regions_, Op::transpose,
                          block(tile.scores, 0, 0, rows, regions_.rows()), 1, 0);
    for (Index j = reports.first; j < reports.last; ++j)
      detail::attend<Scalar>({tile.scores, tile.word_weights, tile.attention, images_, shape_.regions},
                             words_->begin(j) - first, words_->count(j), temperature);
    return tile;
  }

  /// Keeps the numbers of a word of the tile in image i.
  void keep(const Tile& tile, Index row, Index i, const WordsInImages<Scalar>& out) const {
    const Scalar *scores = image(tile.scores, row, i), *attention = image(tile.attention, row, i);
    Scalar sum = 0;
#pragma omp simd reduction(+ : sum)
    for (Index r = 0; r < shape_.regions; ++r) sum += attention[r];
    const Index at = first_image_ + i, word = tile.first_word + row;
    const Scalar inverse = 1 / sum;
    out.inverse_sum(at, word) = inverse;
    out.dot(at, word) = inverse * dot(attention, scores, shape_.regions);
    out.squared_norm(at, word) =
        inverse * inverse * contexts_.squared_norm(tile.attention, tile.context_dots, row, i);
  }

  void copy_own(ReportRange reports, const Tile& tile, const WordsInImages<Scalar>& kept,
                const OwnAttention<Scalar>& own) const {
    for (Index i = first_image_; i < first_image_ + images_; ++i) {
      const Index j = own.report[i];
      if (j < reports.first || j >= reports.last) continue;
      for (Index w = 0; w < words_->count(j); ++w) {
        const Index word = words_->begin(j) + w;
        const Scalar* attention = image(tile.attention, word - tile.first_word, i - first_image_);
        const Scalar inverse = kept.inverse_sum(i, word);
        std::transform(attention, attention + shape_.regions, own.attention[i][w].data(),
                       [&](Scalar a) { return inverse * a; });
      }
    }
  }

  /// For the words [first, first + count) of a report: writes the gradients of their scores to d_scores, and
  /// to tile.context_dots what Contexts::gather wants. Uses up tile.scores.
  void score_gradient(const Tile& tile, Index first, Index count, Scalar temperature,
                      const WordsInImages<Scalar>& given, const MatrixView<Scalar>& d_scores) {
    const Index begin = first - tile.first_word;
    for (Index row = begin; row < begin + count; ++row)
      for (Index i = 0; i < images_; ++i) attention_gradient(tile, row, i, temperature, given);
    softmax_over_words_gradient(tile.word_weights, tile.scores, begin, count, d_scores, first);
    for (Index row = begin; row < begin + count; ++row)
      for (Index i = 0; i < images_; ++i) {
        const Index at = first_image_ + i, word = tile.first_word + row;
        const Scalar factor = given.d_dot(at, word) * given.inverse_sum(at, word);
        const Scalar* attention = image(tile.attention, row, i);
        Scalar* out = image(d_scores, word, i);
#pragma omp simd
        for (Index r = 0; r < shape_.regions; ++r) out[r] += factor * attention[r];
      }
  }

  /// In a row of image i: scores become the gradient of word_weights, and context_dots becomes attention
  /// times its factor in the gradient of G.
  ///
  /// dot = sum_r a_r s_r and |c|^2 = a G a^T give the attention's gradient d_dot s_r + d_norm2 (a G)_r, whose
  /// mean under the attention is d_dot dot + d_norm2 |c|^2. Here a_r = attention / sum and (a G)_r =
  /// context_dots / sum.
  void attention_gradient(const Tile& tile, Index row, Index i, Scalar temperature,
                          const WordsInImages<Scalar>& given) {
    const Index at = first_image_ + i, word = tile.first_word + row;
    const Scalar inverse = given.inverse_sum(at, word);
    const Scalar d_dot = given.d_dot(at, word), d_norm2 = given.d_norm2(at, word);
    const Scalar mean = d_dot * given.dot(at, word) + d_norm2 * given.squared_norm(at, word);
    const Scalar dots_factor = d_norm2 * inverse, factor = temperature * inverse;
    const Scalar gram_factor = d_norm2 * inverse * inverse;
    const Scalar* attention = image(tile.attention, row, i);
    Scalar *scores = image(tile.scores, row, i), *context_dots = image(tile.context_dots, row, i);
#pragma omp simd
    for (Index r = 0; r < shape_.regions; ++r) {
      const Scalar a = attention[r];
      scores[r] = factor * a * (d_dot * scores[r] + dots_factor * context_dots[r] - mean);
      context_dots[r] = gram_factor * a;
    }
  }

  AlignmentShape shape_;
  const PackedWords* words_;
  Contexts<Scalar> contexts_;
  MatrixView<Scalar> scores_, attention_, context_dots_, word_weights_, d_regions_;
  Index first_image_ = 0, images_ = 0;
  MatrixView<const Scalar> regions_;
};

}  // namespace vlp::detail
