/// \file
/// Stands in for the CUDA toolkit's header of the same name: products of matrices, as plain loops, on the
/// handle's stream.
#pragma once

#include "cuda_emulation/runtime.hpp"

#include <cstddef>
#include <cstdint>

enum cublasStatus_t {
  CUBLAS_STATUS_SUCCESS = 0,
  CUBLAS_STATUS_NOT_INITIALIZED = 1,
  CUBLAS_STATUS_INVALID_VALUE = 7,
  CUBLAS_STATUS_EXECUTION_FAILED = 13,
  CUBLAS_STATUS_NOT_SUPPORTED = 15,
};
enum cublasOperation_t { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1, CUBLAS_OP_C = 2 };
enum cublasComputeType_t { CUBLAS_COMPUTE_32F = 68 };
enum cublasGemmAlgo_t { CUBLAS_GEMM_DEFAULT = -1 };
enum cublasMath_t { CUBLAS_DEFAULT_MATH = 0, CUBLAS_PEDANTIC_MATH = 2, CUBLAS_TF32_TENSOR_OP_MATH = 3 };
enum cublasPointerMode_t { CUBLAS_POINTER_MODE_HOST = 0, CUBLAS_POINTER_MODE_DEVICE = 1 };
enum cudaDataType_t { CUDA_R_32F = 0, CUDA_R_16F = 2, CUDA_R_16BF = 14 };
using cudaDataType = cudaDataType_t;
using cublasHandle_t = struct cublasContext*;

namespace cuda_emulation {

/// How many products this program has asked for of which a matrix (or, in a batch, any of its matrices) had a
/// column that does not begin at a multiple of 16 bytes: cuBLAS has slower kernels for these.
std::size_t unaligned_products();

}  // namespace cuda_emulation

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle);
cublasStatus_t cublasDestroy_v2(cublasHandle_t handle);
cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream);
cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void* workspace, std::size_t bytes);
cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode);
/// Factors are on the host; CUBLAS_POINTER_MODE_DEVICE is not supported.
cublasStatus_t cublasSetPointerMode_v2(cublasHandle_t handle, cublasPointerMode_t mode);
const char* cublasGetStatusString(cublasStatus_t status);

// The toolkit has these names as macros, too.
#define cublasCreate cublasCreate_v2
#define cublasDestroy cublasDestroy_v2
#define cublasSetStream cublasSetStream_v2
#define cublasSetWorkspace cublasSetWorkspace_v2
#define cublasSetPointerMode cublasSetPointerMode_v2

/// C = alpha op(A) op(B) + beta C, all column-major, C [m, n] and the sum over k; C is not read where beta is
/// 0. A and B are of one type, C of theirs or float; sums are in float.
cublasStatus_t cublasGemmEx_64(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                               std::int64_t m, std::int64_t n, std::int64_t k, const void* alpha,
                               const void* A, cudaDataType Atype, std::int64_t lda, const void* B,
                               cudaDataType Btype, std::int64_t ldb, const void* beta, void* C,
                               cudaDataType Ctype, std::int64_t ldc, cublasComputeType_t compute,
                               cublasGemmAlgo_t algorithm);

/// The same for `count` of them, strides (elements) apart.
cublasStatus_t cublasGemmStridedBatchedEx_64(cublasHandle_t handle, cublasOperation_t transa,
                                             cublasOperation_t transb, std::int64_t m, std::int64_t n,
                                             std::int64_t k, const void* alpha, const void* A,
                                             cudaDataType Atype, std::int64_t lda, long long strideA,
                                             const void* B, cudaDataType Btype, std::int64_t ldb,
                                             long long strideB, const void* beta, void* C, cudaDataType Ctype,
                                             std::int64_t ldc, long long strideC, std::int64_t count,
                                             cublasComputeType_t compute, cublasGemmAlgo_t algorithm);
