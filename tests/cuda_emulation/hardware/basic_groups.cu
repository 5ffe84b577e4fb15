// Groups of the hardware probe that need no more than sm_80. They also run emulated, and then say what a card
// is expected to do.
#include "device.cuh"
#include "groups.hpp"
#include "inputs.hpp"

#include <cuda_runtime.h>

#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/mma.cuh>
#include <vlp/cuda/core/scalar.cuh>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace hardware {
namespace {

void describe_card(Output& out) {
  cudaDeviceProp card{};
  check(cudaGetDeviceProperties(&card, 0), "asking for the card");
  int driver = 0, runtime = 0, major = 0, minor = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0), "asking for the architecture");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0), "asking for the architecture");
  check(cudaDriverGetVersion(&driver), "asking for the driver's version");
  check(cudaRuntimeGetVersion(&runtime), "asking for the runtime's version");
  out.add("card/name", std::string(card.name));
  out.add("card/compute_capability", std::to_string(major) + "." + std::to_string(minor));
  out.add("card/driver", std::to_string(driver));
  out.add("card/runtime", std::to_string(runtime));
}

// --- ldmatrix

#ifdef VLP_CUDA_EMULATION
void load_matrices_transposed(std::uint32_t (&out)[4], const void* row) {
  cuda_emulation::ldmatrix_x4_trans(out, row);
}
float ex2(float x) {
  const float out = exp2f(x);
  return out < 0x1p-126F ? 0 : out;
}
#else
__device__ void load_matrices_transposed(std::uint32_t (&out)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}
__device__ float ex2(float x) {
  float out;
  asm volatile("ex2.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
  return out;
}
#endif

struct MatrixMemory {
  alignas(16) std::uint16_t elements[matrix_rows * 8];
};

/// out [2, 32, 4]: plain, transposed; rows [32].
__global__ void load_matrices_kernel(const int* rows, std::uint32_t* out) {
  std::uint16_t* const elements = vlp::cuda::shared_memory<MatrixMemory>().elements;
  for (unsigned i = threadIdx.x; i < matrix_rows * 8; i += 32) elements[i] = static_cast<std::uint16_t>(i);
  __syncwarp();
  std::uint32_t plain[4], transposed[4];
  const void* const row = elements + 8 * rows[threadIdx.x];
  vlp::cuda::load_matrices(plain, row);
  load_matrices_transposed(transposed, row);
  for (unsigned i = 0; i < 4; ++i) {
    out[4 * threadIdx.x + i] = plain[i];
    out[128 + 4 * threadIdx.x + i] = transposed[i];
  }
}

void probe_ldmatrix(Output& out) {
  std::vector<std::uint32_t> plain, transposed;
  for (int which = 0; which < matrix_cases; ++which) {
    std::vector<int> rows;
    for (int lane = 0; lane < 32; ++lane) rows.push_back(matrix_row(which, lane));
    const Array<int> device_rows(rows);
    const Array<std::uint32_t> loaded(256);
    run(load_matrices_kernel, 1, 32, sizeof(MatrixMemory), device_rows.data(), loaded.data());
    const std::vector<std::uint32_t> both = loaded.host();
    plain.insert(plain.end(), both.begin(), both.begin() + 128);
    transposed.insert(transposed.end(), both.begin() + 128, both.end());
  }
  out.add("ldmatrix/x4", plain);
  out.add("ldmatrix/x4_trans", transposed);
}

// --- mma

/// One warp a pattern: a [patterns, 32, 4], b [patterns, 32, 2], c and out [patterns, 32, 4].
template <class Scalar>
__global__ void multiply_kernel(const std::uint32_t* a, const std::uint32_t* b, const float* c, float* out) {
  const unsigned at = blockIdx.x * 32 + threadIdx.x;
  const std::uint32_t of_a[4] = {a[4 * at], a[4 * at + 1], a[4 * at + 2], a[4 * at + 3]};
  const std::uint32_t of_b[2] = {b[2 * at], b[2 * at + 1]};
  float d[4] = {c[4 * at], c[4 * at + 1], c[4 * at + 2], c[4 * at + 3]};
  vlp::cuda::multiply_add<Scalar>(d, of_a, of_b);
  for (unsigned i = 0; i < 4; ++i) out[4 * at + i] = d[i];
}

/// Of patterns `first` to `end` - 1.
template <class Scalar>
void probe_mma(Output& out, Type type, const std::string& name, int first = 0, int end = product_patterns) {
  std::vector<std::uint32_t> a, b;
  std::vector<float> c;
  const auto append = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
  for (int pattern = first; pattern < end; ++pattern) {
    append(a, a_fragments(32, type, [=](int m, int k) { return a_element(pattern, m, k, type); }));
    append(b, b_fragments(type, [=](int k, int n) { return b_element(pattern, k, n, type); }));
    append(c, c_fragments(32, 8, [=](int m, int n) { return c_element(pattern, m, n); }));
  }
  const Array<std::uint32_t> device_a(a), device_b(b);
  const Array<float> device_c(c), d(c.size());
  run(multiply_kernel<Scalar>, static_cast<unsigned>(end - first), 32, 0, device_a.data(), device_b.data(),
      device_c.data(), d.data());
  out.add(name, d.host());
}

// --- cp.async

struct CopyMemory {
  alignas(16) std::uint8_t bytes[48];
};

/// out [17, 48]: copies of 0 to 16 bytes into the middle 16.
__global__ void copy_kernel(const std::uint8_t* in, std::uint8_t* out) {
  std::uint8_t* const bytes = vlp::cuda::shared_memory<CopyMemory>().bytes;
  for (unsigned i = threadIdx.x; i < 48; i += 32) bytes[i] = untouched;
  __syncwarp();
  if (threadIdx.x == 0) {
    vlp::cuda::copy_async(bytes + 16, in, static_cast<int>(blockIdx.x));
    vlp::cuda::commit_copies();
    vlp::cuda::wait_for_copies<0>();
  }
  __syncwarp();
  for (unsigned i = threadIdx.x; i < 48; i += 32) out[48 * blockIdx.x + i] = bytes[i];
}

void probe_cp_async(Output& out) {
  std::vector<std::uint8_t> bytes;
  for (int i = 0; i < 16; ++i) bytes.push_back(copied_byte(i));
  const Array<std::uint8_t> in(bytes), copied(17 * 48);
  run(copy_kernel, 17, 32, sizeof(CopyMemory), in.data(), copied.data());
  out.add("cp_async/copied", copied.host());
}

// --- numbers

/// Runs operation(i) for every i < count.
template <class Operation>
__global__ void for_each_kernel(int count, Operation operation) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) operation(i);
}

