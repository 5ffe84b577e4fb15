/// \file
/// The pairwise sigmoid loss on a CUDA device.
#pragma once

#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/cuda/core/check.cuh>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/core/tile_product.cuh>
#include <vlp/cuda/losses/detail/gradient_products.cuh>
#include <vlp/cuda/losses/detail/pair_gradients.cuh>
#include <vlp/cuda/losses/detail/pair_logits.cuh>
#include <vlp/cuda/losses/detail/pair_tiles.cuh>
#include <vlp/cuda/losses/detail/tile_sums.cuh>
#include <vlp/losses/detail/saved_arrays.hpp>
#include <vlp/losses/loss.hpp>
#include <vlp/losses/pairwise_sigmoid.hpp>

#include <cstddef>

namespace vlp {

namespace detail {

/// The pairwise sigmoid loss of float, BFloat16 or Half embeddings. All pointers are in device memory;
/// products of 16-bit embeddings are summed in float, float ones are not rounded.
///
/// Tiles [128, 128] of S exist on chip. Forward makes one pass over them, 2 B N D flop. Backward computes
/// each once more and leaves its gradient as numbers of the embeddings' type, a block of
/// CudaOptions::score_block_bytes at a time, for two plain products, 6 B N D flop; forward_backward takes the
/// loss from the same tiles, and no more products. An exponential a pair and pass, and a division where there
/// are gradients. Scratch is the block, its products, and N D numbers where some texts may not be valid.
/// Saved is what InfoNCE saves without its sums.
template <class ScalarType>
class PairwiseSigmoidBackend<ScalarType, Cuda> : PairwiseSigmoidInterface<ScalarType> {
  using Interface = PairwiseSigmoidInterface<ScalarType>;
  using Interface::name;
  using typename Interface::Accumulator, typename Interface::Gradients, typename Interface::Inputs,
      typename Interface::Options, typename Interface::Outputs, typename Interface::Scalar;
  using Product = cuda::TileProduct<Scalar>;
  using Pairs = cuda::detail::PairTiles<Scalar>;

 public:
  using State = cuda::detail::PairState<Scalar>;

  explicit PairwiseSigmoidBackend(const Options& options) : options_(options) {}

  template <class Arrays>
  State lay_out(Arrays& arrays, const Inputs& inputs) const {
    return cuda::detail::lay_out_pairs<Scalar>(arrays, inputs, options_);
  }

  void forward(Cuda& device, const Inputs& inputs, const Outputs& outputs, const State& state) const {
    const Pairs pairs = cuda::detail::pair_tiles(inputs, state);
    prepare(device, inputs, state);
    if (outputs.loss == nullptr && state.kept_rows == 0) return;
    const auto runs = cuda::detail::tile_runs<Product>(device, 0, pairs.images, 0, pairs.texts);
    auto scratch = device.scratch().scope();
    double* const losses = zeros(scratch, device, runs.block_count());
    start<false>(device, logits_of(inputs, pairs), runs, losses, nullptr, 1, {});
    write_loss(device, inputs, losses, runs.block_count(), outputs);
  }

  void backward(Cuda& device, const Inputs& inputs, const State& state, Accumulator upstream,
                const Gradients& gradients) const {
    differentiate(device, inputs, state, upstream, {}, gradients);
  }

  void forward_backward(Cuda& device, const Inputs& inputs, Accumulator upstream, const Outputs& outputs,
                        const Gradients& gradients) const {
    Options keeps_nothing = options_;
    keeps_nothing.kept_score_bytes = 0;
    auto scratch = device.scratch().scope();
    const State state = cuda::detail::lay_out_pairs<Scalar>(scratch, inputs, keeps_nothing);
    prepare(device, inputs, state);
    differentiate(device, inputs, state, upstream, outputs, gradients);
  }

 private:
  using Scope = BasicArena<cuda::DeviceMemory>::Scope;

  static double* zeros(Scope& scratch, Cuda& device, Index count) {
    double* const out = scratch.take<double>(count);
    cuda::check(cudaMemsetAsync(out, 0, static_cast<std::size_t>(count) * sizeof(double), device.stream()),
                "clearing sums");
    return out;
  }

