#include "support/catch.hpp"
#include "testing.hpp"

#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace {

using cuda_emulation::dynamic_shared_memory;
using namespace cuda_emulation::testing;

template <class T>
std::vector<T> random_numbers(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<T> result;
  while (result.size() < count) result.push_back(T(uniform(random)));
  return result;
}

template <class T>
void mma(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  if constexpr (std::is_same_v<T, __half>) {
    cuda_emulation::mma_m16n8k16_f16(d, a, b);
  } else {
    cuda_emulation::mma_m16n8k16_bf16(d, a, b);
  }
}

/// d [16, 8] += a [16, 16] b [16, 8], all row-major; element i of a lane's fragment where the PTX ISA has it.
template <class T>
void by_elements(const T* a, const T* b, float* d) {
  const unsigned group = threadIdx.x >> 2, in_group = threadIdx.x % 4;
  T a_part[8], b_part[4];
  for (unsigned i = 0; i < 8; ++i) {
    const unsigned row = i < 2 || (i >= 4 && i < 6) ? group : group + 8;
    a_part[i] = a[16 * row + in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0)];
  }
  for (unsigned i = 0; i < 4; ++i) b_part[i] = b[8 * (in_group * 2 + (i & 1) + (i >= 2 ? 8 : 0)) + group];
  std::uint32_t a_registers[4], b_registers[2];
  std::memcpy(a_registers, a_part, sizeof a_part);
  std::memcpy(b_registers, b_part, sizeof b_part);
  float d_part[4];
  const auto place = [&](unsigned i) { return 8 * (i < 2 ? group : group + 8) + in_group * 2 + (i & 1); };
  for (unsigned i = 0; i < 4; ++i) d_part[i] = d[place(i)];
  mma<T>(d_part, a_registers, b_registers);
  for (unsigned i = 0; i < 4; ++i) d[place(i)] = d_part[i];
}

/// The same with fragments loaded by ldmatrix as kernels do it: a as it lies, b transposed.
template <class T>
void by_ldmatrix(const T* a, const T* b, float* d) {
  auto* const shared = static_cast<T*>(dynamic_shared_memory(384 * sizeof(T)));
  for (unsigned i = threadIdx.x; i < 384; i += 32) shared[i] = i < 256 ? a[i] : b[i - 256];
  __syncwarp();
  const unsigned lane = threadIdx.x;
  std::uint32_t a_part[4], b_part[4];
  cuda_emulation::ldmatrix_x4(a_part, shared + 16 * (lane % 16) + 8 * (lane / 16));
  cuda_emulation::ldmatrix_x4_trans(b_part, shared + 256 + 8 * (lane % 16));
  float d_part[4];
  for (unsigned i = 0; i < 4; ++i) d_part[i] = d[8 * (lane / 4 + 8 * (i / 2)) + 2 * (lane % 4) + i % 2];
  mma<T>(d_part, a_part, {b_part[0], b_part[1]});
  for (unsigned i = 0; i < 4; ++i) d[8 * (lane / 4 + 8 * (i / 2)) + 2 * (lane % 4) + i % 2] = d_part[i];
}

template <class T>
void check_mma(void (*kernel)(const T*, const T*, float*)) {
  for (unsigned seed = 0; seed < 4; ++seed) {
    const Order order(seed);
    const auto a = random_numbers<T>(256, seed), b = random_numbers<T>(128, 10 + seed);
    const auto c = random_numbers<float>(128, 20 + seed);
    Array<T> device_a(a), device_b(b);
    Array<float> d(c);
    REQUIRE(launch(kernel, 1, 32, 768, device_a.data(), device_b.data(), d.data()) == cudaSuccess);
    for (std::size_t i = 0; i < 128; ++i) {
      double sum = c[i];
      for (std::size_t k = 0; k < 16; ++k) sum += double{a[16 * (i / 8) + k]} * double{b[8 * k + i % 8]};
      REQUIRE(d.host()[i] == Approx(sum).epsilon(1e-6).margin(1e-6));
    }
  }
}

}  // namespace

