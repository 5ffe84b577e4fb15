/// \file
/// Threads of a block, run on the host: each is a fiber that runs until it must wait for others, at a barrier
/// of the block or at a collective of its warp. Launches come from one host thread at a time.
#pragma once

#include "language.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace cuda_emulation {

/// Threads wait for each other in a way that none can go on. The message names the block, and who waits
/// where.
struct Divergence : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// In which order blocks, warps and lanes run: 0 ascending; any other seed draws orders at random, anew after
/// every barrier, so that a missing barrier shows.
void set_order(std::uint64_t seed);

/// How many kernels have been launched by this program.
std::size_t launches();

/// The block's dynamic shared memory, with the size that the launch gave, filled with 0xFF (NaN) before each
/// block. Throws if that is less than `bytes`, or if `alignment` is above 1024.
void* dynamic_shared_memory(std::size_t bytes, std::size_t alignment = 16);

// From here on for this folder.

/// Runs `kernel` once by each thread of the grid. An exception in one ends all, and is thrown on.
void run_grid(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& kernel);

/// What waiting threads brought, by lane of the warp (32) or by thread of the block; null for one that takes
/// no part.
using Operands = std::span<void* const>;

/// What happens once all are there: writes each operand's result. Threads go on afterwards.
using Combine = void (*)(Operands);

/// Waits for all threads of the block that have not ended.
void wait_for_block(const char* name, void* operand, Combine combine);

/// Waits for the lanes in `mask`, which must all come to the same collective (`name`, `combine`) with the
/// same mask.
void wait_for_warp(const char* name, unsigned mask, void* operand, Combine combine);

/// The running thread's lane in its warp, 0 to 31.
unsigned lane();

/// Throws std::runtime_error with the message and the block and thread that runs, if any.
[[noreturn]] void fail(const std::string& message);

/// Fails unless `pointer` is aligned to 16 bytes and 16 bytes from it are the block's shared memory.
void check_shared_16(const char* name, const void* pointer);

/// A number drawn under a random order, 0 under the ascending one.
std::uint64_t draw();

/// Copies that the running thread has begun and not waited for; `group` counts those committed.
struct AsyncCopies {
  struct Copy {
    void* shared;
    const void* global;
    std::size_t bytes, group;
    bool is_done;
  };
  std::vector<Copy> pending;
  std::size_t group = 0;
  unsigned writer = 0;               ///< this thread in unfenced_pieces()
  std::vector<std::size_t> arrived;  ///< pieces that it has waited for, and not fenced since
};
AsyncCopies& async_copies();

/// Of each 16 bytes of the block's shared memory, which thread's copy has written them, or may yet, without
/// fence.proxy.async since: its number plus 1, or 0.
std::vector<unsigned>& unfenced_pieces();

/// Products by the running thread's warpgroup that it has begun and not waited for.
struct AsyncProducts {
  struct Product {
    float* d;
    std::uint64_t a, b;
    bool is_bf16;
  };
  std::vector<Product> pending;  ///< those whose operands have not been read
  float* d = nullptr;            ///< where the sums go, null while none are in flight
  std::array<float, 64> sums{};  ///< what they are meanwhile
  bool is_fenced = false;        ///< since the last wait
  bool is_committed = true;      ///< all that were begun
  unsigned warp = 0;
};
AsyncProducts& async_products();

/// The block's dynamic shared memory.
unsigned char* shared_memory_begin();
std::size_t shared_bytes();

}  // namespace cuda_emulation
