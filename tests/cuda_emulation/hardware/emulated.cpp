#include "emulated.hpp"

#include "../hopper.hpp"
#include "basic_groups.cu"  // compiled for the emulation
#include "hopper_inputs.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace hardware {
namespace {

using cuda_emulation::accumulator_place;
using cuda_emulation::operand_address;

/// D [128, n / 2] of a warpgroup, whose elements are small integers.
template <class Element>
std::vector<std::uint16_t> accumulators(int n, Element element) {
  std::vector<std::uint16_t> out;
  for (int thread = 0; thread < 128; ++thread)
    for (int i = 0; i < n / 2; ++i) {
      const auto [row, column] = accumulator_place(thread, i);
      out.push_back(integer_of(static_cast<float>(element(row, column))));
    }
  return out;
}

void emulate_operand(Output& out, const OperandMap& map) {
  const Descriptor& from = map.descriptor;
  const std::uint64_t descriptor = cuda_emulation::matrix_descriptor(from.start, from.leading, from.stride,
                                                                     from.swizzle, from.base_offset);
  std::vector<std::uint16_t> places;
  for (int thread = 0; thread < (map.is_a ? 128 : 32); ++thread)
    for (int i = 0; i < (map.is_a ? 8 : map.n / 2); ++i) {
      const auto [row, column] = accumulator_place(thread, i);
      const std::uint32_t at = map.is_a ? operand_address(descriptor, map.transposed, row, column)
                                        : operand_address(descriptor, map.transposed, column, row);
      places.push_back(static_cast<std::uint16_t>(at / 2));
    }
  out.add(std::string("wgmma/map/") + map.name, places);
}

void emulate_products(Output& out) {
  out.add("wgmma/accumulator", accumulators(64, [](int m, int n) { return m + 64 * n; }));
  const std::vector<std::uint16_t> product = accumulators(64, [](int m, int n) {
    double sum = 0;
    for (int k = 0; k < 64; ++k) sum += left_element(m, k) * right_element(k, n);
    return sum;
  });
  for (const char* name : {"wgmma/product", "wgmma/product_b_turned", "wgmma/product_both_turned",
                           "wgmma/product_a_in_registers", "tma/product", "tma/product_b_turned"})
    out.add(name, product);
}

void emulate_tiles(Output& out) {
  std::vector<std::uint16_t> tensor;
  for (int i = 0; i < tensor_rows * tensor_pitch; ++i) tensor.push_back(tensor_element(i));
  const auto map = [](auto* data, const Tile& tile) {
    return cuda_emulation::TensorMap<std::remove_pointer_t<decltype(data)>>{
        data,      tensor_rows,      tensor_columns, tensor_pitch,
        tile_rows, tile.box_columns, tile.swizzle,   static_cast<std::uint16_t>(tile.fill_nan ? 0x7ff7 : 0)};
  };
  for (const Tile& tile : tiles) {
    std::vector<std::uint16_t> shared(tile_dump, unwritten);
    cuda_emulation::load_tile(map(tensor.data(), tile), tile.row, tile.column, shared,
                              static_cast<std::uint32_t>(tile.destination));
    out.add(std::string("tma/load/") + tile.name, shared);
    out.add(std::string("tma/state/") + tile.name, std::vector<std::uint32_t>{1});
  }
  std::vector<std::uint16_t> shared;
  for (int i = 0; i < tile_dump; ++i) shared.push_back(static_cast<std::uint16_t>(1000 + i));
  for (const int which : tile_stores) {
    std::vector<std::uint16_t> stored(tensor.size(), unwritten);
    const Tile& tile = tiles[which];
    cuda_emulation::store_tile(map(stored.data(), tile), tile.row, tile.column, shared, 0);
    out.add(std::string("tma/store/") + tile.name, stored);
  }
  for (const Tile& tile : refused_tiles) {
    const auto record = [&](const char* name, auto copy) {
      std::string status = "cudaSuccess";
      try {
        copy();
      } catch (const std::runtime_error&) {
        status = "cudaErrorIllegalInstruction";
      }
      out.add(std::string("tma/refused/") + name + tile.name, status);
    };
    shared.assign(tile_dump, unwritten);
    record("load_",
           [&] { cuda_emulation::load_tile(map(tensor.data(), tile), tile.row, tile.column, shared, 0); });
    record("store_",
           [&] { cuda_emulation::store_tile(map(tensor.data(), tile), tile.row, tile.column, shared, 0); });
  }
}

void emulate_barrier(Output& out) {
  cuda_emulation::Mbarrier barrier(0);
  cuda_emulation::Mbarrier::Token token{};
  bool has_token = false;
  std::vector<std::uint32_t> seen;
  for (const BarrierStep& step : barrier_steps) {
    switch (step.op) {
      case BarrierOp::init:
        barrier = cuda_emulation::Mbarrier(step.value);
        break;
      case BarrierOp::arrive:
        token = barrier.arrive(step.value);
        break;
      case BarrierOp::arrive_expect:
        token = barrier.arrive_expect(step.value);
        break;
      case BarrierOp::expect:
        barrier.expect(step.value);
        break;
      case BarrierOp::drop:
        token = barrier.drop();
        break;
      case BarrierOp::copy:
        barrier.complete(step.value);
        break;
    }
    has_token = has_token || step.op != BarrierOp::init;
    const std::uint32_t even = barrier.is_complete(0U), odd = barrier.is_complete(1U);
    for (const std::uint32_t value :
         {even, odd, even, odd, static_cast<std::uint32_t>(has_token && barrier.is_complete(token)),
          token.pending, 0U, 0U, 0U, 0U})
      seen.push_back(value);
  }
  out.add("mbarrier/steps", seen);
}

}  // namespace

std::string emulated_file() {
  Output out;
  for (const Group& group : basic_groups()) group.run(out);
  emulate_barrier(out);
  for (const OperandMap& map : operand_maps) emulate_operand(out, map);
  for (const OperandMap& map : odd_operand_maps) emulate_operand(out, map);
  emulate_products(out);
  probe_mma<vlp::BFloat16>(out, Type::bf16, "wgmma/bf16");
  probe_mma<vlp::Half>(out, Type::f16, "wgmma/f16");
  emulate_tiles(out);
  return first_line + out.bytes();
}

}  // namespace hardware
