/// \file
/// Cross-entropy over the rows and the columns of a batch's score matrix, taken in tile by tile.
#pragma once

#include <Eigen/Core>

#include <vlp/core/buffer.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/contrast.hpp>
#include <vlp/losses/cpu/detail/margin_thresholds.hpp>
#include <vlp/losses/cpu/detail/pair_targets.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

namespace vlp::detail {

/// A block, of b rows and n columns, of the score matrix S of
///
///   L = w_r mean_i CE(S[i, :], q[i, :]) + w_c mean_i CE(S[:, t_i], q[:, t_i])
///
/// over the B images of a batch, with the targets q of PairTargets. S exists only a tile at a time; the
/// log-sum-exps of rows and columns are the caller's.
///
/// Forward: take each tile, with merge_rows for its rows. Backward: differentiate each tile, once the sums
/// are those of whole rows and columns. Tiles that share columns must be taken one after the other, always in
/// the same order; so must merge_rows. If all of the block is in memory, call take_all and differentiate
/// instead.
template <class Scalar>
class Contrast {
 public:
  /// Starts a block with the sums `sums` and takes O(b + n) scratch.
  template <class Options>
  Contrast(Arena::Scope& scratch, const PairTargets& targets, const ContrastSums<Scalar>& sums,
           const Options& options, const MarginThresholds<Scalar>& margin = {})
      : targets_(&targets),
        sums_(sums),
        margin_(margin),
        row_weight_(options.image_to_text_weight),
        column_weight_(options.text_to_image_weight),
        images_(sums.rows.max.extent(0)),
        texts_(sums.columns.max.extent(0)) {
    const PairBlock& block = targets.block();
    Scalar* const weight = scratch.take<Scalar>(texts_);
    Scalar* const row_smoothing = scratch.take<Scalar>(images_);
    Scalar* const column_smoothing = scratch.take<Scalar>(texts_);
    for (Index r = 0; r < images_; ++r)
      row_smoothing[r] = static_cast<Scalar>(targets.row_smoothing(block.first_image + r));
    for (Index c = 0; c < texts_; ++c) {
      const Index image = block.image_of(block.first_text + c);
      weight[c] = image < 0 ? Scalar(0) : static_cast<Scalar>(column_weight_);
      column_smoothing[c] = image < 0 ? Scalar(0) : static_cast<Scalar>(targets.column_smoothing(image));
    }
    weight_ = weight;
    row_smoothing_ = row_smoothing;
    column_smoothing_ = column_smoothing;
  }

  /// Makes the sums those of no score.
  void clear() const {
    for (const auto* side : {&sums_.rows, &sums_.columns}) {
      std::fill_n(side->max.data(), side->max.extent(0), std::numeric_limits<Scalar>::lowest());
      std::fill_n(side->sum.data(), side->sum.extent(0), Scalar(0));
    }
    *sums_.target_score = 0;
  }

  /// Takes in the scores [R, C] of pairs from (row, column) of the block on. Writes each row's maximum and
  /// sum of exp(score - maximum) within the tile to row_max, row_sum [R], for merge_rows. Returns the tile's
  /// share of the weighted sum of target scores, which the caller adds up. Scores in the tile that are in no
  /// denominator become -inf.
  double take(MatrixView<Scalar> tile, Index row, Index column, Scalar* row_max, Scalar* row_sum) const {
    const double target_score = take_targets(tile, row, column);
    for (Index r = 0; r < tile.rows(); ++r) {
      if (row_weight_ > 0) take_row(tile, r, row, column, row_max[r], row_sum[r]);
    }
    if (column_weight_ > 0) take_columns(tile, row, column);
    return target_score;
  }

  /// Adds what take wrote for rows [row, row + count) of the block.
  void merge_rows(Index row, Index count, const Scalar* max, const Scalar* sum) const {
    if (row_weight_ == 0) return;
    for (Index r = 0; r < count; ++r) add(sums_.rows, row + r, max[r], sum[r]);
  }

