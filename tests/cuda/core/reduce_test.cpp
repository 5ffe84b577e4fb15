#include "support/catch.hpp"
#include "support/device.hpp"

#include <vlp/core/random.hpp>
#include <vlp/cuda/core/last_block.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/reduce.cuh>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace {

using namespace vlp::test;
using vlp::Index;
using namespace vlp::cuda;

struct SumShared {
  BlockRoom<double> room, final_room;
  LastBlockRoom last;
};

/// The sum and the largest of all numbers, by several blocks in one launch.
template <class Number>
__global__ void __launch_bounds__(128)
    add_up(const Number* x, Index count, double* pieces, unsigned* arrived, double* sum, float* largest) {
  auto& shared = shared_memory<SumShared>();
  const Index i = static_cast<Index>(blockIdx.x) * 128 + threadIdx.x;
  const double piece = block_sum(i < count ? static_cast<double>(x[i]) : 0.0, shared.room);
  const float of_warp = warp_max(i < count ? x[i] : -INFINITY);
  if (lane() == 0) largest[i / warp_size] = of_warp;
  if (threadIdx.x == 0) pieces[blockIdx.x] = piece;
  if (!last_block(arrived, shared.last)) return;
  const double all = block_sum_of(pieces, static_cast<Index>(gridDim.x), shared.final_room);
  if (threadIdx.x == 0) *sum = all;
}

/// The log-sum-exp of x by one thread: those of every three numbers, merged.
template <class Number>
__global__ void merge_all(const Number* x, Index count, double* out) {
  LogSumExp all;
  for (Index begin = 0; begin < count; begin += 3) {
    LogSumExp some;
    for (Index i = begin; i < count && i < begin + 3; ++i) some.add(LogSumExp{x[i], 1});
    all.add(some);
  }
  *out = all.value();
}

/// Writes the sum before each number, and the sum of all, by one block of 256.
template <class Number>
__global__ void __launch_bounds__(256) sum_before(const Number* x, int count, Number* before, Number* all) {
  const int i = static_cast<int>(threadIdx.x);
  const BlockPrefix<Number> sum =
      block_prefix_sum(i < count ? x[i] : Number(0), shared_memory<BlockRoom<Number>>());
  if (i < count) before[i] = sum.before;
  all[i] = sum.all;
}

/// The log-sum-exp of 32 numbers by one warp, and each number's share; in every lane.
template <class Number>
__global__ void share_out(const Number* x, double* sum, Number* softmax) {
  const LogSumExp all = warp_sum(LogSumExp{x[lane()], 1});
  sum[lane()] = all.value();
  softmax[lane()] = all.softmax(x[lane()]);
}

double log_sum_exp(const std::vector<float>& values) {
  DeviceArray<float> x(values);
  DeviceArray<double> out(std::vector<double>(1));
  vlp::Cuda device = make_device(1);
  launch(merge_all<float>, 1, 1, 0, device.stream(), x.data(), static_cast<Index>(values.size()), out.data());
  out.download();
  return out.host()[0];
}

}  // namespace

TEST_CASE("CUDA sums over blocks and maxima over warps in any order of execution") {
  vlp::Random random(1);
  for (Index count : {1, 31, 128, 129, 700}) {
    CAPTURE(count);
    std::vector<float> values;
    for (Index i = 0; i < count; ++i) values.push_back(static_cast<float>(random.normal()));
    DeviceArray<float> x(values);
    const Index block_count = (count + 127) / 128;
    for (int order : {1, 2, 3, 4}) {
      vlp::Cuda device = make_device(order);
      DeviceArray<double> pieces(std::vector<double>(static_cast<std::size_t>(block_count))), sum({0.0});
      DeviceArray<float> largest(std::vector<float>(static_cast<std::size_t>(block_count * 4)));
      for (int repeat = 0; repeat < 2; ++repeat) {  // the counter of blocks is ready for another kernel
        launch(add_up<float>, blocks(count, 128), 128, sizeof(SumShared), device.stream(), x.data(), count,
               pieces.data(), device.arrived(), sum.data(), largest.data());
        sum.download();
        double want = 0;
        for (float v : values) want += static_cast<double>(v);
        CHECK(sum.host()[0] == Approx(want).epsilon(1e-12).margin(1e-12));
      }
      largest.download();
      for (Index w = 0; w * 32 < count; ++w)
        CHECK(largest.host()[static_cast<std::size_t>(w)] ==
              *std::max_element(values.begin() + w * 32, values.begin() + std::min(count, w * 32 + 32)));
    }
  }
}

TEST_CASE("CUDA log-sum-exp is safe for finite values of any size") {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  CHECK(log_sum_exp({0, 0, 0, 0}) == Approx(std::log(4.0)));
  CHECK(log_sum_exp({1e4F, -1e4F, 1e4F, 9999}) == Approx(1e4 + std::log(2 + std::exp(-1.0))));
  CHECK(log_sum_exp({-1e30F, -3e38F}) == Approx(-1e30));
  CHECK(log_sum_exp({-infinity, 2, -infinity, -infinity, -infinity, -infinity}) == Approx(2));
  CHECK(std::isnan(log_sum_exp({1, 2, std::nanf(""), 3, 4})));
  CHECK(std::isnan(log_sum_exp({1, infinity, 2})));
}

TEST_CASE("CUDA sums of what comes before in a block") {
  for (int count : {1, 32, 33, 250, 256})
    for (int order : {1, 2, 3}) {
      CAPTURE(count, order);
      std::vector<std::int64_t> values;
      for (int i = 0; i < count; ++i) values.push_back((std::int64_t{1} << 40) + i * i - 40);
      DeviceArray<std::int64_t> x(values), before(values), all(std::vector<std::int64_t>(256));
      vlp::Cuda device = make_device(order);
      launch(sum_before<std::int64_t>, 1, 256, sizeof(BlockRoom<std::int64_t>), device.stream(), x.data(),
             count, before.data(), all.data());
      before.download();
      all.download();
      std::int64_t sum = 0;
      for (std::size_t i = 0; i < values.size(); ++i) {
        REQUIRE(before.host()[i] == sum);
        sum += values[i];
      }
      for (std::int64_t of_thread : all.host()) REQUIRE(of_thread == sum);
    }
}

TEST_CASE("CUDA log-sum-exp over a warp and softmax by it") {
  std::vector<float> values;
  for (int i = 0; i < 32; ++i) values.push_back(static_cast<float>(i % 7) * 30 - 5000);
  values[3] = -std::numeric_limits<float>::infinity();
  DeviceArray<float> x(values), softmax(values);
  DeviceArray<double> sum(std::vector<double>(32));
  vlp::Cuda device = make_device(2);
  launch(share_out<float>, 1, 32, 0, device.stream(), x.data(), sum.data(), softmax.data());
  sum.download();
  softmax.download();
  double want = 0;
  for (float v : values) want += std::exp(static_cast<double>(v) + 4820);
  for (std::size_t i = 0; i < values.size(); ++i) {
    CHECK(sum.host()[i] == Approx(std::log(want) - 4820));
    CHECK(softmax.host()[i] ==
          Approx(std::exp(static_cast<double>(values[i]) + 4820) / want).epsilon(1e-5).margin(1e-30));
  }
}
