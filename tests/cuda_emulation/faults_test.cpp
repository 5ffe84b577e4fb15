#include "memory.hpp"
#include "support/catch.hpp"
#include "testing.hpp"

#include <cuda_runtime.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

namespace {

using cuda_emulation::dynamic_shared_memory;
using namespace cuda_emulation::testing;

/// What a child process that calls `f` has to say when it dies of that; empty if it lives.
[[maybe_unused]] std::string last_words(const std::function<void()>& f) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    f();
    _exit(0);
  }
  close(ends[1]);
  std::string words;
  char part[4096];
  for (ssize_t got; (got = read(ends[0], part, sizeof part)) > 0;)
    words.append(part, static_cast<std::size_t>(got));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? "" : words;
}

}  // namespace

// --- who waits for whom

TEST_CASE("a barrier that not all reach is reported with those who do") {
  const auto kernel = [](int) {
    if (threadIdx.x < 32) return __syncthreads();
    if (threadIdx.x < 48) static_cast<void>(__shfl_xor_sync(full, 1, 1));
  };
  for (const std::uint64_t seed : {0, 1}) {
    const Order order(seed);
    CHECK(message_of(kernel, 70, 0, 0) ==
          "block (0,0,0) of 70 threads diverges: threads 0-31 wait at __syncthreads; threads 32-47 wait at "
          "__shfl_xor_sync (mask 0xffffffff); threads 48-69 have ended");
  }
  CHECK_THROWS_AS(launch(+kernel, 1, 70, 0, 0), cuda_emulation::Divergence);
}

TEST_CASE("lanes that come to different collectives are reported") {
  const std::string start = "block (0,0,0) of 32 threads diverges: threads 0-7 wait at ";
  CHECK(
      message_of([](int) { static_cast<void>(__any_sync(threadIdx.x < 8 ? 0xFFFFu : full, 1)); }, 32, 0, 0) ==
      start + "__any_sync (mask 0x0000ffff); threads 8-31 wait at __any_sync (mask 0xffffffff)");
  CHECK(message_of([](int) { threadIdx.x < 8 ? __any_sync(full, 1) : __all_sync(full, 1); }, 32, 0, 0) ==
        start + "__any_sync (mask 0xffffffff); threads 8-31 wait at __all_sync (mask 0xffffffff)");
  CHECK(message_of([](int) { threadIdx.x < 8 ? __shfl_xor_sync(full, 1, 1) : __shfl_up_sync(full, 1, 1); },
                   32, 0, 0) ==
        start + "__shfl_xor_sync (mask 0xffffffff); threads 8-31 wait at __shfl_up_sync (mask 0xffffffff)");
  CHECK(message_of([](int) { threadIdx.x < 8 ? __syncthreads() : void(__syncthreads_or(1)); }, 32, 0, 0) ==
        start + "__syncthreads; threads 8-31 wait at __syncthreads_or");
  const auto ends_early = [](int) {
    if (threadIdx.x < 31) __syncwarp();
  };
  CHECK_THAT(message_of(ends_early, 32, 0, 0),
             ContainsSubstring("threads 0-30 wait at __syncwarp (mask 0xffffffff); threads 31 have ended"));
  const auto scattered = [](int) { threadIdx.x % 8 < 2 ? __syncthreads() : __syncwarp(); };
  CHECK_THAT(
      message_of(scattered, 20, 0, 0),
      ContainsSubstring("threads 0-1,8-9,16-17 wait at __syncthreads; threads 2-7,10-15,18-19 wait at "));
  // One name, but types of different sizes.
  const auto types = [](int) {
    threadIdx.x < 8 ? void(__shfl_sync(full, 1, 1)) : void(__shfl_sync(full, 1.0, 1));
  };
  CHECK_THAT(message_of(types, 32, 0, 0), ContainsSubstring("threads 0-31 wait at __shfl_sync"));
  // A warp that is not whole.
  CHECK(message_of([](int) { __syncwarp(); }, 8, 0, 0) ==
        "block (0,0,0) of 8 threads diverges: threads 0-7 wait at __syncwarp (mask 0xffffffff)");
}

