#include "cuda_emulation/runtime.hpp"

#include "cuda_emulation/block.hpp"
#include "memory.hpp"
#include "stream.hpp"

#include <sanitizer/asan_interface.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <utility>

namespace cuda_emulation {
namespace {

constexpr std::size_t device_bytes = std::size_t{4} << 30;
constexpr std::size_t default_shared_bytes = 48 << 10, most_shared_bytes = 227 << 10;

struct Allocation {
  std::size_t size;
  int device;
};

// All devices, whose memory is one address space.
struct Runtime {
  std::map<const unsigned char*, Allocation> allocations;
  std::size_t bytes = 0;
  std::map<const void*, std::size_t> shared_bytes;  // by kernel, where more than by default
  cudaError_t last_error = cudaSuccess;
  int current = 0;
};

Runtime& runtime() {
  static Runtime one;
  return one;
}

// Whether `pointer` lies in an allocation, whether all `bytes` from it do, and on which device that is.
struct Place {
  bool on_device, whole;
  int device;
};
Place find(const void* pointer, std::size_t bytes) {
  const auto* const p = static_cast<const unsigned char*>(pointer);
  auto next = runtime().allocations.upper_bound(p);
  if (next == runtime().allocations.begin()) return {false, false, -1};
  const auto& [begin, allocation] = *--next;
  const auto offset = static_cast<std::size_t>(p - begin);
  const bool inside = offset < allocation.size;
  return {inside, inside && bytes <= allocation.size - offset, inside ? allocation.device : -1};
}

}  // namespace

cudaError_t note(cudaError_t error) {
  if (error != cudaSuccess) runtime().last_error = error;
  return error;
}

int current_device() {
  return runtime().current;
}

OpenDeviceMemory::OpenDeviceMemory(std::optional<int> device) : device_(device) {
  for ([[maybe_unused]] const auto& [begin, allocation] : runtime().allocations)
    if (!device_ || allocation.device == *device_) ASAN_UNPOISON_MEMORY_REGION(begin, allocation.size);
}
OpenDeviceMemory::~OpenDeviceMemory() {
  for ([[maybe_unused]] const auto& [begin, allocation] : runtime().allocations)
    if (!device_ || allocation.device == *device_) ASAN_POISON_MEMORY_REGION(begin, allocation.size);
}

std::size_t live_allocations() {
  return runtime().allocations.size();
}
std::size_t live_bytes() {
  return runtime().bytes;
}
int device_of_memory(const void* pointer) {
  return find(pointer, 1).device;
}

cudaError_t set_attribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout)
    return value >= -1 && value <= 100 ? cudaSuccess : cudaErrorInvalidValue;
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
      static_cast<std::size_t>(value) > most_shared_bytes) {
    return note(cudaErrorInvalidValue);
  }
  runtime().shared_bytes[kernel] = static_cast<std::size_t>(value);
  return cudaSuccess;
}

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> run) {
  const dim3 grid = config.gridDim, block = config.blockDim;
  if (config.numAttrs != 0) return note(cudaErrorNotSupported);
  const bool empty = !grid.x || !grid.y || !grid.z || !block.x || !block.y || !block.z;
  const bool large = grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535 || block.z > 64 ||
                     block.x > 1024 || block.y > 1024 || block.x * block.y * block.z > 1024;
  if (empty || large) return note(cudaErrorInvalidConfiguration);
  const auto allowed = runtime().shared_bytes.find(kernel);
  const std::size_t most = allowed == runtime().shared_bytes.end()
                               ? default_shared_bytes
                               : std::max(default_shared_bytes, allowed->second);
  if (config.dynamicSmemBytes > most) return note(cudaErrorInvalidValue);
  const int device = device_of(config.stream);
  if (device != current_device()) return note(cudaErrorInvalidResourceHandle);
  return submit(config.stream, [=, bytes = config.dynamicSmemBytes, run = std::move(run)] {
    const OpenDeviceMemory open(device);
    run_grid(grid, block, bytes, run);
  });
}

}  // namespace cuda_emulation

using cuda_emulation::device_count;
using cuda_emulation::find;
using cuda_emulation::note;
using cuda_emulation::OpenDeviceMemory;
using cuda_emulation::refuse_in_capture;
using cuda_emulation::runtime;
using cuda_emulation::submit;

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
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorIllegalState:
      return "cudaErrorIllegalState";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated:
      return "cudaErrorStreamCaptureInvalidated";
    case cudaErrorStreamCaptureImplicit:
      return "cudaErrorStreamCaptureImplicit";
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
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorIllegalState:
      return "the operation cannot be performed in the present state";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureImplicit:
      return "operation would make the legacy stream depend on a capturing blocking stream";
  }
  return "unrecognized error code";
}

cudaError_t cudaGetLastError() {
  return std::exchange(runtime().last_error, cudaSuccess);
}
cudaError_t cudaPeekAtLastError() {
  return runtime().last_error;
}

// --- devices

cudaError_t cudaGetDeviceCount(int* count) {
  *count = device_count;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* number) {
  *number = runtime().current;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int number) {
  if (number < 0 || number >= device_count) return note(cudaErrorInvalidDevice);
  runtime().current = number;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int number) {
  if (number < 0 || number >= device_count) return note(cudaErrorInvalidDevice);
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

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int number) {
  *properties = {"emulated on the host"};
  return note(number >= 0 && number < device_count ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}

// --- memory

cudaError_t cudaMalloc(void** pointer, std::size_t bytes) {
  *pointer = nullptr;
  if (const cudaError_t refused = refuse_in_capture(); refused != cudaSuccess) return refused;
  if (bytes == 0) return cudaSuccess;
  if (bytes > cuda_emulation::device_bytes - runtime().bytes || posix_memalign(pointer, 256, bytes) != 0) {
    return note(cudaErrorMemoryAllocation);
  }
  std::memset(*pointer, 0xFF, bytes);
  ASAN_POISON_MEMORY_REGION(*pointer, bytes);
  runtime().allocations[static_cast<unsigned char*>(*pointer)] = {bytes, runtime().current};
  runtime().bytes += bytes;
  return cudaSuccess;
}

cudaError_t cudaMallocAsync(void** pointer, std::size_t bytes, cudaStream_t) {
  return cudaMalloc(pointer, bytes);
}

cudaError_t cudaFree(void* pointer) {
  if (!pointer) return cudaSuccess;
  if (const cudaError_t refused = refuse_in_capture(); refused != cudaSuccess) return refused;
  const auto found = runtime().allocations.find(static_cast<unsigned char*>(pointer));
  if (found == runtime().allocations.end()) return note(cudaErrorInvalidValue);
  ASAN_UNPOISON_MEMORY_REGION(pointer, found->second.size);
  runtime().bytes -= found->second.size;
  runtime().allocations.erase(found);
  std::free(pointer);
  return cudaSuccess;
}

cudaError_t cudaFreeAsync(void* pointer, cudaStream_t) {
  return cudaFree(pointer);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
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
  return submit(stream, [=] {
    const OpenDeviceMemory open;
    std::memcpy(to, from, bytes);
  });
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  if (const cudaError_t refused = refuse_in_capture(); refused != cudaSuccess) return refused;
  return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}

cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  if (!find(to, bytes).whole) return note(cudaErrorInvalidValue);
  return submit(stream, [=] {
    const OpenDeviceMemory open;
    std::memset(to, value, bytes);
  });
}
