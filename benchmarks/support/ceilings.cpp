#include "support/ceilings.hpp"

#include <vlp/core/buffer.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/core/view.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <map>
#include <string>

#ifdef VLP_BENCHMARK_CBLAS
#include <cblas.h>
#endif

namespace vlp::benchmarks {
namespace {

/// Seconds of the fastest of some runs.
template <class Run>
double fastest(int runs, Run run) {
  double best = 0;
  for (int i = 0; i < runs; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    best = i == 0 ? taken.count() : std::min(best, taken.count());
  }
  return best;
}

/// Without blanks around it; OpenBLAS writes its version with some. Not called where there is no OpenBLAS.
[[maybe_unused]] std::string trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(' '), end = text.find_last_not_of(' ');
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

/// Many runs at first, which also brings the processor up to speed, then few.
int runs(double best_so_far) {
  return best_so_far == 0 ? 8 : 2;
}

#ifdef VLP_BENCHMARK_CBLAS
/// c = a b for some rows of a and c; b is n x n.
void blas_product(int rows, int n, const float* a, const float* b, float* c) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, n, n, 1, a, n, b, n, 0, c, n);
}
void blas_product(int rows, int n, const double* a, const double* b, double* c) {
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, n, n, 1, a, n, b, n, 0, c, n);
}

/// Seconds of the BLAS, with the rows shared out to the device's threads: those of its own may be bound to
/// the caller's core.
template <class Scalar>
double blas_seconds(Cpu& device, int count, int n, const Scalar* a, const Scalar* b, Scalar* c) {
#ifdef OPENBLAS_VERSION
  const int before = openblas_get_num_threads();
  openblas_set_num_threads(1);
#endif
  const int threads = device.threads();
  const double seconds = fastest(count, [&] {
    device.parallel_for(threads, [&](Index piece, int) {
      const Index begin = piece * n / threads, end = (piece + 1) * n / threads;
      blas_product(static_cast<int>(end - begin), n, a + begin * n, b, c + begin * n);
    });
  });
#ifdef OPENBLAS_VERSION
  openblas_set_num_threads(before);
#endif
  return seconds;
}
#endif

}  // namespace

template <class Scalar>
double product_rate(int threads) {
  constexpr int n = 1536;
  static std::map<int, double> rates;
  static Buffer<Scalar> a(n * n), b(n * n), c(n * n);
  std::fill_n(a.data(), n * n, Scalar(1));
  std::fill_n(b.data(), n * n, Scalar(1));
  double& rate = rates[threads];
  const int count = runs(rate);
  const double flop = 2.0 * n * n * n;

  Cpu device(threads);
  const auto matrix = [](Buffer<Scalar>& values) { return MatrixView<Scalar>(values.data(), {n, n}); };
  const double own =
      fastest(count, [&] { matmul<Scalar>(device, matrix(a), Op::none, matrix(b), Op::none, matrix(c)); });
  rate = std::max(rate, flop / own);
#ifdef VLP_BENCHMARK_CBLAS
  rate = std::max(rate, flop / blas_seconds(device, count, n, a.data(), b.data(), c.data()));
#endif
  return rate;
}

template double product_rate<float>(int);
template double product_rate<double>(int);

double copy_rate(int threads) {
  constexpr Index size = Index(128) << 20, grain = Index(1) << 20;
  static std::map<int, double> rates;
  static Buffer<std::byte> from(size), to(size);
  double& rate = rates[threads];
  Cpu device(threads);
  const double seconds = fastest(runs(rate), [&] {
    device.parallel_ranges(size, grain, [&](Index begin, Index end) {
      std::memcpy(to.data() + begin, from.data() + begin, static_cast<std::size_t>(end - begin));
    });
  });
  rate = std::max(rate, 2.0 * static_cast<double>(size) / seconds);
  return rate;
}

std::string backend() {
  return matmul_backend();
}

std::string other_blas() {
#if defined(VLP_BENCHMARK_CBLAS) && defined(OPENBLAS_VERSION)
  return trimmed(OPENBLAS_VERSION);
#elif defined(VLP_BENCHMARK_CBLAS)
  return "BLAS";
#else
  return "none";
#endif
}

}  // namespace vlp::benchmarks