TEST_CASE("mma is the product of matrices") {
  check_mma<__nv_bfloat16>(by_elements<__nv_bfloat16>);
  check_mma<__half>(by_elements<__half>);
}

TEST_CASE("ldmatrix loads the fragments that mma takes") {
  check_mma<__nv_bfloat16>(by_ldmatrix<__nv_bfloat16>);
  check_mma<__half>(by_ldmatrix<__half>);
}

TEST_CASE("ldmatrix gives each lane two elements of each matrix") {
  const auto kernel = [](unsigned* out, bool transposed) {
    auto* const shared = static_cast<std::uint16_t*>(dynamic_shared_memory(512));
    for (unsigned i = 0; i < 8; ++i)
      shared[8 * threadIdx.x + i] = static_cast<std::uint16_t>(8 * threadIdx.x + i);
    __syncwarp();
    std::uint32_t r[4];
    (transposed ? cuda_emulation::ldmatrix_x4_trans : cuda_emulation::ldmatrix_x4)(r,
                                                                                   shared + 8 * threadIdx.x);
    for (unsigned i = 0; i < 4; ++i) out[4 * threadIdx.x + i] = r[i];
  };
  Array<unsigned> plain(128), transposed(128);
  REQUIRE(launch(+kernel, 1, 32, 512, plain.data(), false) == cudaSuccess);
  REQUIRE(launch(+kernel, 1, 32, 512, transposed.data(), true) == cudaSuccess);
  for (unsigned lane = 0; lane < 32; ++lane) {
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned first = 64 * i + 8 * (lane / 4) + 2 * (lane % 4),
                     at = 64 * i + 16 * (lane % 4) + lane / 4;
      CHECK(plain.host()[4 * lane + i] == (first | (first + 1) << 16));
      CHECK(transposed.host()[4 * lane + i] == (at | (at + 8) << 16));
    }
  }
}

TEST_CASE("an address that the instruction does not take is reported") {
  const auto rows = [](int offset) {
    std::uint32_t r[4];
    cuda_emulation::ldmatrix_x4(r,
                                static_cast<char*>(dynamic_shared_memory(512)) + 16 * threadIdx.x + offset);
  };
  CHECK(message_of(rows, 32, 512, 0) == "");
  CHECK_THAT(message_of(rows, 32, 512, 8),
             ContainsSubstring("ldmatrix: an address is not aligned to 16 bytes"));
  CHECK_THAT(message_of(rows, 32, 512, 16),
             ContainsSubstring("ldmatrix: an address is not in shared memory"));
  const auto copies = [](char* data, int to, int from, int bytes) {
    cuda_emulation::cp_async_16(static_cast<char*>(dynamic_shared_memory(64)) + to, data + from, bytes);
  };
  Array<char> data(64);
  CHECK(message_of(copies, 1, 64, data.data(), 48, 48, 16) == "");
  CHECK_THAT(message_of(copies, 1, 64, data.data(), 4, 0, 16),
             ContainsSubstring("cp.async: an address is not aligned"));
  CHECK_THAT(message_of(copies, 1, 64, data.data(), 0, 4, 16),
             ContainsSubstring("cp.async: an address is not aligned"));
  CHECK_THAT(message_of(copies, 1, 64, data.data(), 64, 0, 16), ContainsSubstring("not in shared memory"));
  CHECK_THAT(message_of(copies, 1, 64, data.data(), 0, 0, 17), ContainsSubstring("cp.async: 17 bytes of 16"));
}

