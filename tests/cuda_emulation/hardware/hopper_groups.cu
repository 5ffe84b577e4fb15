// Groups of the hardware probe that need sm_90 (mbarrier, TMA) or sm_90a (wgmma).
#include "../hopper.hpp"
#include "device.cuh"
#include "groups.hpp"
#include "hopper_inputs.hpp"
#include "hopper_ptx.cuh"

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace hardware {
namespace {

constexpr unsigned threads = 128;
[[maybe_unused]] constexpr std::uint32_t ran = 1, timed_out = 2;

/// Kernels write `ran` where they were compiled for what they need.
void check_ran(const Array<std::uint32_t>& state) {
  const std::uint32_t value = state.host()[0];
  if (value == 0) throw std::runtime_error("the kernel was not compiled for this architecture");
  if (value == timed_out) throw std::runtime_error("waiting for an mbarrier took too long");
}

/// The block's shared memory from a multiple of 1024 on: a launch asks for 1024 bytes more than it uses.
[[maybe_unused]] __device__ unsigned char* aligned_shared_memory() {
  extern __shared__ __align__(1024) unsigned char probe_shared_memory[];
  return probe_shared_memory + (1024 - __cvta_generic_to_shared(probe_shared_memory) % 1024) % 1024;
}
constexpr std::size_t slack = 1024;

// --- wgmma

/// Bits of a descriptor but for the address.
std::uint64_t fixed_bits(const Descriptor& of) {
  return cuda_emulation::matrix_descriptor(0, of.leading, of.stride, of.swizzle, of.base_offset);
}

/// Operands and results of a product by one warpgroup. `a` and `b` are regions of shared memory,
/// [region_elements]; `a_registers` [128, 4 steps]; the descriptors are those of `fixed_bits`, step i adds i
/// steps to the starts. d [128, N / 2].
struct Product {
  const std::uint16_t *a, *b;
  const std::uint32_t* a_registers;
  std::uint64_t a_bits, b_bits;
  std::uint32_t a_start, b_start, a_step, b_step;
  int steps;
  float* d;
  std::uint32_t* state;
};

#ifdef VLP_PROBE_SM_90A
__device__ std::uint64_t descriptor(std::uint64_t bits, std::uint32_t address) {
  return bits | (address & 0x3ffffU) >> 4;
}
/// Puts a region of 32 KiB in shared memory.
__device__ void fill_region(unsigned char* to, const std::uint16_t* from) {
  for (unsigned i = threadIdx.x; i < region_bytes / 16; i += blockDim.x)
    reinterpret_cast<uint4*>(to)[i] = reinterpret_cast<const uint4*>(from)[i];
}
template <int Registers>
__device__ void show(const float (&d)[Registers], float* out) {
  for (int i = 0; i < Registers; ++i) out[Registers * threadIdx.x + i] = d[i];
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
constexpr Descriptor k_major{0, 16, 1024, 1, 0}, mn_major{0, 8192, 1024, 1, 0};

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
  out.add("wgmma/accumulator", d.host());

  const Array<std::uint16_t> a(swizzled_region(64, left_element)),
      a_turned(swizzled_region(64, [](int k, int m) { return left_element(m, k); })),
      b(swizzled_region(64, [](int n, int k) { return right_element(k, n); })),
      b_turned(swizzled_region(64, right_element));
  product.steps = 4;
  product.a = a.data();
  product.b = b.data();
  run(shared_product_kernel<0, 0>, 1, threads, two_regions, product);
  out.add("wgmma/product", d.host());

  // MN-major: 16 rows of k, 2048 bytes, a step.
  product.b = b_turned.data();
  product.b_bits = fixed_bits(mn_major);
  product.b_step = 2048;
  run(shared_product_kernel<0, 1>, 1, threads, two_regions, product);
  out.add("wgmma/product_b_turned", d.host());
  product.a = a_turned.data();
  product.a_bits = fixed_bits(mn_major);
  product.a_step = 2048;
  run(shared_product_kernel<1, 1>, 1, threads, two_regions, product);
  out.add("wgmma/product_both_turned", d.host());

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
  out.add("wgmma/product_a_in_registers", d.host());
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

// --- TMA

/// A map of a matrix [rows, columns] of 16 bits whose rows are `pitch` elements apart, for tiles
/// [box_rows, box_columns].
CUtensorMap make_map(const void* data, int rows, int columns, int pitch, int box_rows, int box_columns,
                     int swizzle, bool fill_nan = false) {
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult found{};
#if CUDART_VERSION >= 12050
  check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000, cudaEnableDefault, &found),
        "looking for cuTensorMapEncodeTiled");
#else
  check(cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &entry, cudaEnableDefault, &found),
        "looking for cuTensorMapEncodeTiled");
#endif
  if (entry == nullptr || found != cudaDriverEntryPointSuccess)
    throw std::runtime_error("the driver has no cuTensorMapEncodeTiled");
  const auto encode = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(entry);
  alignas(64) CUtensorMap map{};
  const cuuint64_t extents[2] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[1] = {static_cast<cuuint64_t>(pitch) * 2};
  const cuuint32_t box[2] = {static_cast<cuuint32_t>(box_columns), static_cast<cuuint32_t>(box_rows)};
  const cuuint32_t steps[2] = {1, 1};
  const CUtensorMapSwizzle mode = swizzle == 128  ? CU_TENSOR_MAP_SWIZZLE_128B
                                  : swizzle == 64 ? CU_TENSOR_MAP_SWIZZLE_64B
                                  : swizzle == 32 ? CU_TENSOR_MAP_SWIZZLE_32B
                                                  : CU_TENSOR_MAP_SWIZZLE_NONE;
  const CUresult status = encode(
      &map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<void*>(data), extents, strides, box, steps,
      CU_TENSOR_MAP_INTERLEAVE_NONE, mode, CU_TENSOR_MAP_L2_PROMOTION_NONE,
      fill_nan ? CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA : CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS)
    throw std::runtime_error("cuTensorMapEncodeTiled: error " + std::to_string(static_cast<int>(status)));
  return map;
}

