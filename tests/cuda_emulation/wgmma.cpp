#include "cuda_emulation/wgmma.hpp"

#include "cuda_emulation/block.hpp"
#include "cuda_emulation/narrow_float.hpp"
#include "hopper.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

namespace cuda_emulation {
namespace {

constexpr unsigned all_lanes = ~0u;
constexpr int depth = 16, warp_rows = 16, columns = 128, registers = 64;
constexpr std::uint32_t first_address =
    1024;  // of dynamic shared memory, as on cards of compute capability 9.0

using Product = AsyncProducts::Product;

std::uint16_t element(std::uint32_t address) {
  const std::size_t at = std::size_t{address} - first_address;
  if (address < first_address || at + 2 > shared_bytes()) fail("wgmma: an operand is not in shared memory");
  if (unfenced_pieces()[at / 16] != 0)
    fail("wgmma: an operand was written by cp.async, without fence.proxy.async since");
  std::uint16_t out;
  std::memcpy(&out, shared_memory_begin() + at, sizeof out);
  return out;
}

// d += a b^T of one warp, which has 16 of the 64 rows.
void multiply(const Product& one, unsigned warp, Operands lanes) {
  const auto widened = one.is_bf16 ? widen<8, 7> : widen<5, 10>;
  float a[warp_rows][depth];
  static thread_local float b[columns][depth];
  for (int k = 0; k < depth; ++k) {
    for (int i = 0; i < warp_rows; ++i)
      a[i][k] =
          widened(element(operand_address(one.a, false, static_cast<int>(warp % 4) * warp_rows + i, k)));
    for (int j = 0; j < columns; ++j) b[j][k] = widened(element(operand_address(one.b, false, j, k)));
  }
  for (int lane = 0; lane < 32; ++lane) {
    auto& own = *static_cast<AsyncProducts*>(lanes[static_cast<std::size_t>(lane)]);
    for (int i = 0; i < registers; ++i) {
      const Place place = accumulator_place(lane, i);
      double sum = own.sums[static_cast<std::size_t>(i)];
      for (int k = 0; k < depth; ++k) sum += static_cast<double>(a[place.row][k]) * b[place.column][k];
      own.sums[static_cast<std::size_t>(i)] = static_cast<float>(sum);
    }
  }
}

void multiply_pending(Operands lanes) {
  const auto& first = *static_cast<const AsyncProducts*>(lanes[0]);
  for (std::size_t i = 0; i < first.pending.size(); ++i) multiply(first.pending[i], first.warp, lanes);
  for (void* const lane : lanes) static_cast<AsyncProducts*>(lane)->pending.clear();
}

// The warp has come to the last product of each lane's `pending`.
void start(Operands lanes) {
  const Product& first = static_cast<const AsyncProducts*>(lanes[0])->pending.back();
  for (void* const lane : lanes) {
    auto& own = *static_cast<AsyncProducts*>(lane);
    const Product& one = own.pending.back();
    if (one.a != first.a || one.b != first.b) fail("wgmma: descriptors differ within a warp");
    if (own.d == one.d) continue;
    own.d = one.d;
    std::copy_n(own.d, registers, own.sums.begin());
    std::fill_n(own.d, registers, std::nanf(""));
  }
  if (draw() % 2 == 1) multiply_pending(lanes);
}

void finish(Operands lanes) {
  multiply_pending(lanes);
  for (void* const lane : lanes) {
    auto& own = *static_cast<AsyncProducts*>(lane);
    if (own.d != nullptr) std::copy_n(own.sums.begin(), registers, own.d);
    own.d = nullptr;
    own.is_fenced = false;
  }
}

void start_product(const char* name, float* d, std::uint64_t a, std::uint64_t b, bool is_bf16) {
  AsyncProducts& own = async_products();
  if (own.d == nullptr && !own.is_fenced) fail("wgmma: its sums may still be written, without wgmma.fence");
  if (own.d != nullptr && own.d != d) fail("wgmma: the emulation has one tile of sums in flight at a time");
  own.pending.push_back({d, a, b, is_bf16});
  own.is_committed = false;
  wait_for_warp(name, all_lanes, &own, start);
}

}  // namespace

std::uint32_t shared_address(const void* pointer) {
  check_shared_16("a descriptor", pointer);
  return first_address +
         static_cast<std::uint32_t>(static_cast<const unsigned char*>(pointer) - shared_memory_begin());
}

void fence_proxy_async() {
  AsyncCopies& copies = async_copies();
  for (const std::size_t piece : copies.arrived)
    if (unfenced_pieces()[piece] == copies.writer) unfenced_pieces()[piece] = 0;
  copies.arrived.clear();
}

void wgmma_fence() {
  async_products().is_fenced = true;
}

void wgmma_m64n128k16_bf16(float* d, std::uint64_t a, std::uint64_t b) {
  start_product("wgmma.bf16", d, a, b, true);
}

void wgmma_m64n128k16_f16(float* d, std::uint64_t a, std::uint64_t b) {
  start_product("wgmma.f16", d, a, b, false);
}

void wgmma_commit() {
  async_products().is_committed = true;
}

void wgmma_wait() {
  AsyncProducts& own = async_products();
  wait_for_warp("wgmma.wait_group", all_lanes, &own, own.is_committed ? finish : nullptr);
}

}  // namespace cuda_emulation
