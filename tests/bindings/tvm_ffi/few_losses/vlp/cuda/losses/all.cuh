/// \file
/// Stands in for the header of the same name in a test: two losses, since all of them take minutes to
/// compile for the emulation. They have what the boundary meets: integers, flags, single numbers, numbers of
/// the host's, an input without a gradient.
#pragma once

#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/losses/distillation.cuh>
#include <vlp/cuda/losses/info_nce.cuh>
#include <vlp/losses/loss.hpp>

namespace vlp::detail {

template <class Scalar>
struct AllLosses<Scalar, Cuda> {
  using type = LossList<Distillation<Scalar, Cuda>, InfoNce<Scalar, Cuda>>;
};

}  // namespace vlp::detail