TEST_CASE("masks that leave out who calls or who is read are reported") {
  CHECK(message_of([](int) { __syncwarp(0xFFFF); }, 32, 0, 0) ==
        "block (0,0,0), thread (16,0,0): __syncwarp: the mask does not name the lane that calls");
  const auto reads_outside = [](int) {
    if (threadIdx.x < 16) static_cast<void>(__shfl_sync(0xFFFF, 1, 20));
  };
  CHECK(message_of(reads_outside, 32, 0, 0) ==
        "block (0,0,0): a shuffle reads lane 20, which its mask does not name");
}

TEST_CASE("other faults name the block and the thread") {
  const auto trap = [](int) {
    if (threadIdx.x == 3) __trap();
  };
  CHECK(message_of(trap, 8, 0, 0) == "block (0,0,0), thread (3,0,0): __trap() was called");
  const auto takes = [](std::size_t bytes, std::size_t alignment) {
    dynamic_shared_memory(bytes, alignment);
  };
  CHECK(message_of(takes, 1, 100, std::size_t{100}, std::size_t{1024}) == "");
  CHECK(message_of(takes, 1, 100, std::size_t{101}, std::size_t{16}) ==
        "block (0,0,0), thread (0,0,0): the kernel takes 101 bytes of shared memory, the launch gave 100");
  CHECK_THAT(message_of(takes, 1, 100, std::size_t{1}, std::size_t{2048}), ContainsSubstring("not to 2048"));
  CHECK_THROWS_WITH(__syncthreads(), "__syncthreads is called outside of a kernel");
  const auto nested = [](void (*inner)()) { launch(inner, 1, 1, 0); };
  void (*const nothing)() = [] {};
  CHECK_THAT(message_of(nested, 1, 0, nothing), ContainsSubstring("a kernel launches a kernel"));
}

TEST_CASE("a failure ends all threads, destroys what they hold, and the next launch works") {
  static int held = 0, taken = 0;
  struct Held {
    Held() { ++held, ++taken; }
    ~Held() { --held; }
  };
  const auto kernel = [](int failing, int* out) {
    const Held own;
    __syncthreads();
    const int sum = __reduce_add_sync(full, 1);
    if (static_cast<int>(threadIdx.x) == failing) throw std::runtime_error("planted");
    __syncthreads();
    out[threadIdx.x] = sum;
  };
  Array<int> out(64);
  for (const std::uint64_t seed : {0, 1, 2, 3}) {
    const Order order(seed);
    taken = 0;
    CHECK(message_of(kernel, 64, 0, 40, out.data()) == "planted");
    CHECK(held == 0);
    CHECK(taken == 64);
    REQUIRE(launch(+kernel, 1, 64, 0, -1, out.data()) == cudaSuccess);
    for (const int value : out.host()) CHECK(value == 32);
  }
}

// --- memory

TEST_CASE("memory that nobody has written is NaN") {
  const auto kernel = [](const float* in, float* out) {
    auto* const shared = static_cast<float*>(dynamic_shared_memory(8 * sizeof(float)));
    out[2 * blockIdx.x] = in[blockIdx.x];
    out[2 * blockIdx.x + 1] = shared[7];
    shared[7] = 1;
  };
  Array<float> in(2), out(std::vector<float>(4, 0.0f));
  REQUIRE(launch(+kernel, 2, 1, 32, static_cast<const float*>(in.data()), out.data()) == cudaSuccess);
  for (const float value : out.host()) CHECK(std::isnan(value));
}

