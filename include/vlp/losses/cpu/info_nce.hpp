/// \file
/// InfoNCE on the CPU.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/cpu/detail/contrast.hpp>
#include <vlp/losses/cpu/detail/pair_tiles.hpp>
#include <vlp/losses/info_nce.hpp>
#include <vlp/losses/loss.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace vlp {

/// InfoNce on the CPU. Takes one strip of S (256 x B) as scratch; rows of S are kept in runs of 256.
template <class ScalarType>
class InfoNce<ScalarType, Cpu> : public InfoNceInterface<ScalarType> {
  using Interface = InfoNceInterface<ScalarType>;

 public:
  using Device = Cpu;
  using Interface::name;
  using typename Interface::Accumulator;
  using typename Interface::Gradients;
  using typename Interface::Inputs;
  using typename Interface::Options;
  using typename Interface::Outputs;
  using typename Interface::Scalar;

  /// Throws std::invalid_argument for options out of range.
  explicit InfoNce(InfoNceOptions options = {}) : options_(options) { Interface::check_options(options_); }

  [[nodiscard]] const Options& options() const noexcept { return options_; }

  /// Computes the loss and keeps what backward needs. Throws std::invalid_argument for inputs that do not fit
  /// together.
  void forward(Device& device, const Inputs& inputs, const Outputs& outputs) {
    Interface::check_inputs(inputs);
    const Index batch = inputs.image.rows();
    contrast_.begin(batch, inputs.group, options_);
    tiles_.prepare(device, inputs.image, inputs.text, std::exp(static_cast<double>(*inputs.log_scale)),
                   options_.kept_score_bytes);

    const Index tiles = tiles_.tiles(batch);
    auto scratch = device.scratch().scope();
    const auto row_max = scratch.template take_view<Scalar>(tiles, tiles_.tile_rows);
    const auto row_sum = scratch.template take_view<Scalar>(tiles, tiles_.tile_rows);
    double* target_score = scratch.template take<double>(tiles);
    std::fill_n(target_score, tiles, 0.0);
    tiles_.forward(
        device, inputs.image, inputs.text,
        [&](MatrixView<Scalar> scores, Index row, Index column, Index tile) {
          target_score[tile] +=
              contrast_.take(scores, row, column, row_max[tile].data(), row_sum[tile].data());
        },
        [&](Index row, Index rows) {
          for (Index tile = 0; tile < tiles; ++tile)
            contrast_.merge_rows(row, rows, row_max[tile].data(), row_sum[tile].data());
        });
    if (outputs.loss != nullptr)
      *outputs.loss = contrast_.finish(std::accumulate(target_score, target_score + tiles, 0.0));
  }

  /// Writes upstream * dL/dinput for the inputs given to the last forward.
  void backward(Device& device, const Inputs& inputs, Accumulator upstream, const Gradients& gradients) {
    Interface::check_inputs(inputs);
    require(contrast_.batch() == inputs.image.rows(), name, ": backward is given ", inputs.image.rows(),
            " pairs but forward had ", contrast_.batch());
    Interface::check_gradients(inputs, gradients);
    const double d_log_scale = tiles_.backward(
        device, inputs.image, inputs.text, gradients.image, gradients.text, gradients.into,
        [&](MatrixView<const Scalar> scores, Index row, Index column, Index, MatrixView<Scalar> gradient) {
          contrast_.differentiate(scores, row, column, upstream, gradient);
        });
    if (gradients.log_scale != nullptr)
      *gradients.log_scale = static_cast<Accumulator>(d_log_scale) +
                             (gradients.into == Into::add ? *gradients.log_scale : Accumulator(0));
  }

 private:
  Options options_;
  detail::PairTiles<Scalar> tiles_;
  detail::Contrast<Scalar> contrast_;
};

static_assert(Loss<InfoNce<float>> && Loss<InfoNce<double>>);

}  // namespace vlp
