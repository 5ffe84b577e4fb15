#include "cuda_emulation/block.hpp"
#include "support/catch.hpp"
#include "testing.hpp"

#include <cuda_runtime.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace {

using namespace cuda_emulation;
using namespace cuda_emulation::testing;

constexpr int a_rows = 64, b_rows = 128, depth = 64;
constexpr std::size_t a_bytes = a_rows * 2 * depth, b_bytes = b_rows * 2 * depth, bytes = a_bytes + b_bytes;

/// What a kernel leaves out, or does too early.
enum class Fault { none, proxy_fence, fence, wait, commit, overwrite, outside, descriptors };

/// D [64, 128] = A B^T by one warpgroup; `operands` is what shared memory shall hold.
template <class Multiply>
void multiply(const unsigned char* operands, float* out, Fault fault, Multiply multiply_one) {
  auto* const shared = static_cast<unsigned char*>(dynamic_shared_memory(bytes, 1024));
  for (std::size_t at = threadIdx.x * 16; at < bytes; at += 128 * 16) cp_async_16(shared + at, operands + at);
  cp_async_commit();
  cp_async_wait(0);
  if (fault != Fault::proxy_fence) fence_proxy_async();
  __syncthreads();
  const auto descriptor = [](std::uint32_t address) {
    return std::uint64_t{1} << 62 | std::uint64_t{1024 / 16} << 32 | std::uint64_t{1} << 16 | address / 16;
  };
  std::uint32_t b = shared_address(shared + a_bytes);
  if (fault == Fault::outside) b += 1024;
  if (fault == Fault::descriptors && threadIdx.x == 77) b += 32;
  float d[64] = {};
  if (fault != Fault::fence) wgmma_fence();
  for (std::uint32_t k = 0; k < depth / 16; ++k)
    multiply_one(d, descriptor(shared_address(shared) + 32 * k), descriptor(b + 32 * k));
  if (fault != Fault::commit) wgmma_commit();
  if (fault == Fault::overwrite) shared[a_bytes + threadIdx.x] = 0x40;
  if (fault != Fault::wait) wgmma_wait();
  for (int i = 0; i < 64; ++i) {
    const unsigned row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4 + (i % 4 < 2 ? 0 : 8);
    const unsigned column = static_cast<unsigned>(i / 4 * 8 + i % 2) + threadIdx.x % 4 * 2;
    out[row * b_rows + column] = d[i];
  }
  wgmma_wait();
}
void multiply_bf16(const unsigned char* operands, float* out, Fault fault) {
  multiply(operands, out, fault, wgmma_m64n128k16_bf16);
}
void multiply_f16(const unsigned char* operands, float* out, Fault fault) {
  multiply(operands, out, fault, wgmma_m64n128k16_f16);
}

/// 1, 2 or -1, 0: exact in either type.
float element(int row, int k) {
  return static_cast<float>((row * 7 + k * 5 + row * k) % 4) - 1;
}
std::uint16_t narrow(float x, bool bf16) {
  const std::uint16_t sign = x < 0 ? 0x8000 : 0, one = bf16 ? 0x3F80 : 0x3C00, two = 0x4000;
  return x == 0 ? 0 : static_cast<std::uint16_t>(sign | (std::fabs(x) == 2 ? two : one));
}

/// Rows of A, then of B: piece c of row r at c ^ (r % 8).
std::vector<unsigned char> operands(bool bf16) {
  std::vector<unsigned char> out(bytes);
  for (int row = 0; row < a_rows + b_rows; ++row)
    for (int k = 0; k < depth; ++k) {
      const std::uint16_t bits = narrow(element(row, k), bf16);
      const std::size_t at = static_cast<std::size_t>(row * 128 + (k / 8 ^ row % 8) * 16 + k % 8 * 2);
      out[at] = static_cast<unsigned char>(bits);
      out[at + 1] = static_cast<unsigned char>(bits >> 8);
    }
  return out;
}

/// How many of the sums are not what they should be; NaN among them are counted in `nan`.
int wrong_sums(void (*kernel)(const unsigned char*, float*, Fault), bool bf16, Fault fault,
               int* nan = nullptr) {
  Array<unsigned char> in(operands(bf16));
  Array<float> out(a_rows * b_rows);
  REQUIRE(launch(kernel, 1, 128, bytes, static_cast<const unsigned char*>(in.data()), out.data(), fault) ==
          cudaSuccess);
  const std::vector<float>& got = out.host();
  int wrong = 0;
  for (int i = 0; i < a_rows; ++i)
    for (int j = 0; j < b_rows; ++j) {
      float want = 0;
      for (int k = 0; k < depth; ++k) want += element(i, k) * element(a_rows + j, k);
      const float have = got[static_cast<std::size_t>(i * b_rows + j)];
      wrong += have == want ? 0 : 1;
      if (nan != nullptr) *nan += std::isnan(have) ? 1 : 0;
    }
  return wrong;
}

std::string message_with(Fault fault) {
  Array<unsigned char> in(operands(true));
  Array<float> out(a_rows * b_rows);
  return message_of(multiply_bf16, 128, bytes, static_cast<const unsigned char*>(in.data()), out.data(),
                    fault);
}

}  // namespace

TEST_CASE("a warpgroup multiplies out of swizzled shared memory") {
  for (const std::uint64_t seed : {0, 1, 2, 3}) {
    const Order order(seed);
    CHECK(wrong_sums(multiply_bf16, true, Fault::none) == 0);
    CHECK(wrong_sums(multiply_f16, false, Fault::none) == 0);
  }
}

TEST_CASE("sums of products that were not waited for are NaN") {
  for (const Fault fault : {Fault::wait, Fault::commit})
    for (const std::uint64_t seed : {0, 1}) {
      const Order order(seed);
      int nan = 0;
      wrong_sums(multiply_bf16, true, fault, &nan);
      CHECK(nan == a_rows * b_rows);
    }
}

TEST_CASE("operands that are overwritten before products were waited for show") {
  int wrong = 0;
  for (const std::uint64_t seed : {0, 1, 2}) {
    const Order order(seed);
    wrong += wrong_sums(multiply_bf16, true, Fault::overwrite);
  }
  CHECK(wrong > 0);
}

TEST_CASE("faults of products by warpgroups are reported") {
  CHECK_THAT(message_with(Fault::proxy_fence), ContainsSubstring("without fence.proxy.async"));
  CHECK_THAT(message_with(Fault::fence), ContainsSubstring("without wgmma.fence"));
  CHECK_THAT(message_with(Fault::outside), ContainsSubstring("not in shared memory"));
  CHECK_THAT(message_with(Fault::descriptors), ContainsSubstring("descriptors differ"));
  CHECK(message_with(Fault::none).empty());
}
