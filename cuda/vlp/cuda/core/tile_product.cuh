/// \file
/// Tiles of A B^T on chip: what losses over scores of all pairs are made of.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/mma.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace vlp::cuda {

/// A block of 256 threads computes tiles [128, 128] of A B^T, for A [N, D] and B [M, D] of any extents, with
/// sums in float: 16-bit numbers on the matrix units, float by multiply-adds that round nothing away.
///
/// Data flow: 128 bytes of each of 128 rows of A and of B (64 numbers of 16 bits, 32 of float) make a step.
/// Three steps are in shared memory at a time, one in use, two on their way. A row's eight 16-byte pieces lie
/// permuted, piece c of row r at c ^ (r % 8), so that the eight rows that a warp reads at once lie in
/// different banks. Steps go on from one tile to the next: what a caller does with a finished tile overlaps
/// with the copies for the following one.
///
/// The eight warps stand two by four over a tile, each with 64 x 32 elements of it: every lane has 64, in the
/// layout of the matrix units' results (mma.cuh). Per step of 16-bit numbers a warp loads 24 fragments for 64
/// products, 96 KiB of shared memory per block leave room for two blocks on a multiprocessor of 228 KiB, so
/// that one computes while the other takes exponentials.
template <class Scalar>
class TileProduct {
 public:
  static constexpr int rows = 128, cols = 128, threads = 256;
  /// For __launch_bounds__: float fragments take more registers than two blocks can have.
  static constexpr int blocks_per_multiprocessor = is_16_bit<Scalar> ? 2 : 1;

  /// Lies at the beginning of the kernel's shared memory.
  struct Shared {
    alignas(128) std::byte a[3][rows * 128];
    alignas(128) std::byte b[3][cols * 128];
  };

  /// One lane's share of a tile, and where it lies.
  struct Tile {
    static constexpr int size = 128;
    static constexpr int row_count = 8, col_count = 8;  ///< rows and columns of which a lane has elements
    float value[4][4][4];

    /// Element (r, c) of the lane's own 8 x 8.
    __device__ float& operator()(int r, int c) { return value[r / 2][c / 2][r % 2 * 2 + c % 2]; }
    __device__ float operator()(int r, int c) const { return value[r / 2][c / 2][r % 2 * 2 + c % 2]; }
    /// Where in the tile the lane's r-th row lies, and its c-th column; columns 2k and 2k + 1 are adjacent.
    __device__ static int row(int r) { return warp() / 4 * 64 + r / 2 * 16 + r % 2 * 8 + lane() / 4; }
    __device__ static int col(int c) { return warp() % 4 * 32 + c / 2 * 8 + lane() % 4 * 2 + c % 2; }
  };

  /// For each tile of rows [row, row + 128) and columns [column + 128 k, ...) with k < tiles, in order:
  /// visit(tile, first column). All threads call it, with the same arguments, and visit may pass barriers.
  /// Elements beyond the last row or column are 0, and all are if `depth` is.
  template <class Visit>
  __device__ static void for_each_tile(Shared& shared, Rows<const Scalar> a, Rows<const Scalar> b,
                                       Index depth, bool aligned, Index row, Index column, int tiles,
                                       Visit&& visit) {
    Position next{0, 0, column};
    const Index end = column + static_cast<Index>(tiles) * cols;
    const auto load_next = [&] {
      if (next.column < end) {
        load(shared.a[next.slot], a, row, next.k, depth, aligned);
        load(shared.b[next.slot], b, next.column, next.k, depth, aligned);
      }
      commit_copies();  // an empty group too: there are as many groups as steps
      next.slot = next.slot + 1 < stages ? next.slot + 1 : 0;
      next.k += step_depth;
      if (next.k >= depth) {
        next.k = 0;
        next.column += cols;
      }
    };
    for (int stage = 0; stage < stages - 1; ++stage) load_next();
    int slot = 0;
    for (; column < end; column += cols) {
      Tile tile{};
      for (Index k = 0; k < depth; k += step_depth) {
        wait_for_copies<stages - 2>();
        __syncthreads();  // this step is there for all, and all are done with the one before it
        load_next();
        multiply(shared.a[slot], shared.b[slot], tile);
        slot = slot + 1 < stages ? slot + 1 : 0;
      }
      visit(tile, column);
    }
    wait_for_copies<0>();
    __syncthreads();  // shared memory may be used anew
  }

 private:
  static constexpr int stages = 3;
  static constexpr int pieces = 8;  // of 16 bytes in a row of a step
  static constexpr int step_depth = 128 / sizeof(Scalar);

