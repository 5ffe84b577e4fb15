/// \file
/// Every loss on CUDA devices: their headers, and the one list of their types.
#pragma once

#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/losses/distillation.cuh>
#include <vlp/cuda/losses/info_nce.cuh>
#include <vlp/cuda/losses/local_alignment.cuh>
#include <vlp/cuda/losses/multi_scale.cuh>
#include <vlp/cuda/losses/pairwise_sigmoid.cuh>
#include <vlp/cuda/losses/perturbation_sensitivity.cuh>
#include <vlp/cuda/losses/token_alignment.cuh>
#include <vlp/cuda/losses/token_cross_entropy.cuh>
#include <vlp/losses/loss.hpp>

namespace vlp::detail {

template <class Scalar>
struct AllLosses<Scalar, Cuda> {
  using type =
      LossList<Distillation<Scalar, Cuda>, InfoNce<Scalar, Cuda>, LocalAlignment<Scalar, Cuda>,
               MultiScale<Scalar, Cuda>, PairwiseSigmoid<Scalar, Cuda>, PerturbationSensitivity<Scalar, Cuda>,
               TokenAlignment<Scalar, Cuda>, TokenCrossEntropy<Scalar, Cuda>>;
};

}  // namespace vlp::detail
