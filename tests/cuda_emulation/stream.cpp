#include "stream.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

struct CUgraph_st {
  std::vector<std::function<void()>> work;
};
struct CUgraphExec_st {
  CUgraph_st graph;
};
struct CUstream_st {
  int device;
  bool blocking;                      // waits for the null stream, and that for it
  std::unique_ptr<CUgraph_st> graph;  // while it captures
  cudaStreamCaptureMode mode;
  bool invalid;  // something was refused while it captured
};
struct CUevent_st {
  std::chrono::steady_clock::time_point when;
};

namespace cuda_emulation {
namespace {

std::vector<cudaStream_t>& capturing_streams() {
  static std::vector<cudaStream_t> all;
  return all;
}

/// Ends, without a graph, the captures that `is_concerned` names; `error` if there are any.
template <class IsConcerned>
cudaError_t invalidate(cudaError_t error, IsConcerned is_concerned) {
  bool any = false;
  for (const cudaStream_t stream : capturing_streams()) {
    if (!is_concerned(*stream)) continue;
    stream->invalid = any = true;
  }
  return any ? note(error) : cudaSuccess;
}

}  // namespace

int device_of(cudaStream_t stream) {
  return stream ? stream->device : current_device();
}

cudaError_t submit(cudaStream_t stream, std::function<void()> work) {
  if (!stream) {
    const cudaError_t implicit =
        invalidate(cudaErrorStreamCaptureImplicit, [](const CUstream_st& other) { return other.blocking; });
    if (implicit != cudaSuccess) return implicit;
  }
  if (!stream || !stream->graph) {
    work();
    return cudaSuccess;
  }
  if (stream->invalid) return note(cudaErrorStreamCaptureInvalidated);
  stream->graph->work.push_back(std::move(work));
  return cudaSuccess;
}

cudaError_t refuse_in_capture() {
  return invalidate(cudaErrorStreamCaptureUnsupported,
                    [](const CUstream_st& stream) { return stream.mode != cudaStreamCaptureModeRelaxed; });
}

}  // namespace cuda_emulation

using cuda_emulation::capturing_streams;
using cuda_emulation::device_of;
using cuda_emulation::note;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  if (flags != cudaStreamDefault && flags != cudaStreamNonBlocking) return note(cudaErrorInvalidValue);
  *stream = new CUstream_st{cuda_emulation::current_device(), flags == cudaStreamDefault, nullptr,
                            cudaStreamCaptureModeGlobal, false};
  return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  std::erase(capturing_streams(), stream);
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return cuda_emulation::invalidate(cudaErrorStreamCaptureUnsupported, [stream](const CUstream_st& other) {
    return stream ? &other == stream : other.blocking;
  });
}

cudaError_t cudaDeviceSynchronize() {
  return cuda_emulation::invalidate(cudaErrorStreamCaptureUnsupported,
                                    [](const CUstream_st&) { return true; });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const bool is_capturing = stream && stream->graph;
  *status = !is_capturing     ? cudaStreamCaptureStatusNone
            : stream->invalid ? cudaStreamCaptureStatusInvalidated
                              : cudaStreamCaptureStatusActive;
  if (stream) return cudaSuccess;
  const bool implicit = std::any_of(capturing_streams().begin(), capturing_streams().end(),
                                    [](cudaStream_t other) { return other->blocking; });
  return note(implicit ? cudaErrorStreamCaptureImplicit : cudaSuccess);
}

// --- events

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new CUevent_st;
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  event->when = std::chrono::steady_clock::now();
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t) {
  return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(end->when - begin->when).count();
  return cudaSuccess;
}

// --- graphs

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (!stream) return note(cudaErrorStreamCaptureUnsupported);
  if (stream->graph) return note(cudaErrorIllegalState);
  stream->graph = std::make_unique<CUgraph_st>();
  stream->mode = mode;
  stream->invalid = false;
  capturing_streams().push_back(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (!stream || !stream->graph) return note(cudaErrorIllegalState);
  std::erase(capturing_streams(), stream);
  const std::unique_ptr<CUgraph_st> captured = std::move(stream->graph);
  if (stream->invalid) return note(cudaErrorStreamCaptureInvalidated);
  *graph = new CUgraph_st(std::move(*captured));
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, std::size_t* count) {
  if (nodes) return note(cudaErrorNotSupported);
  *count = graph->work.size();
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags) {
  if (flags != 0) return note(cudaErrorNotSupported);
  *executable = new CUgraphExec_st{*graph};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  return cuda_emulation::submit(stream, [executable] {
    for (const auto& work : executable->graph.work) work();
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
