#include "support/device.hpp"

#include "support/catch.hpp"
#include "support/messages.hpp"

#include <vlp/core/random.hpp>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/matmul.cuh>
#include <vlp/cuda/core/memory.cuh>
#include <vlp/cuda/core/scalar.cuh>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace {

using namespace vlp::test;
using vlp::BFloat16;
using vlp::Half;
using vlp::Index;
using vlp::MatrixView;
using vlp::Op;
using namespace vlp::cuda;

template <class Number>
__global__ void write_index(Number* out, Index count) {
  const Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) out[i] = static_cast<Number>(i);
}

struct LargeShared {
  float numbers[25000];  // more than 48 KiB, and no more than any card has
};
template <class Number>
__global__ void use_large_shared_memory(Number* out) {
  auto& shared = shared_memory<LargeShared>();
  shared.numbers[24999] = 5;
  *out = shared.numbers[24999];
}

/// Products of whole numbers, which are exact, with every operand a block of something larger.
template <class Scalar>
void check_matmul(Op op_a, Op op_b) {
  constexpr Index m = 5, n = 7, k = 6, stride = 11;
  CAPTURE(static_cast<int>(op_a), static_cast<int>(op_b));
  vlp::Random random(2);
  std::vector<Scalar> a, b;
  for (int i = 0; i < 8 * stride; ++i) {
    a.push_back(from_float<Scalar>(static_cast<float>(random.below(9)) - 4));
    b.push_back(from_float<Scalar>(static_cast<float>(random.below(9)) - 4));
  }
  DeviceArray<Scalar> a_memory(a), b_memory(b);
  DeviceArray<float> c_memory(std::vector<float>(m * stride, 2));
  const auto view = [&](auto* data, Index rows, Index cols) {
    return MatrixView<std::remove_pointer_t<decltype(data)>>(data, {rows, cols}, {stride, 1});
  };
  vlp::Cuda device = make_device(1);
  matmul<Scalar>(device, op_a == Op::none ? view(a_memory.data(), m, k) : view(a_memory.data(), k, m), op_a,
                 op_b == Op::none ? view(b_memory.data(), k, n) : view(b_memory.data(), n, k), op_b,
                 view(c_memory.data(), m, n), 3, 0.5F);
  c_memory.download();
  const auto at = [&](const std::vector<Scalar>& x, Op op, Index i, Index j) {
    return to_float(x[static_cast<std::size_t>(op == Op::none ? i * stride + j : j * stride + i)]);
  };
  for (Index i = 0; i < m; ++i)
    for (Index j = 0; j < stride; ++j) {
      float want = 2;
      if (j < n) {
        want = 1;
        for (Index d = 0; d < k; ++d) want += 3 * at(a, op_a, i, d) * at(b, op_b, d, j);
      }
      CHECK(c_memory.host()[static_cast<std::size_t>(i * stride + j)] == want);
    }
}

/// A batch is its products one by one; its matrices lie side by side.
template <class Scalar>
void check_batched_matmul(Op op_a, Op op_b) {
  constexpr Index batch = 3, m = 4, n = 5, k = 6, stride = 23;
  CAPTURE(static_cast<int>(op_a), static_cast<int>(op_b));
  vlp::Random random(3);
  std::vector<Scalar> a, b;
  for (int i = 0; i < 6 * stride; ++i) {
    a.push_back(from_float<Scalar>(static_cast<float>(random.below(9)) - 4));
    b.push_back(from_float<Scalar>(static_cast<float>(random.below(9)) - 4));
  }
  DeviceArray<Scalar> a_memory(a), b_memory(b);
  DeviceArray<float> together(std::vector<float>(m * stride, 2)), alone(std::vector<float>(m * stride, 2));
  const auto view = [&](auto* data, Index rows, Index cols) {
    return vlp::BatchView<std::remove_pointer_t<decltype(data)>>(data, {batch, rows, cols}, {7, stride, 1});
  };
  const vlp::BatchView<const Scalar> left =
      op_a == Op::none ? view(a_memory.data(), m, k) : view(a_memory.data(), k, m);
  const vlp::BatchView<const Scalar> right =
      op_b == Op::none ? view(b_memory.data(), k, n) : view(b_memory.data(), n, k);
  vlp::Cuda device = make_device(1);
  matmul<Scalar>(device, left, op_a, right, op_b, view(together.data(), m, n), 3, 0.5F);
  for (Index i = 0; i < batch; ++i)
    matmul<Scalar>(device, left[i], op_a, right[i], op_b, view(alone.data(), m, n)[i], 3, 0.5F);
  together.download();
  alone.download();
  CHECK(together.host() == alone.host());
}

}  // namespace