struct Ex2 {
  const float* in;
  float* out;
  __device__ void operator()(int i) const { out[i] = ex2(in[i]); }
};

void probe_ex2(Output& out) {
  const std::vector<float> in = ex2_input();
  const Array<float> device_in(in), powers(in.size());
  run(for_each_kernel<Ex2>, static_cast<unsigned>(in.size() + 255) / 256, 256, 0, static_cast<int>(in.size()),
      Ex2{device_in.data(), powers.data()});
  out.add("ex2/approx_ftz", powers.host());
}

/// out [6, count]: bf16 and half by the toolkit, by the library, by the toolkit's conversions of pairs.
struct Convert {
  const float* in;
  std::uint16_t* out;
  int count;
  __device__ void operator()(int i) const {
    const float x = in[i];
    out[i] = __bfloat16_as_ushort(__float2bfloat16_rn(x));
    out[count + i] = __half_as_ushort(__float2half_rn(x));
    out[2 * count + i] = __bfloat16_as_ushort(vlp::cuda::from_float<vlp::BFloat16>(x));
    out[3 * count + i] = __half_as_ushort(vlp::cuda::from_float<vlp::Half>(x));
    out[4 * count + i] = __bfloat16_as_ushort(__floats2bfloat162_rn(0.0F, x).y);
    out[5 * count + i] = __half_as_ushort(__floats2half2_rn(0.0F, x).y);
  }
};
/// out [2, count]: of bf16, of half.
struct Widen {
  const std::uint16_t* in;
  float* out;
  int count;
  __device__ void operator()(int i) const {
    out[i] = vlp::cuda::to_float(__ushort_as_bfloat16(in[i]));
    out[count + i] = vlp::cuda::to_float(__ushort_as_half(in[i]));
  }
};

