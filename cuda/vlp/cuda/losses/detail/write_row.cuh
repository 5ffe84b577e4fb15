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

/// Writes `Count` of a lane's columns of a tile, from the first-th on, as numbers of another type, to `out`,
/// where the tile's first element goes and whose rows are aligned to 16 bytes. Unless all of the tile is
/// `inside`, only what lies in its first `rows` rows and `columns` columns. A lane's rows are written in
/// their order, one at a time, so that registers are free again soon.
///
/// A lane has two adjacent columns of each fragment. Numbers of 16 bits would leave as 4 bytes a lane, 16 a
/// row, half of a sector; so lanes beside each other exchange one of two fragments, and then each has four
/// adjacent columns of the other: 8 bytes a lane, 32 a row.
template <class Scalar, class Tile, int Count = Tile::col_count>
class RowWriter {
 public:
  __device__ RowWriter(Rows<Scalar> out, int first, bool inside, int rows, int columns)
      : next_(out[Tile::row(0)] + (inside ? column_of(first) : Tile::col(first))),
        first_(first),
        stride_(Tile::rows_apart * out.stride),
        inside_(inside),
        rows_(rows),
        columns_(columns) {}

  /// Writes the lane's r-th row, after the r-1-th. The whole warp calls it.
  __device__ void write(const Tile& tile, int r) {
    if (inside_)
      write_whole(tile, r);
    else
      write_part(tile, r);
    next_ += stride_;
  }

 private:
  __device__ static bool is_odd() { return lane() % 2 != 0; }
  /// An odd lane begins with the second fragment, where the lane before it would have its columns.
  __device__ static int column_of(int first) {
    return is_16_bit<Scalar> && is_odd() ? Tile::col(first + 2) - 2 : Tile::col(first);
  }

  __device__ void write_whole(const Tile& tile, int r) const {
    const auto two = [&](int c) {
      return Pack<Scalar, 2>{from_float<Scalar>(tile(r, first_ + c)),
                             from_float<Scalar>(tile(r, first_ + c + 1))};
    };
#pragma unroll
    for (int c = 0; c < Count; c += is_16_bit<Scalar> ? 4 : 2) {
      Scalar* const to = next_ + (Tile::col(c) - Tile::col(0));
      if constexpr (!is_16_bit<Scalar>) {
        *reinterpret_cast<Pack<Scalar, 2>*>(to) = two(c);
      } else {
        const std::uint32_t first = bits_of(two(c)), second = bits_of(two(c + 2));
        const std::uint32_t other = __shfl_xor_sync(whole_warp, is_odd() ? first : second, 1);
        *reinterpret_cast<uint2*>(to) = is_odd() ? make_uint2(other, second) : make_uint2(first, other);
      }
    }
  }

  __device__ void write_part(const Tile& tile, int r) const {
    if (Tile::row(r) >= rows_) return;
#pragma unroll
    for (int c = 0; c < Count; ++c)
      if (Tile::col(first_ + c) < columns_)
        next_[Tile::col(c) - Tile::col(0)] = from_float<Scalar>(tile(r, first_ + c));
  }

  Scalar* next_;
  int first_;
  Index stride_;
  bool inside_;
  int rows_, columns_;
};

}  // namespace vlp::cuda::detail
