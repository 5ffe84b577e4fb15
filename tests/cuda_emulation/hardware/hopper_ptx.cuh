/// \file
/// Thin names for PTX instructions of sm_90 and sm_90a, as the hardware probe needs them.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace hardware {

__device__ inline std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define VLP_PROBE_SM_90 1

// --- mbarrier, at an address in shared memory

__device__ inline void barrier_init(std::uint32_t barrier, std::uint32_t count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ inline std::uint64_t barrier_arrive(std::uint32_t barrier, std::uint32_t count) {
  std::uint64_t token;
  asm volatile("mbarrier.arrive.shared::cta.b64 %0, [%1], %2;"
               : "=l"(token)
               : "r"(barrier), "r"(count)
               : "memory");
  return token;
}
__device__ inline std::uint64_t barrier_arrive_expect(std::uint32_t barrier, std::uint32_t bytes) {
  std::uint64_t token;
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 %0, [%1], %2;"
               : "=l"(token)
               : "r"(barrier), "r"(bytes)
               : "memory");
  return token;
}
__device__ inline std::uint64_t barrier_drop(std::uint32_t barrier) {
  std::uint64_t token;
  asm volatile("mbarrier.arrive_drop.shared::cta.b64 %0, [%1];" : "=l"(token) : "r"(barrier) : "memory");
  return token;
}
__device__ inline void barrier_expect(std::uint32_t barrier, std::uint32_t bytes) {
  asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}
__device__ inline std::uint32_t barrier_test_parity(std::uint32_t barrier, std::uint32_t parity) {
  std::uint32_t done;
  asm volatile(
      "{\n.reg .pred p;\nmbarrier.test_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
      : "=r"(done)
      : "r"(barrier), "r"(parity)
      : "memory");
  return done;
}
__device__ inline std::uint32_t barrier_try_parity(std::uint32_t barrier, std::uint32_t parity) {
  std::uint32_t done;
  asm volatile(
      "{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2, 1000;\nselp.u32 %0, 1, 0, "
      "p;\n}"
      : "=r"(done)
      : "r"(barrier), "r"(parity)
      : "memory");
  return done;
}
__device__ inline std::uint32_t barrier_test_token(std::uint32_t barrier, std::uint64_t token) {
  std::uint32_t done;
  asm volatile("{\n.reg .pred p;\nmbarrier.test_wait.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
               : "=r"(done)
               : "r"(barrier), "l"(token)
               : "memory");
  return done;
}
__device__ inline std::uint32_t barrier_pending(std::uint64_t token) {
  std::uint32_t count;
  asm volatile("mbarrier.pending_count.b64 %0, %1;" : "=r"(count) : "l"(token));
  return count;
}
/// Whether the phase of this parity completes within about a second.
__device__ inline bool barrier_wait(std::uint32_t barrier, std::uint32_t parity) {
  const long long begin = clock64();
  while (barrier_test_parity(barrier, parity) == 0)
    if (clock64() - begin > 2'000'000'000LL) return false;
  return true;
}

// --- copies of the asynchronous proxy

/// What this thread wrote to shared memory is visible to the asynchronous proxy, after a barrier also for
/// copies that another thread starts.
__device__ inline void fence_proxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
__device__ inline void bulk_copy(std::uint32_t to, const void* from, std::uint32_t bytes,
                                 std::uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to),
      "l"(__cvta_generic_to_global(from)), "r"(bytes), "r"(barrier)
      : "memory");
}
__device__ inline void load_tile(std::uint32_t to, const CUtensorMap* map, int column, int row,
                                 std::uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, "
      "%3}], "
      "[%4];" ::"r"(to),
      "l"(map), "r"(column), "r"(row), "r"(barrier)
      : "memory");
}
/// Waits until it is done.
__device__ inline void store_tile(const CUtensorMap* map, int column, int row, std::uint32_t from) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%1, %2}], [%3];" ::"l"(map),
               "r"(column), "r"(row), "r"(from)
               : "memory");
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
  asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
}
#endif

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define VLP_PROBE_SM_90A 1

