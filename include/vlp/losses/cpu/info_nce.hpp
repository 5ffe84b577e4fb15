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
#include <vlp/losses/cpu/detail/write_number.hpp>
#include <vlp/losses/info_nce.hpp>
#include <vlp/losses/loss.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace vlp {

namespace detail {

/// InfoNce on the CPU. Takes one strip of S (256 x B) as scratch; rows of S are kept in runs of 256.
template <class ScalarType>
class InfoNceBackend<ScalarType, Cpu> : InfoNceInterface<ScalarType> {
  using Interface = InfoNceInterface<ScalarType>;
  using Interface::name;
  using typename Interface::Accumulator, typename Interface::Gradients, typename Interface::Inputs,
      typename Interface::Options, typename Interface::Outputs, typename Interface::Scalar;

 public:
  using Device = Cpu;

  explicit InfoNceBackend(const Options& options) : options_(options) {}

  void forward(Device& device, const Inputs& inputs, const Outputs& outputs) {
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

  void backward(Device& device, const Inputs& inputs, Accumulator upstream, const Gradients& gradients) {
    const double d_log_scale = tiles_.backward(
        device, inputs.image, inputs.text, gradients.image, gradients.text, gradients.into,
        [&](MatrixView<const Scalar> scores, Index row, Index column, Index, MatrixView<Scalar> gradient) {
          contrast_.differentiate(scores, row, column, upstream, gradient);
        });
    write_number(d_log_scale, gradients.into, gradients.log_scale);
  }

 private:
  Options options_;
  PairTiles<Scalar> tiles_;
  Contrast<Scalar> contrast_;
};

}  // namespace detail

static_assert(Loss<InfoNce<float>> && Loss<InfoNce<double>>);

}  // namespace vlp
