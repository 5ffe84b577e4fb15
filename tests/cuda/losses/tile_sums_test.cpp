#include "support/catch.hpp"
#include "support/device.hpp"

#include <vlp/core/random.hpp>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/tile_product.cuh>
#include <vlp/cuda/losses/detail/tile_sums.cuh>
#include <vlp/cuda/losses/detail/write_row.cuh>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace {

using namespace vlp::test;
using vlp::BFloat16;
using vlp::Index;
using namespace vlp::cuda;
using namespace vlp::cuda::detail;

/// Which tiles a kernel has; its name must not depend on what its code was compiled for.
struct Native {
  using Tile = TileProduct<BFloat16>::Tile;
};
template <class Products>
struct By {
  using Tile = TileProduct<BFloat16, 128, 3, Products>::Tile;
};
constexpr Index size = Native::Tile::size;

template <class Tile>
struct SumsShared {
  typename RowSums<Tile>::Shared rows;
  ColumnSums<Tile> columns;
};
/// Enough for tiles of either kind.
constexpr std::size_t shared_bytes =
    std::max(sizeof(SumsShared<By<WarpProducts>::Tile>), sizeof(SumsShared<By<GroupProducts>::Tile>));

/// The log-sum-exps of each row over all tiles [128, 128], of numbers that are given, and of each column of
/// each tile: by their maxima, or without.
template <class Kind, bool Exponentials>
__global__ void __launch_bounds__(256) sum_tiles(const float* x, int tiles, double* rows, double* columns) {
  using Tile = typename Kind::Tile;
  auto& shared = shared_memory<SumsShared<Tile>>();
  const int thread = static_cast<int>(threadIdx.x);
  RowSums<Tile> sums;
  for (int t = 0; t < tiles; ++t) {
    Tile tile;
    for (int r = 0; r < Tile::row_count; ++r)
      for (int c = 0; c < Tile::col_count; ++c)
        tile(r, c) = x[(t * size + Tile::row(r)) * size + Tile::col(c)] * (Exponentials ? log2_e : 1.0F);
    if (Exponentials) {
      take_exponentials(tile);
      sums.take_exponentials(tile);
      shared.columns.take_exponentials(tile);
    } else {
      sums.take(tile);
      shared.columns.take(tile);
    }
    __syncthreads();
    if (thread < size) columns[t * size + thread] = shared.columns[thread].value();
    __syncthreads();
  }
  sums.share(shared.rows);
  __syncthreads();
  if (thread < size) rows[thread] = shared.rows[thread].value();
}

void check_sums(void (*kernel)(const float*, int, double*, double*), float spread, float accuracy) {
  constexpr Index tiles = 2;
  CAPTURE(spread);
  vlp::Random random(7);
  std::vector<float> x(static_cast<std::size_t>(tiles * size * size));
  for (float& v : x) v = spread * (static_cast<float>(random.below(2001)) / 1000 - 1);
  x[5] = x[200] = -std::numeric_limits<float>::infinity();
  DeviceArray<float> memory(x);
  DeviceArray<double> rows(std::vector<double>(size, 0)), columns(std::vector<double>(tiles * size, 0));
  vlp::Cuda device = make_device(3);
  launch(kernel, 1, 256, shared_bytes, device.stream(), memory.data(), static_cast<int>(tiles), rows.data(),
         columns.data());
  rows.download();
  columns.download();
  const auto at = [&](Index t, Index r, Index c) {
    return static_cast<double>(x[static_cast<std::size_t>((t * size + r) * size + c)]);
  };
  double worst = 0;
  for (Index i = 0; i < size; ++i) {
    double of_row = 0;
    for (Index t = 0; t < tiles; ++t) {
      double of_column = 0;
      for (Index k = 0; k < size; ++k) {
        of_row += std::exp(at(t, i, k) - spread);
        of_column += std::exp(at(t, k, i) - spread);
      }
      const double got = columns.host()[static_cast<std::size_t>(t * size + i)];
      worst = std::fmax(worst, std::fabs(got - spread - std::log(of_column)));
    }
    worst = std::fmax(worst, std::fabs(rows.host()[static_cast<std::size_t>(i)] - spread - std::log(of_row)));
  }
  CHECK(worst <= accuracy);
}

/// Writes a tile of row + column / 128 as numbers of another type.
template <class Kind, class Scalar>
__global__ void __launch_bounds__(256) write_tile(bool inside, int rows, int columns, Rows<Scalar> out) {
  using Tile = typename Kind::Tile;
  Tile tile;
  RowWriter<Scalar, Tile> writer(out, 0, inside, rows, columns);
  for (int r = 0; r < Tile::row_count; ++r) {
    for (int c = 0; c < Tile::col_count; ++c)
      tile(r, c) = static_cast<float>(Tile::row(r)) + static_cast<float>(Tile::col(c)) / 128;
    writer.write(tile, r);
  }
}

template <class Kind, class Scalar>
void check_written(int rows, int columns) {
  constexpr Index stride = size + 8;
  CAPTURE(rows, columns);
  DeviceArray<Scalar> out(
      std::vector<Scalar>(static_cast<std::size_t>(size * stride), from_float<Scalar>(-1)));
  vlp::Cuda device = make_device(2);
  launch(write_tile<Kind, Scalar>, 1, 256, 0, device.stream(), rows == size && columns == size, rows, columns,
         Rows<Scalar>{out.data(), size, stride});
  out.download();
  Index wrong = 0;
  for (Index i = 0; i < size; ++i)
    for (Index j = 0; j < stride; ++j) {
      const float want = i < rows && j < columns ? static_cast<float>(i) + static_cast<float>(j) / 128 : -1;
      wrong +=
          to_float(out.host()[static_cast<std::size_t>(i * stride + j)]) == to_float(from_float<Scalar>(want))
              ? 0
              : 1;
    }
  CHECK(wrong == 0);
}

}  // namespace

TEMPLATE_TEST_CASE("CUDA log-sum-exps of the rows and the columns of tiles", "", Native, By<WarpProducts>,
                   By<GroupProducts>) {
  check_sums(sum_tiles<TestType, false>, 1, 1e-6F);
  check_sums(sum_tiles<TestType, false>, 500, 1e-4F);  // beyond the range of float
  check_sums(sum_tiles<TestType, true>, 1, 1e-6F);
  check_sums(sum_tiles<TestType, true>, 60, 1e-5F);
}

TEMPLATE_TEST_CASE("CUDA tiles are written whole and in part", "", float, BFloat16, vlp::Half) {
  const auto check = [](const auto& check_written) {
    check_written(size, size);
    check_written(77, size);
    check_written(size, 33);
  };
  check(check_written<By<WarpProducts>, TestType>);
  check(check_written<By<GroupProducts>, TestType>);
}

TEST_CASE("CUDA runs of tiles are cut to what there is") {
  const TileRuns some(0, 1000, 0, 2000, 128, 32);
  CHECK(some.row_tiles == 8);
  CHECK(some.column_tiles == 16);
  CHECK(some.run_tiles == 4);
  CHECK(some.runs() == 4);
  CHECK(some.block_count() == 32);
  CHECK(TileRuns(0, 1000, 0, 2000, 128, 1000).run_tiles == 1);
  // 2^60 tiles, of which a block's share is more than an int holds
  const TileRuns many(0, Index{1} << 37, 0, Index{1} << 37, 128, 1);
  CHECK(many.run_tiles == 1 << 30);
  CHECK(many.runs() == 1);
}
