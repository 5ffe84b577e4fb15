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

/// InfoNCE of float, BFloat16 or Half embeddings. All pointers are in device memory; products of 16-bit
/// embeddings are summed in float, float ones are not rounded.
///
/// Forward makes one pass over S: each tile [128, 128] leaves the log-sum-exps of its rows and columns, which
/// are merged in a fixed order. Backward computes each tile once more and leaves its gradient as numbers of
/// the embeddings' type, a block of CudaOptions::score_block_bytes at a time, for two plain products. 8 B^2 D
/// flop, 4 B^2 exponentials; scratch is the block, its products, and for 16-bit numbers 2 B D bytes.
/// InfoNceOptions::kept_score_bytes holds rows of S as float, in runs of 128.
template <class ScalarType>
class InfoNceBackend<ScalarType, Cuda> : InfoNceInterface<ScalarType> {
  using Interface = InfoNceInterface<ScalarType>;
  using Interface::name;
  using typename Interface::Accumulator, typename Interface::Gradients, typename Interface::Inputs,
      typename Interface::Options, typename Interface::Outputs, typename Interface::Scalar;

 public:
  using Device = Cuda;

  explicit InfoNceBackend(const Options& options) : options_(options) {}

  void forward(Device& device, const Inputs& inputs, const Outputs& outputs) {
    const Index batch = inputs.image.rows();
    groups_.find(device, name, batch, inputs.group, options_.duplicate_policy, options_.label_smoothing,
                 options_.kept_score_bytes > 0);
    unit_rows_.measure(device, inputs.image, inputs.text);
    contrast_.begin(batch, options_.kept_score_bytes);
    contrast_.forward(device, scores(inputs), outputs.loss);
  }

  void backward(Device& device, const Inputs& inputs, Accumulator upstream, const Gradients& gradients) {
    contrast_.backward(device, scores(inputs), upstream, cuda::rows_of(gradients.image),
                       cuda::rows_of(gradients.text), gradients.log_scale, gradients.into);
  }

 private:
  [[nodiscard]] cuda::detail::PairScores<Scalar> scores(const Inputs& inputs) const {
    return contrast_.scores(unit_rows_.first(inputs.image), unit_rows_.second(inputs.text),
                            inputs.image.cols(), inputs.log_scale, groups_.targets(),
                            options_.image_to_text_weight, options_.text_to_image_weight);
  }

  Options options_;
  cuda::detail::Groups groups_;
  cuda::detail::UnitRowPairs<Scalar> unit_rows_;
  cuda::detail::PairContrast<Scalar> contrast_;
};

}  // namespace detail

static_assert(Loss<InfoNce<float, Cuda>>);

}  // namespace vlp