TEST_CASE("copies stay within an allocation, and go where their kind says") {
  const std::size_t before = cuda_emulation::live_allocations();
  {
    Array<int> a(std::vector<int>{1, 2, 3}), b(3);
    CHECK(cuda_emulation::live_allocations() == before + 2);
    std::vector<int> host(4);
    CHECK(cudaMemcpy(b.data(), a.data(), 12, cudaMemcpyDeviceToDevice) == cudaSuccess);
    CHECK(b.host() == std::vector<int>{1, 2, 3});
    CHECK(cudaMemcpy(host.data(), a.data() + 1, 8, cudaMemcpyDefault) == cudaSuccess);
    CHECK(host == std::vector<int>{2, 3, 0, 0});
    CHECK(cudaMemsetAsync(b.data() + 1, 0, 4) == cudaSuccess);
    CHECK(b.host() == std::vector<int>{1, 0, 3});
    CHECK(cudaMemcpy(host.data(), a.data(), 16, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
    CHECK(cudaMemcpy(a.data() + 1, host.data(), 12, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
    CHECK(cudaMemcpy(a.data(), host.data(), 4, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
    CHECK(cudaMemcpy(host.data(), host.data() + 2, 4, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
    CHECK(cudaMemcpy(b.data(), a.data(), 4, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
    CHECK(cudaMemcpy(b.data(), a.data(), 4, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
    CHECK(cudaMemsetAsync(b.data(), 0, 13) == cudaErrorInvalidValue);
    CHECK(cudaMemsetAsync(host.data(), 0, 4) == cudaErrorInvalidValue);
    CHECK(cudaFree(a.data() + 1) == cudaErrorInvalidValue);
    CHECK(cudaFree(host.data()) == cudaErrorInvalidValue);
    CHECK(cudaFree(nullptr) == cudaSuccess);
    void* vast = nullptr;
    CHECK(cudaMalloc(&vast, std::size_t{1} << 45) == cudaErrorMemoryAllocation);
    CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
  }
  CHECK(cuda_emulation::live_allocations() == before);
}

TEST_CASE("AddressSanitizer sees what leaves its memory") {
#if !VLP_EMULATION_ASAN
  WARN("skipped: built without AddressSanitizer");
#else
  const auto in_kernel = [](auto kernel, int index) {
    return last_words([=] {
      Array<int> array(5), other(5);
      launch(+kernel, 1, 1, 12, array.data(), index);
    });
  };
  const auto read = [](int* data, int i) {
    if (data[i] == 3) data[0] = 1;
  };
  const auto write = [](int* data, int i) { data[i] = 1; };
  const auto in_shared = [](int*, int i) { static_cast<int*>(dynamic_shared_memory(12))[i] = 1; };
  CHECK(in_kernel(read, 4) == "");
  CHECK_THAT(in_kernel(read, 5),
             ContainsSubstring("heap-buffer-overflow") && ContainsSubstring("READ of size 4"));
  CHECK_THAT(in_kernel(write, 5),
             ContainsSubstring("heap-buffer-overflow") && ContainsSubstring("WRITE of size 4"));
  CHECK_THAT(in_kernel(write, -1), ContainsSubstring("heap-buffer-overflow"));
  CHECK(in_kernel(in_shared, 2) == "");
  CHECK_THAT(in_kernel(in_shared, 3),
             ContainsSubstring("use-after-poison") && ContainsSubstring("WRITE of size 4"));
  CHECK_THAT(in_kernel(in_shared, -1), ContainsSubstring("use-after-poison"));
  CHECK_THAT(in_kernel(in_shared, 900), ContainsSubstring("use-after-poison"));
  const auto freed = last_words([=] {
    Array<int> array(5);
    int* const data = array.data();
    cudaFree(data);
    launch(+write, 1, 1, 0, data, 0);
  });
  CHECK_THAT(freed, ContainsSubstring("heap-use-after-free"));
  const auto by_host = last_words([=] {
    Array<int> array(std::vector<int>{1, 2, 3});
    launch(+write, 1, 1, 0, array.data(), 0);
    array.data()[2] = 4;
  });
  CHECK_THAT(by_host, ContainsSubstring("use-after-poison") && ContainsSubstring("WRITE of size 4"));
  const auto by_other_device = last_words([=] {
    Array<int> array(5);
    cudaSetDevice(1);
    launch(+write, 1, 1, 0, array.data(), 0);
  });
  CHECK_THAT(by_other_device, ContainsSubstring("use-after-poison") && ContainsSubstring("WRITE of size 4"));
  const auto by_replay = last_words([=] {
    int* data = nullptr;
    cudaMalloc(&data, sizeof(int));
    cudaLaunchConfig_t config = {};
    config.gridDim = config.blockDim = 1;
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    cudaStreamCreate(&config.stream);
    cudaStreamBeginCapture(config.stream, cudaStreamCaptureModeGlobal);
    cudaLaunchKernelEx(&config, +write, data, 0);
    cudaStreamEndCapture(config.stream, &graph);
    cudaGraphInstantiate(&executable, graph, 0);
    cudaFree(data);
    cudaGraphLaunch(executable, config.stream);
  });
  CHECK_THAT(by_replay, ContainsSubstring("heap-use-after-free") && ContainsSubstring("WRITE of size 4"));
#endif
}
