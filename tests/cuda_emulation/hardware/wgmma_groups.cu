// Groups of the hardware probe that need wgmma, sm_90a.
#include "../hopper.hpp"
#include "device.cuh"
#include "groups.hpp"
#include "hopper_device.cuh"
#include "hopper_inputs.hpp"
#include "hopper_ptx.cuh"

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace hardware {
namespace {

#ifdef VLP_PROBE_SM_90A
/// Puts a region of 32 KiB in shared memory.
__device__ void fill_region(unsigned char* to, const std::uint16_t* from) {
  for (unsigned i = threadIdx.x; i < region_bytes / 16; i += blockDim.x)
    reinterpret_cast<uint4*>(to)[i] = reinterpret_cast<const uint4*>(from)[i];
}
#endif

template <int TurnedA, int TurnedB>
__global__ void __launch_bounds__(threads) shared_product_kernel(Product product) {
#ifdef VLP_PROBE_SM_90A
  unsigned char* const a = aligned_shared_memory();
  unsigned char* const b = a + region_bytes;
  fill_region(a, product.a);
  fill_region(b, product.b);
  fence_proxy();
  __syncthreads();
  float d[32] = {};
  for (int step = 0; step < product.steps; ++step) {
    const auto at = static_cast<std::uint32_t>(step);
    products_begin();
    multiply_shared<TurnedA, TurnedB>(
        d, descriptor(product.a_bits, shared_address(a) + product.a_start + at * product.a_step),
        descriptor(product.b_bits, shared_address(b) + product.b_start + at * product.b_step), step != 0);
    products_end();
  }
  show(d, product.d);
  if (threadIdx.x == 0) *product.state = ran;
#endif
}

template <int N, int TurnedB>
__global__ void __launch_bounds__(threads) register_product_kernel(Product product) {
#ifdef VLP_PROBE_SM_90A
  unsigned char* const b = aligned_shared_memory();
  fill_region(b, product.b);
  fence_proxy();
  __syncthreads();
  float d[N / 2] = {};
  for (int step = 0; step < product.steps; ++step) {
    const auto at = static_cast<std::uint32_t>(step);
    const std::uint32_t* const of_a = product.a_registers + 4 * (threads * at + threadIdx.x);
    const std::uint32_t a[4] = {of_a[0], of_a[1], of_a[2], of_a[3]};
    products_begin();
    multiply_registers<TurnedB>(
        d, a, descriptor(product.b_bits, shared_address(b) + product.b_start + at * product.b_step),
        step != 0);
    products_end();
  }
  show(d, product.d);
  if (threadIdx.x == 0) *product.state = ran;
#endif
}

/// One block a pattern: a [patterns, 128, 4], b [patterns, 8 rows of 128 bytes, swizzled], c and d
/// [patterns, 128, 4].
template <bool Bf16>
__global__ void __launch_bounds__(threads)
    narrow_product_kernel(const std::uint32_t* a, const std::uint16_t* b, const float* c,
                          std::uint64_t b_bits, float* d, std::uint32_t* state) {
#ifdef VLP_PROBE_SM_90A
  unsigned char* const rows = aligned_shared_memory();
  for (unsigned i = threadIdx.x; i < 512; i += threads)
    reinterpret_cast<std::uint16_t*>(rows)[i] = b[512 * blockIdx.x + i];
  fence_proxy();
  __syncthreads();
  const unsigned at = 4 * (threads * blockIdx.x + threadIdx.x);
  const std::uint32_t of_a[4] = {a[at], a[at + 1], a[at + 2], a[at + 3]};
  float sums[4] = {c[at], c[at + 1], c[at + 2], c[at + 3]};
  products_begin();
  multiply_narrow<Bf16>(sums, of_a, descriptor(b_bits, shared_address(rows)), 1);
  products_end();
  for (unsigned i = 0; i < 4; ++i) d[at + i] = sums[i];
  if (threadIdx.x == 0) *state = ran;
#endif
}

constexpr std::size_t two_regions = 2 * region_bytes + slack;

/// A region with a matrix [rows, 64] of bf16 in it, each row 128 bytes, swizzled.
template <class Element>
std::vector<std::uint16_t> swizzled_region(int rows, Element element) {
  std::vector<std::uint16_t> out(region_elements, 0);
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < 64; ++j)
      out[cuda_emulation::swizzled(static_cast<std::uint32_t>(128 * i + 2 * j), 128) / 2] =
          truncated(element(i, j), Type::bf16);
  return out;
}
template <class Element>
std::vector<std::uint16_t> counted_region(Element element) {
  std::vector<std::uint16_t> out;
  for (int i = 0; i < region_elements; ++i) out.push_back(truncated(element(i), Type::bf16));
  return out;
}
double unit(int i, int j) {
  return i == j ? 1 : 0;
}
std::vector<std::uint32_t> unit_registers() {
  return a_fragments(static_cast<int>(threads), Type::bf16, unit);
}

using Kernel = void (*)(Product);
Kernel register_kernel(int n, bool turned) {
  if (n == 256) return turned ? register_product_kernel<256, 1> : register_product_kernel<256, 0>;
  if (n == 128) return turned ? register_product_kernel<128, 1> : register_product_kernel<128, 0>;
  return turned ? register_product_kernel<64, 1> : register_product_kernel<64, 0>;
}

/// Finds where an operand's elements come from.
std::vector<std::uint16_t> find_operand(const OperandMap& map) {
  std::vector<float> halves[2];
  for (int high = 0; high < 2; ++high) {
    const Array<std::uint16_t> known(counted_region(high == 1 ? place_high : place_low));
    const Array<std::uint16_t> other(swizzled_region(64, unit));
    const Array<std::uint32_t> registers(unit_registers()), state(1);
    const std::size_t each = static_cast<std::size_t>(map.n) / 2;
    const Array<float> d(threads * each);
    Product product{};
    product.steps = 1;
    product.d = d.data();
    product.state = state.data();
    if (map.is_a) {
      product.a = known.data();
      product.b = other.data();
      product.a_bits = fixed_bits(map.descriptor);
      product.b_bits = fixed_bits(k_major);
      product.a_start = map.descriptor.start;
      run(map.transposed ? shared_product_kernel<1, 0> : shared_product_kernel<0, 0>, 1, threads, two_regions,
          product);
    } else {
      product.b = known.data();
      product.a_registers = registers.data();
      product.b_bits = fixed_bits(map.descriptor);
      product.b_start = map.descriptor.start;
      run(register_kernel(map.n, map.transposed), 1, threads, region_bytes + slack, product);
    }
    check_ran(state);
    const std::vector<float> all = d.host();
    for (std::size_t thread = 0; thread < (map.is_a ? threads : 32); ++thread)
      for (std::size_t i = 0; i < (map.is_a ? 8 : each); ++i) halves[high].push_back(all[each * thread + i]);
  }
  std::vector<std::uint16_t> out;
  for (std::size_t i = 0; i < halves[0].size(); ++i) out.push_back(place_of(halves[0][i], halves[1][i]));
  return out;
}

template <std::size_t Count>
void probe_operands(Output& out, const OperandMap (&maps)[Count]) {
  for (const OperandMap& map : maps) out.add(std::string("wgmma/map/") + map.name, find_operand(map));
}

/// Products [64, 64] x [64, 64] of small integers in four steps. The accumulator's layout is seen from one
/// whose result (m, n) is m + 64 n: 4096 integers.
void probe_wgmma_products(Output& out) {
  const Array<std::uint32_t> state(1);
  const Array<float> d(threads * 32);
  Product product{};
  product.d = d.data();
  product.state = state.data();
  product.a_bits = product.b_bits = fixed_bits(k_major);
  product.a_step = product.b_step = 32;

  // A (m, 0) = m, A (m, 1) = 64, B (0, n) = 1, B (1, n) = n
  const Array<std::uint16_t> counting(swizzled_region(64, [](int m, int k) {
    return k == 0 ? m : k == 1 ? 64 : 0;
  }));
  const Array<std::uint16_t> columns(swizzled_region(64, [](int n, int k) {
    return k == 0 ? 1 : k == 1 ? n : 0;
  }));
  product.a = counting.data();
  product.b = columns.data();
  product.steps = 1;
  run(shared_product_kernel<0, 0>, 1, threads, two_regions, product);
  check_ran(state);
  out.add("wgmma/accumulator", integers_of(d.host()));

  const Array<std::uint16_t> a(swizzled_region(64, left_element)),
      a_turned(swizzled_region(64, [](int k, int m) { return left_element(m, k); })),
      b(swizzled_region(64, [](int n, int k) { return right_element(k, n); })),
      b_turned(swizzled_region(64, right_element));
  product.steps = 4;
  product.a = a.data();
  product.b = b.data();
  run(shared_product_kernel<0, 0>, 1, threads, two_regions, product);
  out.add("wgmma/product", integers_of(d.host()));

  // MN-major: 16 rows of k, 2048 bytes, a step.
  product.b = b_turned.data();
  product.b_bits = fixed_bits(mn_major);
  product.b_step = 2048;
  run(shared_product_kernel<0, 1>, 1, threads, two_regions, product);
  out.add("wgmma/product_b_turned", integers_of(d.host()));
  product.a = a_turned.data();
  product.a_bits = fixed_bits(mn_major);
  product.a_step = 2048;
  run(shared_product_kernel<1, 1>, 1, threads, two_regions, product);
  out.add("wgmma/product_both_turned", integers_of(d.host()));

  std::vector<std::uint32_t> registers;
  for (int step = 0; step < 4; ++step) {
    const std::vector<std::uint32_t> of_step = a_fragments(
        static_cast<int>(threads), Type::bf16, [=](int m, int k) { return left_element(m, 16 * step + k); });
    registers.insert(registers.end(), of_step.begin(), of_step.end());
  }
  const Array<std::uint32_t> a_registers(registers);
  product.a_registers = a_registers.data();
  product.b = b.data();
  product.b_bits = fixed_bits(k_major);
  product.b_step = 32;
  run(register_product_kernel<64, 0>, 1, threads, region_bytes + slack, product);
  out.add("wgmma/product_a_in_registers", integers_of(d.host()));
}

/// The patterns of mma by wgmma; of D the first warp's part, which is mma's D.
void probe_wgmma_sums(Output& out, Type type, const std::string& name) {
  std::vector<std::uint32_t> a;
  std::vector<std::uint16_t> b(static_cast<std::size_t>(product_patterns) * 512, 0);
  std::vector<float> c;
  for (int pattern = 0; pattern < product_patterns; ++pattern) {
    const auto of_a = a_fragments(static_cast<int>(threads), type,
                                  [=](int m, int k) { return a_element(pattern, m, k, type); });
    a.insert(a.end(), of_a.begin(), of_a.end());
    const auto of_c =
        c_fragments(static_cast<int>(threads), 8, [=](int m, int n) { return c_element(pattern, m, n); });
    c.insert(c.end(), of_c.begin(), of_c.end());
    for (int n = 0; n < 8; ++n)
      for (int k = 0; k < 16; ++k)
        b[static_cast<std::size_t>(512 * pattern) +
          cuda_emulation::swizzled(static_cast<std::uint32_t>(128 * n + 2 * k), 128) / 2] =
            truncated(b_element(pattern, k, n, type), type);
  }
  const Array<std::uint32_t> device_a(a), state(1);
  const Array<std::uint16_t> device_b(b);
  const Array<float> device_c(c), d(c.size());
  run(type == Type::bf16 ? narrow_product_kernel<true> : narrow_product_kernel<false>, product_patterns,
      threads, 1024 + slack, device_a.data(), device_b.data(), device_c.data(), fixed_bits(k_major), d.data(),
      state.data());
  check_ran(state);
  const std::vector<float> all = d.host();
  std::vector<float> first_warps;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (i / 4 % threads < 32) first_warps.push_back(all[i]);
  out.add(name, first_warps);
}

}  // namespace

std::vector<Group> wgmma_groups() {
  return {{"wgmma_maps", [](Output& out) { probe_operands(out, operand_maps); }},
          {"wgmma_products", probe_wgmma_products},
          {"wgmma_bf16", [](Output& out) { probe_wgmma_sums(out, Type::bf16, "wgmma/bf16"); }},
          {"wgmma_f16", [](Output& out) { probe_wgmma_sums(out, Type::f16, "wgmma/f16"); }},
          {"wgmma_odd_maps", [](Output& out) { probe_operands(out, odd_operand_maps); }}};
}

}  // namespace hardware
