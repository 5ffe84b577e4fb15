/// \file
/// The 16-bit number types, and memory accesses of 16 bytes.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace vlp {

/// 8 bits of exponent, 8 of precision: the range of float.
using BFloat16 = __nv_bfloat16;
/// 5 bits of exponent, 11 of precision: up to 65504.
using Half = __half;

}  // namespace vlp

namespace vlp::cuda {

template <class Scalar>
inline constexpr bool is_16_bit = std::is_same_v<Scalar, BFloat16> || std::is_same_v<Scalar, Half>;

__host__ __device__ inline float to_float(float x) {
  return x;
}
__host__ __device__ inline float to_float(BFloat16 x) {
  return __bfloat162float(x);
}
__host__ __device__ inline float to_float(Half x) {
  return __half2float(x);
}

/// Rounds to nearest. Finite numbers stay finite: Half ends at its largest number.
template <class Scalar>
__host__ __device__ inline Scalar from_float(float x) {
  if constexpr (std::is_same_v<Scalar, Half>) {
    constexpr float largest = 65504, largest_float = 3.402823466e38F;
    if (x > largest && x <= largest_float) x = largest;
    if (x < -largest && x >= -largest_float) x = -largest;
    return __float2half_rn(x);
  } else if constexpr (std::is_same_v<Scalar, BFloat16>) {
    return __float2bfloat16_rn(x);
  } else {
    return x;
  }
}

/// Product rounded on its own, never fused into a multiply-add, so that equal terms cancel exactly.
__device__ inline float rounded_product(float x, float y) {
#ifdef VLP_CUDA_EMULATION
  return x * y;
#else
  return __fmul_rn(x, y);
#endif
}

/// 16 bytes, or one element where an address is not so aligned: what a thread reads or writes at once.
template <class Scalar, int Count>
struct alignas(sizeof(Scalar) * Count) Pack {
  Scalar value[Count];
};
template <class Scalar>
inline constexpr int pack_size = 16 / sizeof(Scalar);

/// `count` elements in whole packs of 16 bytes.
template <class Scalar>
constexpr Index whole_packs(Index count) {
  return (count + pack_size<Scalar> - 1) / pack_size<Scalar> * pack_size<Scalar>;
}

/// Rows of a matrix in device memory, as kernels take them: [count, ...], `stride` elements apart.
template <class T>
struct Rows {
  T* data = nullptr;
  Index count = 0;
  Index stride = 0;

  __host__ __device__ T* operator[](Index i) const { return data + i * stride; }
  /// Says whether every row begins at a multiple of 16 bytes.
  [[nodiscard]] bool aligned() const {
    return reinterpret_cast<std::uintptr_t>(data) % 16 == 0 &&
           stride * static_cast<Index>(sizeof(T)) % 16 == 0;
  }
};

/// Rows of a batch of matrices: row (b, i) of [count, ..., ...].
template <class T>
struct BatchRows {
  T* data = nullptr;
  Index count = 0;
  Index batch_stride = 0, stride = 0;

  __host__ __device__ T* operator()(Index b, Index i) const { return data + b * batch_stride + i * stride; }
  /// Says whether every row begins at a multiple of 16 bytes.
  [[nodiscard]] bool aligned() const {
    return Rows<T>{data, count, batch_stride}.aligned() && Rows<T>{data, count, stride}.aligned();
  }
};

/// Views as kernels take them.
template <class T>
[[nodiscard]] Rows<T> rows_of(const MatrixView<T>& view) {
  return {view.data(), view.rows(), view.stride(0)};
}
template <class T>
[[nodiscard]] BatchRows<T> batch_rows_of(const BatchView<T>& view) {
  return {view.data(), view.extent(0), view.stride(0), view.stride(1)};
}

}  // namespace vlp::cuda
