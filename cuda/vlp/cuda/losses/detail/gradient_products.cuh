/// \file
/// The gradients of A and B by A B^T, when the gradient of that product exists a block at a time.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/into.hpp>
#include <vlp/core/op.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/matmul.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace vlp::cuda::detail {

/// Sums in float [rows, D] that grow over several launches. For 16-bit gradients the upper halves lie in the
/// gradient's own memory, which has room for no more, and only the lower halves take scratch: 2 bytes an
/// element instead of 4, and nothing is rounded before the end.
template <class Scalar>
struct RunningSums {
  Rows<Scalar> upper;
  Rows<std::uint16_t> lower;  // for 16-bit gradients

  [[nodiscard]] __device__ float load(Index i, Index d) const {
    if constexpr (is_16_bit<Scalar>) {
      const auto high = *reinterpret_cast<const std::uint16_t*>(upper[i] + d);
      return __uint_as_float(static_cast<unsigned>(high) << 16 | lower[i][d]);
    } else {
      return upper[i][d];
    }
  }
  __device__ void store(Index i, Index d, float sum) const {
    if constexpr (is_16_bit<Scalar>) {
      const unsigned bits = __float_as_uint(sum);
      *reinterpret_cast<std::uint16_t*>(upper[i] + d) = static_cast<std::uint16_t>(bits >> 16);
      lower[i][d] = static_cast<std::uint16_t>(bits);
    } else {
      upper[i][d] = sum;
    }
  }
  [[nodiscard]] RunningSums slice(Index begin) const {
    return {{upper[begin], upper.count - begin, upper.stride},
            {lower.data == nullptr ? nullptr : lower[begin], lower.count - begin, lower.stride}};
  }
};

/// A gradient of which products give the sums, and where it goes.
template <class Scalar>
struct GradientRows {
  Rows<Scalar> out;  // [N, D], or no data: not asked for
  Into into;
  float* dots;  // [N] the dot products that the projection takes, or null
};

/// Calls visit(k, d) for the columns d of a row that are the lane's, several at a time, and then done(k, d)
/// for the same: with what `visit` reads left in registers k < row_pieces, loads are on their way together,
/// none behind the stores of `done`.
inline constexpr int row_pieces = 8;
template <class Visit, class Done>
__device__ void for_each_of_row(Index features, Visit&& visit, Done&& done) {
  for (Index begin = lane(); begin < features; begin += row_pieces * warp_size) {
#pragma unroll
    for (int k = 0; k < row_pieces; ++k)
      if (begin + k * warp_size < features) visit(k, begin + k * warp_size);
#pragma unroll
    for (int k = 0; k < row_pieces; ++k)
      if (begin + k * warp_size < features) done(k, begin + k * warp_size);
  }
}

/// How the sums of one side's products become gradients, and where these go.
template <class Scalar, class Finish>
struct GradientSide {
  Finish finish;
  GradientRows<Scalar> gradient;
};
template <class Scalar, class Finish>
GradientSide(Finish, GradientRows<Scalar>) -> GradientSide<Scalar, Finish>;

/// The factors A [N, D] and B [M, D] of a matrix A B^T that gradients come through.
template <class Scalar>
struct GradientOperands {
  Rows<const Scalar> a, b;
  Index features;  // D
};

/// The rows and columns of a block of that matrix.
struct BlockPlace {
  Index row, rows, column, columns;
};

/// Adds products [rows, D] to the sums; with `last` finishes the rows and writes them. Warp w of the grid
/// takes row w.
///
/// With f = side.finish.of_row(row), an element of the gradient is f.value(sum) - f.along(dot) f.x[d], where
/// dot is the sum of f.value f.x over the row: the projection of unit rows, if the type of `finish` says so.
template <class Scalar, class Finish>
__global__ void __launch_bounds__(256)
    add_products(Rows<const float> products, Index features, bool first, bool last, RunningSums<Scalar> sums,
                 GradientSide<Scalar, Finish> side, Index first_row) {
  const GradientRows<Scalar>& gradient = side.gradient;
  const Index i = static_cast<Index>(blockIdx.x) * (256 / warp_size) + warp();
  if (i >= products.count) return;
  const Index row = first_row + i;
  const auto sum = [&](Index d) { return products[i][d] + (first ? 0.0F : sums.load(i, d)); };
  float value[row_pieces];
  if (!last) {
    for_each_of_row(
        features, [&](int k, Index d) { value[k] = sum(d); },
        [&](int k, Index d) { sums.store(i, d, value[k]); });
    return;
  }
  const auto of_row = side.finish.of_row(row);
  float dot = 0, along = 0;
  if constexpr (Finish::projects) {
    for (Index d = lane(); d < features; d += warp_size)
      dot = fmaf(of_row.value(sum(d)), to_float(of_row.x[d]), dot);
    dot = warp_sum(dot);
    along = of_row.along(dot);
    if (lane() == 0 && gradient.dots != nullptr) gradient.dots[row] = dot;
  }
  if (gradient.out.data == nullptr) return;
  Scalar* const out = gradient.out[row];
  for_each_of_row(
      features,
      [&](int k, Index d) {
        value[k] = of_row.value(sum(d));
        if constexpr (Finish::projects) value[k] -= along * to_float(of_row.x[d]);
        if (gradient.into == Into::add) value[k] += to_float(out[d]);
      },
      [&](int k, Index d) { out[d] = from_float<Scalar>(value[k]); });
}

/// Extents of a block of the gradient of A B^T, in whole tiles.
///
/// Blocks are about twice as high as wide, since sums over blocks below each other go to memory and those
/// beside each other do not. Their height is a power of two where there are rows enough: products of 4096 and
/// 8192 rows by 512 columns then are 128 tiles of cuBLAS's for 132 multiprocessors, where heights between
/// them would leave a last round of tiles that fills little of the device. Rows and columns are cut evenly,
/// for the same reason.
struct BlockExtents {
  Index rows, columns;

