#include "cuda_emulation/runtime.hpp"

#include "cuda_emulation/block.hpp"
#include "memory.hpp"

#include <sanitizer/asan_interface.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>

struct CUstream_st {};
struct CUevent_st {
  std::chrono::steady_clock::time_point when;
};

namespace cuda_emulation {
namespace {

constexpr std::size_t device_bytes = std::size_t{4} << 30;
constexpr std::size_t default_shared_bytes = 48 << 10, most_shared_bytes = 227 << 10;

struct Device {
  std::map<const unsigned char*, std::size_t> allocations;
  std::size_t bytes = 0;
  std::map<const void*, std::size_t> shared_bytes;  // by kernel, where more than by default
  cudaError_t last_error = cudaSuccess;
};

Device& device() {
  static Device one;
  return one;
}

cudaError_t note(cudaError_t error) {
  if (error != cudaSuccess) device().last_error = error;
  return error;
}

// Whether `pointer` lies in an allocation, and whether all `bytes` from it do.
struct Place {
  bool on_device, whole;
};
Place find(const void* pointer, std::size_t bytes) {
  const auto* const p = static_cast<const unsigned char*>(pointer);
  auto next = device().allocations.upper_bound(p);
  if (next == device().allocations.begin()) return {false, false};
  const auto [begin, size] = *--next;
  const auto offset = static_cast<std::size_t>(p - begin);
  return {offset < size, offset < size && bytes <= size - offset};
}

}  // namespace

OpenDeviceMemory::OpenDeviceMemory() {
  for ([[maybe_unused]] const auto& [begin, size] : device().allocations)
    ASAN_UNPOISON_MEMORY_REGION(begin, size);
}
OpenDeviceMemory::~OpenDeviceMemory() {
  for ([[maybe_unused]] const auto& [begin, size] : device().allocations)
    ASAN_POISON_MEMORY_REGION(begin, size);
}

std::size_t live_allocations() {
  return device().allocations.size();
}
std::size_t live_bytes() {
  return device().bytes;
}

cudaError_t set_attribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout)
    return value >= -1 && value <= 100 ? cudaSuccess : cudaErrorInvalidValue;
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
      static_cast<std::size_t>(value) > most_shared_bytes) {
    return note(cudaErrorInvalidValue);
  }
  device().shared_bytes[kernel] = static_cast<std::size_t>(value);
  return cudaSuccess;
}

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, const std::function<void()>& run) {
  const dim3 grid = config.gridDim, block = config.blockDim;
  if (config.numAttrs != 0) return note(cudaErrorNotSupported);
  const bool empty = !grid.x || !grid.y || !grid.z || !block.x || !block.y || !block.z;
  const bool large = grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535 || block.z > 64 ||
                     block.x > 1024 || block.y > 1024 || block.x * block.y * block.z > 1024;
  if (empty || large) return note(cudaErrorInvalidConfiguration);
  const auto allowed = device().shared_bytes.find(kernel);
  const std::size_t most = allowed == device().shared_bytes.end()
                               ? default_shared_bytes
                               : std::max(default_shared_bytes, allowed->second);
  if (config.dynamicSmemBytes > most) return note(cudaErrorInvalidValue);
  const OpenDeviceMemory open;
  run_grid(grid, block, config.dynamicSmemBytes, run);
  return cudaSuccess;
}

}  // namespace cuda_emulation

using cuda_emulation::device;
using cuda_emulation::find;
using cuda_emulation::note;
using cuda_emulation::OpenDeviceMemory;

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorNotSupported:
      return "cudaErrorNotSupported";
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorNotSupported:
      return "operation not supported";
  }
  return "unrecognized error code";
}

cudaError_t cudaGetLastError() {
  return std::exchange(device().last_error, cudaSuccess);
}
cudaError_t cudaPeekAtLastError() {
  return device().last_error;
}

// --- device and streams

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* number) {
  *number = 0;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int number) {
  return note(number == 0 ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int number) {
  if (number != 0) return note(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrClockRate:
      *value = 0;
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = 4;
      return cudaSuccess;
    case cudaDevAttrL2CacheSize:
      *value = 4 << 20;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 9;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(cuda_emulation::most_shared_bytes);
      return cudaSuccess;
  }
  return note(cudaErrorInvalidValue);
}

cudaError_t cudaDeviceSynchronize() {
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int number) {
  *properties = {"emulated on the host"};
  return note(number == 0 ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  if (flags != cudaStreamDefault && flags != cudaStreamNonBlocking) return note(cudaErrorInvalidValue);
  *stream = new CUstream_st;
  return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

// --- events and graphs

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

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  return note(cudaErrorNotSupported);
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t*) {
  return note(cudaErrorNotSupported);
}
cudaError_t cudaGraphGetNodes(cudaGraph_t, cudaGraphNode_t*, std::size_t*) {
  return note(cudaErrorNotSupported);
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t*, cudaGraph_t, unsigned long long) {
  return note(cudaErrorNotSupported);
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t) {
  return note(cudaErrorNotSupported);
}
cudaError_t cudaGraphDestroy(cudaGraph_t) {
  return note(cudaErrorNotSupported);
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t) {
  return note(cudaErrorNotSupported);
}

// --- memory

cudaError_t cudaMalloc(void** pointer, std::size_t bytes) {
  *pointer = nullptr;
  if (bytes == 0) return cudaSuccess;
  if (bytes > cuda_emulation::device_bytes - device().bytes || posix_memalign(pointer, 256, bytes) != 0) {
    return note(cudaErrorMemoryAllocation);
  }
  std::memset(*pointer, 0xFF, bytes);
  ASAN_POISON_MEMORY_REGION(*pointer, bytes);
  device().allocations[static_cast<unsigned char*>(*pointer)] = bytes;
  device().bytes += bytes;
  return cudaSuccess;
}

cudaError_t cudaMallocAsync(void** pointer, std::size_t bytes, cudaStream_t) {
  return cudaMalloc(pointer, bytes);
}

cudaError_t cudaFree(void* pointer) {
  if (!pointer) return cudaSuccess;
  const auto found = device().allocations.find(static_cast<unsigned char*>(pointer));
  if (found == device().allocations.end()) return note(cudaErrorInvalidValue);
  ASAN_UNPOISON_MEMORY_REGION(pointer, found->second);
  device().bytes -= found->second;
  device().allocations.erase(found);
  std::free(pointer);
  return cudaSuccess;
}

cudaError_t cudaFreeAsync(void* pointer, cudaStream_t) {
  return cudaFree(pointer);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t) {
  if (bytes == 0) return cudaSuccess;
  const auto target = find(to, bytes), source = find(from, bytes);
  const bool any = kind == cudaMemcpyDefault;
  const bool to_device =
      any ? target.on_device : kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device =
      any ? source.on_device : kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  const bool to_right = to_device ? target.whole : !target.on_device;
  const bool from_right = from_device ? source.whole : !source.on_device;
  if (!to_right || !from_right) return note(cudaErrorInvalidValue);
  const OpenDeviceMemory open;
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return cudaMemcpyAsync(to, from, bytes, kind);
}

cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t) {
  if (bytes == 0) return cudaSuccess;
  if (!find(to, bytes).whole) return note(cudaErrorInvalidValue);
  const OpenDeviceMemory open;
  std::memset(to, value, bytes);
  return cudaSuccess;
}
