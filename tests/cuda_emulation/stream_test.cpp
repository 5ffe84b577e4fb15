#include "support/catch.hpp"
#include "testing.hpp"

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <vector>

namespace {

using namespace cuda_emulation::testing;

/// A stream of the device that is current.
struct Stream {
  explicit Stream(unsigned flags = cudaStreamNonBlocking) { cudaStreamCreateWithFlags(&stream, flags); }
  ~Stream() { cudaStreamDestroy(stream); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  cudaStream_t stream = nullptr;
};

/// Another device than the one that is current, for as long as it lives.
struct OtherDevice {
  OtherDevice() { cudaSetDevice(1); }
  ~OtherDevice() { cudaSetDevice(0); }
};

cudaError_t launch_on(cudaStream_t stream, void (*kernel)(int*, int), int* out, int number) {
  cudaLaunchConfig_t config = {};
  config.gridDim = config.blockDim = 1;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, out, number);
}

void add(int* out, int number) {
  *out += number;
}

bool is_capturing(cudaStream_t stream) {
  cudaStreamCaptureStatus status{};
  return cudaStreamIsCapturing(stream, &status) == cudaSuccess && status == cudaStreamCaptureStatusActive;
}

/// What a capture ends with in which `work` is done.
template <class Work>
cudaError_t end_of_capture(cudaStream_t stream, cudaStreamCaptureMode mode, Work work) {
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaStreamBeginCapture(stream, mode) == cudaSuccess);
  work();
  const cudaError_t end = cudaStreamEndCapture(stream, &graph);
  CHECK((graph != nullptr) == (end == cudaSuccess));
  cudaGraphDestroy(graph);
  cudaGetLastError();
  return end;
}

}  // namespace