constexpr std::size_t tile_shared = 2 * tile_dump + slack;

/// out [tile_dump]: shared memory after the load.
__global__ void load_tile_kernel(const __grid_constant__ CUtensorMap map, int column, int row,
                                 int destination, int bytes, std::uint16_t* out, std::uint32_t* state) {
#ifdef VLP_PROBE_SM_90
  __shared__ alignas(8) std::uint64_t barrier;
  auto* const elements = reinterpret_cast<std::uint16_t*>(aligned_shared_memory());
  for (unsigned i = threadIdx.x; i < tile_dump; i += blockDim.x) elements[i] = unwritten;
  if (threadIdx.x == 0) barrier_init(shared_address(&barrier), 1);
  fence_proxy();
  __syncthreads();
  if (threadIdx.x == 0) {
    barrier_arrive_expect(shared_address(&barrier), static_cast<std::uint32_t>(bytes));
    load_tile(shared_address(elements) + static_cast<std::uint32_t>(destination), &map, column, row,
              shared_address(&barrier));
  }
  const bool done = barrier_wait(shared_address(&barrier), 0);
  for (unsigned i = threadIdx.x; i < tile_dump; i += blockDim.x) out[i] = elements[i];
  if (threadIdx.x == 0) *state = done ? ran : timed_out;
#endif
}

__global__ void store_tile_kernel(const __grid_constant__ CUtensorMap map, int column, int row,
                                  std::uint32_t* state) {
#ifdef VLP_PROBE_SM_90
  auto* const elements = reinterpret_cast<std::uint16_t*>(aligned_shared_memory());
  for (unsigned i = threadIdx.x; i < tile_dump; i += blockDim.x)
    elements[i] = static_cast<std::uint16_t>(1000 + i);
  fence_proxy();
  __syncthreads();
  if (threadIdx.x == 0) {
    store_tile(&map, column, row, shared_address(elements));
    *state = ran;
  }
#endif
}

