/// \file
/// InfoNCE on a CUDA device.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/pair_contrast.cuh>
#include <vlp/cuda/losses/detail/pair_targets.cuh>
#include <vlp/cuda/losses/detail/unit_rows.cuh>
#include <vlp/losses/info_nce.hpp>
#include <vlp/losses/loss.hpp>

namespace vlp {

namespace detail {

/// InfoNCE of float, BFloat16 or Half embeddings, in blocks (see BlockShell). All pointers are in device
/// memory; products of 16-bit embeddings are summed in float, float ones are not rounded.
///
/// Forward makes one pass over S: each tile [128, 128] leaves the log-sum-exps of its rows and columns, which
/// are merged in a fixed order. Backward computes each tile once more and leaves its gradient as numbers of
/// the embeddings' type, a block of CudaOptions::score_block_bytes at a time, for two plain products. 8 B N D
/// flop, 4 B N exponentials; scratch is the block, its products, and N D numbers where some texts may not be
/// valid. Saved are O(B + N) numbers, for Half also (B + N) D of them, and of
/// InfoNceOptions::kept_score_bytes rows of S as float, in runs of 128.
template <class ScalarType>
class InfoNceBackend<ScalarType, Cuda> : InfoNceInterface<ScalarType> {
  using Interface = InfoNceInterface<ScalarType>;
  using Interface::name;
  using typename Interface::Accumulator, typename Interface::Gradients, typename Interface::Inputs,
      typename Interface::Options, typename Interface::Outputs, typename Interface::Scalar;
  using Arrays = SavedArrays<Cuda::Memory>;
  using Sums = ContrastSums<Accumulator>;

 public:
  using State = cuda::detail::PairState<Scalar>;

  explicit InfoNceBackend(const Options& options) : options_(options) {}

  State lay_out(Arrays& arrays, const Inputs& inputs) const {
    return cuda::detail::lay_out_pairs<Scalar>(arrays, inputs, options_);
  }

  void accumulate(Cuda& device, const Inputs& inputs, const Outputs&, const Sums& sums, Into into,
                  const State& state) const {
    cuda::detail::prepare_pairs(device, name, inputs, options_, state);
    const auto scores = scores_of(cuda::detail::pair_tiles(inputs, state));
    cuda::detail::write_limits<Scalar>(device, scores, options_.false_negative_margin);
    cuda::detail::accumulate_pairs(device, scores, sums, into);
  }

  static void merge(Cuda& device, const Sums& from, const Sums& to) {
    cuda::detail::merge_sums_of_blocks(device, from, to);
  }

  void finish(Cuda& device, const PairBlock& block, const Sums& sums, Accumulator* loss) const {
    cuda::detail::finish_share(device, block, sums, options_.image_to_text_weight,
                               options_.text_to_image_weight, loss);
  }

  void differentiate(Cuda& device, const Inputs& inputs, const Sums& sums, const State& state,
                     Accumulator upstream, const Gradients& gradients) const {
    const Index batch = inputs.block.of(inputs.image.rows(), inputs.text.rows()).images;
    auto scratch = device.scratch().scope();
    const auto scores =
        scores_of(cuda::detail::pair_tiles_with_zeros<Scalar>(scratch, device, inputs, state));
    cuda::detail::differentiate_contrast<Scalar>(
        device, scores, sums, upstream, batch,
        {cuda::rows_of(gradients.image), cuda::rows_of(gradients.text), gradients.log_scale, gradients.into});
  }

 private:
  [[nodiscard]] cuda::detail::PairScores<Scalar> scores_of(
      const cuda::detail::PairTiles<Scalar>& pairs) const {
    return {pairs, static_cast<float>(options_.image_to_text_weight),
            static_cast<float>(options_.text_to_image_weight)};
  }

  Options options_;
};

}  // namespace detail

static_assert(Loss<InfoNce<float, Cuda>>);

}  // namespace vlp
