/// \file
/// Clipping of gradients by their joint norm.
#pragma once

#include <vlp/core/device.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/optim/ops/operations.hpp>
#include <vlp/optim/pieces.hpp>

#include <cmath>
#include <limits>
#include <span>

namespace vlp::optim {

/// The Euclidean norm of all gradients of the list together; if it is above `max_norm` (positive, infinity to
/// measure only), every gradient is scaled by max_norm / norm (Pascanu et al., "On the difficulty of training
/// recurrent neural networks", 2013). Summed in double, in an order that depends on the list alone. A norm
/// that is not finite is returned as it is and leaves the gradients alone, so that the caller can look for
/// the cause.
template <class Scalar, class Device>
double clip_gradient_norm(Device& device, const ParameterList<Scalar, Device>& list,
                          double max_norm = std::numeric_limits<double>::infinity()) {
  require(max_norm > 0, "clip_gradient_norm: max_norm must be positive, but is ", max_norm);
  const auto on_host = detail::cut_into_pieces(list);
  auto scope = device.scratch().scope();
  const auto memory = scope.template take_view<Piece<Scalar>>(on_host.size());
  upload(device, std::span<const Piece<Scalar>>(on_host), memory.data());
  const Pieces<Scalar> pieces = memory;
  double* sum_on_device = scope.template take<double>(1);
  sum_of_squares<Scalar>(device, pieces, sum_on_device);
  double sum = 0;
  download(device, sum_on_device, std::span(&sum, 1));
  const double norm = std::sqrt(sum);
  if (std::isfinite(norm) && norm > max_norm)
    scale_gradients<Scalar>(device, pieces, static_cast<AccumulatorOf<Scalar>>(max_norm / norm));
  return norm;
}

}  // namespace vlp::optim