TEST_CASE("an asynchronous copy is there after its group was waited for") {
  // out [3, 4]: after the groups were committed, after waiting for the first, after waiting for both.
  const auto kernel = [](const int* in, int* out) {
    auto* const shared = static_cast<int*>(dynamic_shared_memory(32));
    for (int i = 0; i < 8; ++i) shared[i] = -5;
    cuda_emulation::cp_async_16(shared, in, 16);
    cuda_emulation::cp_async_commit();
    cuda_emulation::cp_async_16(shared + 4, in + 4, 4);
    cuda_emulation::cp_async_commit();
    for (int step = 0; step < 3; ++step) {
      if (step > 0) cuda_emulation::cp_async_wait(2 - step);
      const int kept[] = {shared[0], shared[3], shared[4], shared[7]};
      for (int i = 0; i < 4; ++i) out[4 * step + i] = kept[i];
    }
  };
  const std::vector<int> values{10, 11, 12, 13, 14, 15, 16, 17},
      late{-5, -5, -5, -5, 10, 13, -5, -5, 10, 13, 14, 0};
  Array<int> in(values), out(12);
  REQUIRE(launch(+kernel, 1, 1, 32, static_cast<const int*>(in.data()), out.data()) == cudaSuccess);
  CHECK(out.host() == late);
  int early = 0;
  for (std::uint64_t seed = 1; seed < 20; ++seed) {
    const Order order(seed);
    REQUIRE(launch(+kernel, 1, 1, 32, static_cast<const int*>(in.data()), out.data()) == cudaSuccess);
    early += out.host()[0] == 10;
    CHECK(std::vector<int>(out.host().begin() + 8, out.host().end()) == std::vector<int>{10, 13, 14, 0});
  }
  CHECK(early > 3);
  CHECK(early < 16);
}

// --- cuBLAS