void probe_conversions(Output& out) {
  const std::vector<float> in = conversion_input();
  const std::size_t count = in.size();
  const Array<float> device_in(in);
  const Array<std::uint16_t> narrow(6 * count);
  run(for_each_kernel<Convert>, static_cast<unsigned>(count + 255) / 256, 256, 0, static_cast<int>(count),
      Convert{device_in.data(), narrow.data(), static_cast<int>(count)});
  const std::vector<std::uint16_t> all = narrow.host();
  const char* const names[] = {"float2bfloat16", "float2half",       "from_float_bf16",
                               "from_float_f16", "floats2bfloat162", "floats2half2"};
  for (std::size_t i = 0; i < 6; ++i)
    out.add(std::string("conversion/") + names[i],
            std::vector<std::uint16_t>(all.data() + i * count, all.data() + (i + 1) * count));

  const std::vector<std::uint16_t> bits = widened_input();
  const Array<std::uint16_t> device_bits(bits);
  const Array<float> wide(2 * bits.size());
  run(for_each_kernel<Widen>, static_cast<unsigned>(bits.size() + 255) / 256, 256, 0,
      static_cast<int>(bits.size()), Widen{device_bits.data(), wide.data(), static_cast<int>(bits.size())});
  const std::vector<float> both = wide.host();
  out.add("conversion/bfloat162float", std::vector<float>(both.data(), both.data() + bits.size()));
  out.add("conversion/half2float", std::vector<float>(both.data() + bits.size(), both.data() + both.size()));
}

/// out [count]: of in [count, 2].
struct Divide {
  const float* in;
  float* out;
  __device__ void operator()(int i) const { out[i] = __fdividef(in[2 * i], in[2 * i + 1]); }
};

constexpr const char* function_names[] = {"exp2f",  "log2f",          "expf",
                                          "logf",   "intrinsic_expf", "intrinsic_logf",
                                          "rsqrtf", "exp_below",      "exp2_minus_one"};
constexpr int functions = static_cast<int>(sizeof(function_names) / sizeof(function_names[0]));
/// out [functions, count].
struct Functions {
  const float* in;
  float* out;
  int count;
  __device__ void operator()(int i) const {
    const float x = in[i];
    const float values[functions] = {exp2f(x),
                                     log2f(x),
                                     expf(x),
                                     logf(x),
                                     __expf(x),
                                     __logf(x),
                                     rsqrtf(x),
                                     vlp::cuda::exp_below(x),
                                     vlp::cuda::exp2_minus_one(x)};
    for (int function = 0; function < functions; ++function) out[function * count + i] = values[function];
  }
};

void probe_functions(Output& out) {
  const std::vector<float> pairs = division_input();
  const std::size_t divisions = pairs.size() / 2;
  const Array<float> device_pairs(pairs), quotients(divisions);
  run(for_each_kernel<Divide>, static_cast<unsigned>(divisions + 255) / 256, 256, 0,
      static_cast<int>(divisions), Divide{device_pairs.data(), quotients.data()});
  out.add("function/fdividef", quotients.host());

  const std::vector<float> in = function_input();
  const std::size_t count = in.size();
  const Array<float> device_in(in), values(functions * count);
  run(for_each_kernel<Functions>, static_cast<unsigned>(count + 255) / 256, 256, 0, static_cast<int>(count),
      Functions{device_in.data(), values.data(), static_cast<int>(count)});
  const std::vector<float> all = values.host();
  for (std::size_t i = 0; i < functions; ++i)
    out.add(std::string("function/") + function_names[i],
            std::vector<float>(all.data() + i * count, all.data() + (i + 1) * count));
}

}  // namespace

std::vector<Group> basic_groups() {
  return {{"card", describe_card},
          {"ldmatrix", probe_ldmatrix},
          {"mma_bf16", [](Output& out) { probe_mma<vlp::BFloat16>(out, Type::bf16, "mma/bf16"); }},
          {"mma_f16", [](Output& out) { probe_mma<vlp::Half>(out, Type::f16, "mma/f16"); }},
          {"mma_subnormal",
           [](Output& out) {
             probe_mma<vlp::BFloat16>(out, Type::bf16, "mma_subnormal/bf16", subnormal_pattern,
                                      subnormal_pattern + 1);
             probe_mma<vlp::Half>(out, Type::f16, "mma_subnormal/f16", subnormal_pattern,
                                  subnormal_pattern + 1);
           }},
          {"cp_async", probe_cp_async},
          {"ex2", probe_ex2},
          {"conversions", probe_conversions},
          {"functions", probe_functions}};
}

}  // namespace hardware
