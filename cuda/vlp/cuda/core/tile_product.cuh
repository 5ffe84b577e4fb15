/// \file
/// Tiles of A B^T on chip: what losses over scores of all pairs are made of.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/mma.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/core/wgmma.cuh>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace vlp::cuda {

/// How numbers of 16 bits are multiplied: by each warp, out of registers (mma.cuh), or by four warps
/// together, out of shared memory (wgmma.cuh).
struct WarpProducts {};
struct GroupProducts {};
/// The kind of products of the architecture that is being compiled. Host code cannot know that architecture,
/// so the constants that it reads from a TileProduct, and the kernels' types and arguments, are equal for
/// both.
using NativeProducts = std::conditional_t<has_group_products, GroupProducts, WarpProducts>;

/// A block of 256 threads computes tiles [128, Columns] of A B^T, for A [N, D] and B [M, D] of any extents,
/// with sums in float: 16-bit numbers on the matrix units, float by multiply-adds that round nothing away.
///
/// Data flow: 128 bytes of each of 128 rows of A and Columns of B (64 numbers of 16 bits, 32 of float) make a
/// step. Stages steps are in shared memory at a time, one in use, the others on their way. One stage is for
/// products of a single step, which have nothing to overlap with. A row's eight 16-byte pieces lie
/// permuted, piece c of row r at c ^ (r % 8), so that the eight rows that a warp reads at once lie in
/// different banks. Steps go on from one tile to the next: what a caller does with a finished tile overlaps
/// with the copies for the following one.
///
/// The eight warps stand two by four over a tile of 128 columns, each with 64 x 32 elements of it, and four
/// by two over one of 64, each with 32 x 32: every lane has 64 or 32, in the layout of the matrix units'
/// results (mma.cuh). Per step of 16-bit numbers a warp loads 24 fragments for 64 products, 96 KiB of shared
/// memory per block leave room for two blocks on a multiprocessor of 228 KiB, so that one computes while the
/// other takes exponentials.
///
/// With GroupProducts the eight warps stand below each other, each with 16 x 128 elements; every lane has two
/// rows of 32. Two groups of four warps multiply asynchronously, while their threads start the copies of the
/// step after the next one. A step takes four instructions for products and those that wait.
template <class Scalar, int Columns = 128, int Stages = 3, class Products = NativeProducts>
class TileProduct {
  static constexpr bool by_groups = is_16_bit<Scalar> && std::is_same_v<Products, GroupProducts>;

 public:
  static constexpr int rows = 128, cols = Columns, threads = 256;
  static_assert(cols == 128 || (cols == 64 && !by_groups));
  static_assert(!by_groups || Stages > 1);
  static constexpr int warp_columns = by_groups ? 1 : cols / 32;  ///< warps beside each other over a tile
  static constexpr int warp_rows = threads / warp_size / warp_columns;  ///< warps below each other
  /// For __launch_bounds__: float fragments take more registers than two blocks can have.
  static constexpr int blocks_per_multiprocessor = (is_16_bit<Scalar> ? 2 : 1) * (cols == 128 ? 2 : 3) / 2;

  /// Lies at the beginning of the kernel's shared memory.
  struct Shared {
    alignas(1024) std::byte a[Stages][rows * 128];
    alignas(1024) std::byte b[Stages][cols * 128];
  };

  /// One lane's share of a tile, and where it lies.
  struct Tile {
    static constexpr int size = rows;
    static constexpr int warp_rows = TileProduct::warp_rows, warp_columns = TileProduct::warp_columns;
    static constexpr int rows_apart = 8;  ///< from one of the lane's rows to the next
    /// Rows and columns of which a lane has elements.
    static constexpr int row_count = rows / warp_rows / rows_apart, col_count = cols / warp_columns / 4;
    float value[row_count / 2][col_count / 2][4];

    /// Element (r, c) of the lane's own.
    __device__ float& operator()(int r, int c) { return value[r / 2][c / 2][r % 2 * 2 + c % 2]; }
    __device__ float operator()(int r, int c) const { return value[r / 2][c / 2][r % 2 * 2 + c % 2]; }
    /// Where in the tile the lane's r-th row lies, and its c-th column; columns 2k and 2k + 1 are adjacent.
    __device__ static int row(int r) { return first_row() + r * rows_apart + lane() / 4; }
    __device__ static int col(int c) { return first_col() + c / 2 * 8 + lane() % 4 * 2 + c % 2; }
    /// Where the warp's own rows and columns begin.
    __device__ static int first_row() { return warp() / warp_columns * (row_count * rows_apart); }
    __device__ static int first_col() { return warp() % warp_columns * (col_count * 4); }
  };