void probe_tile_loads(Output& out) {
  std::vector<std::uint16_t> elements;
  for (int i = 0; i < tensor_rows * tensor_pitch; ++i) elements.push_back(tensor_element(i));
  const Array<std::uint16_t> tensor(elements);
  for (const Tile& tile : tiles) {
    const Array<std::uint16_t> loaded(tile_dump);
    const Array<std::uint32_t> state(1);
    const CUtensorMap map = make_map(tensor.data(), tensor_rows, tensor_columns, tensor_pitch, tile_rows,
                                     tile.box_columns, tile.swizzle, tile.fill_nan);
    run(load_tile_kernel, 1, 64, tile_shared, map, tile.column, tile.row, tile.destination,
        2 * tile_rows * tile.box_columns, loaded.data(), state.data());
    if (state.host()[0] == 0) check_ran(state);
    out.add(std::string("tma/load/") + tile.name, loaded.host());
    out.add(std::string("tma/state/") + tile.name, state.host());  // 1, or 2 when the bytes never added up
  }
}

void probe_tile_stores(Output& out) {
  for (const int which : tile_stores) {
    const Tile& tile = tiles[which];
    const Array<std::uint16_t> tensor(
        std::vector<std::uint16_t>(static_cast<std::size_t>(tensor_rows) * tensor_pitch, unwritten));
    const Array<std::uint32_t> state(1);
    const CUtensorMap map = make_map(tensor.data(), tensor_rows, tensor_columns, tensor_pitch, tile_rows,
                                     tile.box_columns, tile.swizzle);
    run(store_tile_kernel, 1, 64, tile_shared, map, tile.column, tile.row, state.data());
    check_ran(state);
    out.add(std::string("tma/store/") + tile.name, tensor.host());
  }
}

/// The product of two tiles [64, 64] that TMA brings, in four steps; d [128, 32].
template <int TurnedB>
__global__ void __launch_bounds__(threads)
    tile_product_kernel(const __grid_constant__ CUtensorMap map_a, const __grid_constant__ CUtensorMap map_b,
                        Product product) {
#ifdef VLP_PROBE_SM_90A
  __shared__ alignas(8) std::uint64_t barrier;
  const std::uint32_t a = shared_address(aligned_shared_memory()), b = a + 8192;
  if (threadIdx.x == 0) barrier_init(shared_address(&barrier), 1);
  fence_proxy();
  __syncthreads();
  if (threadIdx.x == 0) {
    barrier_arrive_expect(shared_address(&barrier), 16384);
    load_tile(a, &map_a, 0, 0, shared_address(&barrier));
    load_tile(b, &map_b, 0, 0, shared_address(&barrier));
  }
  const bool done = barrier_wait(shared_address(&barrier), 0);
  __syncthreads();
  float d[32] = {};
  for (int step = 0; step < product.steps; ++step) {
    const auto at = static_cast<std::uint32_t>(step);
    products_begin();
    multiply_shared<0, TurnedB>(d, descriptor(product.a_bits, a + at * product.a_step),
                                descriptor(product.b_bits, b + at * product.b_step), step != 0);
    products_end();
  }
  show(d, product.d);
  if (threadIdx.x == 0) *product.state = done ? ran : timed_out;
#endif
}

template <class Element>
std::vector<std::uint16_t> plain_matrix(Element element) {
  std::vector<std::uint16_t> out;
  for (int i = 0; i < 64; ++i)
    for (int j = 0; j < 64; ++j) out.push_back(truncated(element(i, j), Type::bf16));
  return out;
}

void probe_tile_products(Output& out) {
  const Array<std::uint16_t> a(plain_matrix(left_element)),
      b(plain_matrix([](int n, int k) { return right_element(k, n); })),
      b_turned(plain_matrix(right_element));
  const CUtensorMap map_a = make_map(a.data(), 64, 64, 64, 64, 64, 128);
  const CUtensorMap map_b = make_map(b.data(), 64, 64, 64, 64, 64, 128);
  const CUtensorMap map_b_turned = make_map(b_turned.data(), 64, 64, 64, 64, 64, 128);
  const Array<std::uint32_t> state(1);
  const Array<float> d(threads * 32);
  Product product{};
  product.d = d.data();
  product.state = state.data();
  product.steps = 4;
  product.a_bits = product.b_bits = fixed_bits(k_major);
  product.a_step = product.b_step = 32;
  run(tile_product_kernel<0>, 1, threads, 16384 + slack, map_a, map_b, product);
  check_ran(state);
  out.add("tma/product", d.host());
  product.b_bits = fixed_bits(mn_major);
  product.b_step = 2048;
  run(tile_product_kernel<1>, 1, threads, 16384 + slack, map_a, map_b_turned, product);
  check_ran(state);
  out.add("tma/product_b_turned", d.host());
}

