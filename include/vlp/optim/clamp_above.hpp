/// \file
/// An upper bound on a learned scale.
#pragma once

#include <vlp/core/parameters.hpp>
#include <vlp/optim/ops/operations.hpp>

#include <type_traits>

namespace vlp::optim {

/// value = min(value, bound) for all values of a parameter: for a logit scale after each step of the
/// optimiser (Radford et al., "Learning transferable visual models from natural language supervision", 2021).
template <class Scalar, class Device>
void clamp_above(Device& device, const Parameter<Scalar, Device>& parameter,
                 std::type_identity_t<Scalar> bound) {
  clamp_above<Scalar>(device, parameter.value(), bound);
}

}  // namespace vlp::optim
