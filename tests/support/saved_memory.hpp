/// \file
/// Memory for what a pass saves, in tests.
#pragma once

#include "support/device.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace vlp::test {

/// Memory for what a forward saves, between guard bytes.
class SavedMemory {
 public:
  /// Every byte is `fill` beforehand.
  explicit SavedMemory(std::size_t bytes, unsigned char fill = 0xff)
      : bytes_(bytes), memory_(std::vector<std::byte>(bytes + 3 * alignment, guard)) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
    begin_ = 2 * alignment - address % alignment;
    std::fill_n(memory_.host().begin() + static_cast<std::ptrdiff_t>(begin_), bytes, std::byte(fill));
    memory_.upload();
  }

  [[nodiscard]] std::span<std::byte> span() { return {memory_.data() + begin_, bytes_}; }

  /// Says whether nothing around the memory was written.
  [[nodiscard]] bool guards_are_whole() {
    memory_.download();
    const auto& host = memory_.host();
    const auto is_guard = [](std::byte b) { return b == guard; };
    const auto begin = host.begin() + static_cast<std::ptrdiff_t>(begin_);
    return std::all_of(host.begin(), begin, is_guard) &&
           std::all_of(begin + static_cast<std::ptrdiff_t>(bytes_), host.end(), is_guard);
  }

  /// Takes what another holds.
  void copy_from(SavedMemory& other) {
    other.memory_.download();
    std::copy_n(other.memory_.host().begin() + static_cast<std::ptrdiff_t>(other.begin_), bytes_,
                memory_.host().begin() + static_cast<std::ptrdiff_t>(begin_));
    memory_.upload();
  }

 private:
  static constexpr std::byte guard{0xa5};
  static constexpr std::size_t alignment = Device::Memory::alignment;

  std::size_t bytes_, begin_ = 0;
  DeviceArray<std::byte> memory_;
};

}  // namespace vlp::test