  /// For each tile of rows [row, row + 128) and columns [column + Columns k, ...), k < tiles, in order:
  /// visit(tile, first column). All threads call it, with the same arguments, and visit may pass barriers.
  /// Elements beyond the last row or column are 0, and all are if `depth` is.
  template <class Visit>
  __device__ static void for_each_tile(Shared& shared, Rows<const Scalar> a, Rows<const Scalar> b,
                                       Index depth, bool aligned, Index row, Index column, int tiles,
                                       Visit&& visit) {
    Copies copies(a, b, depth, aligned, row, column, tiles);
    for (int stage = 0; stage < stages - 1; ++stage) copies.start(shared);
    int slot = 0;
    const auto take_step = [&](Tile& tile, auto start_next) {
      if constexpr (by_groups) {
        wait_for_groups(tile.value[0]);
        wait_for_copies<stages - 2>();
        publish_shared_memory();
        __syncthreads();  // as below
        multiply_groups(shared.a[slot], shared.b[slot], tile);
        start_next();  // while that goes on
        slot = following(slot);
        return;
      } else if constexpr (stages > 1) {
        wait_for_copies<stages - 2>();
        __syncthreads();  // this step is there for all, and all are done with the one before it
        start_next();
      } else {
        __syncthreads();  // all are done with the step before it
        start_next();
        wait_for_copies<0>();
        __syncthreads();
      }
      multiply(shared.a[slot], shared.b[slot], tile);
      slot = following(slot);
    };
    for (; tiles > 0; --tiles, column += cols) {
      Tile tile{};
      for (int left = copies.steps; left > 0;) {
        if (const int whole = min(copies.whole_steps(), left); whole > 0) {
          copies.for_whole_steps(shared, whole, [&](auto start_next) { take_step(tile, start_next); });
          left -= whole;
        } else {
          take_step(tile, [&] { copies.start(shared); });
          --left;
        }
      }
      if constexpr (by_groups) wait_for_groups(tile.value[0]);
      visit(tile, column);
    }
    wait_for_copies<0>();
    __syncthreads();  // shared memory may be used anew
  }

 private:
  static constexpr int stages = Stages;
  static constexpr int pieces = 8;  // of 16 bytes in a row of a step
  static constexpr int step_depth = 128 / sizeof(Scalar);

  /// Where piece `piece` of row `row` lies in a step. Rows 8 apart have their pieces in the same order, so
  /// from one to the next is 1024 bytes; and pieces 2k + h, for k of 0 to 3, are at piece_at(row, h) ^ 32 k.
  __device__ static int piece_at(int row, int piece) { return row * 128 + (piece ^ (row % pieces)) * 16; }

  __device__ static int following(int slot) { return slot + 1 < stages ? slot + 1 : 0; }

  /// Copies one step after another: all steps of a tile, then those of the tile beside it. Eight threads copy
  /// a row, so that a warp reads whole lines of 128 bytes, and each thread has the same piece of every 32nd
  /// row.
  ///
  /// A whole step is one that lies inside both operands, whose rows are aligned. Its copies need no sizes,
  /// only additions, and have no branch between them: on sm_90 ptxas puts three loads that do nothing before
  /// the first copy after a branch. Steps at an edge, and rows that are not aligned, go the counted way.
  class Copies {
   public:
    const int steps;  ///< in each tile

    __device__ Copies(Rows<const Scalar> a, Rows<const Scalar> b, Index depth, bool aligned, Index row,
                      Index column, int tiles)
        : steps(static_cast<int>((depth + step_depth - 1) / step_depth)),
          a_(a),
          b_(b),
          depth_(depth),
          row_(row),
          column_(column),
          aligned_(aligned),
          tiles_(steps > 0 ? tiles : 0) {
      count_whole_steps();
    }

    /// The number of whole steps that follow each other in one tile from the next step on.
    [[nodiscard]] __device__ int whole_steps() const { return max(whole_steps_ - step_, 0); }

    /// Starts the copies of the next step and closes their group. The group is empty after the last step, so
    /// that a thread has closed as many groups as it has taken steps.
    __device__ void start(Shared& shared) {
      if (tiles_ > 0) {
        copy_counted<rows>(shared.a[slot_], a_, row_);
        copy_counted<cols>(shared.b[slot_], b_, column_);
        take(1);
      }
      commit_copies();
      slot_ = following(slot_);
    }

    /// Calls visit(start_next) for each of the next `count` steps, all of them whole. start_next() starts the
    /// step's copies as start does.
    template <class Visit>
    __device__ void for_whole_steps(Shared& shared, int count, Visit&& visit) {
      const Scalar *from_a = own_source(a_, row_), *from_b = own_source(b_, column_);
      take(count);
      for (; count > 0; --count)
        visit([&] {
          copy_whole<rows>(shared.a[slot_], from_a, a_.stride);
          copy_whole<cols>(shared.b[slot_], from_b, b_.stride);
          from_a += step_depth;
          from_b += step_depth;
          commit_copies();
          slot_ = following(slot_);
        });
    }

   private:
    static constexpr int per_piece = pack_size<Scalar>;
    static constexpr int apart = threads / pieces;

