/// \file
/// The pairwise sigmoid loss on the CPU.
#pragma once

#include <Eigen/Core>

#include <vlp/core/buffer.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/cpu/detail/margin_thresholds.hpp>
#include <vlp/losses/cpu/detail/pair_targets.hpp>
#include <vlp/losses/cpu/detail/pair_tiles.hpp>
#include <vlp/losses/cpu/detail/valid_texts.hpp>
#include <vlp/losses/cpu/detail/write_number.hpp>
#include <vlp/losses/detail/argument_checks.hpp>
#include <vlp/losses/detail/saved_arrays.hpp>
#include <vlp/losses/loss.hpp>
#include <vlp/losses/pairwise_sigmoid.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace vlp {

namespace detail {

/// PairwiseSigmoid on the CPU. forward_backward computes each tile of scores once, which takes a quarter less
/// work.
template <class ScalarType>
class PairwiseSigmoidBackend<ScalarType, Cpu> : PairwiseSigmoidInterface<ScalarType> {
  using Interface = PairwiseSigmoidInterface<ScalarType>;
  using Interface::name;
  using typename Interface::Accumulator, typename Interface::Gradients, typename Interface::Inputs,
      typename Interface::Options, typename Interface::Outputs, typename Interface::Scalar;

 public:
  using Device = Cpu;
  struct State {
    MatrixView<Scalar> kept;  // the first rows of the scores
  };

  explicit PairwiseSigmoidBackend(const Options& options) : options_(options) {}

  static void check_values(const Inputs& inputs) {
    check_own_texts(name, inputs.block.of(inputs.image.rows(), inputs.text.rows()), inputs.valid);
  }

  State lay_out(SavedArrays<HostMemory>& arrays, const Inputs& inputs) const {
    const Index images = inputs.image.rows(), texts = inputs.text.rows();
    return {arrays.template take_view<Scalar>(
        PairTiles<Scalar>::rows_kept(images, texts, options_.kept_score_bytes), texts)};
  }

  void forward(Device& device, const Inputs& inputs, const Outputs& outputs, const State& state) const {
    auto scratch = device.scratch().scope();
    const Pass pass(scratch, device, inputs, options_, state.kept);
    double* losses = zeros(scratch, pass.tiles.tiles(inputs.text.rows()));
    pass.tiles.forward(
        device,
        [&](MatrixView<Scalar> scores, Index row, Index column, Index tile) {
          for (Index r = 0; r < scores.rows(); ++r) {
            pass.to_logits(scores[r], row + r, column, scores[r]);
            losses[tile] += pass.loss(scores[r], row + r, column);
          }
        },
        [](Index, Index) {});
    write_loss(pass, losses, outputs);
  }

  void backward(Device& device, const Inputs& inputs, const State& state, Accumulator upstream,
                const Gradients& gradients) const {
    auto scratch = device.scratch().scope();
    const Pass pass(scratch, device, inputs, options_, state.kept);
    differentiate(scratch, device, pass, upstream, gradients, nullptr);
  }

  void forward_backward(Device& device, const Inputs& inputs, Accumulator upstream, const Outputs& outputs,
                        const Gradients& gradients) const {
    auto scratch = device.scratch().scope();
    const Pass pass(scratch, device, inputs, options_, {});
    double* losses = zeros(scratch, pass.tiles.tiles(inputs.text.rows()));
    differentiate(scratch, device, pass, upstream, gradients, losses);
    write_loss(pass, losses, outputs);
  }

 private:
  static double* zeros(Arena::Scope& scratch, Index count) {
    double* out = scratch.take<double>(count);
    std::fill_n(out, count, 0.0);
    return out;
  }

  static auto as_array(const VectorView<Scalar>& row) {
    return Eigen::Map<Eigen::Array<Scalar, 1, Eigen::Dynamic, Eigen::RowMajor>>(row.data(), row.extent(0));
  }

  /// All that the passes read. Rows and columns are those of the block.
  struct Pass {
    PairTiles<Scalar> tiles;
    PairTargets targets;
    Scalar bias;
    bool groups_match, weighs;
    MarginThresholds<Scalar> margin;

    Pass(Arena::Scope& scratch, Device& device, const Inputs& inputs, const Options& options,
         MatrixView<Scalar> kept)
        : tiles(scratch, device, inputs.image, readable_texts(scratch, inputs),
                std::exp(static_cast<double>(*inputs.log_scale)), kept),
          targets(scratch, inputs.block.of(inputs.image.rows(), inputs.text.rows()), inputs.group,
                  inputs.valid, options.duplicate_policy, 0),
          bias(static_cast<Scalar>(*inputs.bias)),
          groups_match(options.duplicate_policy == DuplicatePolicy::positives),
          weighs(groups_match && options.positive_weight == PositiveWeight::one_over_count) {
      if (has_margin(options))
        margin = own_thresholds(scratch, tiles, targets.block(), options.false_negative_margin,
                                std::exp(static_cast<double>(*inputs.log_scale)),
                                -std::numeric_limits<Scalar>::infinity());
    }

    [[nodiscard]] Index image(Index row) const noexcept { return targets.block().first_image + row; }
    [[nodiscard]] Index text(Index column) const noexcept { return targets.block().first_text + column; }