  /// Blocks of about the bytes that the device allows, or of half of sums_bytes, what sums over blocks take
  /// in scratch in any case, up to four times what the device allows: each block costs four launches and the
  /// incomplete rounds at their ends.
  BlockExtents(const Cuda& device, Index row_count, Index column_count, std::size_t element_bytes,
               std::size_t sums_bytes = 0) {
    static constexpr Index tile = 128;
    const auto tiles = [](Index n) { return (n + tile - 1) / tile; };
    // the number of tiles in each of as few pieces as there are with no more than `most`
    const auto cut = [](Index n, Index most) {
      const Index pieces = (n + most - 1) / most;
      return (n + pieces - 1) / pieces;
    };
    const std::size_t allowed = device.options().score_block_bytes;
    const auto elements =
        static_cast<Index>(std::clamp(sums_bytes / 2, allowed, 4 * allowed) / element_bytes);
    const auto high = static_cast<std::uint64_t>(std::sqrt(static_cast<double>(elements * 2)));
    const auto most_high = static_cast<Index>(std::bit_ceil((high + tile - 1) / tile));
    rows = cut(tiles(row_count), std::max(most_high, Index{1})) * tile;
    columns = cut(tiles(column_count), std::max(elements / rows / tile, Index{1})) * tile;
  }
};

/// Extents of the blocks of gradient_products for A [row_count, features] and B [column_count, features].
template <class Scalar>
[[nodiscard]] BlockExtents gradient_blocks(const Cuda& device, Index row_count, Index column_count,
                                           Index features) {
  const Index sums = is_16_bit<Scalar> ? column_count * features * Index{sizeof(std::uint16_t)} : 0;
  return {device, row_count, column_count, sizeof(Scalar), static_cast<std::size_t>(sums)};
}

/// dA = G B and dB = G^T A for A [N, D], B [M, D] and G [N, M], of which fill(place, block) writes a block at
/// a time. Products are plain ones of 16-bit (or float) numbers with sums in float.
///
/// A strip of rows is complete once all of its blocks are through; each block's share of dB [columns, D] is
/// added to sums that are complete after the last strip. N M D flop twice, and M D sums read and written once
/// a strip.
template <class Scalar, class Fill, class FinishA, class FinishB>
void gradient_products(Cuda& device, const GradientOperands<Scalar>& operands, Fill&& fill,
                       const GradientSide<Scalar, FinishA>& side_a,
                       const GradientSide<Scalar, FinishB>& side_b, bool fill_anyway = false) {
  const auto& [a, b, features] = operands;
  const GradientRows<Scalar>&gradient_a = side_a.gradient, &gradient_b = side_b.gradient;
  const BlockExtents extents = gradient_blocks<Scalar>(device, a.count, b.count, features);
  const bool wants_a = gradient_a.out.data != nullptr || gradient_a.dots != nullptr;
  const bool wants_b = gradient_b.out.data != nullptr || gradient_b.dots != nullptr;
  if (!wants_a && !wants_b && !fill_anyway) return;
  auto scratch = device.scratch().scope();
  const auto block = scratch.template take_view<Scalar>(extents.rows, extents.columns);
  MatrixView<float> strip, share;
  if (wants_a) strip = take_matrix<float>(scratch, std::min(extents.rows, a.count), features);
  if (wants_b) share = take_matrix<float>(scratch, std::min(extents.columns, b.count), features);
  RunningSums<Scalar> sums;
  if (wants_b && extents.rows < a.count) {
    sums.upper = gradient_b.out;
    if (gradient_b.out.data == nullptr || gradient_b.into == Into::add)
      sums.upper = rows_of(scratch.template take_view<Scalar>(b.count, features));
    if constexpr (is_16_bit<Scalar>)
      sums.lower = rows_of(scratch.template take_view<std::uint16_t>(b.count, features));
  }
  const auto view = [width = operands.features](Rows<const Scalar> x, Index begin, Index count) {
    return MatrixView<const Scalar>(x[begin], {count, width}, {x.stride, 1});
  };
  const auto add = [&device, width = operands.features]<class Finish>(
                       MatrixView<float> products, Index begin, bool first, bool last,
                       const RunningSums<Scalar>& to, const GradientSide<Scalar, Finish>& side) {
    launch(add_products<Scalar, Finish>, blocks(products.rows(), 256 / warp_size), 256, 0, device.stream(),
           rows_of(MatrixView<const float>(products)), width, first, last, to, side, begin);
  };
  for (Index row = 0; row < a.count; row += extents.rows) {
    const Index rows = std::min(extents.rows, a.count - row);
    for (Index column = 0; column < b.count; column += extents.columns) {
      const Index columns = std::min(extents.columns, b.count - column);
      const MatrixView<Scalar> g(block.data(), {rows, columns}, {block.stride(0), 1});
      fill(BlockPlace{row, rows, column, columns}, rows_of(g));
      if (wants_b) {
        const auto products = share.slice(0, columns);
        matmul<Scalar>(device, g, Op::transpose, view(a, row, rows), Op::none, products);
        add(products, column, row == 0, row + rows == a.count, sums.slice(column), side_b);
      }
      if (wants_a)
        matmul<Scalar>(device, g, Op::none, view(b, column, columns), Op::none, strip.slice(0, rows), 1,
                       column > 0 ? 1 : 0);
    }
    if (wants_a) add(strip.slice(0, rows), row, true, true, {}, side_a);
  }
}

}  // namespace vlp::cuda::detail
