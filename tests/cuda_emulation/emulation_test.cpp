#include "support/catch.hpp"
#include "testing.hpp"

#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace {

using cuda_emulation::dynamic_shared_memory;
using namespace cuda_emulation::testing;

/// One warp whose lane i writes f(i).
template <class T>
std::vector<T> warp(T (*f)(unsigned)) {
  Array<T> result(32);
  const auto kernel = +[](T* out, T (*function)(unsigned)) { out[threadIdx.x] = function(threadIdx.x); };
  REQUIRE(launch(kernel, 1, 32, 0, result.data(), f) == cudaSuccess);
  return result.host();
}

}  // namespace

// --- launches

TEST_CASE("each thread of each block runs once and knows its place") {
  const auto kernel = [](int* out) {
    const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    atomicAdd(out + block * 30 + thread, static_cast<int>(100 * block + thread));
  };
  Array<int> out(24 * 30);
  for (const std::uint64_t seed : {0, 1, 2}) {
    const Order order(seed);
    cudaMemsetAsync(out.data(), 0, 24 * 30 * sizeof(int));
    const std::size_t before = cuda_emulation::launches();
    REQUIRE(launch(+kernel, dim3(2, 3, 4), dim3(5, 3, 2), 0, out.data()) == cudaSuccess);
    CHECK(cuda_emulation::launches() == before + 1);
    for (int i = 0; i < 24 * 30; ++i)
      REQUIRE(out.host()[static_cast<std::size_t>(i)] == 100 * (i / 30) + i % 30);
  }
}

TEST_CASE("a launch that the device refuses is refused") {
  const auto nothing = +[]() {};
  CHECK(launch(nothing, 1, 1024, 0) == cudaSuccess);
  CHECK(launch(nothing, 1, 1025, 0) == cudaErrorInvalidConfiguration);
  CHECK(cudaPeekAtLastError() == cudaErrorInvalidConfiguration);
  CHECK(cudaGetLastError() == cudaErrorInvalidConfiguration);
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(launch(nothing, 0, 32, 0) == cudaErrorInvalidConfiguration);
  CHECK(launch(nothing, 1, 0, 0) == cudaErrorInvalidConfiguration);
  CHECK(launch(nothing, dim3(1, 65536), 1, 0) == cudaErrorInvalidConfiguration);
  CHECK(launch(nothing, dim3(1, 1, 65536), 1, 0) == cudaErrorInvalidConfiguration);
  CHECK(launch(nothing, 1, dim3(1, 1, 65), 0) == cudaErrorInvalidConfiguration);
  CHECK(launch(nothing, 1, 1, 48 << 10) == cudaSuccess);
  CHECK(launch(nothing, 1, 1, (48 << 10) + 1) == cudaErrorInvalidValue);
  CHECK(cudaFuncSetAttribute(nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, (227 << 10) + 1) ==
        cudaErrorInvalidValue);
  CHECK(cudaFuncSetAttribute(nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, 227 << 10) == cudaSuccess);
  CHECK(launch(nothing, 1, 1, 227 << 10) == cudaSuccess);
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
}

// --- collectives

TEST_CASE("shuffles") {
  const auto sources = [](auto source, unsigned (*f)(unsigned)) {
    const auto result = warp<unsigned>(f);
    for (unsigned lane = 0; lane < 32; ++lane) {
      CAPTURE(lane);
      CHECK(result[lane] == 1000 + source(lane));
    }
  };
  for (const std::uint64_t seed : {0, 3}) {
    const Order order(seed);
    sources([](unsigned lane) { return (lane + 5) % 32; },
            [](unsigned lane) { return __shfl_sync(full, 1000 + lane, static_cast<int>(lane) + 5); });
    sources([](unsigned lane) { return lane / 8 * 8 + 3; },
            [](unsigned lane) { return __shfl_sync(full, 1000 + lane, 3, 8); });
    sources([](unsigned lane) { return lane ^ 9; },
            [](unsigned lane) { return __shfl_xor_sync(full, 1000 + lane, 9); });
    sources([](unsigned lane) { return lane < 16 ? lane : lane ^ 16; },  // never from a later segment
            [](unsigned lane) { return __shfl_xor_sync(full, 1000 + lane, 16, 16); });
    sources([](unsigned lane) { return lane < 29 ? lane + 3 : lane; },
            [](unsigned lane) { return __shfl_down_sync(full, 1000 + lane, 3); });
    sources([](unsigned lane) { return lane >= 3 ? lane - 3 : lane; },
            [](unsigned lane) { return __shfl_up_sync(full, 1000 + lane, 3); });
    sources([](unsigned lane) { return lane % 4 != 3 ? lane + 1 : lane; },
            [](unsigned lane) { return __shfl_down_sync(full, 1000 + lane, 1, 4); });
  }
}

