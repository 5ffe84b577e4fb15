/// \file
/// Cross-entropy over the rows and the columns of a batch's score matrix, taken in tile by tile.
#pragma once

#include <Eigen/Core>

#include <vlp/core/buffer.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/cpu/detail/pair_targets.hpp>
#include <vlp/losses/loss.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>

namespace vlp::detail {

/// L = w_r mean_i CE(S[i, :], q[i, :]) + w_c mean_j CE(S[:, j], q[j, :]) of a score matrix S [B, B] that
/// exists only a tile at a time, with the targets q of PairTargets. Keeps, for backward, the maximum and the
/// sum of exponentials of every row and column.
///
/// Forward: begin; take each tile, with merge_rows for its rows; finish. Backward: differentiate each tile.
/// Tiles that share columns must be taken one after the other, always in the same order; so must merge_rows.
/// If all of S is in memory, call forward and backward instead.
template <class Scalar>
class Contrast {
 public:
  using Accumulator = AccumulatorOf<Scalar>;

  /// Starts a batch. `group` is empty or has `batch` ids.
  template <class Options>
  void begin(Index batch, std::span<const std::int64_t> group, const Options& options) {
    targets_.prepare(batch, group, options.duplicate_policy, options.label_smoothing);
    row_weight_ = options.image_to_text_weight;
    column_weight_ = options.text_to_image_weight;
    for (auto* side : {&rows_, &columns_}) {
      std::fill_n(side->max.resize(batch), batch, std::numeric_limits<Scalar>::lowest());
      std::fill_n(side->sum.resize(batch), batch, Scalar(0));
    }
    Scalar* smoothing = smoothing_.resize(batch);
    for (Index i = 0; i < batch; ++i) smoothing[i] = static_cast<Scalar>(targets_.smoothing(i));
  }

  [[nodiscard]] Index batch() const noexcept { return rows_.max.size(); }

  /// Takes in the scores [R, C] of pairs from (row, column) on. Writes each row's maximum and sum of
  /// exp(score - maximum) within the tile to row_max, row_sum [R], for merge_rows. Returns the tile's share
  /// of the weighted sum of target scores, for finish. Dropped scores in the tile become -inf.
  double take(MatrixView<Scalar> tile, Index row, Index column, Scalar* row_max, Scalar* row_sum) {
    const double target_score = take_targets(tile, row, column);
    auto scores = as_eigen(tile).array();
    if (row_weight_ > 0) {
      for (Index r = 0; r < tile.rows(); ++r) {
        row_max[r] = std::max(scores.row(r).maxCoeff(), std::numeric_limits<Scalar>::lowest());
        row_sum[r] = (scores.row(r) - row_max[r]).exp().sum();
      }
    }
    if (column_weight_ > 0) take_columns(tile, column);
    return target_score;
  }

  /// Adds what take wrote for rows [row, row + count).
  void merge_rows(Index row, Index count, const Scalar* max, const Scalar* sum) {
    if (row_weight_ == 0) return;
    for (Index r = 0; r < count; ++r) {
      Scalar& all_max = rows_.max[row + r];
      Scalar& all_sum = rows_.sum[row + r];
      const Scalar both = std::max(all_max, max[r]);
      all_sum = all_sum * std::exp(all_max - both) + sum[r] * std::exp(max[r] - both);
      all_max = both;
    }
  }

  /// The loss, once all tiles are in. `target_score` is the sum of what take returned.
  [[nodiscard]] Accumulator finish(double target_score) const {
    double sum = -target_score;
    for (Index i = 0; i < batch(); ++i) {
      if (row_weight_ > 0) sum += row_weight_ * rows_.log_sum_exp(i);
      if (column_weight_ > 0) sum += column_weight_ * columns_.log_sum_exp(i);
    }
    return static_cast<Accumulator>(sum / static_cast<double>(batch()));
  }

  /// Writes upstream * dL/dscores of a tile to gradient [R, C], which may be the scores' own memory.
  void differentiate(MatrixView<const Scalar> tile, Index row, Index column, Accumulator upstream,
                     MatrixView<Scalar> gradient) const {
    for (Index c = 0; c < tile.cols(); c += chunk) {
      const Index width = std::min(chunk, tile.cols() - c);
      differentiate_chunk(block(tile, 0, c, tile.rows(), width), row, column + c, upstream,
                          block(gradient, 0, c, tile.rows(), width));
    }
  }

  /// The loss of a whole score matrix [B, B]; needs B x B scratch.
  [[nodiscard]] Accumulator forward(Cpu& device, MatrixView<const Scalar> scores) {
    auto scratch = device.scratch().scope();
    const auto copy = scratch.take_view<Scalar>(batch(), batch());
    as_eigen(copy) = as_eigen(scores);
    Scalar* max = scratch.take<Scalar>(batch());
    Scalar* sum = scratch.take<Scalar>(batch());
    const double target_score = take(copy, 0, 0, max, sum);
    merge_rows(0, batch(), max, sum);
    return finish(target_score);
  }

