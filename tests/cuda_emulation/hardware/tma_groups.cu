// Groups of the hardware probe that need TMA and mbarrier, sm_90; one needs wgmma as well.
#include "device.cuh"
#include "groups.hpp"
#include "hopper_device.cuh"
#include "hopper_inputs.hpp"
#include "hopper_ptx.cuh"

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace hardware {
namespace {

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

std::vector<std::uint16_t> tensor_elements() {
  std::vector<std::uint16_t> out;
  for (int i = 0; i < tensor_rows * tensor_pitch; ++i) out.push_back(tensor_element(i));
  return out;
}
CUtensorMap map_of(const Array<std::uint16_t>& tensor, const Tile& tile) {
  return make_map(tensor.data(), tensor_rows, tensor_columns, tensor_pitch, tile_rows, tile.box_columns,
                  tile.swizzle, tile.fill_nan);
}

/// What came of a load: shared memory, and `ran` or, when the bytes never added up, `timed_out`.
struct Loaded {
  Array<std::uint16_t> elements{tile_dump};
  Array<std::uint32_t> state{1};
};
cudaError_t load(const Array<std::uint16_t>& tensor, const Tile& tile, const Loaded& to) {
  return status_of(load_tile_kernel, 1, 64, tile_shared, map_of(tensor, tile), tile.column, tile.row,
                   tile.destination, 2 * tile_rows * tile.box_columns, to.elements.data(), to.state.data());
}
cudaError_t store(const Array<std::uint16_t>& tensor, const Tile& tile, const Array<std::uint32_t>& state) {
  return status_of(store_tile_kernel, 1, 64, tile_shared, map_of(tensor, tile), tile.column, tile.row,
                   state.data());
}

void probe_tile_load(Output& out, const Tile& tile) {
  const Array<std::uint16_t> tensor(tensor_elements());
  const Loaded loaded;
  check(load(tensor, tile, loaded), "loading a tile");
  if (loaded.state.host()[0] == 0) check_ran(loaded.state);
  out.add(std::string("tma/load/") + tile.name, loaded.elements.host());
  out.add(std::string("tma/state/") + tile.name, loaded.state.host());
}

void probe_tile_store(Output& out, const Tile& tile) {
  const Array<std::uint16_t> tensor(
      std::vector<std::uint16_t>(static_cast<std::size_t>(tensor_rows) * tensor_pitch, unwritten));
  const Array<std::uint32_t> state(1);
  check(store(tensor, tile, state), "storing a tile");
  check_ran(state);
  out.add(std::string("tma/store/") + tile.name, tensor.host());
}

void probe_refused_load(Output& out, const Tile& tile) {
  const Array<std::uint16_t> tensor(tensor_elements());
  const Loaded loaded;
  out.add(std::string("tma/refused/load_") + tile.name,
          std::string(cudaGetErrorName(load(tensor, tile, loaded))));
}
void probe_refused_store(Output& out, const Tile& tile) {
  const Array<std::uint16_t> tensor(tensor_elements());
  const Array<std::uint32_t> state(1);
  out.add(std::string("tma/refused/store_") + tile.name,
          std::string(cudaGetErrorName(store(tensor, tile, state))));
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
  out.add("tma/product", integers_of(d.host()));
  product.b_bits = fixed_bits(mn_major);
  product.b_step = 2048;
  run(tile_product_kernel<1>, 1, threads, 16384 + slack, map_a, map_b_turned, product);
  check_ran(state);
  out.add("tma/product_b_turned", integers_of(d.host()));
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

std::vector<Group> tma_groups() {
  std::vector<Group> out{{"mbarrier", probe_mbarrier}, {"tma_products", probe_tile_products}};
  for (const Tile& tile : tiles)
    out.push_back({std::string("tma_load_") + tile.name, [&tile](Output& to) { probe_tile_load(to, tile); }});
  for (const int which : tile_stores) {
    const Tile& tile = tiles[which];
    out.push_back(
        {std::string("tma_store_") + tile.name, [&tile](Output& to) { probe_tile_store(to, tile); }});
  }
  return out;
}

std::vector<Group> refused_groups() {
  std::vector<Group> out;
  for (const Tile& tile : refused_tiles) {
    const std::string name = std::string("tma_refused_") + tile.name;
    out.push_back({name + "_load", [&tile](Output& to) { probe_refused_load(to, tile); }, true});
    out.push_back({name + "_store", [&tile](Output& to) { probe_refused_store(to, tile); }, true});
  }
  const Tile& before = tiles[refused_tile_store];
  out.push_back({std::string("tma_refused_") + before.name + "_store",
                 [&before](Output& to) { probe_refused_store(to, before); }, true});
  return out;
}

}  // namespace hardware
