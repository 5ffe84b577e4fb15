/// \file
/// The pairwise sigmoid loss on the CPU.
#pragma once

#include <Eigen/Core>

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/cpu/detail/pair_targets.hpp>
#include <vlp/losses/cpu/detail/pair_tiles.hpp>
#include <vlp/losses/cpu/detail/write_number.hpp>
#include <vlp/losses/loss.hpp>
#include <vlp/losses/pairwise_sigmoid.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace vlp {

namespace detail {

/// PairwiseSigmoid on the CPU.
template <class ScalarType>
class PairwiseSigmoidBackend<ScalarType, Cpu> : PairwiseSigmoidInterface<ScalarType> {
  using Interface = PairwiseSigmoidInterface<ScalarType>;
  using Interface::name;
  using typename Interface::Accumulator, typename Interface::Gradients, typename Interface::Inputs,
      typename Interface::Options, typename Interface::Outputs, typename Interface::Scalar;

 public:
  using Device = Cpu;

  explicit PairwiseSigmoidBackend(const Options& options) : options_(options) {}

  void forward(Device& device, const Inputs& inputs, const Outputs& outputs) {
    const Index batch = inputs.image.rows();
    targets_.prepare(batch, inputs.group, options_.duplicate_policy, 0);
    tiles_.prepare(device, inputs.image, inputs.text, std::exp(static_cast<double>(*inputs.log_scale)),
                   options_.kept_score_bytes);

    auto scratch = device.scratch().scope();
    double* sums = zeroed(scratch, tiles_.tiles(batch));
    tiles_.forward(
        device, inputs.image, inputs.text,
        [&](MatrixView<Scalar> scores, Index row, Index column, Index tile) {
          for (Index r = 0; r < scores.rows(); ++r) {
            to_logits(scores[r], row + r, column, static_cast<Scalar>(*inputs.bias), scores[r]);
            const auto logits = as_array(scores[r]);  // softplus, without overflow
            sums[tile] += static_cast<double>((logits.max(Scalar(0)) + (-logits.abs()).exp().log1p()).sum());
          }
        },
        [](Index, Index) {});
    if (outputs.loss != nullptr)
      *outputs.loss = static_cast<Accumulator>(std::accumulate(sums, sums + tiles_.tiles(batch), 0.0) /
                                               static_cast<double>(batch));
  }

  void backward(Device& device, const Inputs& inputs, Accumulator upstream, const Gradients& gradients) {
    const Index batch = inputs.image.rows();
    const auto factor = static_cast<Scalar>(static_cast<double>(upstream) / static_cast<double>(batch));
    auto scratch = device.scratch().scope();
    double* sums = zeroed(scratch, tiles_.tiles(batch));
    const double d_log_scale = tiles_.backward(
        device, inputs.image, inputs.text, gradients.image, gradients.text, gradients.into,
        [&](MatrixView<const Scalar> scores, Index row, Index column, Index tile,
            MatrixView<Scalar> gradient) {
          for (Index r = 0; r < scores.rows(); ++r) {
            to_logits(scores[r], row + r, column, static_cast<Scalar>(*inputs.bias), gradient[r]);
            auto g = as_array(gradient[r]);
            g = factor / (Scalar(1) + (-g).exp());
            targets_.for_each_member(row + r, column, column + scores.cols(), [&](Index j, double) {
              if (targets_.drops(row + r, j))
                g[j - column] = 0;
              else if (matches(row + r, j))
                g[j - column] = -g[j - column];
            });
            sums[tile] += static_cast<double>(g.sum());
          }
        });
    write_number(d_log_scale, gradients.into, gradients.log_scale);
    write_number(std::accumulate(sums, sums + tiles_.tiles(batch), 0.0), gradients.into, gradients.bias);
  }

 private:
  static double* zeroed(Arena::Scope& scratch, Index count) {
    double* out = scratch.take<double>(count);
    std::fill_n(out, count, 0.0);
    return out;
  }

  static auto as_array(const VectorView<Scalar>& row) {
    return Eigen::Map<Eigen::Array<Scalar, 1, Eigen::Dynamic, Eigen::RowMajor>>(row.data(), row.extent(0));
  }

  /// Says whether z = 1, for j of the group of i.
  [[nodiscard]] bool matches(Index i, Index j) const noexcept {
    return i == j || options_.duplicate_policy == DuplicatePolicy::positives;
  }

  /// logits[j] = -z_ij (scores[j] + bias), -inf for pairs left out; may be the scores' own memory.
  void to_logits(VectorView<const Scalar> scores, Index i, Index column, Scalar bias,
                 VectorView<Scalar> logits) const {
    for (Index c = 0; c < scores.extent(0); ++c) logits[c] = scores[c] + bias;
    targets_.for_each_member(i, column, column + scores.extent(0), [&](Index j, double) {
      Scalar& logit = logits[j - column];
      if (targets_.drops(i, j))
        logit = -std::numeric_limits<Scalar>::infinity();
      else if (matches(i, j))
        logit = -logit;
    });
  }

  Options options_;
  PairTargets targets_;
  PairTiles<Scalar> tiles_;
};

}  // namespace detail

static_assert(Loss<PairwiseSigmoid<float>> && Loss<PairwiseSigmoid<double>>);

}  // namespace vlp
