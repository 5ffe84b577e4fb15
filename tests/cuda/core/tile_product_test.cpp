#include "support/catch.hpp"
#include "support/device.hpp"

#include <vlp/core/random.hpp>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/tile_product.cuh>

#include <cmath>
#include <numeric>
#include <vector>

namespace {

using namespace vlp::test;
using vlp::BFloat16;
using vlp::Half;
using vlp::Index;
using namespace vlp::cuda;

/// Which products a kernel is made of. On a device a kernel's name must not depend on what its code was
/// compiled for, and code without wgmma cannot name it.
struct Native {
  template <class Scalar>
  using Product = TileProduct<Scalar>;
};
struct ByWarps {
  template <class Scalar>
  using Product = TileProduct<Scalar, 128, 3, WarpProducts>;
};
#ifdef VLP_CUDA_EMULATION
struct ByGroups {
  template <class Scalar>
  using Product = TileProduct<Scalar, 128, 3, GroupProducts>;
};
#else
using ByGroups = Native;
#endif

/// Block (x, y) takes row x of tiles and a run of `tiles` columns of them, the y-th, and writes what it is
/// given.
template <class Scalar, class Products>
__global__ void __launch_bounds__(256) write_products(Rows<const Scalar> a, Rows<const Scalar> b, Index depth,
                                                      bool aligned, int tiles, Rows<float> out) {
  using Product = typename Products::template Product<Scalar>;
  auto& shared = shared_memory<typename Product::Shared>();
  const Index row = static_cast<Index>(blockIdx.x) * Product::rows;
  const Index first_column = static_cast<Index>(blockIdx.y) * tiles * Product::cols;
  Product::for_each_tile(shared, a, b, depth, aligned, row, first_column, tiles,
                         [&](typename Product::Tile& tile, Index column) {
                           for (int r = 0; r < tile.row_count; ++r)
                             for (int c = 0; c < tile.col_count; ++c)
                               out[row + tile.row(r)][column + tile.col(c)] = tile(r, c);
                         });
}

/// Where the rows of an operand lie: the first `offset` elements from an aligned address.
struct Layout {
  Index stride, offset = 0;
};

/// Rows of `count` small whole numbers, NaN between them: every product of them is exact.
template <class Scalar>
std::vector<Scalar> whole_numbers(Index count, Index depth, Layout layout, std::uint32_t stream) {
  vlp::Random random(3, stream);
  std::vector<Scalar> out(static_cast<std::size_t>(layout.offset + count * layout.stride),
                          from_float<Scalar>(std::nanf("")));
  for (Index i = 0; i < count; ++i)
    for (Index k = 0; k < depth; ++k)
      out[static_cast<std::size_t>(layout.offset + i * layout.stride + k)] =
          from_float<Scalar>(static_cast<float>(random.below(9)) - 4);
  return out;
}

template <class Scalar>
struct Operand {
  DeviceArray<Scalar> memory;
  Rows<const Scalar> rows;
  std::vector<float> numbers;  // [rows, depth]

  Operand(Index count, Index depth, Layout layout, std::uint32_t stream)
      : Operand(whole_numbers<Scalar>(count, depth, layout, stream), count, depth, layout) {}
  Operand(const std::vector<Scalar>& all, Index count, Index depth, Layout layout)
      : memory(all), rows{memory.data() + layout.offset, count, layout.stride} {
    for (Index i = 0; i < count; ++i)
      for (Index k = 0; k < depth; ++k)
        numbers.push_back(to_float(all[static_cast<std::size_t>(layout.offset + i * layout.stride + k)]));
  }
};

/// Every block computes `run` tiles beside each other.
template <class Scalar, class Products>
void check_products(Index rows, Index cols, Index depth, Layout left_layout, Layout right_layout,
                    int run = 3) {
  CAPTURE(rows, cols, depth, left_layout.stride, right_layout.stride, right_layout.offset, run);
  const Operand<Scalar> left(rows, depth, left_layout, 1), right(cols, depth, right_layout, 2);
  const Index all_rows = (rows + 127) / 128 * 128, runs = (cols + 128 * run - 1) / (128 * run),
              all_cols = runs * run * 128;
  DeviceArray<float> out(std::vector<float>(static_cast<std::size_t>(all_rows * all_cols)));
  vlp::Cuda device = make_device(7);
  dim3 grid = blocks(all_rows / 128);
  grid.y = static_cast<unsigned>(runs);
  launch(write_products<Scalar, Products>, grid, 256, sizeof(typename TileProduct<Scalar>::Shared),
         device.stream(), left.rows, right.rows, depth, left.rows.aligned() && right.rows.aligned(), run,
         Rows<float>{out.data(), all_rows, all_cols});
  out.download();
  Index wrong = 0;
  for (Index i = 0; i < all_rows; ++i)
    for (Index j = 0; j < all_cols; ++j) {
      float want = 0;
      if (i < rows && j < cols)
        want = std::inner_product(left.numbers.begin() + i * depth, left.numbers.begin() + (i + 1) * depth,
                                  right.numbers.begin() + j * depth, 0.0F);
      wrong += out.host()[static_cast<std::size_t>(i * all_cols + j)] == want ? 0 : 1;
    }
  CHECK(wrong == 0);
}

template <class Of, class By>
struct Case {
  using Scalar = Of;
  using Products = By;
};

}  // namespace

TEMPLATE_TEST_CASE("CUDA tile product is exact whatever the extents and the alignment", "",
                   (Case<float, Native>), (Case<BFloat16, ByWarps>), (Case<Half, ByWarps>),
                   (Case<BFloat16, ByGroups>), (Case<Half, ByGroups>)) {
  using Scalar = typename TestType::Scalar;
  constexpr Index step = 128 / sizeof(Scalar), piece = 16 / sizeof(Scalar);
  const auto check = check_products<Scalar, typename TestType::Products>;
  check(1, 1, 1, {1}, {1}, 1);
  check(128, 256, 4 * step, {4 * step}, {5 * step}, 2);  // more steps than stages, two tiles
  check(129, 300, 2 * step, {2 * step}, {2 * step}, 3);  // whole steps beside ragged rows and columns
  check(128, 129, step, {step}, {step}, 1);              // a step a tile, two runs
  check(5, 130, 33, {40}, {48}, 2);                      // rows of whole pieces with a tail
  // whole rows, one element in the last step
  check(128, 256, 2 * step + 1, {4 * step}, {2 * step + piece}, 2);
  check(129, 200, 70, {71}, {71}, 2);                       // element by element
  check(128, 128, 3 * step, {3 * step}, {3 * step, 1}, 1);  // one operand is not aligned
  check(128, 128, 3 * step, {3 * step + 1}, {3 * step}, 1);
  check(3, 130, 0, {1}, {1}, 2);  // of nothing
}
