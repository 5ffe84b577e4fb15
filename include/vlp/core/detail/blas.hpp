/// \file
/// The BLAS behind the matrix product, where vlp is configured with one (CMake's VLP_BLAS).
#pragma once

#ifdef VLP_USE_BLAS
#include <cblas.h>

#include <vlp/core/view.hpp>

#include <algorithm>
#include <limits>
#include <string_view>

namespace vlp::detail {

/// Whether a matrix is one that BLAS takes: not empty, with rows in ascending order that do not overlap, and
/// with extents and a row stride that fit its integers.
template <class T>
bool fits_blas(const MatrixView<T>& matrix) {
  return std::min(matrix.rows(), matrix.cols()) > 0 &&
         (matrix.rows() == 1 || matrix.stride(0) >= matrix.cols()) &&
         std::max({matrix.rows(), matrix.cols(), matrix.stride(0)}) <= std::numeric_limits<int>::max();
}

/// The leading dimension of a matrix, which BLAS requires to be at least a row even if there is only one.
template <class T>
int leading_dimension(const MatrixView<T>& matrix) {
  return static_cast<int>(std::max(matrix.stride(0), matrix.cols()));
}

/// c = alpha op(a) op(b) + beta c.
template <class Scalar>
void gemm(MatrixView<const Scalar> a, bool transpose_a, MatrixView<const Scalar> b, bool transpose_b,
          MatrixView<Scalar> c, Scalar alpha, Scalar beta) {
  const auto op = [](bool transpose) { return transpose ? CblasTrans : CblasNoTrans; };
  const auto call = [&](const auto& routine) {
    routine(CblasRowMajor, op(transpose_a), op(transpose_b), static_cast<int>(c.rows()),
            static_cast<int>(c.cols()), static_cast<int>(transpose_a ? a.rows() : a.cols()), alpha, a.data(),
            leading_dimension(a), b.data(), leading_dimension(b), beta, c.data(), leading_dimension(c));
  };
  if constexpr (sizeof(Scalar) == sizeof(float))
    call(cblas_sgemm);
  else
    call(cblas_dgemm);
}

/// The number of threads of the BLAS itself, where it can be set, as in OpenBLAS.
struct BlasThreads {
#ifdef OPENBLAS_VERSION
  static int get() {
    return openblas_get_num_threads();
  }
  static void set(int count) {
    openblas_set_num_threads(count);
  }
  static std::string_view version() {
    constexpr std::string_view padded = OPENBLAS_VERSION;  // " OpenBLAS 0.3.21 "
    constexpr auto first = padded.find_first_not_of(' '), last = padded.find_last_not_of(' ');
    return padded.substr(first, last + 1 - first);
  }
#else
  static int get() {
    return 1;
  }
  static void set(int) {}
  static std::string_view version() {
    return "BLAS";
  }
#endif
};

}  // namespace vlp::detail
#endif
