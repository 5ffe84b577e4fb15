/// \file
/// Clipping of gradients by their joint norm.
#pragma once

#include <Eigen/Core>

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/parameter.hpp>
#include <vlp/optim/pieces.hpp>

#include <cmath>
#include <limits>

namespace vlp::optim {

/// The Euclidean norm of all gradients of the list together; if it is above `max_norm` (positive, infinity to
/// measure only), every gradient is scaled by max_norm / norm (Pascanu et al., "On the difficulty of training
/// recurrent neural networks", 2013). Summed in double, in an order that depends on the list alone. A norm
/// that is not finite is returned as it is and leaves the gradients alone, so that the caller can look for
/// the cause.
template <class Scalar>
double clip_gradient_norm(Cpu& device, const ParameterList<Scalar, Cpu>& list,
                          double max_norm = std::numeric_limits<double>::infinity()) {
  require(max_norm > 0, "clip_gradient_norm: max_norm must be positive, but is ", max_norm);
  const auto pieces = detail::cut_into_pieces(list);
  const auto gradient = [&](const detail::Piece& piece) {
    return Eigen::Map<Eigen::Array<Scalar, Eigen::Dynamic, 1>>(
        list[piece.parameter].parameter->gradient.data() + piece.begin, piece.end - piece.begin);
  };
  const auto count = static_cast<Index>(pieces.size());
  auto scope = device.scratch().scope();
  double* sums = scope.template take<double>(count);
  device.parallel_for(count, [&](Index i, int) {
    sums[i] = gradient(pieces[static_cast<std::size_t>(i)]).template cast<double>().square().sum();
  });
  double sum = 0;
  for (Index i = 0; i < count; ++i) sum += sums[i];
  const double norm = std::sqrt(sum);
  if (std::isfinite(norm) && norm > max_norm) {
    const auto factor = static_cast<Scalar>(max_norm / norm);
    device.parallel_for(count,
                        [&](Index i, int) { gradient(pieces[static_cast<std::size_t>(i)]) *= factor; });
  }
  return norm;
}

}  // namespace vlp::optim
