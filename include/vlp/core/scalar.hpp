/// \file
/// The number types of the library.
#pragma once

#include <concepts>
#include <cstdint>

namespace vlp {

namespace detail {
template <class Scalar>
struct AccumulatorOf {
  using type = float;
};
template <>
struct AccumulatorOf<double> {
  using type = double;
};
}  // namespace detail

/// The type of losses, log scales and their gradients for inputs of type `Scalar`: at least float.
template <class Scalar>
using AccumulatorOf = typename detail::AccumulatorOf<Scalar>::type;

/// Extents, strides and offsets. 64 bits, so that products of extents beyond 2^31 are safe.
using Index = std::int64_t;

}  // namespace vlp