    /// Says whether z = 1, for text j of the group of image i.
    [[nodiscard]] bool matches(Index i, Index j) const noexcept {
      return groups_match || j == targets.block().text_of(i);
    }
    /// The weight of image i's matching pairs.
    [[nodiscard]] double weight(Index i) const {
      return weighs ? 1 / static_cast<double>(targets.positives(i)) : 1;
    }

    /// Calls visit(c, j) for the columns of a row of a tile whose texts j are of the row's group.
    template <class Visit>
    void for_each_member(Index row, Index column, Index width, Visit&& visit) const {
      const Index first = text(column);
      targets.for_each_member(image(row), first, first + width,
                              [&](Index j, double, double) { visit(j - first, j); });
    }

    /// logits[c] = -z (scores[c] + bias), -inf for pairs left out; may be the scores' own memory.
    void to_logits(VectorView<const Scalar> scores, Index row, Index column,
                   VectorView<Scalar> logits) const {
      constexpr Scalar infinity = std::numeric_limits<Scalar>::infinity();
      const Index width = scores.extent(0), i = image(row);
      const auto is_false_negative = [&](Index c) {
        return margin.rows != nullptr && scores[c] > margin.rows[row] &&
               scores[c] > margin.columns[column + c];
      };
      Index next = 0;
      const auto negatives_until = [&](Index end) {
        if (margin.rows == nullptr) {
          for (; next < end; ++next) logits[next] = scores[next] + bias;
        } else {
          for (; next < end; ++next) logits[next] = is_false_negative(next) ? -infinity : scores[next] + bias;
        }
      };
      for_each_member(row, column, width, [&](Index c, Index j) {
        negatives_until(c);
        next = c + 1;
        if (targets.drops(i, j))
          logits[c] = -infinity;
        else
          logits[c] = matches(i, j) ? -(scores[c] + bias) : scores[c] + bias;
      });
      negatives_until(width);
      targets.for_each_invalid(text(column), text(column) + width,
                               [&](Index j) { logits[j - text(column)] = -infinity; });
    }

    /// The sum of w softplus(logit) over a row of a tile.
    [[nodiscard]] double loss(const VectorView<Scalar>& logits, Index row, Index column) const {
      const auto softplus = [](const auto& x) {  // without overflow
        return x.max(Scalar(0)) + (-x.abs()).exp().log1p();
      };
      auto sum = static_cast<double>(softplus(as_array(logits)).sum());
      if (!weighs) return sum;
      const double less = 1 - weight(image(row));
      for_each_member(row, column, logits.extent(0), [&](Index c, Index) {
        const Eigen::Array<Scalar, 1, 1> logit(logits[c]);
        sum -= less * static_cast<double>(softplus(logit)[0]);
      });
      return sum;
    }

    /// From a row of logits to factor * dL/dscores.
    void differentiate(const VectorView<Scalar>& logits, Index row, Index column, Scalar factor) const {
      auto g = as_array(logits);
      g = factor / (Scalar(1) + (-g).exp());
      const Index i = image(row);
      const auto of_positive = static_cast<Scalar>(-weight(i));
      for_each_member(row, column, logits.extent(0), [&](Index c, Index j) {
        if (!targets.drops(i, j) && matches(i, j)) g[c] *= of_positive;
      });
    }
  };

  /// Writes the gradients; adds each tile's loss to `losses` unless it is null.
  void differentiate(Arena::Scope& scratch, Device& device, const Pass& pass, Accumulator upstream,
                     const Gradients& gradients, double* losses) const {
    const auto factor =
        static_cast<Scalar>(static_cast<double>(upstream) / static_cast<double>(pass.targets.block().images));
    const Index tiles = pass.tiles.tiles(pass.tiles.texts());
    double* sums = zeros(scratch, tiles);
    const double d_log_scale =
        pass.tiles.backward(device, gradients.image, gradients.text, gradients.into,
                            [&](MatrixView<const Scalar> scores, Index row, Index column, Index tile,
                                MatrixView<Scalar> gradient) {
                              for (Index r = 0; r < scores.rows(); ++r) {
                                pass.to_logits(scores[r], row + r, column, gradient[r]);
                                if (losses != nullptr)
                                  losses[tile] += pass.loss(gradient[r], row + r, column);
                                pass.differentiate(gradient[r], row + r, column, factor);
                                sums[tile] += static_cast<double>(as_array(gradient[r]).sum());
                              }
                            });
    write_number(d_log_scale, gradients.into, gradients.log_scale);
    write_number(std::accumulate(sums, sums + tiles, 0.0), gradients.into, gradients.bias);
  }

  static void write_loss(const Pass& pass, const double* losses, const Outputs& outputs) {
    if (outputs.loss == nullptr) return;
    *outputs.loss =
        static_cast<Accumulator>(std::accumulate(losses, losses + pass.tiles.tiles(pass.tiles.texts()), 0.0) /
                                 static_cast<double>(pass.targets.block().images));
  }

  Options options_;
};

}  // namespace detail

static_assert(Loss<PairwiseSigmoid<float>> && Loss<PairwiseSigmoid<double>>);

}  // namespace vlp
