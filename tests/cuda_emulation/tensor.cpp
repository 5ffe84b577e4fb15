#include "cuda_emulation/tensor.hpp"

#include "cuda_emulation/block.hpp"

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace cuda_emulation {
namespace {

// --- ldmatrix

struct Rows {
  std::uint32_t* r;
  const void* row;
};

template <bool transposed>
void load(Operands lanes) {
  for (std::size_t lane = 0; lane < 32; ++lane) {
    auto& own = *static_cast<Rows*>(lanes[lane]);
    for (std::size_t matrix = 0; matrix < 4; ++matrix) {
      std::uint16_t pair[2];
      for (std::size_t i = 0; i < 2; ++i) {
        const std::size_t row = transposed ? 2 * (lane % 4) + i : lane / 4;
        const std::size_t column = transposed ? lane / 4 : 2 * (lane % 4) + i;
        const auto& from = *static_cast<const Rows*>(lanes[8 * matrix + row]);
        std::memcpy(&pair[i], static_cast<const char*>(from.row) + 2 * column, 2);
      }
      own.r[matrix] = pair[0] | std::uint32_t{pair[1]} << 16;
    }
  }
}

constexpr unsigned all_lanes = ~0u;

}  // namespace

void ldmatrix_x4(std::uint32_t (&r)[4], const void* row) {
  check_shared_16("ldmatrix", row);
  Rows own{r, row};
  wait_for_warp("ldmatrix.x4", all_lanes, &own, load<false>);
}

void ldmatrix_x4_trans(std::uint32_t (&r)[4], const void* row) {
  check_shared_16("ldmatrix", row);
  Rows own{r, row};
  wait_for_warp("ldmatrix.x4.trans", all_lanes, &own, load<true>);
}

// --- asynchronous copies

namespace {

std::size_t piece_of(const void* shared) {
  return static_cast<std::size_t>(static_cast<const unsigned char*>(shared) - shared_memory_begin()) / 16;
}

void copy(const AsyncCopies::Copy& one) {
  if (one.bytes != 0) std::memcpy(one.shared, one.global, one.bytes);
  std::memset(static_cast<char*>(one.shared) + one.bytes, 0, 16 - one.bytes);
}

}  // namespace

void cp_async_16(void* shared, const void* global, int source_bytes) {
  check_shared_16("cp.async", shared);
  if (reinterpret_cast<std::uintptr_t>(global) % 16 != 0)
    fail("cp.async: an address is not aligned to 16 bytes");
  if (source_bytes < 0 || source_bytes > 16)
    fail("cp.async: " + std::to_string(source_bytes) + " bytes of 16");
  AsyncCopies& copies = async_copies();
  copies.pending.push_back({shared, global, static_cast<std::size_t>(source_bytes), copies.group, false});
  unfenced_pieces()[piece_of(shared)] = copies.writer;
  if (draw() % 2 == 1) {
    copy(copies.pending.back());
    copies.pending.back().is_done = true;
  }
}

void cp_async_commit() {
  ++async_copies().group;
}

void cp_async_wait(int groups_left) {
  AsyncCopies& copies = async_copies();
  std::erase_if(copies.pending, [&](const AsyncCopies::Copy& one) {
    const bool done = one.group + static_cast<std::size_t>(groups_left) < copies.group;
    if (!done) return false;
    if (!one.is_done) copy(one);
    copies.arrived.push_back(piece_of(one.shared));
    return true;
  });
}

}  // namespace cuda_emulation
