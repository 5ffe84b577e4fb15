/// \file
/// Sums over the columns of a matrix that exists a block at a time.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>

#include <algorithm>

namespace vlp::cuda::detail {

inline constexpr int column_sum_warps = 16;  // of a block of threads

/// Columns that a block of threads adds up: a pack of 16 bytes for each lane.
template <class Scalar>
inline constexpr int column_sum_width = warp_size* pack_size<Scalar>;

/// Shared memory of add_column_sums: the sums of each warp's rows.
template <class Scalar>
struct ColumnSumsShared {
  float sum[column_sum_warps][column_sum_width<Scalar>];
};

/// Adds the columns of a block of rows [count, columns] to partial sums, or with `first` overwrites these.
/// Element i of sums [gridDim.y, columns] has every gridDim.y-th group of 16 rows; blockIdx.x says which
/// columns. Rows begin at multiples of 16 bytes and end there too: whatever follows the last column is read
/// up to the end of its pack, and dropped.
template <class Scalar>
__global__ void __launch_bounds__(column_sum_warps* warp_size, 2)
    add_column_sums(Rows<const Scalar> block, Index columns, bool first, Rows<float> sums) {
  using Piece = Pack<Scalar, pack_size<Scalar>>;
  constexpr int width = column_sum_width<Scalar>;
  constexpr int ahead = 8;  // rows that are on their way at once
  auto& shared = shared_memory<ColumnSumsShared<Scalar>>();
  const Index begin = static_cast<Index>(blockIdx.x) * width, column = begin + lane() * pack_size<Scalar>;
  float sum[pack_size<Scalar>] = {};
  if (column < columns) {
    const Index step = Index{gridDim.y} * column_sum_warps;
    for (Index r = Index{blockIdx.y} * column_sum_warps + warp(); r < block.count; r += ahead * step) {
      // The last row stands in for those that are not there: without conditions all loads are on their way
      // together.
      Piece piece[ahead];
#pragma unroll
      for (int k = 0; k < ahead; ++k)
        piece[k] = *reinterpret_cast<const Piece*>(block[min(r + k * step, block.count - 1)] + column);
#pragma unroll
      for (int k = 0; k < ahead; ++k)
#pragma unroll
        for (int e = 0; e < pack_size<Scalar>; ++e)
          sum[e] += r + k * step < block.count ? to_float(piece[k].value[e]) : 0.0F;
    }
  }
  // A lane's numbers stand a warp apart, so that neither this nor what reads it has conflicts between banks.
#pragma unroll
  for (int e = 0; e < pack_size<Scalar>; ++e) shared.sum[warp()][e * warp_size + lane()] = sum[e];
  __syncthreads();
  const int own = static_cast<int>(threadIdx.x);
  if (own >= width) return;
  const Index to = begin + own % warp_size * pack_size<Scalar> + own / warp_size;
  if (to >= columns) return;
  float& out = sums[blockIdx.y][to];
  float total = first ? 0.0F : out;
#pragma unroll
  for (int w = 0; w < column_sum_warps; ++w) total += shared.sum[w][own];
  out = total;
}

/// Writes, or adds, factor * *device_factor times the sum of the partial sums of each column. A thread takes
/// a column.
template <class Scalar>
__global__ void __launch_bounds__(256)
    finish_column_sums(Rows<const float> sums, Index columns, float factor, const float* device_factor,
                       Into into, Scalar* out) {
  const Index column = static_cast<Index>(blockIdx.x) * 256 + threadIdx.x;
  if (column >= columns) return;
  float sum = 0;
#pragma unroll 8
  for (Index i = 0; i < sums.count; ++i) sum += sums[i][column];
  float value = factor * *device_factor * sum;
  if (into == Into::add) value += to_float(out[column]);
  out[column] = from_float<Scalar>(value);
}

/// The column sums of a matrix [N, M] of which blocks are added one after the other. Sums are in float, and
/// their order depends on the extents of the matrix and of the blocks alone: a thread adds up to 8 of a
/// block's rows beside each other, 16 warps join theirs, and the partial sums of 16 blocks of threads are
/// kept apart until the end. So 128 blocks of threads share a block of 2048 columns.
template <class Scalar>
class RunningColumnSums {
 public:
  /// Takes the scratch that the sums need: 4 bytes a column, up to 16 times.
  template <class Scope>
  RunningColumnSums(Scope& scratch, Index rows, Index columns)
      : columns_(columns),
        sums_{scratch.template take<float>(pieces(rows) * columns), pieces(rows), columns} {}

  /// Adds rows from `row` and columns from `column`, whose rows begin and end at multiples of 16 bytes. The
  /// first row's blocks come before those below them.
  void add(Cuda& device, Rows<const Scalar> block, Index row, Index column, Index columns) const {
    dim3 grid = blocks(columns, column_sum_width<Scalar>);
    grid.y = static_cast<unsigned>(sums_.count);
    launch(add_column_sums<Scalar>, grid, column_sum_warps * warp_size, sizeof(ColumnSumsShared<Scalar>),
           device.stream(), block, columns, row == 0,
           Rows<float>{sums_.data + column, sums_.count, sums_.stride});
  }

  /// Writes, or adds, factor * *device_factor times the sums; device_factor is in device memory.
  void finish(Cuda& device, float factor, const float* device_factor, Into into, Scalar* out) const {
    launch(finish_column_sums<Scalar>, blocks(columns_, 256), 256, 0, device.stream(),
           Rows<const float>{sums_.data, sums_.count, sums_.stride}, columns_, factor, device_factor, into,
           out);
  }

 private:
  static Index pieces(Index rows) {
    return std::clamp<Index>((rows + column_sum_warps - 1) / column_sum_warps, 1, 16);
  }

  Index columns_;
  Rows<float> sums_;  // [pieces, M]
};

}  // namespace vlp::cuda::detail
