/// \file
/// What the sources of the emulation share about streams: their devices, and work that goes into a graph.
#pragma once

#include "cuda_emulation/runtime.hpp"

#include <functional>

namespace cuda_emulation {

inline constexpr int device_count = 2;

/// Sets what cudaGetLastError returns, unless `error` is none, and returns it.
cudaError_t note(cudaError_t error);

/// The number of the device that is current.
int current_device();

/// The device of a stream; the null stream is the current device's.
int device_of(cudaStream_t stream);

/// Does the work at once, or keeps it for a graph if the stream is capturing. Work on the null stream is
/// refused while a stream that waits for it is capturing.
cudaError_t submit(cudaStream_t stream, std::function<void()> work);

/// For what must not be called during a capture (unless that is relaxed): an error, which ends the capture
/// without a graph; cudaSuccess if there is no capture.
cudaError_t refuse_in_capture();

}  // namespace cuda_emulation
