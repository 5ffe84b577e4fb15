#include "cuda_emulation/tensor.hpp"

#include "cuda_emulation/block.hpp"
#include "cuda_emulation/narrow_float.hpp"

#include <cstring>
#include <string>
#include <vector>

namespace cuda_emulation {
namespace {

constexpr auto from_bf16 = widen<8, 7>;
constexpr auto from_half = widen<5, 10>;

// A lane's part of the product. Lane 4g + t holds, two neighbours in a register: of a, rows g and g + 8 and
// columns 2t and 2t + 8; of b, rows 2t and 2t + 8 of column g; of d, rows g and g + 8 and columns 2t.
struct Fragments {
  float* d;
  const std::uint32_t *a, *b;
};

float half_of(std::uint32_t pair, int which, float (*widened)(std::uint16_t)) {
  return widened(static_cast<std::uint16_t>(pair >> (16 * which)));
}

template <float (*widened)(std::uint16_t)>
void multiply(Operands lanes) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& own = *static_cast<const Fragments*>(lanes[static_cast<std::size_t>(lane)]);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 2; ++i) {
      a[g][2 * t + i] = half_of(own.a[0], i, widened);
      a[g + 8][2 * t + i] = half_of(own.a[1], i, widened);
      a[g][2 * t + 8 + i] = half_of(own.a[2], i, widened);
      a[g + 8][2 * t + 8 + i] = half_of(own.a[3], i, widened);
      b[2 * t + i][g] = half_of(own.b[0], i, widened);
      b[2 * t + 8 + i][g] = half_of(own.b[1], i, widened);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    float* const d = static_cast<const Fragments*>(lanes[static_cast<std::size_t>(lane)])->d;
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
      double sum = d[i];
      for (int k = 0; k < 16; ++k) sum += static_cast<double>(a[row][k]) * b[k][column];
      d[i] = static_cast<float>(sum);
    }
  }
}

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

void mma_m16n8k16_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  Fragments own{d, a, b};
  wait_for_warp("mma.m16n8k16.bf16", all_lanes, &own, multiply<from_bf16>);
}

void mma_m16n8k16_f16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  Fragments own{d, a, b};
  wait_for_warp("mma.m16n8k16.f16", all_lanes, &own, multiply<from_half>);
}

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
  copies.pending.push_back({shared, global, static_cast<std::size_t>(source_bytes), copies.group});
  if (draw() % 2 == 1) {
    copy(copies.pending.back());
    copies.pending.pop_back();
  }
}

void cp_async_commit() {
  ++async_copies().group;
}

void cp_async_wait(int groups_left) {
  AsyncCopies& copies = async_copies();
  std::erase_if(copies.pending, [&](const AsyncCopies::Copy& one) {
    const bool done = one.group + static_cast<std::size_t>(groups_left) < copies.group;
    if (done) copy(one);
    return done;
  });
}

}  // namespace cuda_emulation
