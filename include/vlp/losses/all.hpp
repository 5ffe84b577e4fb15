/// \file
/// Every loss on the CPU: their headers, and the one list of their types.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/losses/distillation.hpp>
#include <vlp/losses/info_nce.hpp>
#include <vlp/losses/local_alignment.hpp>
#include <vlp/losses/loss.hpp>
#include <vlp/losses/multi_scale.hpp>
#include <vlp/losses/pairwise_sigmoid.hpp>
#include <vlp/losses/perturbation_sensitivity.hpp>
#include <vlp/losses/token_alignment.hpp>
#include <vlp/losses/token_cross_entropy.hpp>

namespace vlp::detail {

template <class Scalar>
struct AllLosses<Scalar, Cpu> {
  using type = LossList<Distillation<Scalar>, InfoNce<Scalar>, LocalAlignment<Scalar>, MultiScale<Scalar>,
                        PairwiseSigmoid<Scalar>, PerturbationSensitivity<Scalar>, TokenAlignment<Scalar>,
                        TokenCrossEntropy<Scalar>>;
};

}  // namespace vlp::detail