// --- wgmma, by 128 threads

__device__ inline void products_begin() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
/// Ends a group and waits for it.
__device__ inline void products_end() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
}

#define VLP_PROBE_D4(i) "+f"(d[i]), "+f"(d[(i) + 1]), "+f"(d[(i) + 2]), "+f"(d[(i) + 3])
#define VLP_PROBE_D16(i) VLP_PROBE_D4(i), VLP_PROBE_D4((i) + 4), VLP_PROBE_D4((i) + 8), VLP_PROBE_D4((i) + 12)
#define VLP_PROBE_R32                                                                                    \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, " \
  "%22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define VLP_PROBE_R64                                                                                      \
  VLP_PROBE_R32                                                                                            \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, " \
  "%52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

#define VLP_PROBE_R128                                                                                \
  VLP_PROBE_R64                                                                                       \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, " \
  "%83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, " \
  "%102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, %114, %115, %116, %117, "  \
  "%118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

/// D += A B, or D = A B, of bf16 in shared memory; `a` and `b` are descriptors, a turned operand is MN-major.
template <int TurnedA, int TurnedB>
__device__ inline void multiply_shared(float (&d)[32], std::uint64_t a, std::uint64_t b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" VLP_PROBE_R32
      "}, %32, %33, p, 1, 1, %35, %36;\n}"
      : VLP_PROBE_D16(0), VLP_PROBE_D16(16)
      : "l"(a), "l"(b), "r"(accumulate), "n"(TurnedA), "n"(TurnedB)
      : "memory");
}
/// The same with A in registers, as mma.m16n8k16 takes it by each warp.
template <int TurnedB>
__device__ inline void multiply_registers(float (&d)[32], const std::uint32_t (&a)[4], std::uint64_t b,
                                          int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" VLP_PROBE_R32
      "}, {%32, %33, %34, %35}, %36, p, 1, 1, %38;\n}"
      : VLP_PROBE_D16(0), VLP_PROBE_D16(16)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(TurnedB)
      : "memory");
}
template <int TurnedB>
__device__ inline void multiply_registers(float (&d)[64], const std::uint32_t (&a)[4], std::uint64_t b,
                                          int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" VLP_PROBE_R64
      "}, {%64, %65, %66, %67}, %68, p, 1, 1, %70;\n}"
      : VLP_PROBE_D16(0), VLP_PROBE_D16(16), VLP_PROBE_D16(32), VLP_PROBE_D16(48)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(TurnedB)
      : "memory");
}
template <int TurnedB>
__device__ inline void multiply_registers(float (&d)[128], const std::uint32_t (&a)[4], std::uint64_t b,
                                          int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %133, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" VLP_PROBE_R128
      "}, {%128, %129, %130, %131}, %132, p, 1, 1, %134;\n}"
      : VLP_PROBE_D16(0), VLP_PROBE_D16(16), VLP_PROBE_D16(32), VLP_PROBE_D16(48), VLP_PROBE_D16(64),
        VLP_PROBE_D16(80), VLP_PROBE_D16(96), VLP_PROBE_D16(112)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(TurnedB)
      : "memory");
}
/// Of 8 columns, K-major, in either type: `Bf16` or half.
template <bool Bf16>
__device__ inline void multiply_narrow(float (&d)[4], const std::uint32_t (&a)[4], std::uint64_t b,
                                       int accumulate) {
  if constexpr (Bf16) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %9, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%0, %1, %2, %3}, {%4, %5, %6, %7}, %8, p, 1, "
        "1, "
        "0;\n}"
        : VLP_PROBE_D4(0)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate)
        : "memory");
  } else {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %9, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%0, %1, %2, %3}, {%4, %5, %6, %7}, %8, p, 1, 1, "
        "0;\n}"
        : VLP_PROBE_D4(0)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate)
        : "memory");
  }
}
#endif

}  // namespace hardware
