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

/// c = alpha op(a) op(b) + beta c, with sums in float; float operands are not rounded (no TF32). beta = 0
/// overwrites c, whatever it held.
template <class Scalar>
void matmul(Cuda& device, MatrixView<const Scalar> a, Op op_a, MatrixView<const Scalar> b, Op op_b,
            MatrixView<float> c, float alpha = 1, float beta = 0) {
  const Index depth = op_a == Op::none ? a.cols() : a.rows();
  require((op_a == Op::none ? a.rows() : a.cols()) == c.rows() &&
              (op_b == Op::none ? b.cols() : b.rows()) == c.cols() &&
              (op_b == Op::none ? b.rows() : b.cols()) == depth,
          "matmul: extents do not fit: ", a.rows(), " x ", a.cols(), " and ", b.rows(), " x ", b.cols(),
          " into ", c.rows(), " x ", c.cols());
  // cuBLAS goes by columns: to it each of our matrices is its transpose, and the product c^T = b^T a^T.
  const auto op = [](Op o) { return o == Op::none ? CUBLAS_OP_N : CUBLAS_OP_T; };
  check(cublasGemmEx_64(device.cublas(), op(op_b), op(op_a), c.cols(), c.rows(), depth, &alpha, b.data(),
                        data_type<Scalar>, b.stride(0), a.data(), data_type<Scalar>, a.stride(0), &beta,
                        c.data(), CUDA_R_32F, c.stride(0), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
        "matrix product");
}

}  // namespace vlp::cuda