TEST_CASE("a shuffle of every type, and one after another") {
  const auto types = warp<double>([](unsigned lane) {
    const int i = static_cast<int>(lane);
    double sum = __shfl_xor_sync(full, 0.5 * i, 1);
    sum += __shfl_xor_sync(full, 0.25f * static_cast<float>(i), 1);
    sum += static_cast<double>(__shfl_xor_sync(full, (1LL << 40) * i, 1));
    sum += static_cast<double>(__shfl_xor_sync(full, (1ULL << 41) * lane, 1));
    return sum + __shfl_xor_sync(full, -i, 1);
  });
  for (unsigned lane = 0; lane < 32; ++lane) {
    const double other = lane ^ 1;
    CHECK(types[lane] == other * (0.5 + 0.25 + 3 * static_cast<double>(1LL << 40) - 1));
  }
}

TEST_CASE("votes and reductions over the lanes of a mask") {
  const auto odd_only = [](unsigned lane) { return lane % 2 == 1; };
  const auto ballots = warp<unsigned>([](unsigned lane) {
    return lane % 2 == 0 ? __ballot_sync(0x55555555u, lane < 8) : __ballot_sync(0xaaaaaaaau, lane != 31);
  });
  const auto sums = warp<unsigned>(
      [](unsigned lane) { return __reduce_add_sync(lane % 2 == 0 ? 0x55555555u : 0xaaaaaaaau, lane); });
  const auto extremes = warp<int>([](unsigned lane) {
    const int value = static_cast<int>(lane) - 10;
    return __reduce_min_sync(full, value) * 1000 + __reduce_max_sync(full, value);
  });
  const auto unsigned_extremes = warp<unsigned>([](unsigned lane) {
    const unsigned value = lane - 10;  // the first ten are huge
    return __reduce_min_sync(full, value) + (__reduce_max_sync(full, value) == ~0u ? 7u : 0u);
  });
  const auto signed_sums =
      warp<int>([](unsigned lane) { return __reduce_add_sync(full, 3 - static_cast<int>(lane)); });
  const auto votes = warp<int>([](unsigned lane) {
    return __any_sync(full, lane == 4) + 2 * __any_sync(full, lane == 40) + 4 * __all_sync(full, lane < 32) +
           8 * __all_sync(full, lane != 4);
  });
  for (unsigned lane = 0; lane < 32; ++lane) {
    CHECK(ballots[lane] == (odd_only(lane) ? 0x2aaaaaaau : 0x00000055u));
    CHECK(sums[lane] == (odd_only(lane) ? 256u : 240u));
    CHECK(extremes[lane] == -10 * 1000 + 21);
    CHECK(unsigned_extremes[lane] == 7);
    CHECK(signed_sums[lane] == 3 * 32 - 496);
    CHECK(votes[lane] == 1 + 4);
  }
}

TEST_CASE("a fast division by more than 2^126 is 0") {
  CHECK(__fdividef(3, 0x1p126f) == 0x1.8p-125f);
  CHECK(__fdividef(3e38f, 0x1.000002p126f) == 0);
  CHECK(std::signbit(__fdividef(-3, 0x1p127f)));
  CHECK(__fdividef(-3, -HUGE_VALF) == 0);
  CHECK(std::isnan(__fdividef(HUGE_VALF, 0x1p127f)));
  CHECK(__fdividef(1, 3) == 1.0f / 3);
}

TEST_CASE("barriers of the block that count, and one that follows another") {
  const auto kernel = [](int* out) {
    const int i = static_cast<int>(threadIdx.x);
    const int count = __syncthreads_count(i % 3 == 0);
    const int any = __syncthreads_or(i == 69) + 2 * __syncthreads_or(i == 70);
    const int all = __syncthreads_and(i < 70) + 2 * __syncthreads_and(i < 69);
    out[i] = count + 100 * any + 1000 * all;
  };
  Array<int> out(70);
  REQUIRE(launch(+kernel, 1, 70, 0, out.data()) == cudaSuccess);
  for (const int value : out.host()) CHECK(value == 24 + 100 + 1000);
}