  /// Takes in all scores of the block [b, n]. Needs as much scratch.
  void take_all(Cpu& device, MatrixView<const Scalar> scores) const {
    auto scratch = device.scratch().scope();
    const auto copy = scratch.take_view<Scalar>(images_, texts_);
    as_eigen(copy) = as_eigen(scores);
    Scalar* max = scratch.take<Scalar>(images_);
    Scalar* sum = scratch.take<Scalar>(images_);
    *sums_.target_score += take(copy, 0, 0, max, sum);
    merge_rows(0, images_, max, sum);
  }

  /// Writes upstream * dL/dscores of a tile to gradient [R, C], which may be the scores' own memory.
  void differentiate(MatrixView<const Scalar> tile, Index row, Index column, double upstream,
                     MatrixView<Scalar> gradient) const {
    for (Index c = 0; c < tile.cols(); c += chunk) {
      const Index width = std::min(chunk, tile.cols() - c);
      differentiate_chunk(block(tile, 0, c, tile.rows(), width), row, column + c, upstream,
                          block(gradient, 0, c, tile.rows(), width));
    }
  }

  /// Adds the sums `from` to `to`, side by side, except sides that are not given.
  static void merge(const ContrastSums<Scalar>& from, const ContrastSums<Scalar>& to) {
    const auto merge_side = [](const LogSumExps<Scalar>& in, const LogSumExps<Scalar>& out) {
      for (Index i = 0; in.max.given() && i < in.max.extent(0); ++i) add(out, i, in.max[i], in.sum[i]);
    };
    merge_side(from.rows, to.rows);
    merge_side(from.columns, to.columns);
    if (from.target_score != nullptr) *to.target_score += *from.target_score;
  }

  /// The share of the loss that is of the sums given, which are those of whole rows and columns.
  template <class Options>
  [[nodiscard]] static double finish(const PairBlock& block, const ContrastSums<Scalar>& sums,
                                     const Options& options) {
    const auto log_sum_exp = [](const LogSumExps<Scalar>& side, Index i) {
      return static_cast<double>(side.max[i]) + std::log(static_cast<double>(side.sum[i]));
    };
    double sum = sums.target_score == nullptr ? 0 : -*sums.target_score;
    if (sums.rows.max.given() && options.image_to_text_weight > 0)
      for (Index r = 0; r < sums.rows.max.extent(0); ++r)
        sum += options.image_to_text_weight * log_sum_exp(sums.rows, r);
    if (sums.columns.max.given() && options.text_to_image_weight > 0)
      for (Index c = 0; c < sums.columns.max.extent(0); ++c)
        if (block.image_of(block.first_text + c) >= 0)
          sum += options.text_to_image_weight * log_sum_exp(sums.columns, c);
    return sum / static_cast<double>(block.images);
  }

 private:
  /// Columns that are worked on together, so that their running values stay in the first-level cache.
  static constexpr Index chunk = 128;
  using Chunk = Eigen::Array<Scalar, 1, Eigen::Dynamic, Eigen::RowMajor, 1, static_cast<int>(chunk)>;
  using Row = Eigen::Array<Scalar, 1, Eigen::Dynamic, Eigen::RowMajor>;
  using ConstMap = Eigen::Map<const Row>;
  using Map = Eigen::Map<Row>;
  static constexpr Scalar infinity = std::numeric_limits<Scalar>::infinity();

  /// Adds a maximum and the sum that goes with it to element i.
  static void add(const LogSumExps<Scalar>& to, Index i, Scalar max, Scalar sum) {
    const Scalar both = std::max(to.max[i], max);
    to.sum[i] = to.sum[i] * std::exp(to.max[i] - both) + sum * std::exp(max - both);
    to.max[i] = both;
  }

