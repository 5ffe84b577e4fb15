/// \file
/// The memory that a forward pass leaves for a backward pass, cut into arrays.
#pragma once

#include <vlp/core/detail/extents.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

namespace vlp::detail {

/// One piece of memory, of the kind `Memory`, cut into arrays that each begin at a multiple of the memory's
/// alignment. Without a piece it only counts: the one function that takes the arrays of a loss tells their
/// bytes, their places when they are written, and their places when they are read.
template <class Memory>
class SavedArrays {
 public:
  SavedArrays() = default;

  /// Throws std::invalid_argument, naming the loss, for memory that is not aligned or has fewer than
  /// `needed` bytes.
  SavedArrays(std::string_view loss, std::span<std::byte> memory, std::size_t needed)
      : memory_(memory.data()) {
    require(memory.size() >= needed, loss, ": saved has ", memory.size(), " bytes, but ", needed,
            " are needed");
    require(reinterpret_cast<std::uintptr_t>(memory.data()) % Memory::alignment == 0, loss,
            ": saved is not at a multiple of ", Memory::alignment, " bytes");
  }

  /// The next `count` elements, uninitialised; null if this only counts.
  template <class T>
  T* take(Index count) {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= Memory::alignment);
    std::byte* const out = memory_ == nullptr ? nullptr : memory_ + bytes_;
    const std::size_t bytes = checked_bytes<T>("saved", count);
    bytes_ += (bytes + Memory::alignment - 1) / Memory::alignment * Memory::alignment;
    return reinterpret_cast<T*>(out);
  }

  /// The next elements, of the given extents, as a contiguous view.
  template <class T, class... Extents>
  View<T, sizeof...(Extents)> take_view(Extents... extents) {
    const std::array<Index, sizeof...(Extents)> shape{static_cast<Index>(extents)...};
    return {take<T>(checked_size("saved", shape)), shape};
  }

  /// Bytes taken so far.
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

 private:
  std::byte* memory_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace vlp::detail