TEST_CASE("CUDA launch starts what fits and says what does not") {
  vlp::Cuda device = make_device(1);
  DeviceArray<float> out(std::vector<float>(300));
  launch(write_index<float>, blocks(300, 128), 128, 0, device.stream(), out.data(), Index{300});
  device.synchronize();
  out.download();
  CHECK(out.host()[0] == 0);
  CHECK(out.host()[299] == 299);

  launch(use_large_shared_memory<float>, 1, 1, sizeof(LargeShared), device.stream(), out.data());
  out.download();
  CHECK(out.host()[0] == 5);

  CHECK_MESSAGE_HAS(launch(write_index<float>, 1, 2000, 0, device.stream(), out.data(), Index{1}),
                    "CUDA: starting a kernel of 1 x 1 x 1 blocks of 2000 threads with 0 bytes");
  CHECK_MESSAGE_HAS(launch(use_large_shared_memory<float>, 1, 1, 1 << 20, device.stream(), out.data()),
                    "with 1048576 bytes of shared memory: ");
  launch(write_index<float>, 1, 1, 0, device.stream(), out.data(), Index{1});  // neither error is left behind
  CHECK(message_of<std::invalid_argument>([] { static_cast<void>(blocks(Index{1} << 40, 128)); }) ==
        "CUDA: 1099511627776 elements are more than a grid of 128 to a block holds");
}

TEST_CASE("CUDA launch asks once for a kernel's shared memory, and again for more or on another device") {
  vlp::cuda::detail::SharedMemoryBounds bounds;
  int asked = 0;
  const auto ask = [&] { return ++asked, cudaSuccess; };
  const int kernels[2] = {};
  CHECK(bounds.raise(kernels, 0, 100, ask) == cudaSuccess);
  CHECK(bounds.raise(kernels, 0, 100, ask) == cudaSuccess);
  CHECK(bounds.raise(kernels, 0, 50, ask) == cudaSuccess);
  CHECK(asked == 1);
  bounds.raise(kernels, 0, 101, ask);
  bounds.raise(kernels, 1, 100, ask);
  bounds.raise(kernels + 1, 0, 100, ask);
  CHECK(asked == 4);
  bounds.raise(kernels, 0, 101, ask);
  CHECK(asked == 4);
  CHECK(bounds.raise(kernels, 0, 102, [] { return cudaErrorInvalidValue; }) == cudaErrorInvalidValue);
  bounds.raise(kernels, 0, 102, ask);  // a refusal is not remembered as a success
  CHECK(asked == 5);
  bounds.clear();
  bounds.raise(kernels, 0, 100, ask);
  CHECK(asked == 6);
}