namespace {

template <class In, class Out>
void check_products(cudaDataType in_type, cudaDataType out_type, double tolerance) {
  const std::int64_t m = 5, n = 4, k = 7, lda = 9, ldb = 8, ldc = 6, batches = 2;
  const auto a = random_numbers<In>(static_cast<std::size_t>(batches * 81), 1);
  const auto b = random_numbers<In>(static_cast<std::size_t>(batches * 64), 2);
  const auto c = random_numbers<Out>(static_cast<std::size_t>(batches * 24), 3);
  const auto at = [](const auto& matrix, std::int64_t i) {
    return double{matrix[static_cast<std::size_t>(i)]};
  };
  Array<In> device_a(a), device_b(b);
  cublasHandle_t handle = nullptr;
  REQUIRE(cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS);
  for (const bool a_turned : {false, true}) {
    for (const bool b_turned : {false, true}) {
      for (const float beta : {0.0f, 0.5f}) {
        const float alpha = 2;
        Array<Out> d(c);
        if (beta == 0) cudaMemsetAsync(d.data(), 0xFF, c.size() * sizeof(Out));  // NaN that must not be read
        REQUIRE(cublasGemmStridedBatchedEx_64(
                    handle, a_turned ? CUBLAS_OP_T : CUBLAS_OP_N, b_turned ? CUBLAS_OP_T : CUBLAS_OP_N, m, n,
                    k, &alpha, device_a.data(), in_type, lda, 81, device_b.data(), in_type, ldb, 64, &beta,
                    d.data(), out_type, ldc, 24, batches, CUBLAS_COMPUTE_32F,
                    CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
        for (std::int64_t i = 0; i < batches * m * n; ++i) {
          const std::int64_t batch = i / (m * n), row = i % m, column = i / m % n;
          double sum = beta == 0 ? 0 : beta * at(c, 24 * batch + row + ldc * column);
          for (std::int64_t l = 0; l < k; ++l) {
            sum += 2 * at(a, 81 * batch + (a_turned ? l + lda * row : row + lda * l)) *
                   at(b, 64 * batch + (b_turned ? column + ldb * l : l + ldb * column));
          }
          REQUIRE(std::fabs(at(d.host(), 24 * batch + row + ldc * column) - sum) <= tolerance);
        }
        // Rows below the m-th are not written.
        if (beta != 0) REQUIRE(at(d.host(), 5) == at(c, 5));
      }
    }
  }
  cublasDestroy(handle);
}

}  // namespace

TEST_CASE("products of every pair of layouts and types") {
  check_products<float, float>(CUDA_R_32F, CUDA_R_32F, 1e-5);
  check_products<__nv_bfloat16, float>(CUDA_R_16BF, CUDA_R_32F, 1e-5);
  check_products<__nv_bfloat16, __nv_bfloat16>(CUDA_R_16BF, CUDA_R_16BF, 0.04);
  check_products<__half, float>(CUDA_R_16F, CUDA_R_32F, 1e-5);
  check_products<__half, __half>(CUDA_R_16F, CUDA_R_16F, 0.005);
}

TEST_CASE("products of matrices that are not aligned to 16 bytes are counted") {
  cublasHandle_t handle = nullptr;
  REQUIRE(cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS);
  Array<float> a(64), c(64);
  const float one = 1;
  const auto count = [&](const float* first, std::int64_t lda, std::int64_t ldc, long long stride) {
    const std::size_t before = cuda_emulation::unaligned_products();
    CHECK(cublasGemmStridedBatchedEx_64(handle, CUBLAS_OP_N, CUBLAS_OP_N, 3, 2, 2, &one, first, CUDA_R_32F,
                                        lda, stride, a.data(), CUDA_R_32F, 4, 8, &one, c.data(), CUDA_R_32F,
                                        ldc, 16, 2, CUBLAS_COMPUTE_32F,
                                        CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
    return cuda_emulation::unaligned_products() - before;
  };
  CHECK(count(a.data(), 4, 8, 12) == 0);
  CHECK(count(a.data() + 1, 4, 8, 12) == 1);
  CHECK(count(a.data(), 5, 8, 12) == 1);
  CHECK(count(a.data(), 4, 7, 12) == 1);
  CHECK(count(a.data(), 4, 8, 13) == 1);
  cublasDestroy(handle);
}

TEST_CASE("a product that cuBLAS refuses is refused") {
  cublasHandle_t handle = nullptr;
  REQUIRE(cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS);
  Array<float> a(64), c(64);
  const float one = 1;
  const auto product = [&](cublasOperation_t ta, cublasOperation_t tb, std::int64_t lda, std::int64_t ldb,
                           std::int64_t ldc, cudaDataType in = CUDA_R_32F, cudaDataType out = CUDA_R_32F) {
    return cublasGemmEx_64(handle, ta, tb, 3, 4, 5, &one, a.data(), in, lda, a.data(), in, ldb, &one,
                           c.data(), out, ldc, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
  };
  CHECK(product(CUBLAS_OP_N, CUBLAS_OP_N, 3, 5, 3) == CUBLAS_STATUS_SUCCESS);
  CHECK(product(CUBLAS_OP_N, CUBLAS_OP_N, 2, 5, 3) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(product(CUBLAS_OP_N, CUBLAS_OP_N, 3, 4, 3) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(product(CUBLAS_OP_N, CUBLAS_OP_N, 3, 5, 2) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(product(CUBLAS_OP_T, CUBLAS_OP_T, 5, 4, 3) == CUBLAS_STATUS_SUCCESS);
  CHECK(product(CUBLAS_OP_T, CUBLAS_OP_T, 4, 4, 3) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(product(CUBLAS_OP_T, CUBLAS_OP_T, 5, 3, 3) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(product(CUBLAS_OP_N, CUBLAS_OP_N, 3, 5, 3, CUDA_R_32F, CUDA_R_16F) == CUBLAS_STATUS_NOT_SUPPORTED);
  CHECK(product(CUBLAS_OP_N, CUBLAS_OP_N, 3, 5, 3, CUDA_R_16BF, CUDA_R_16F) == CUBLAS_STATUS_NOT_SUPPORTED);
  CHECK(std::string(cublasGetStatusString(CUBLAS_STATUS_NOT_SUPPORTED)) == "CUBLAS_STATUS_NOT_SUPPORTED");
  cublasDestroy(handle);
}
