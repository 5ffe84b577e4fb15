/// \file
/// Every CUDA and cuBLAS call is checked, in one way.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <vlp/core/errors.hpp>

#include <string_view>

namespace vlp::cuda {

/// Throws std::runtime_error, which says what failed and why, unless the call succeeded.
inline void check(cudaError_t status, std::string_view what) {
  ensure(status == cudaSuccess, "CUDA: ", what, ": ", cudaGetErrorString(status));
}
inline void check(cublasStatus_t status, std::string_view what) {
  ensure(status == CUBLAS_STATUS_SUCCESS, "cuBLAS: ", what, ": ", cublasGetStatusString(status));
}

}  // namespace vlp::cuda
