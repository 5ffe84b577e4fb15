/// \file
/// Device memory is open to the host's own code only while one of these lives.
#pragma once

namespace cuda_emulation {

class OpenDeviceMemory {
 public:
  OpenDeviceMemory();
  ~OpenDeviceMemory();
  OpenDeviceMemory(const OpenDeviceMemory&) = delete;
  OpenDeviceMemory& operator=(const OpenDeviceMemory&) = delete;
};

}  // namespace cuda_emulation
