#include "cublas_v2.h"
#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "memory.hpp"
#include "stream.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

struct cublasContext {
  int device;
  cudaStream_t stream;
};

namespace {

// A matrix of any type, read and written as float; element (i, j) of op(matrix), column-major.
struct Matrix {
  char* data;
  cudaDataType type;
  std::int64_t leading;
  bool transposed;

  std::int64_t offset(std::int64_t i, std::int64_t j) const {
    return transposed ? i * leading + j : j * leading + i;
  }

  float get(std::int64_t i, std::int64_t j) const {
    const std::int64_t at = offset(i, j);
    if (type == CUDA_R_16BF) return reinterpret_cast<const __nv_bfloat16*>(data)[at];
    if (type == CUDA_R_16F) return reinterpret_cast<const __half*>(data)[at];
    return reinterpret_cast<const float*>(data)[at];
  }

  void set(std::int64_t i, std::int64_t j, float value) const {
    const std::int64_t at = offset(i, j);
    if (type == CUDA_R_16BF) reinterpret_cast<__nv_bfloat16*>(data)[at] = __nv_bfloat16(value);
    if (type == CUDA_R_16F) reinterpret_cast<__half*>(data)[at] = __half(value);
    if (type == CUDA_R_32F) reinterpret_cast<float*>(data)[at] = value;
  }

  std::int64_t element_bytes() const { return type == CUDA_R_32F ? 4 : 2; }

  /// Whether all columns of all matrices, `stride` elements apart, begin at multiples of 16 bytes.
  bool aligned(std::int64_t stride, std::int64_t count) const {
    return reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && leading * element_bytes() % 16 == 0 &&
           (count == 1 || stride * element_bytes() % 16 == 0);
  }

  Matrix next(std::int64_t elements) const {
    return {data + elements * element_bytes(), type, leading, transposed};
  }
};

std::size_t unaligned = 0;

}  // namespace

std::size_t cuda_emulation::unaligned_products() {
  return unaligned;
}

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
  *handle = new cublasContext{cuda_emulation::current_device(), nullptr};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t, void*, std::size_t) {
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) {
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetPointerMode_v2(cublasHandle_t, cublasPointerMode_t mode) {
  return mode == CUBLAS_POINTER_MODE_HOST ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

const char* cublasGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "unknown status";
}

cublasStatus_t cublasGemmEx_64(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                               std::int64_t m, std::int64_t n, std::int64_t k, const void* alpha,
                               const void* A, cudaDataType Atype, std::int64_t lda, const void* B,
                               cudaDataType Btype, std::int64_t ldb, const void* beta, void* C,
                               cudaDataType Ctype, std::int64_t ldc, cublasComputeType_t compute,
                               cublasGemmAlgo_t algorithm) {
  return cublasGemmStridedBatchedEx_64(handle, transa, transb, m, n, k, alpha, A, Atype, lda, 0, B, Btype,
                                       ldb, 0, beta, C, Ctype, ldc, 0, 1, compute, algorithm);
}

cublasStatus_t cublasGemmStridedBatchedEx_64(cublasHandle_t handle, cublasOperation_t transa,
                                             cublasOperation_t transb, std::int64_t m, std::int64_t n,
                                             std::int64_t k, const void* alpha, const void* A,
                                             cudaDataType Atype, std::int64_t lda, long long strideA,
                                             const void* B, cudaDataType Btype, std::int64_t ldb,
                                             long long strideB, const void* beta, void* C, cudaDataType Ctype,
                                             std::int64_t ldc, long long strideC, std::int64_t count,
                                             cublasComputeType_t compute, cublasGemmAlgo_t) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  const std::int64_t one = 1;
  const bool a_plain = transa == CUBLAS_OP_N, b_plain = transb == CUBLAS_OP_N;
  if (m < 0 || n < 0 || k < 0 || count < 0 || !alpha || !beta || lda < std::max(one, a_plain ? m : k) ||
      ldb < std::max(one, b_plain ? k : n) || ldc < std::max(one, m)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (Atype != Btype || (Ctype != Atype && Ctype != CUDA_R_32F) || compute != CUBLAS_COMPUTE_32F) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  float scale, keep;
  std::memcpy(&scale, alpha, sizeof scale);
  std::memcpy(&keep, beta, sizeof keep);
  const int device = handle->device;
  if (device != cuda_emulation::current_device() || device != cuda_emulation::device_of(handle->stream))
    return CUBLAS_STATUS_EXECUTION_FAILED;
  // Only c is written to.
  const Matrix first_a{static_cast<char*>(const_cast<void*>(A)), Atype, lda, !a_plain};
  const Matrix first_b{static_cast<char*>(const_cast<void*>(B)), Btype, ldb, !b_plain};
  const Matrix first_c{static_cast<char*>(C), Ctype, ldc, false};
  if (!first_a.aligned(strideA, count) || !first_b.aligned(strideB, count) ||
      !first_c.aligned(strideC, count))
    ++unaligned;
  const auto multiply = [=] {
    const cuda_emulation::OpenDeviceMemory open(device);
    for (std::int64_t i = 0; i < count * m * n; ++i) {
      const std::int64_t batch = i / (m * n), row = i % m, column = i / m % n;
      const Matrix a = first_a.next(batch * strideA), b = first_b.next(batch * strideB),
                   c = first_c.next(batch * strideC);
      float sum = 0;
      for (std::int64_t l = 0; l < k; ++l) sum += a.get(row, l) * b.get(l, column);
      c.set(row, column, keep == 0 ? scale * sum : scale * sum + keep * c.get(row, column));
    }
  };
  return cuda_emulation::submit(handle->stream, multiply) == cudaSuccess ? CUBLAS_STATUS_SUCCESS
                                                                         : CUBLAS_STATUS_EXECUTION_FAILED;
}
