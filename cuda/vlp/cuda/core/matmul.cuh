/// \file
/// Plain matrix products, by cuBLAS.
#pragma once

#include <cublas_v2.h>

#include <vlp/core/errors.hpp>
#include <vlp/core/op.hpp>
#include <vlp/core/view.hpp>
#include <vlp/cuda/core/check.cuh>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/scalar.cuh>

#include <type_traits>

namespace vlp::cuda {

template <class Scalar>
inline constexpr cudaDataType_t data_type = std::is_same_v<Scalar, float>      ? CUDA_R_32F
                                            : std::is_same_v<Scalar, BFloat16> ? CUDA_R_16BF
                                                                               : CUDA_R_16F;

namespace detail {

/// Throws std::invalid_argument unless op(a) op(b), of the extents given, is of those of c.
inline void check_product(Index a_rows, Index a_cols, Op op_a, Index b_rows, Index b_cols, Op op_b,
                          Index c_rows, Index c_cols) {
  require((op_a == Op::none ? a_rows : a_cols) == c_rows && (op_b == Op::none ? b_cols : b_rows) == c_cols &&
              (op_a == Op::none ? a_cols : a_rows) == (op_b == Op::none ? b_rows : b_cols),
          "matmul: extents do not fit: ", a_rows, " x ", a_cols, " and ", b_rows, " x ", b_cols, " into ",
          c_rows, " x ", c_cols);
}

inline cublasOperation_t to_cublas(Op op) {
  return op == Op::none ? CUBLAS_OP_N : CUBLAS_OP_T;
}

}  // namespace detail

/// Uninitialised scratch [rows, columns] for matrix products: its rows begin at multiples of 16 bytes, since
/// cuBLAS has its fastest kernels for such matrices only.
template <class T, class Scope>
[[nodiscard]] MatrixView<T> take_matrix(Scope& scratch, Index rows, Index columns) {
  const Index stride = whole_packs<T>(columns);
  return MatrixView<T>(scratch.template take<T>(rows * stride), {rows, columns}, {stride, 1});
}

/// c = alpha op(a) op(b) + beta c, with sums in float; float operands are not rounded (no TF32). beta = 0
/// overwrites c, whatever it held.
template <class Scalar>
void matmul(Cuda& device, MatrixView<const Scalar> a, Op op_a, MatrixView<const Scalar> b, Op op_b,
            MatrixView<float> c, float alpha = 1, float beta = 0) {
  detail::check_product(a.rows(), a.cols(), op_a, b.rows(), b.cols(), op_b, c.rows(), c.cols());
  // cuBLAS goes by columns: to it each of our matrices is its transpose, and the product c^T = b^T a^T.
  check(cublasGemmEx_64(device.cublas(), detail::to_cublas(op_b), detail::to_cublas(op_a), c.cols(), c.rows(),
                        op_a == Op::none ? a.cols() : a.rows(), &alpha, b.data(), data_type<Scalar>,
                        b.stride(0), a.data(), data_type<Scalar>, a.stride(0), &beta, c.data(), CUDA_R_32F,
                        c.stride(0), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
        "matrix product");
}

/// c[k] = alpha op(a[k]) op(b[k]) + beta c[k] for all matrices k of the batches, likewise.
template <class Scalar>
void matmul(Cuda& device, const BatchView<const Scalar>& a, Op op_a, const BatchView<const Scalar>& b,
            Op op_b, const BatchView<float>& c, float alpha = 1, float beta = 0) {
  detail::check_product(a.extent(1), a.extent(2), op_a, b.extent(1), b.extent(2), op_b, c.extent(1),
                        c.extent(2));
  require(a.extent(0) == c.extent(0) && b.extent(0) == c.extent(0), "matmul: batches of ", a.extent(0),
          " and of ", b.extent(0), " matrices into one of ", c.extent(0));
  check(cublasGemmStridedBatchedEx_64(
            device.cublas(), detail::to_cublas(op_b), detail::to_cublas(op_a), c.extent(2), c.extent(1),
            op_a == Op::none ? a.extent(2) : a.extent(1), &alpha, b.data(), data_type<Scalar>, b.stride(1),
            b.stride(0), a.data(), data_type<Scalar>, a.stride(1), a.stride(0), &beta, c.data(), CUDA_R_32F,
            c.stride(1), c.stride(0), c.extent(0), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
        "matrix products");
}

}  // namespace vlp::cuda