TEST_CASE("CUDA launch keeps what it has asked for until a launch fails") {
  vlp::Cuda device = make_device(1);
  DeviceArray<int> out(std::vector<int>(1));
  int current = -1;
  REQUIRE(cudaGetDevice(&current) == cudaSuccess);
  const auto ask_again = [&] {
    return vlp::cuda::detail::shared_memory_bounds().raise(
        reinterpret_cast<const void*>(use_large_shared_memory<int>), current, sizeof(LargeShared),
        [] { return cudaErrorInvalidValue; });
  };
  CHECK(ask_again() == cudaErrorInvalidValue);
  launch(use_large_shared_memory<int>, 1, 1, sizeof(LargeShared), device.stream(), out.data());
  CHECK(ask_again() == cudaSuccess);
  CHECK_THROWS(launch(use_large_shared_memory<int>, 1, 2000, 0, device.stream(), out.data()));
  CHECK(ask_again() == cudaErrorInvalidValue);
  launch(use_large_shared_memory<int>, 1, 1, sizeof(LargeShared), device.stream(), out.data());
  out.download();
  CHECK(out.host()[0] == 5);
}

TEST_CASE("CUDA memory says when there is none left") {
  Buffer<float> buffer;
  CHECK_MESSAGE_HAS(buffer.resize(Index{1} << 50),
                    "CUDA: asking for 4503599627370496 bytes of device memory");
  buffer.resize(100);
  CHECK(buffer.size() == 100);
}

TEST_CASE("CUDA scratch is asked for once") {
  vlp::Cuda device = make_device(1);
  for (int step = 0; step < 3; ++step) {
    auto scope = device.scratch().scope();
    scope.take<float>(1000);
    scope.take<double>(step < 2 ? 500 : 400);
  }
  const std::size_t allocations = device.scratch().allocations();
  {
    auto scope = device.scratch().scope();
    scope.take<float>(1000);
    scope.take<double>(500);
  }
  CHECK(device.scratch().allocations() == allocations);
}

TEST_CASE("CUDA scratch is as aligned as what the device allocates, wherever it lies") {
  vlp::Cuda device = make_device(1);
  for (int step = 0; step < 3; ++step) {
    auto scope = device.scratch().scope();
    for (Index bytes : {1, 100, 257})
      CHECK(reinterpret_cast<std::uintptr_t>(scope.take<char>(bytes)) % 256 == 0);
  }
}

TEMPLATE_TEST_CASE("CUDA products of blocks of matrices", "", float, BFloat16, Half) {
  for (Op op_a : {Op::none, Op::transpose})
    for (Op op_b : {Op::none, Op::transpose}) {
      check_matmul<TestType>(op_a, op_b);
      check_batched_matmul<TestType>(op_a, op_b);
    }
}

TEST_CASE("CUDA products say what does not fit") {
  vlp::Cuda device = make_device(1);
  float* const none = nullptr;
  CHECK(message_of<std::invalid_argument>([&] {
          matmul<float>(device, MatrixView<const float>(none, {2, 3}), Op::none,
                        MatrixView<const float>(none, {4, 5}), Op::none, MatrixView<float>(none, {2, 5}));
        }) == "matmul: extents do not fit: 2 x 3 and 4 x 5 into 2 x 5");
  CHECK(message_of<std::invalid_argument>([&] {
          using vlp::BatchView;
          matmul<float>(device, BatchView<const float>(none, {2, 2, 3}), Op::none,
                        BatchView<const float>(none, {3, 3, 5}), Op::none, BatchView<float>(none, {2, 2, 5}));
        }) == "matmul: batches of 2 and of 3 matrices into one of 2");
}

TEST_CASE("CUDA numbers of 16 bits stay finite where they were") {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  CHECK(to_float(from_float<Half>(1e6F)) == 65504);
  CHECK(to_float(from_float<Half>(-1e30F)) == -65504);
  CHECK(to_float(from_float<Half>(infinity)) == infinity);
  CHECK(std::isnan(to_float(from_float<Half>(std::nanf("")))));
  CHECK(to_float(from_float<Half>(0.333251953125F)) == 0.333251953125F);
  CHECK(to_float(from_float<BFloat16>(1e30F)) == Approx(1e30).epsilon(0.004));
  CHECK(std::isnan(to_float(from_float<BFloat16>(std::nanf("")))));
  CHECK(from_float<float>(1.1F) == 1.1F);
}
