/// \file
/// Sizes of arrays whose shapes come from files.
#pragma once

#include <vlp/core/scalar.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>

namespace vlp::io::detail {

/// Returns the bytes of an array of this shape whose elements take `width` bytes each; nothing for a negative
/// extent, or if an Index cannot count them.
[[nodiscard]] inline std::optional<std::uint64_t> byte_size(std::size_t width, std::span<const Index> shape) {
  if (std::any_of(shape.begin(), shape.end(), [](Index extent) { return extent < 0; })) return std::nullopt;
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<Index>::max());
  std::uint64_t size = width;
  for (const Index extent : shape) {
    if (size > most / static_cast<std::uint64_t>(extent)) return std::nullopt;
    size *= static_cast<std::uint64_t>(extent);
  }
  return size;
}

}  // namespace vlp::io::detail