  /// Of a step: where in shared memory, and which columns of A and rows of B.
  struct Position {
    int slot;
    Index k, column;
  };

  /// Where piece `piece` of row `row` lies in a step. Rows 8 apart have their pieces in the same order, so
  /// from one to the next is 1024 bytes; and pieces 2k + h, for k of 0 to 3, are at piece_at(row, h) ^ 32 k.
  __device__ static int piece_at(int row, int piece) { return row * 128 + (piece ^ (row % pieces)) * 16; }

  /// Columns [k, k + step_depth) of rows [first, first + 128): eight threads to a row, so that a warp reads
  /// whole lines of 128 bytes.
  __device__ static void load(std::byte* step, Rows<const Scalar> from, Index first, Index k, Index depth,
                              bool aligned) {
    constexpr int per_piece = pack_size<Scalar>;
    const int thread = static_cast<int>(threadIdx.x), piece = thread % pieces;
    const Index left = depth - k - piece * per_piece;
    const int there = left >= per_piece ? per_piece : left > 0 ? static_cast<int>(left) : 0;
    const Index row = first + thread / pieces;
    const Scalar* source = from[row] + k + piece * per_piece;
    std::byte* to = step + piece_at(thread / pieces, piece);
#pragma unroll
    for (int i = 0; i < rows * pieces / threads; ++i) {
      constexpr int apart = threads / pieces;
      const int count = row + i * apart < from.count ? there : 0;
      if (aligned) {
        copy_async(to, count > 0 ? source : from.data, count * static_cast<int>(sizeof(Scalar)));
      } else {
        Pack<Scalar, per_piece> pack;
#pragma unroll
        for (int e = 0; e < per_piece; ++e) pack.value[e] = e < count ? source[e] : from_float<Scalar>(0);
        *reinterpret_cast<Pack<Scalar, per_piece>*>(to) = pack;
      }
      source += apart * from.stride;
      to += apart * 128;
    }
  }

  __device__ static void multiply(const std::byte* a, const std::byte* b, Tile& tile) {
    if constexpr (is_16_bit<Scalar>)
      multiply_fragments(a, b, tile);
    else
      multiply_floats(a, b, tile);
  }

  /// Four products of depth 16, of 4 x 4 fragments each.
  __device__ static void multiply_fragments(const std::byte* a, const std::byte* b, Tile& tile) {
    const int a_piece = piece_at(warp() / 4 * 64 + lane() % 16, lane() / 16);
    const int b_piece = piece_at(warp() % 4 * 32 + lane() / 16 * 8 + lane() % 8, lane() / 8 % 2);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const std::byte* const a_at = a + (a_piece ^ 32 * k);
      const std::byte* const b_at = b + (b_piece ^ 32 * k);
      std::uint32_t left[4][4], right[4][2];
#pragma unroll
      for (int m = 0; m < 4; ++m) load_matrices(left[m], a_at + m * 16 * 128);
#pragma unroll
      for (int n = 0; n < 4; n += 2) {
        std::uint32_t both[4];
        load_matrices(both, b_at + n * 8 * 128);
        right[n][0] = both[0];
        right[n][1] = both[1];
        right[n + 1][0] = both[2];
        right[n + 1][1] = both[3];
      }
#pragma unroll
      for (int m = 0; m < 4; ++m)
#pragma unroll
        for (int n = 0; n < 4; ++n) multiply_add<Scalar>(tile.value[m][n], left[m], right[n]);
    }
  }

  /// Eight times four multiply-adds for each of the lane's 64 elements: 16 loads of 16 bytes for 256 of them.
  __device__ static void multiply_floats(const std::byte* a, const std::byte* b, Tile& tile) {
    using Four = Pack<float, 4>;
#pragma unroll 1
    for (int piece = 0; piece < pieces; ++piece) {
      Four left[Tile::row_count];
#pragma unroll
      for (int r = 0; r < Tile::row_count; ++r)
        left[r] = *reinterpret_cast<const Four*>(a + piece_at(Tile::row(r), piece));
#pragma unroll
      for (int c = 0; c < Tile::col_count; ++c) {
        const Four right = *reinterpret_cast<const Four*>(b + piece_at(Tile::col(c), piece));
#pragma unroll
        for (int r = 0; r < Tile::row_count; ++r)
#pragma unroll
          for (int e = 0; e < 4; ++e) tile(r, c) = fmaf(left[r].value[e], right.value[e], tile(r, c));
      }
    }
  }
};

}  // namespace vlp::cuda