  /// Writes upstream * dL/dscores for the scores given to forward. d_scores may be the scores' own memory.
  void backward(MatrixView<const Scalar> scores, Accumulator upstream, MatrixView<Scalar> d_scores) const {
    differentiate(scores, 0, 0, upstream, d_scores);
  }

 private:
  /// Columns that are worked on together, so that their running values stay in the first-level cache.
  static constexpr Index chunk = 128;
  using Chunk = Eigen::Array<Scalar, 1, Eigen::Dynamic, Eigen::RowMajor, 1, static_cast<int>(chunk)>;
  using ConstMap = Eigen::Map<const Eigen::Array<Scalar, 1, Eigen::Dynamic, Eigen::RowMajor>>;
  using Map = Eigen::Map<Eigen::Array<Scalar, 1, Eigen::Dynamic, Eigen::RowMajor>>;

  struct Side {
    Buffer<Scalar> max, sum;

    [[nodiscard]] double log_sum_exp(Index i) const {
      return static_cast<double>(max[i]) + std::log(static_cast<double>(sum[i]));
    }
  };

  /// Sum over the tile of (w_r q[i, j] + w_c q[j, i]) S[i, j]; sets dropped scores to -inf.
  double take_targets(MatrixView<Scalar> tile, Index row, Index column) const {
    const auto row_weight = static_cast<Scalar>(row_weight_),
               column_weight = static_cast<Scalar>(column_weight_);
    double sum = 0;
    for (Index r = 0; r < tile.rows(); ++r) {
      const Index i = row + r;
      if (targets_.smooths()) {
        const ConstMap smoothing(smoothing_.data() + column, tile.cols());
        const auto weight = row_weight * smoothing_[i] + column_weight * smoothing;
        sum += static_cast<double>((weight * as_eigen(tile).row(r).array()).sum());
      }
      targets_.for_each_member(i, column, column + tile.cols(), [&](Index j, double target) {
        Scalar& score = tile(r, j - column);
        sum += (row_weight_ + column_weight_) * target * static_cast<double>(score);
        if (targets_.drops(i, j)) {
          sum -= static_cast<double>((row_weight * smoothing_[i] + column_weight * smoothing_[j]) * score);
          score = -std::numeric_limits<Scalar>::infinity();
        }
      });
    }
    return sum;
  }

  void take_columns(MatrixView<Scalar> tile, Index column) {
    for (Index c = 0; c < tile.cols(); c += chunk) {
      const Index width = std::min(chunk, tile.cols() - c);
      const auto scores = as_eigen(block(tile, 0, c, tile.rows(), width)).array();
      Map max(columns_.max.data() + column + c, width), sum(columns_.sum.data() + column + c, width);
      Chunk new_max = max;
      for (Index r = 0; r < tile.rows(); ++r) new_max = new_max.max(scores.row(r));
      Chunk new_sum = sum * (max - new_max).exp();
      for (Index r = 0; r < tile.rows(); ++r) new_sum += (scores.row(r) - new_max).exp();
      max = new_max;
      sum = new_sum;
    }
  }

  void differentiate_chunk(MatrixView<const Scalar> tile, Index row, Index column, Accumulator upstream,
                           MatrixView<Scalar> out) const {
    const double factor = static_cast<double>(upstream) / static_cast<double>(batch());
    const auto row_factor = static_cast<Scalar>(row_weight_ * factor);
    const auto column_factor = static_cast<Scalar>(column_weight_ * factor);
    const Index width = tile.cols();
    const ConstMap column_max(columns_.max.data() + column, width);
    const ConstMap column_sum(columns_.sum.data() + column, width);
    const ConstMap smoothing(smoothing_.data() + column, width);
    Chunk column_scale = Chunk::Zero(width);
    if (column_weight_ > 0) column_scale = column_factor / column_sum;

    Chunk gradient(width);
    for (Index r = 0; r < tile.rows(); ++r) {
      const Index i = row + r;
      const auto scores = as_eigen(tile).row(r).array();
      if (row_weight_ > 0)
        gradient = (scores - rows_.max[i]).exp() * (row_factor / rows_.sum[i]);
      else
        gradient.setZero();
      if (column_weight_ > 0) gradient += (scores - column_max).exp() * column_scale;
      if (targets_.smooths()) gradient -= row_factor * smoothing_[i] + column_factor * smoothing;
      targets_.for_each_member(i, column, column + width, [&](Index j, double target) {
        Scalar& g = gradient[j - column];
        if (targets_.drops(i, j))
          g = 0;
        else
          g -= static_cast<Scalar>(target * (row_weight_ + column_weight_) * factor);
      });
      as_eigen(out).row(r).array() = gradient;
    }
  }

  PairTargets targets_;
  double row_weight_ = 0, column_weight_ = 0;
  Side rows_, columns_;
  Buffer<Scalar> smoothing_;  // of each row's kept columns
};

}  // namespace vlp::detail