  /// Calls visit(c, row target, column target, drops) for the columns of the tile, from `column` on with
  /// `width` of them, that are of the group of row `row`.
  template <class Visit>
  void for_each_member(Index row, Index column, Index width, Visit&& visit) const {
    const PairBlock& block = targets_->block();
    const Index image = block.first_image + row, first = block.first_text + column;
    targets_->for_each_member(image, first, first + width, [&](Index j, double of_row, double of_column) {
      visit(j - first, of_row, of_column, targets_->drops(image, j));
    });
  }

  /// Sum over the tile of (w_r q[i, j] + w_c q[j, i]) S[i, j]; sets scores in no denominator to -inf.
  double take_targets(MatrixView<Scalar> tile, Index row, Index column) const {
    const auto row_weight = static_cast<Scalar>(row_weight_);
    const Index first = targets_->block().first_text + column;
    targets_->for_each_invalid(first, first + tile.cols(),
                               [&](Index j) { as_eigen(tile).col(j - first).setZero(); });
    const ConstMap weight(weight_ + column, tile.cols()), smoothing(column_smoothing_ + column, tile.cols());
    double sum = 0;
    for (Index r = 0; r < tile.rows(); ++r) {
      if (targets_->smooths()) {
        const auto target = row_weight * row_smoothing_[row + r] + weight * smoothing;
        sum += static_cast<double>((target * as_eigen(tile).row(r).array()).sum());
      }
      for_each_member(
          row + r, column, tile.cols(), [&](Index c, double of_row, double of_column, bool drops) {
            Scalar& score = tile(r, c);
            sum += (row_weight_ * of_row + column_weight_ * of_column) * static_cast<double>(score);
            if (!drops) return;
            sum -= static_cast<double>((row_weight * row_smoothing_[row + r] + weight[c] * smoothing[c]) *
                                       score);
            score = -infinity;
          });
    }
    targets_->for_each_invalid(first, first + tile.cols(),
                               [&](Index j) { as_eigen(tile).col(j - first).setConstant(-infinity); });
    return sum;
  }

  /// Scores of row r of a tile with those above `threshold`, a number or one for each column, at -inf, except
  /// those of the row's group.
  template <class Threshold>
  [[nodiscard]] Chunk without_false_negatives(MatrixView<const Scalar> tile, Index r, Index row, Index column,
                                              const Threshold& threshold) const {
    const auto scores = as_eigen(tile).row(r).array();
    Chunk out = (scores > threshold).select(-infinity, scores);
    for_each_member(row + r, column, tile.cols(), [&](Index c, double, double, bool) { out[c] = scores[c]; });
    return out;
  }

  void take_row(MatrixView<const Scalar> tile, Index r, Index row, Index column, Scalar& max,
                Scalar& sum) const {
    const auto take = [&](const auto& scores, Scalar below, Scalar before) {
      const Scalar both = std::max({scores.maxCoeff(), below, std::numeric_limits<Scalar>::lowest()});
      sum = before * std::exp(below - both) + (scores - both).exp().sum();
      max = both;
    };
    if (margin_.rows == nullptr) {
      const auto scores = as_eigen(tile).row(r).array();
      max = std::max(scores.maxCoeff(), std::numeric_limits<Scalar>::lowest());
      sum = (scores - max).exp().sum();
      return;
    }
    max = std::numeric_limits<Scalar>::lowest();
    sum = 0;
    for (Index c = 0; c < tile.cols(); c += chunk) {
      const auto part = block(tile, 0, c, tile.rows(), std::min(chunk, tile.cols() - c));
      const Chunk threshold = Chunk::Constant(part.cols(), margin_.rows[row + r]);
      take(without_false_negatives(part, r, row, column + c, threshold), max, sum);
    }
  }

