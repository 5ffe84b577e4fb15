/// \file
/// The number types of the library.
#pragma once

#include <cstdint>
#include <type_traits>

namespace vlp {

/// The type of losses, log scales and their gradients for inputs of type `Scalar`: at least float.
template <class Scalar>
using AccumulatorOf = std::conditional_t<std::is_same_v<Scalar, double>, double, float>;

/// Extents, strides and offsets. 64 bits, so that products of extents beyond 2^31 are safe.
using Index = std::int64_t;

}  // namespace vlp
