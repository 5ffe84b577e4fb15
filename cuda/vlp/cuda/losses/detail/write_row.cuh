/// \file
/// From the registers of a tile to memory.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>

#include <cstdint>
#include <cstring>

namespace vlp::cuda::detail {

template <class Scalar>
__device__ std::uint32_t bits_of(const Pack<Scalar, 2>& two) {
  std::uint32_t out;
  std::memcpy(&out, &two, sizeof(out));
  return out;
}

/// Writes the lane's r-th row of a tile, as numbers of another type, to `out`, where the tile's first element
/// goes and whose rows are aligned to 16 bytes. Unless all of the tile is `inside`, only what lies in its
/// first `rows` rows and `columns` columns. The whole warp calls it.
///
/// A lane has two adjacent columns of each fragment. Numbers of 16 bits would leave as 4 bytes a lane, 16 a
/// row, half of a sector; so lanes beside each other exchange one of two fragments, and then each has four
/// adjacent columns of the other: 8 bytes a lane, 32 a row.
template <class Scalar, class Tile>
__device__ void write_row(const Tile& tile, int r, Rows<Scalar> out, bool inside, int rows, int columns) {
  Scalar* const row = out[Tile::row(r)];
  if (!inside) {
#pragma unroll
    for (int c = 0; c < Tile::col_count; ++c)
      if (Tile::row(r) < rows && Tile::col(c) < columns) row[Tile::col(c)] = from_float<Scalar>(tile(r, c));
    return;
  }
  const auto two = [&](int c) {
    return Pack<Scalar, 2>{from_float<Scalar>(tile(r, c)), from_float<Scalar>(tile(r, c + 1))};
  };
#pragma unroll
  for (int c = 0; c < Tile::col_count; c += is_16_bit<Scalar> ? 4 : 2) {
    if constexpr (!is_16_bit<Scalar>) {
      *reinterpret_cast<Pack<Scalar, 2>*>(row + Tile::col(c)) = two(c);
    } else {
      const std::uint32_t first = bits_of(two(c)), second = bits_of(two(c + 2));
      const bool is_odd = lane() % 2 != 0;
      const std::uint32_t other = __shfl_xor_sync(whole_warp, is_odd ? first : second, 1);
      *reinterpret_cast<uint2*>(row + (is_odd ? Tile::col(c + 2) - 2 : Tile::col(c))) =
          is_odd ? make_uint2(other, second) : make_uint2(first, other);
    }
  }
}

}  // namespace vlp::cuda::detail