  static Index batch_of(const Inputs& inputs) {
    return inputs.block.of(inputs.image.rows(), inputs.text.rows()).images;
  }

  [[nodiscard]] cuda::detail::PairLogits<Scalar> logits_of(const Inputs& inputs, const Pairs& pairs) const {
    const bool weighs = options_.positive_weight == PositiveWeight::one_over_count &&
                        options_.duplicate_policy == DuplicatePolicy::positives;
    return {pairs, inputs.bias, weighs};
  }

  void prepare(Cuda& device, const Inputs& inputs, const State& state) const {
    cuda::detail::prepare_pairs(device, name, inputs, options_, state);
    cuda::detail::write_limits<Scalar>(device, logits_of(inputs, cuda::detail::pair_tiles(inputs, state)),
                                       options_.false_negative_margin);
  }

  /// Queues the kernel over the tiles of `runs`.
  template <bool Differentiates>
  static void start(Cuda& device, const cuda::detail::PairLogits<Scalar>& logits,
                    const cuda::detail::TileRuns& runs, double* losses, double* d_biases, float range,
                    const cuda::Rows<Scalar>& out) {
    using cuda::detail::PairKind;
    const auto kernel = cuda::detail::kernel_of(
        logits.kind(), cuda::detail::take_sigmoids<Scalar, PairKind::plain, Differentiates>,
        cuda::detail::take_sigmoids<Scalar, PairKind::general, Differentiates>,
        cuda::detail::take_sigmoids<Scalar, PairKind::limited, Differentiates>);
    cuda::launch(kernel, cuda::blocks(runs.block_count()), Product::threads,
                 cuda::detail::pair_shared_bytes<cuda::detail::SigmoidsShared, Scalar>(device),
                 device.stream(), logits, runs, losses, d_biases, range, out);
  }

  /// Writes the gradients, and the loss if it is asked for.
  void differentiate(Cuda& device, const Inputs& inputs, const State& state, Accumulator upstream,
                     const Outputs& outputs, const Gradients& gradients) const {
    auto scratch = device.scratch().scope();
    const Pairs pairs = cuda::detail::pair_tiles_with_zeros<Scalar>(scratch, device, inputs, state);
    const auto logits = logits_of(inputs, pairs);
    const Index batch = batch_of(inputs);
    const cuda::detail::BlockExtents extents =
        cuda::detail::gradient_blocks<Scalar>(device, pairs.images, pairs.texts, pairs.features);
    const Index most_blocks = extents.rows / Product::Tile::size * (extents.columns / Product::Tile::size);
    double* const losses = outputs.loss != nullptr ? zeros(scratch, device, most_blocks) : nullptr;
    double* const d_biases = gradients.bias != nullptr ? zeros(scratch, device, most_blocks) : nullptr;
    const auto range = cuda::detail::gradient_range<Scalar>(1);
    cuda::detail::differentiate_pairs<Scalar>(
        device, pairs, upstream, range, batch,
        {cuda::rows_of(gradients.image), cuda::rows_of(gradients.text), gradients.log_scale, gradients.into},
        [&](const cuda::detail::BlockPlace& place, const cuda::Rows<Scalar>& block) {
          start<true>(
              device, logits,
              cuda::detail::tile_runs<Product>(device, place.row, place.rows, place.column, place.columns),
              losses, d_biases, range, block);
        },
        losses != nullptr || d_biases != nullptr);
    if (d_biases != nullptr)
      cuda::detail::write_sum(device, d_biases, most_blocks,
                              static_cast<double>(upstream) / static_cast<double>(batch), gradients.into,
                              gradients.bias);
    write_loss(device, inputs, losses, most_blocks, outputs);
  }

  static void write_loss(Cuda& device, const Inputs& inputs, const double* losses, Index count,
                         const Outputs& outputs) {
    if (outputs.loss != nullptr)
      cuda::detail::write_sum(device, losses, count, 1 / static_cast<double>(batch_of(inputs)),
                              Into::overwrite, outputs.loss);
  }

  Options options_;
};

}  // namespace detail

static_assert(Loss<PairwiseSigmoid<float, Cuda>>);

}  // namespace vlp
