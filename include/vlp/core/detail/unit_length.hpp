/// \file
/// Rows brought to unit length, x^ = x / max(|x|, 1e-12), and the gradient of that. The losses never store
/// x^; the layers do.
#pragma once

#include <vlp/core/scalar.hpp>

#include <cmath>

namespace vlp::detail {

/// Norms below this bound are replaced by it (the default of torch.nn.functional.normalize).
inline constexpr double smallest_norm = 1e-12;

/// 1 / max(|x|, 1e-12) of the `size` numbers at x. The sum is in double, so it neither over- nor underflows
/// for float numbers.
template <class Scalar>
[[nodiscard]] Scalar inverse_norm(const Scalar* x, Index size) {
  double sum = 0;
#ifndef __CUDACC__
#pragma omp simd reduction(+ : sum)
#endif
  for (Index i = 0; i < size; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  const double norm = std::sqrt(sum);
  return static_cast<Scalar>(norm > smallest_norm ? 1 / norm : 1 / smallest_norm);
}

/// With `inverse` of inverse_norm, x^ = inverse x and g the gradient for x^, the gradient for x is
///   inverse (g - x^ <x^, g>) = inverse g - projection(inverse, <x^, g>) x,
/// and just inverse g where the norm was below the smallest, since x^ is linear in x there.
template <class Scalar>
[[nodiscard]] Scalar projection(Scalar inverse, double dot) {
  if (inverse >= static_cast<Scalar>(1 / smallest_norm)) return 0;
  return static_cast<Scalar>(static_cast<double>(inverse) * static_cast<double>(inverse) * dot);
}

}  // namespace vlp::detail