TEST_CASE("what is captured runs when its graph is launched, and not before") {
  const Stream stream;
  Array<int> out(std::vector<int>{5});
  Array<float> a(std::vector<float>{3}), b(std::vector<float>{7}), c(std::vector<float>{0});
  cublasHandle_t handle = nullptr;
  cublasCreate(&handle);
  cublasSetStream(handle, stream.stream);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  REQUIRE(cudaStreamBeginCapture(stream.stream, cudaStreamCaptureModeGlobal) == cudaSuccess);
  CHECK(is_capturing(stream.stream));
  {
    int number = 1;
    CHECK(cudaMemsetAsync(out.data(), 0, sizeof(int), stream.stream) == cudaSuccess);
    CHECK(launch_on(stream.stream, add, out.data(), number) == cudaSuccess);
    number = 100;  // parameters are those of the launch
    CHECK(launch_on(stream.stream, add, out.data(), number) == cudaSuccess);
    float alpha = 2;
    const float beta = 1;
    CHECK(cublasGemmEx_64(handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &alpha, a.data(), CUDA_R_32F, 1,
                          b.data(), CUDA_R_32F, 1, &beta, c.data(), CUDA_R_32F, 1, CUBLAS_COMPUTE_32F,
                          CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
    alpha = 0;
  }
  REQUIRE(cudaStreamEndCapture(stream.stream, &graph) == cudaSuccess);
  CHECK(!is_capturing(stream.stream));
  std::size_t nodes = 0;
  CHECK(cudaGraphGetNodes(graph, nullptr, &nodes) == cudaSuccess);
  CHECK(nodes == 4);
  REQUIRE(cudaGraphInstantiate(&executable, graph, 0) == cudaSuccess);
  cudaGraphDestroy(graph);
  CHECK(out.host()[0] == 5);
  for (int replay = 1; replay < 3; ++replay) {
    CHECK(cudaGraphLaunch(executable, stream.stream) == cudaSuccess);
    CHECK(out.host()[0] == 101);
    CHECK(c.host()[0] == static_cast<float>(42 * replay));
  }
  cudaGraphExecDestroy(executable);
  cublasDestroy(handle);
}

TEST_CASE("what a capture does not allow ends it without a graph") {
  const Stream stream;
  Array<int> out(1);
  void* memory = nullptr;
  cudaMalloc(&memory, 8);
  const auto capture = [&](auto work) {
    return end_of_capture(stream.stream, cudaStreamCaptureModeThreadLocal, work);
  };
  CHECK(capture([&] {
          void* more = nullptr;
          CHECK(cudaMalloc(&more, 8) == cudaErrorStreamCaptureUnsupported);
          CHECK(more == nullptr);
          CHECK(launch_on(stream.stream, add, out.data(), 1) == cudaErrorStreamCaptureInvalidated);
        }) == cudaErrorStreamCaptureInvalidated);
  CHECK(capture([&] { CHECK(cudaFree(memory) == cudaErrorStreamCaptureUnsupported); }) ==
        cudaErrorStreamCaptureInvalidated);
  CHECK(capture([&] { CHECK(cudaStreamSynchronize(stream.stream) == cudaErrorStreamCaptureUnsupported); }) ==
        cudaErrorStreamCaptureInvalidated);
  CHECK(capture([&] { CHECK(cudaDeviceSynchronize() == cudaErrorStreamCaptureUnsupported); }) ==
        cudaErrorStreamCaptureInvalidated);
  CHECK(capture([&] { CHECK(launch_on(nullptr, add, out.data(), 1) == cudaSuccess); }) == cudaSuccess);
  CHECK(end_of_capture(stream.stream, cudaStreamCaptureModeRelaxed, [&] {
          CHECK(cudaFree(memory) == cudaSuccess);
          CHECK(cudaMalloc(&memory, 8) == cudaSuccess);
        }) == cudaSuccess);
  const Stream blocking(cudaStreamDefault);
  CHECK(end_of_capture(blocking.stream, cudaStreamCaptureModeRelaxed, [&] {
          CHECK(launch_on(nullptr, add, out.data(), 1) == cudaErrorStreamCaptureImplicit);
        }) == cudaErrorStreamCaptureInvalidated);
  CHECK(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal) == cudaErrorStreamCaptureUnsupported);
  cudaGraph_t graph = nullptr;
  CHECK(cudaStreamEndCapture(stream.stream, &graph) == cudaErrorIllegalState);
  cudaGetLastError();
  cudaFree(memory);
}

TEST_CASE("memory, streams and cuBLAS handles belong to the device that was current") {
  int count = 0, current = -1;
  cudaGetDeviceCount(&count);
  CHECK(count == 2);
  CHECK(cudaSetDevice(2) == cudaErrorInvalidDevice);
  cudaGetLastError();
  Array<int> first(std::vector<int>{1});
  cublasHandle_t handle = nullptr;
  cublasCreate(&handle);
  {
    const OtherDevice other;
    cudaGetDevice(&current);
    CHECK(current == 1);
    const Stream stream;
    Array<int> second(std::vector<int>{1});
    CHECK(cuda_emulation::device_of_memory(first.data()) == 0);
    CHECK(cuda_emulation::device_of_memory(second.data()) == 1);
    CHECK(cuda_emulation::device_of_memory(&current) == -1);
    CHECK(launch_on(stream.stream, add, second.data(), 1) == cudaSuccess);
    CHECK(second.host()[0] == 2);
    cudaSetDevice(0);
    CHECK(launch_on(stream.stream, add, second.data(), 1) == cudaErrorInvalidResourceHandle);
    cudaGetLastError();
    CHECK(cudaMemsetAsync(second.data(), 0, sizeof(int), stream.stream) == cudaSuccess);
    CHECK(second.host()[0] == 0);
    cudaSetDevice(1);
    const float one = 1;
    CHECK(cublasGemmEx_64(handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &one, first.data(), CUDA_R_32F, 1,
                          first.data(), CUDA_R_32F, 1, &one, first.data(), CUDA_R_32F, 1, CUBLAS_COMPUTE_32F,
                          CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_EXECUTION_FAILED);
  }
  cublasDestroy(handle);
}
