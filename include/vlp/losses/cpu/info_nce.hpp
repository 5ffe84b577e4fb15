/// \file
/// InfoNCE on the CPU.
#pragma once

#include <vlp/core/buffer.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/contrast.hpp>
#include <vlp/losses/cpu/detail/contrast.hpp>
#include <vlp/losses/cpu/detail/margin_thresholds.hpp>
#include <vlp/losses/cpu/detail/pair_targets.hpp>
#include <vlp/losses/cpu/detail/pair_tiles.hpp>
#include <vlp/losses/cpu/detail/valid_texts.hpp>
#include <vlp/losses/cpu/detail/write_number.hpp>
#include <vlp/losses/detail/argument_checks.hpp>
#include <vlp/losses/detail/saved_arrays.hpp>
#include <vlp/losses/info_nce.hpp>
#include <vlp/losses/loss.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace vlp {

namespace detail {

/// Blocks of InfoNce on the CPU. Takes one strip of S (256 x n) as scratch, and where texts are not valid a
/// copy of the texts; rows of S are kept in runs of 256.
template <class ScalarType>
class InfoNceBackend<ScalarType, Cpu> : InfoNceInterface<ScalarType> {
  using Interface = InfoNceInterface<ScalarType>;
  using Interface::name;
  using typename Interface::Accumulator, typename Interface::Gradients, typename Interface::Inputs,
      typename Interface::Options, typename Interface::Outputs, typename Interface::Scalar;
  using Sums = ContrastSums<Accumulator>;

 public:
  using Device = Cpu;
  struct State {
    MatrixView<Scalar> kept;  // the first rows of S
  };

  explicit InfoNceBackend(const Options& options) : options_(options) {}

  static void check_values(const Inputs& inputs) {
    check_own_texts(name, inputs.block.of(inputs.image.rows(), inputs.text.rows()), inputs.valid);
  }

  State lay_out(SavedArrays<HostMemory>& arrays, const Inputs& inputs) const {
    const Index images = inputs.image.rows(), texts = inputs.text.rows();
    return {arrays.template take_view<Scalar>(
        PairTiles<Scalar>::rows_kept(images, texts, options_.kept_score_bytes), texts)};
  }

  void accumulate(Device& device, const Inputs& inputs, const Outputs&, const Sums& sums, Into into,
                  const State& state) const {
    auto scratch = device.scratch().scope();
    const Pass pass(scratch, device, inputs, sums, options_, state.kept);
    if (into == Into::overwrite) pass.contrast.clear();
    const Index tiles = pass.tiles.tiles(inputs.text.rows());
    const auto row_max = scratch.template take_view<Scalar>(tiles, pass.tiles.tile_rows);
    const auto row_sum = scratch.template take_view<Scalar>(tiles, pass.tiles.tile_rows);
    double* target_score = scratch.template take<double>(tiles);
    std::fill_n(target_score, tiles, 0.0);
    pass.tiles.forward(
        device,
        [&](MatrixView<Scalar> scores, Index row, Index column, Index tile) {
          target_score[tile] +=
              pass.contrast.take(scores, row, column, row_max[tile].data(), row_sum[tile].data());
        },
        [&](Index row, Index rows) {
          for (Index tile = 0; tile < tiles; ++tile)
            pass.contrast.merge_rows(row, rows, row_max[tile].data(), row_sum[tile].data());
        });
    *sums.target_score += std::accumulate(target_score, target_score + tiles, 0.0);
  }

  static void merge(Device&, const Sums& from, const Sums& to) { Contrast<Scalar>::merge(from, to); }

  void finish(Device&, const PairBlock& block, const Sums& sums, Accumulator* loss) const {
    *loss = static_cast<Accumulator>(Contrast<Scalar>::finish(block, sums, options_));
  }

  void differentiate(Device& device, const Inputs& inputs, const Sums& sums, const State& state,
                     Accumulator upstream, const Gradients& gradients) const {
    auto scratch = device.scratch().scope();
    const Pass pass(scratch, device, inputs, sums, options_, state.kept);
    const double d_log_scale = pass.tiles.backward(
        device, gradients.image, gradients.text, gradients.into,
        [&](MatrixView<const Scalar> scores, Index row, Index column, Index, MatrixView<Scalar> gradient) {
          pass.contrast.differentiate(scores, row, column, static_cast<double>(upstream), gradient);
        });
    write_number(d_log_scale, gradients.into, gradients.log_scale);
  }

 private:
  /// All that both steps read.
  struct Pass {
    PairTiles<Scalar> tiles;
    PairTargets targets;
    Contrast<Scalar> contrast;

    Pass(Arena::Scope& scratch, Device& device, const Inputs& inputs, const Sums& sums,
         const Options& options, MatrixView<Scalar> kept)
        : tiles(scratch, device, inputs.image, readable_texts(scratch, inputs),
                std::exp(static_cast<double>(*inputs.log_scale)), kept),
          targets(scratch, inputs.block.of(inputs.image.rows(), inputs.text.rows()), inputs.group,
                  inputs.valid, options.duplicate_policy, options.label_smoothing),
          contrast(scratch, targets, sums, options,
                   thresholds(scratch, tiles, targets.block(), inputs, options)) {}
    Pass(const Pass&) = delete;  // contrast points into it
    Pass& operator=(const Pass&) = delete;

    static MarginThresholds<Scalar> thresholds(Arena::Scope& scratch, const PairTiles<Scalar>& tiles,
                                               const PairBlock& block, const Inputs& inputs,
                                               const Options& options) {
      if (!has_margin(options)) return {};
      const double scale = std::exp(static_cast<double>(*inputs.log_scale));
      return own_thresholds(scratch, tiles, block, options.false_negative_margin, scale,
                            std::numeric_limits<Scalar>::infinity());
    }
  };

  Options options_;
};

}  // namespace detail

static_assert(Loss<InfoNce<float>> && Loss<InfoNce<double>>);

}  // namespace vlp
