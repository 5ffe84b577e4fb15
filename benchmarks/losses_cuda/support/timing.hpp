/// \file
/// Time on a CUDA device: events, captured graphs, and a cache that holds nothing of the work that is timed.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/check.cuh>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/memory.cuh>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <vector>

namespace vlp::benchmarks {

/// A moment on a stream.
class Event {
 public:
  Event() {
    cudaEvent_t event = nullptr;
    cuda::check(cudaEventCreate(&event), "making an event");
    event_.reset(event);
  }

  void record(cudaStream_t stream) {
    cuda::check(cudaEventRecord(event_.get(), stream), "recording an event");
  }

  /// Milliseconds from `begin` to this, once it has passed.
  [[nodiscard]] double milliseconds_since(const Event& begin) const {
    cuda::check(cudaEventSynchronize(event_.get()), "waiting for an event");
    float out = 0;
    cuda::check(cudaEventElapsedTime(&out, begin.event_.get(), event_.get()), "reading the time");
    return static_cast<double>(out);
  }

 private:
  struct Destroy {
    void operator()(cudaEvent_t event) const noexcept { cudaEventDestroy(event); }
  };
  std::unique_ptr<std::remove_pointer_t<cudaEvent_t>, Destroy> event_;
};

/// Work of one stream, captured to be started again by a single call.
class Graph {
 public:
  /// Throws std::runtime_error where `work()` cannot be captured.
  template <class Work>
  static Graph capture(cudaStream_t stream, Work work) {
    cuda::check(forgotten(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal)),
                "beginning a capture");
    cudaGraph_t captured = nullptr;
    try {
      work();
    } catch (...) {
      cudaStreamEndCapture(stream, &captured);
      if (captured != nullptr) cudaGraphDestroy(captured);
      cudaGetLastError();
      throw;
    }
    cuda::check(forgotten(cudaStreamEndCapture(stream, &captured)), "ending a capture");
    Graph out;
    cudaGraphExec_t executable = nullptr;
    cudaError_t status = cudaGraphGetNodes(captured, nullptr, &out.nodes_);
    if (status == cudaSuccess) status = cudaGraphInstantiate(&executable, captured, 0);
    cudaGraphDestroy(captured);
    cuda::check(forgotten(status), "making a graph of a capture");
    out.executable_.reset(executable);
    return out;
  }

  void launch(cudaStream_t stream) const {
    cuda::check(cudaGraphLaunch(executable_.get(), stream), "launching a graph");
  }

  /// Kernels, copies and fills in it.
  [[nodiscard]] std::size_t nodes() const noexcept { return nodes_; }

 private:
  Graph() = default;

  struct Destroy {
    void operator()(cudaGraphExec_t graph) const noexcept { cudaGraphExecDestroy(graph); }
  };

  /// Clears an error that is reported here, so that the next launch does not find it.
  static cudaError_t forgotten(cudaError_t status) {
    if (status != cudaSuccess) cudaGetLastError();
    return status;
  }

  std::size_t nodes_ = 0;
  std::unique_ptr<std::remove_pointer_t<cudaGraphExec_t>, Destroy> executable_;
};

/// Bytes of the device's L2 cache.
inline std::size_t cache_bytes() {
  int device = 0, bytes = 0;
  cuda::check(cudaGetDevice(&device), "looking for a device");
  cuda::check(cudaDeviceGetAttribute(&bytes, cudaDevAttrL2CacheSize, device), "asking for the size of L2");
  return static_cast<std::size_t>(bytes);
}

namespace detail {
/// Reads all of `values`; writes only what does not occur.
template <int Threads>
__global__ void read_all(const uint4* values, Index count, unsigned* out) {
  unsigned all = 0;
  for (Index i = static_cast<Index>(blockIdx.x) * Threads + static_cast<int>(threadIdx.x); i < count;
       i += static_cast<Index>(gridDim.x) * Threads) {
    const uint4 v = values[i];
    all |= v.x | v.y | v.z | v.w;
  }
  if (all != 0) *out = all;
}
}  // namespace detail

/// Puts other data into L2: memory of four times its size is written and then read, so that neither inputs
/// are there nor anything that the timed work would have to write back first. Takes longer than queueing a
/// step, whose launches so find the device busy and their time is not the step's.
class CacheFlush {
 public:
  CacheFlush() : memory_(static_cast<Index>(4 * cache_bytes() / sizeof(uint4))), out_(1) {}

  void operator()(const Cuda& device) {
    constexpr int threads = 256;
    cuda::check(cudaMemsetAsync(memory_.data(), 0, static_cast<std::size_t>(memory_.size()) * sizeof(uint4),
                                device.stream()),
                "filling L2");
    const int blocks = 8 * device.multiprocessors();
    cuda::launch(detail::read_all<threads>, dim3(static_cast<unsigned>(blocks)), threads, 0, device.stream(),
                 memory_.data(), memory_.size(), out_.data());
  }

 private:
  cuda::Buffer<uint4> memory_;
  cuda::Buffer<unsigned> out_;
};

/// Some durations of the same work, in milliseconds.
struct Times {
  std::vector<double> device;  ///< from the first kernel's start to the last one's end
  std::vector<double> host;    ///< until all was queued

  [[nodiscard]] static double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const std::size_t half = values.size() / 2;
    return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
  }
  [[nodiscard]] static double least(const std::vector<double>& values) {
    return *std::min_element(values.begin(), values.end());
  }
  [[nodiscard]] static double most(const std::vector<double>& values) {
    return *std::max_element(values.begin(), values.end());
  }
};

/// Times work(i) for i in [0, count), with nothing of it in the cache before.
template <class Work>
Times time(const Cuda& device, CacheFlush& flush, int count, Work work) {
  Event begin, end;
  Times out;
  for (int i = 0; i < count; ++i) {
    flush(device);
    begin.record(device.stream());
    const auto start = std::chrono::steady_clock::now();
    work(i);
    const std::chrono::duration<double, std::milli> queued = std::chrono::steady_clock::now() - start;
    end.record(device.stream());
    out.device.push_back(end.milliseconds_since(begin));
    out.host.push_back(queued.count());
  }
  return out;
}

}  // namespace vlp::benchmarks