// --- mbarrier

/// One thread. out [steps, barrier_columns], copied: what the copies brought.
__global__ void barrier_kernel(const BarrierStep* steps, int count, const unsigned char* source,
                               std::uint32_t* out, std::uint32_t* state) {
#ifdef VLP_PROBE_SM_90
  __shared__ alignas(8) volatile std::uint64_t object;
  __shared__ alignas(16) unsigned char destination[64];
  const std::uint32_t barrier = shared_address(const_cast<const std::uint64_t*>(&object));
  std::uint64_t token = 0;
  bool has_token = false;
  for (int i = 0; i < count; ++i) {
    const std::uint32_t value = steps[i].value;
    switch (steps[i].op) {
      case BarrierOp::init:
        barrier_init(barrier, value);
        fence_proxy();
        break;
      case BarrierOp::arrive:
        token = barrier_arrive(barrier, value);
        break;
      case BarrierOp::arrive_expect:
        token = barrier_arrive_expect(barrier, value);
        break;
      case BarrierOp::expect:
        barrier_expect(barrier, value);
        break;
      case BarrierOp::drop:
        token = barrier_drop(barrier);
        break;
      case BarrierOp::copy:
        bulk_copy(shared_address(destination), source, value, barrier);
        break;
    }
    has_token = has_token || (steps[i].op != BarrierOp::init);
    const long long begin = clock64();  // time for a copy to end
    while (clock64() - begin < 100'000) {
    }
    std::uint32_t* const row = out + barrier_columns * i;
    row[0] = barrier_test_parity(barrier, 0);
    row[1] = barrier_test_parity(barrier, 1);
    row[2] = barrier_try_parity(barrier, 0);
    row[3] = barrier_try_parity(barrier, 1);
    row[4] = has_token ? barrier_test_token(barrier, token) : 0;
    row[5] = has_token ? barrier_pending(token) : 0;
    row[6] = static_cast<std::uint32_t>(token);
    row[7] = static_cast<std::uint32_t>(token >> 32);
    const std::uint64_t bits = object;
    row[8] = static_cast<std::uint32_t>(bits);
    row[9] = static_cast<std::uint32_t>(bits >> 32);
  }
  *state = ran;
#endif
}

void probe_mbarrier(Output& out) {
  const Array<BarrierStep> steps(std::vector<BarrierStep>(barrier_steps, barrier_steps + barrier_step_count));
  const Array<unsigned char> source(64, 1);
  const Array<std::uint32_t> seen(static_cast<std::size_t>(barrier_step_count) * barrier_columns), state(1);
  run(barrier_kernel, 1, 1, 0, steps.data(), barrier_step_count, source.data(), seen.data(), state.data());
  check_ran(state);
  out.add("mbarrier/steps", seen.host());
}

}  // namespace

std::vector<Group> hopper_groups() {
  return {{"mbarrier", probe_mbarrier},
          {"wgmma_maps", [](Output& out) { probe_operands(out, operand_maps); }},
          {"wgmma_products", probe_wgmma_products},
          {"wgmma_bf16", [](Output& out) { probe_wgmma_sums(out, Type::bf16, "wgmma/bf16"); }},
          {"wgmma_f16", [](Output& out) { probe_wgmma_sums(out, Type::f16, "wgmma/f16"); }},
          {"tma_loads", probe_tile_loads},
          {"tma_stores", probe_tile_stores},
          {"tma_products", probe_tile_products},
          {"wgmma_odd_maps", [](Output& out) { probe_operands(out, odd_operand_maps); }}};
}

}  // namespace hardware
