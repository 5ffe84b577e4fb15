/// \file
/// The most that this machine can do, measured in the same run as what is compared to it.
#pragma once

#include <string>

namespace vlp::benchmarks {

/// The best rate, in flop/s, of a product of two 1536 x 1536 matrices on that many threads: of vlp::matmul
/// and, where the build found one, of a BLAS, whichever vlp itself uses. Each call measures anew and returns
/// the best of all calls, since other work on the machine can only make a product slower.
template <class Scalar>
[[nodiscard]] double product_rate(int threads);

/// The best rate, in bytes/s read and written together, of copying 128 MiB on that many threads; as
/// product_rate.
[[nodiscard]] double copy_rate(int threads);

/// Names the library that computes vlp's own products.
[[nodiscard]] std::string backend();

/// The BLAS that product_rate measures beside, or "none".
[[nodiscard]] std::string other_blas();

}  // namespace vlp::benchmarks
