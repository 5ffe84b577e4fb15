/// \file
/// Token cross-entropy on a CUDA device.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/column_sums.cuh>
#include <vlp/cuda/losses/detail/gradient_products.cuh>
#include <vlp/cuda/losses/detail/token_logits.cuh>
#include <vlp/losses/detail/saved_arrays.hpp>
#include <vlp/losses/loss.hpp>
#include <vlp/losses/token_cross_entropy.hpp>

#include <cstddef>
#include <optional>
#include <type_traits>

namespace vlp {

namespace detail {

/// Token cross-entropy of float, BFloat16 or Half. All pointers are in device memory; products of 16-bit
/// numbers are summed in float, float ones are not rounded.
///
/// Forward makes one pass over the tiles [128, 128] of Z and keeps the log-sum-exp of each row. Backward
/// computes each tile once more and leaves its gradient as numbers of the inputs' type, a block of
/// CudaOptions::score_block_bytes at a time, for two plain products: 8 N D V flop, whatever is ignored.
/// Targets are on the device and so are not checked beforehand: one that is neither a token nor ignore_index
/// makes the loss NaN.
template <class ScalarType>
class TokenCrossEntropyBackend<ScalarType, Cuda> : TokenCrossEntropyInterface<ScalarType> {
  using Interface = TokenCrossEntropyInterface<ScalarType>;
  using Interface::name;
  using typename Interface::Accumulator, typename Interface::Gradients, typename Interface::Inputs,
      typename Interface::Options, typename Interface::Outputs, typename Interface::Scalar;

 public:
  using Device = Cuda;

  explicit TokenCrossEntropyBackend(const Options& options) : options_(options) {}

  /// Numbers that forward keeps for backward.
  struct State {
    cuda::LogSumExp* sums;  // [N], of rows that count
    float* inverse_count;   // 1 / N'
  };

  State lay_out(SavedArrays<Device::Memory>& arrays, const Inputs& inputs) const {
    auto* const sums = arrays.template take<cuda::LogSumExp>(inputs.hidden.rows());
    return {sums, arrays.template take<float>(1)};
  }

  void forward(Device& device, const Inputs& inputs, const Outputs& outputs, const State& state) const {
    const auto logits = logits_of(inputs);
    const Index rows = inputs.hidden.rows();
    const auto runs = cuda::detail::tile_runs<Product>(device, 0, rows, 0, inputs.weight.rows());
    auto scratch = device.scratch().scope();
    auto* run_sums = scratch.template take<cuda::LogSumExp>(runs.runs() * rows);
    auto* target_logits = scratch.template take<float>(rows);
    auto* all_logits = scratch.template take<double>(runs.block_count());
    cuda::launch(cuda::detail::take_logits<Scalar>, cuda::blocks(runs.block_count()), threads,
                 sizeof(cuda::detail::TokenShared<Scalar>), device.stream(), logits, runs, run_sums,
                 target_logits, all_logits);
    const dim3 grid = cuda::blocks(rows, 256);
    cuda::launch(
        cuda::detail::finish_tokens<Scalar>, grid, 256, sizeof(cuda::detail::FinishTokensShared),
        device.stream(), logits,
        cuda::detail::TakenLogits{run_sums, runs.runs(), target_logits, all_logits, runs.block_count()},
        state.sums, scratch.template take<cuda::detail::TokenTotals>(grid.x), device.arrived(),
        state.inverse_count, outputs.loss);
  }

  void backward(Device& device, const Inputs& inputs, const State& state, Accumulator upstream,
                const Gradients& gradients) const {
    const auto& [rows, features] = inputs.hidden.extents();
    const auto logits = logits_of(inputs);
    // Half has no room below 6e-8, so the numbers, at most 1, are brought near its largest.
    const float range = std::is_same_v<Scalar, Half> ? 16384 : 1;
    const float factor = upstream / range;
    auto scratch = device.scratch().scope();
    // Ignored rows have gradient 0 but may hold anything, and 0 times NaN is NaN.
    auto hidden = logits.hidden;
    if (gradients.weight.given()) {
      const auto copy = cuda::take_matrix<Scalar>(scratch, rows, features);
      cuda::launch(cuda::detail::copy_rows_that_count<Scalar>, cuda::blocks(rows, 256 / cuda::warp_size), 256,
                   0, device.stream(), logits, cuda::rows_of(copy));
      hidden = cuda::rows_of(MatrixView<const Scalar>(copy));
    }
    std::optional<cuda::detail::RunningColumnSums<Scalar>> bias_sums;
    if (gradients.bias.given()) bias_sums.emplace(scratch, rows, inputs.weight.rows());
    const cuda::detail::FinishMean<Scalar> finish{factor, state.inverse_count};
    cuda::detail::gradient_products<Scalar>(
        device, {hidden, logits.weight, features},
        [&](const cuda::detail::BlockPlace& place, cuda::Rows<Scalar> block) {
          differentiate(device, logits, place, state.sums, range, block);
          if (bias_sums)
            bias_sums->add(device, {block.data, place.rows, block.stride}, place.row, place.column,
                           place.columns);
        },
        Side{finish, {cuda::rows_of(gradients.hidden), gradients.into, nullptr}},
        Side{finish, {cuda::rows_of(gradients.weight), gradients.into, nullptr}}, bias_sums.has_value());
    if (bias_sums)
      bias_sums->finish(device, factor, state.inverse_count, gradients.into, gradients.bias.data());
  }

 private:
  using Product = cuda::TileProduct<Scalar>;
  using Side = cuda::detail::GradientSide<Scalar, cuda::detail::FinishMean<Scalar>>;
  static constexpr int threads = Product::threads;

  [[nodiscard]] cuda::detail::TokenLogits<Scalar> logits_of(const Inputs& inputs) const {
    const auto hidden = cuda::rows_of(inputs.hidden), weight = cuda::rows_of(inputs.weight);
    constexpr Index most = Index{1} << 30;
    require(hidden.count <= most && weight.count <= most, name, ": ", hidden.count,
            " tokens over a vocabulary of ", weight.count, " are more than ", most);
    return {hidden,
            weight,
            inputs.bias.data(),
            inputs.hidden.cols(),
            hidden.aligned() && weight.aligned(),
            inputs.target.data(),
            options_.ignore_index,
            static_cast<int>(hidden.count),
            static_cast<int>(weight.count),
            static_cast<float>(1 - options_.label_smoothing),
            static_cast<float>(options_.label_smoothing / static_cast<double>(weight.count))};
  }

  void differentiate(Cuda& device, const cuda::detail::TokenLogits<Scalar>& logits,
                     const cuda::detail::BlockPlace& place, const cuda::LogSumExp* sums, float range,
                     cuda::Rows<Scalar> block) const {
    const auto runs =
        cuda::detail::tile_runs<Product>(device, place.row, place.rows, place.column, place.columns);
    cuda::launch(cuda::detail::differentiate_logits<Scalar>, cuda::blocks(runs.block_count()), threads,
                 sizeof(cuda::detail::TokenShared<Scalar>), device.stream(), logits, runs, sums, range,
                 block);
  }

  Options options_;
};

}  // namespace detail

static_assert(Loss<TokenCrossEntropy<float, Cuda>>);

}  // namespace vlp
