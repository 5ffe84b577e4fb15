/// \file
/// Rows brought to unit length, x^ = x / max(|x|, 1e-12), without storing x^.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/detail/unit_length.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>

#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace vlp::cuda::detail {

inline constexpr float largest_inverse = static_cast<float>(1 / vlp::detail::smallest_norm);

/// 1 / max(|x|, 1e-12) from the sum of squares.
__device__ inline double inverse_norm(double sum_of_squares) {
  return 1 / fmax(sqrt(sum_of_squares), vlp::detail::smallest_norm);
}

/// exp(s), what products of unit rows are scaled by.
__device__ inline float scale_of(const float* log_scale) {
  return static_cast<float>(exp(static_cast<double>(*log_scale)));
}

/// With x^ = inverse x and g the gradient for x^, the gradient for x is inverse g - projection x, where `dot`
/// is <x^, g>; and just inverse g where the norm was below the smallest, since x^ is linear in x there.
__device__ inline float projection(float inverse, float dot) {
  return inverse >= largest_inverse ? 0.0F : inverse * inverse * dot;
}

/// Rows [N, D] as operands of products, with the factors that make them unit rows: x^ = factor * operand.
///
/// Operands are the rows themselves except for Half, whose range has no room for factors: its operands are
/// copies scaled by powers of two to lengths in [1, 2), which rounds nothing but what is 2^-14 of a row's
/// length or less; so factors lie in (1/2, 1].
template <class Scalar>
struct UnitRows {
  Rows<const Scalar> x;        // as they were given
  Rows<const Scalar> operand;  // [N, D]
  const float* inverse;        // [N] 1 / max(|x|, 1e-12)
  const float* factor;         // [N]
};

/// Warp w of the grid takes row w of x (and, in the grid's second row, of y). Rows of y that are not valid
/// are not read, and count as rows of zeros.
template <class Scalar>
__global__ void __launch_bounds__(256)
    measure_rows(Rows<const Scalar> x, Rows<const Scalar> y, const std::uint8_t* valid, Index features,
                 float* inverse, float* factor, Rows<Half> operand) {
  const Index row = static_cast<Index>(blockIdx.x) * (256 / warp_size) + warp();
  const bool is_y = blockIdx.y != 0;
  if (row >= (is_y ? y.count : x.count)) return;
  const Scalar* from = is_y ? y[row] : x[row];
  const Index out = is_y ? x.count + row : row;
  const bool is_valid = !is_y || valid == nullptr || valid[row] != 0;
  double sum = 0;
  for (Index d = lane(); d < features && is_valid; d += warp_size) {
    const double v = to_float(from[d]);
    sum += v * v;
  }
  sum = warp_sum(sum);
  const auto inverse_of_row = static_cast<float>(inverse_norm(sum));
  float power = 1;
  if constexpr (std::is_same_v<Scalar, Half>) {
    if (sum > 0) power = exp2f(-floorf(log2f(static_cast<float>(sqrt(sum)))));
    for (Index d = lane(); d < features; d += warp_size)
      operand[out][d] = from_float<Half>(is_valid ? to_float(from[d]) * power : 0.0F);
  }
  if (lane() != 0) return;
  inverse[out] = inverse_of_row;
  factor[out] = std::is_same_v<Scalar, Half> ? (sum > 0 ? inverse_of_row / power : 1.0F) : inverse_of_row;
}

/// Copies rows, and writes zeros in place of those that are not valid. Warp w of the grid takes row w.
template <class Scalar>
__global__ void __launch_bounds__(256)
    copy_valid_rows(Rows<const Scalar> x, const std::uint8_t* valid, Index features, Rows<Scalar> out) {
  const Index row = static_cast<Index>(blockIdx.x) * (256 / warp_size) + warp();
  if (row >= x.count) return;
  for (Index d = lane(); d < features; d += warp_size)
    out[row][d] = valid[row] != 0 ? x[row][d] : from_float<Scalar>(0);
}

/// Numbers kept of the rows x [N, D] and y [M, D]: their lengths, and for Half also the copies.
template <class Scalar>
class UnitRowPairs {
 public:
  UnitRowPairs() = default;

  /// Takes the arrays; see vlp::detail::SavedArrays.
  template <class Arrays>
  UnitRowPairs(Arrays& arrays, Index x_count, Index y_count, Index features)
      : inverse_(arrays.template take<float>(x_count + y_count)),
        factor_(arrays.template take<float>(x_count + y_count)) {
    if constexpr (std::is_same_v<Scalar, Half>) {
      stride_ = whole_packs<Half>(features);
      copies_ = arrays.template take<Half>((x_count + y_count) * stride_);
    }
  }

  /// Writes the arrays.
  void measure(Cuda& device, MatrixView<const Scalar> x, MatrixView<const Scalar> y,
               const std::uint8_t* valid = nullptr) const {
    const Index count = x.rows() + y.rows();
    dim3 grid = blocks(std::max(x.rows(), y.rows()), 256 / warp_size);
    grid.y = 2;
    launch(measure_rows<Scalar>, grid, 256, 0, device.stream(), rows_of(x), rows_of(y), valid, x.cols(),
           inverse_, factor_, Rows<Half>{copies_, count, stride_});
  }

  /// The first of the pairs as operands; `x` as it was given to measure.
  [[nodiscard]] UnitRows<Scalar> first(MatrixView<const Scalar> x) const { return unit_rows(x, 0); }
  /// The second of them, behind `x_count` of the first.
  [[nodiscard]] UnitRows<Scalar> second(MatrixView<const Scalar> y, Index x_count) const {
    return unit_rows(y, x_count);
  }

 private:
  [[nodiscard]] UnitRows<Scalar> unit_rows(MatrixView<const Scalar> x, Index begin) const {
    UnitRows<Scalar> out{rows_of(x), rows_of(x), inverse_ + begin, factor_ + begin};
    if constexpr (std::is_same_v<Scalar, Half>) out.operand = {copies_ + begin * stride_, x.rows(), stride_};
    return out;
  }

  float *inverse_ = nullptr, *factor_ = nullptr;  // [N + M], of x and then of y
  Half* copies_ = nullptr;                        // [N + M, stride_]
  Index stride_ = 0;
};

}  // namespace vlp::cuda::detail
