/// \file
/// Single numbers as results, such as the gradient of a log scale.
#pragma once

#include <vlp/core/into.hpp>

namespace vlp::detail {

/// Writes `value` to `*to`, or adds it to what stands there. A null `to` skips it.
template <class Accumulator>
void write_number(double value, Into into, Accumulator* to) {
  if (to != nullptr) *to = static_cast<Accumulator>(value) + (into == Into::add ? *to : Accumulator(0));
}

}  // namespace vlp::detail