  void take_columns(MatrixView<const Scalar> tile, Index row, Index column) const {
    for (Index c = 0; c < tile.cols(); c += chunk) {
      const Index width = std::min(chunk, tile.cols() - c);
      const auto part = block(tile, 0, c, tile.rows(), width);
      if (margin_.columns == nullptr) {
        const auto scores = as_eigen(part).array();
        take_chunk(column + c, width, tile.rows(), [&](Index r) { return scores.row(r); });
      } else {
        const ConstMap threshold(margin_.columns + column + c, width);
        take_chunk(column + c, width, tile.rows(),
                   [&](Index r) { return without_false_negatives(part, r, row, column + c, threshold); });
      }
    }
  }

  /// Takes in `rows` rows of `width` columns, given by scores_of(r).
  template <class ScoresOf>
  void take_chunk(Index column, Index width, Index rows, const ScoresOf& scores_of) const {
    Map max(sums_.columns.max.data() + column, width), sum(sums_.columns.sum.data() + column, width);
    Chunk new_max = max;
    for (Index r = 0; r < rows; ++r) new_max = new_max.max(scores_of(r));
    Chunk new_sum = sum * (max - new_max).exp();
    for (Index r = 0; r < rows; ++r) new_sum += (scores_of(r) - new_max).exp();
    max = new_max;
    sum = new_sum;
  }

  void differentiate_chunk(MatrixView<const Scalar> tile, Index row, Index column, double upstream,
                           MatrixView<Scalar> out) const {
    const double factor = upstream / static_cast<double>(targets_->block().images);
    const auto row_factor = static_cast<Scalar>(row_weight_ * factor);
    const auto column_factor = static_cast<Scalar>(factor);
    const Index width = tile.cols();
    const ConstMap column_max(sums_.columns.max.data() + column, width);
    const ConstMap column_sum(sums_.columns.sum.data() + column, width);
    const ConstMap weight(weight_ + column, width), smoothing(column_smoothing_ + column, width);
    const Chunk column_scale = (weight > Scalar(0)).select(column_factor * weight / column_sum, Scalar(0));

    Chunk gradient(width);
    const auto differentiate = [&](const auto& row_scores, const auto& column_scores, Index r) {
      const Index i = row + r;
      if (row_weight_ > 0)
        gradient = (row_scores - sums_.rows.max[i]).exp() * (row_factor / sums_.rows.sum[i]);
      else
        gradient.setZero();
      if (column_weight_ > 0) gradient += (column_scores - column_max).exp() * column_scale;
      if (targets_->smooths())
        gradient -= row_factor * row_smoothing_[i] + column_factor * weight * smoothing;
      for_each_member(i, column, width, [&](Index c, double of_row, double of_column, bool drops) {
        if (drops)
          gradient[c] = 0;
        else
          gradient[c] -= static_cast<Scalar>((row_weight_ * of_row + column_weight_ * of_column) * factor);
      });
      as_eigen(out).row(r).array() = gradient;
    };
    for (Index r = 0; r < tile.rows(); ++r) {
      if (margin_.rows == nullptr) {
        const auto scores = as_eigen(tile).row(r).array();
        differentiate(scores, scores, r);
        continue;
      }
      const Chunk threshold = Chunk::Constant(width, margin_.rows[row + r]);
      const Chunk of_row = without_false_negatives(tile, r, row, column, threshold);
      differentiate(of_row,
                    without_false_negatives(tile, r, row, column, ConstMap(margin_.columns + column, width)),
                    r);
    }
    const Index first = targets_->block().first_text + column;
    targets_->for_each_invalid(first, first + width,
                               [&](Index j) { as_eigen(out).col(j - first).setZero(); });
  }

  const PairTargets* targets_;
  ContrastSums<Scalar> sums_;
  MarginThresholds<Scalar> margin_;
  double row_weight_, column_weight_;
  Index images_, texts_;
  const Scalar* weight_ = nullptr;  // [n] w_c for columns with a cross-entropy, else 0
  const Scalar *row_smoothing_ = nullptr, *column_smoothing_ = nullptr;  // [b], [n]
};

}  // namespace vlp::detail
