/// \file
/// What the sources of the emulation share: whether AddressSanitizer is on, and when device memory is open.
#pragma once

#include <optional>

#if defined(__SANITIZE_ADDRESS__)
#define VLP_EMULATION_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define VLP_EMULATION_ASAN 1
#endif
#endif

namespace cuda_emulation {

/// Device memory, that of one device or of all, is open to code on the host only while one of these lives.
class OpenDeviceMemory {
 public:
  explicit OpenDeviceMemory(std::optional<int> device = std::nullopt);
  ~OpenDeviceMemory();
  OpenDeviceMemory(const OpenDeviceMemory&) = delete;
  OpenDeviceMemory& operator=(const OpenDeviceMemory&) = delete;

 private:
  std::optional<int> device_;
};

}  // namespace cuda_emulation