TEST_CASE("threads that have ended are not waited for") {
  const auto kernel = [](int* out) {
    if (threadIdx.x >= 40) return;
    auto* const shared = static_cast<int*>(dynamic_shared_memory(40 * sizeof(int)));
    shared[threadIdx.x] = static_cast<int>(threadIdx.x);
    __syncthreads();
    out[threadIdx.x] = shared[39 - threadIdx.x];
  };
  Array<int> out(40);
  for (const std::uint64_t seed : {0, 1, 2, 3}) {
    const Order order(seed);
    REQUIRE(launch(+kernel, 3, 96, 40 * sizeof(int), out.data()) == cudaSuccess);
    for (int i = 0; i < 40; ++i) CHECK(out.host()[static_cast<std::size_t>(i)] == 39 - i);
  }
}

// --- order

namespace {

/// Sums 256 numbers over shared memory, without its barriers where `left_out`.
template <bool left_out>
void block_sum(const float* in, float* out) {
  auto* const shared = static_cast<float*>(dynamic_shared_memory(256 * sizeof(float)));
  shared[threadIdx.x] = in[threadIdx.x];
  for (unsigned half = 128; half > 0; half /= 2) {
    if (!left_out) __syncthreads();
    if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
  }
  if (threadIdx.x == 0) *out = shared[0];
}

/// The same by warps; what is left out is the one barrier between them, after synchronous steps within each.
template <bool left_out>
void warp_sum(const float* in, float* out) {
  auto* const shared = static_cast<float*>(dynamic_shared_memory(8 * sizeof(float)));
  float sum = in[threadIdx.x];
  for (int bits = 16; bits > 0; bits /= 2) sum += __shfl_xor_sync(full, sum, bits);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = sum;
  if (!left_out) __syncthreads();
  if (threadIdx.x >= 32) return;
  sum = threadIdx.x < 8 ? shared[threadIdx.x] : 0;
  for (int bits = 4; bits > 0; bits /= 2) sum += __shfl_xor_sync(full, sum, bits);
  if (threadIdx.x == 0) *out = sum;
}

int wrong_sums(void (*kernel)(const float*, float*)) {
  std::vector<float> values(256);
  std::iota(values.begin(), values.end(), 1.0f);
  Array<float> in(values), out(1);
  int wrong = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Order order(seed);
    REQUIRE(launch(kernel, 1, 256, 1024, static_cast<const float*>(in.data()), out.data()) == cudaSuccess);
    wrong += !(out.host()[0] == 256 * 257 / 2);
  }
  return wrong;
}

}  // namespace

TEST_CASE("a sum over shared memory is right in any order, and wrong in some without its barriers") {
  CHECK(wrong_sums(block_sum<false>) == 0);
  CHECK(wrong_sums(block_sum<true>) > 15);
  CHECK(wrong_sums(warp_sum<false>) == 0);
  CHECK(wrong_sums(warp_sum<true>) > 10);
}

namespace {

/// Each thread reads what the one `distance` before it has written, without a barrier.
void read_before(int* out, unsigned distance) {
  auto* const shared = static_cast<int*>(dynamic_shared_memory(256 * sizeof(int)));
  shared[threadIdx.x] = 1;
  __syncwarp();
  if (threadIdx.x >= distance) atomicAdd(out, shared[threadIdx.x - distance]);
}

}  // namespace

TEST_CASE("a missing barrier that the ascending order hides shows in random ones") {
  int right = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Order order(seed);
    Array<int> out(std::vector<int>{0});
    REQUIRE(launch(read_before, 1, 256, 1024, out.data(), 32u) == cudaSuccess);
    right += out.host()[0] == 224;
    if (seed == 0) CHECK(right == 1);
  }
  CHECK(right < 5);
}

TEST_CASE("a seed determines the order, and orders of blocks differ") {
  const auto kernel = [](int* next, int* order) { order[atomicAdd(next, 1)] = static_cast<int>(blockIdx.x); };
  const auto order_of = [&](std::uint64_t seed) {
    const Order order(seed);
    Array<int> next(std::vector<int>{0}), blocks(50);
    REQUIRE(launch(+kernel, 50, 1, 0, next.data(), blocks.data()) == cudaSuccess);
    return blocks.host();
  };
  const std::vector<int> ascending = order_of(0);
  CHECK(std::is_sorted(ascending.begin(), ascending.end()));
  CHECK(order_of(5) == order_of(5));
  CHECK(order_of(5) != order_of(6));
}
