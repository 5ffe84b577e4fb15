#include "support/catch.hpp"
#include "support/device.hpp"

#include <vlp/core/random.hpp>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/tile_product.cuh>

#include <cmath>
#include <vector>

namespace {

using namespace vlp::test;
using vlp::BFloat16;
using vlp::Half;
using vlp::Index;
using namespace vlp::cuda;

/// Each block takes all columns of one row of tiles and writes what it is given.
template <class Scalar>
__global__ void __launch_bounds__(256) write_products(Rows<const Scalar> a, Rows<const Scalar> b, Index depth,
                                                      bool aligned, int tiles, float* out) {
  using Product = TileProduct<Scalar>;
  auto& shared = shared_memory<typename Product::Shared>();
  const Index row = static_cast<Index>(blockIdx.x) * Product::rows;
  Product::for_each_tile(shared, a, b, depth, aligned, row, 0, tiles,
                         [&](typename Product::Tile& tile, Index column) {
                           for (int r = 0; r < 8; ++r)
                             for (int c = 0; c < 8; ++c) {
                               const Index i = row + tile.row(r), j = column + tile.col(c);
                               out[i * tiles * Product::cols + j] = tile(r, c);
                             }
                         });
}

/// Rows of `count` small whole numbers, `stride` apart, NaN between: every product of them is exact.
template <class Scalar>
std::vector<Scalar> whole_numbers(Index count, Index depth, Index stride, std::uint32_t stream) {
  vlp::Random random(3, stream);
  std::vector<Scalar> out(static_cast<std::size_t>(count * stride), from_float<Scalar>(std::nanf("")));
  for (Index i = 0; i < count; ++i)
    for (Index k = 0; k < depth; ++k)
      out[static_cast<std::size_t>(i * stride + k)] =
          from_float<Scalar>(static_cast<float>(random.below(9)) - 4);
  return out;
}

template <class Scalar>
void check_products(Index rows, Index cols, Index depth, Index stride) {
  CAPTURE(rows, cols, depth, stride);
  const auto a = whole_numbers<Scalar>(rows, depth, stride, 1),
             b = whole_numbers<Scalar>(cols, depth, stride, 2);
  DeviceArray<Scalar> a_memory(a), b_memory(b);
  const Index row_tiles = (rows + 127) / 128, tiles = (cols + 127) / 128;
  DeviceArray<float> out(std::vector<float>(static_cast<std::size_t>(row_tiles * tiles * 128 * 128)));
  vlp::Cuda device = make_device(7);
  const Rows<const Scalar> left{a_memory.data(), rows, stride}, right{b_memory.data(), cols, stride};
  launch(write_products<Scalar>, blocks(row_tiles), 256, sizeof(typename TileProduct<Scalar>::Shared),
         device.stream(), left, right, depth, left.aligned() && right.aligned(), static_cast<int>(tiles),
         out.data());
  out.download();
  Index wrong = 0;
  for (Index i = 0; i < row_tiles * 128; ++i)
    for (Index j = 0; j < tiles * 128; ++j) {
      float want = 0;
      if (i < rows && j < cols)
        for (Index k = 0; k < depth; ++k)
          want += to_float(a[static_cast<std::size_t>(i * stride + k)]) *
                  to_float(b[static_cast<std::size_t>(j * stride + k)]);
      wrong += out.host()[static_cast<std::size_t>(i * tiles * 128 + j)] == want ? 0 : 1;
    }
  CHECK(wrong == 0);
}

}  // namespace

TEMPLATE_TEST_CASE("CUDA tile product is exact whatever the extents and the alignment", "", float, BFloat16,
                   Half) {
  check_products<TestType>(1, 1, 1, 1);
  check_products<TestType>(128, 128, 64, 64);
  check_products<TestType>(5, 130, 33, 40);    // rows of 16-byte multiples with a tail
  check_products<TestType>(129, 257, 70, 71);  // element by element
  check_products<TestType>(3, 300, 200, 200);  // more steps than stages, three tiles
}
