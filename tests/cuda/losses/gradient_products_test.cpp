#include "support/catch.hpp"
#include "support/device.hpp"

#include <vlp/cuda/losses/detail/gradient_products.cuh>

#include <cstddef>

namespace {

using vlp::Index;
using vlp::cuda::detail::BlockExtents;

constexpr std::size_t mib = std::size_t{1} << 20;

BlockExtents extents(Index rows, Index columns, std::size_t block_bytes, std::size_t sums_bytes = 0) {
  const vlp::Cuda device(nullptr, {.score_block_bytes = block_bytes});
  return {device, rows, columns, 2, sums_bytes};
}

void check_extents(const BlockExtents& got, Index rows, Index columns) {
  CHECK(got.rows == rows);
  CHECK(got.columns == columns);
}

}  // namespace

TEST_CASE("CUDA blocks of gradients are powers of two high and about twice as high as wide") {
  check_extents(extents(32768, 32768, 16 * mib), 4096, 2048);
  check_extents(extents(32768, 32768, 24 * mib), 8192, 1536);
  check_extents(extents(32768, 32768, 32 * mib), 8192, 2048);
  check_extents(extents(32768, 32768, 64 * mib), 8192, 4096);
}

TEST_CASE("CUDA blocks of gradients are cut evenly into whole tiles") {
  check_extents(extents(5000, 30522, 16 * mib), 2560, 3072);
  check_extents(extents(300, 100000, 16 * mib), 384, 20096);
  check_extents(extents(1, 1, 16 * mib), 128, 128);
  check_extents(extents(1000, 1000, 1), 128, 128);
}

TEST_CASE("CUDA blocks of gradients grow with the sums beside them, up to four times") {
  check_extents(extents(65536, 65536, 16 * mib, 32 * mib), 4096, 2048);
  check_extents(extents(65536, 65536, 16 * mib, 96 * mib), 8192, 3072);
  check_extents(extents(131072, 131072, 16 * mib, 128 * mib), 8192, 4096);
  check_extents(extents(131072, 131072, 16 * mib, 1024 * mib), 8192, 4096);
}

TEST_CASE(
    "CUDA blocks of gradients of 16-bit numbers have halves of sums beside them, those of floats none") {
  const vlp::Cuda device;
  using vlp::cuda::detail::gradient_blocks;
  check_extents(gradient_blocks<vlp::BFloat16>(device, 131072, 131072, 512), 8192, 4096);
  check_extents(gradient_blocks<vlp::Half>(device, 32768, 32768, 512), 4096, 2048);
  check_extents(gradient_blocks<float>(device, 131072, 131072, 512), 4096, 1024);
}