    __device__ static int own_row() { return static_cast<int>(threadIdx.x) / pieces; }
    __device__ static int own_piece() { return static_cast<int>(threadIdx.x) % pieces; }
    /// The thread's first piece of the next step in an operand whose tile begins at row `first`.
    [[nodiscard]] __device__ const Scalar* own_source(const Rows<const Scalar>& from, Index first) const {
      return from[first + own_row()] + Index{step_} * step_depth + own_piece() * per_piece;
    }

    /// Whole steps come first in a tile: only the last step may be cut.
    __device__ void count_whole_steps() {
      const bool has_all_rows = row_ + rows <= a_.count && column_ + cols <= b_.count;
      whole_steps_ = aligned_ && has_all_rows && tiles_ > 0 ? static_cast<int>(depth_ / step_depth) : 0;
    }

    /// Moves on by `count` steps of this tile.
    __device__ void take(int count) {
      step_ += count;
      if (step_ < steps) return;
      step_ = 0;
      --tiles_;
      column_ += cols;
      count_whole_steps();
    }

    template <int Count>
    __device__ static void copy_whole(std::byte* step, const Scalar* from, Index stride) {
      std::byte* const to = step + piece_at(own_row(), own_piece());
#pragma unroll
      for (int i = 0; i < Count / apart; ++i) copy_async(to + i * apart * 128, from + i * apart * stride);
    }

    template <int Count>
    __device__ void copy_counted(std::byte* step, const Rows<const Scalar>& from, Index first) const {
      const Index left = depth_ - Index{step_} * step_depth - own_piece() * per_piece;
      const int available = left >= per_piece ? per_piece : left > 0 ? static_cast<int>(left) : 0;
      const Index rows_left = from.count - first - own_row();
      const Scalar* const source = own_source(from, first);
      std::byte* const to = step + piece_at(own_row(), own_piece());
      if (aligned_) {
#pragma unroll
        for (int i = 0; i < Count / apart; ++i)
          copy_async(to + i * apart * 128, source + i * apart * from.stride,
                     (i * apart < rows_left ? available : 0) * static_cast<int>(sizeof(Scalar)));
      } else {
#pragma unroll 1
        for (int i = 0; i < Count / apart; ++i) {
          const int count = i * apart < rows_left ? available : 0;
          Pack<Scalar, per_piece> pack;
#pragma unroll
          for (int e = 0; e < per_piece; ++e)
            pack.value[e] = e < count ? source[i * apart * from.stride + e] : from_float<Scalar>(0);
          *reinterpret_cast<Pack<Scalar, per_piece>*>(to + i * apart * 128) = pack;
        }
      }
    }

    Rows<const Scalar> a_, b_;
    Index depth_, row_, column_;
    bool aligned_;
    int tiles_;            // that are left
    int step_ = 0;         // of its tile
    int whole_steps_ = 0;  // of its tile, which are the first
    int slot_ = 0;
  };

  /// Starts four products of depth 16, each of 64 rows of A by all of B for each group of four warps.
  __device__ static void multiply_groups(const std::byte* a, const std::byte* b, Tile& tile) {
    constexpr int group_rows = 64;
    const std::uint64_t left = group_operand(a + warp() / 4 * group_rows * 128), right = group_operand(b);
    begin_group();
#pragma unroll
    for (int k = 0; k < 4; ++k) multiply_group_add<Scalar>(tile.value[0], left + 2 * k, right + 2 * k);
    end_group();
  }

  __device__ static void multiply(const std::byte* a, const std::byte* b, Tile& tile) {
    if constexpr (is_16_bit<Scalar>)
      multiply_fragments(a, b, tile);
    else
      multiply_floats(a, b, tile);
  }

  /// Four products of depth 16, of 4 x 4 fragments each, or 2 x 4.
  __device__ static void multiply_fragments(const std::byte* a, const std::byte* b, Tile& tile) {
    const int a_piece = piece_at(Tile::first_row() + lane() % 16, lane() / 16);
    const int b_piece = piece_at(Tile::first_col() + lane() / 16 * 8 + lane() % 8, lane() / 8 % 2);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const std::byte* const a_at = a + (a_piece ^ 32 * k);
      const std::byte* const b_at = b + (b_piece ^ 32 * k);
      constexpr int row_fragments = Tile::row_count / 2;
      std::uint32_t left[row_fragments][4], right[4][2];
#pragma unroll
      for (int m = 0; m < row_fragments; ++m) load_matrices(left[m], a_at + m * 16 * 128);
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
      for (int m = 0; m < row_fragments; ++m)
#pragma unroll
        for (int n = 0; n < 4; ++n) multiply_add<Scalar>(tile.value[m][n], left[m], right[n]);
    }
  }

  /// Eight times four multiply-adds for each of the lane's elements: 16 loads of 16 bytes for 256 of them.
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
