/// \file
/// Memory that grows to its high-water mark and is then reused: no allocation in steady state.
#pragma once

#include <vlp/core/detail/extents.hpp>
#include <vlp/core/detail/one_caller.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

namespace vlp {

/// Alignment of all memory that the library takes on the host: a cache line, and the widest vector register.
inline constexpr std::size_t memory_alignment = 64;

/// Memory of the host, which Buffer and Arena hold by default. A kind of memory of another device has the
/// same members.
struct HostMemory {
  /// Whether the host may read and write it.
  static constexpr bool is_host = true;
  /// Alignment, in bytes, of all that is allocated and of all that an arena hands out.
  static constexpr std::size_t alignment = memory_alignment;

  struct Delete {
    void operator()(std::byte* p) const noexcept {
      ::operator delete[](p, std::align_val_t{memory_alignment});
    }
  };
  using Bytes = std::unique_ptr<std::byte[], Delete>;

  static Bytes allocate(std::size_t bytes) {
    return Bytes(new (std::align_val_t{memory_alignment}) std::byte[bytes]);
  }

  /// Whether work is being recorded that will run again later with the addresses of this memory, as in a CUDA
  /// graph. On the host no work is recorded.
  static constexpr bool is_recorded() noexcept { return false; }

  /// The place for memory that a buffer or an arena has replaced by more. On the host it is freed at once.
  struct Outgrown {
    static void add(Bytes) noexcept {}
  };
};

/// An owning, uninitialised array for data that must outlive one call, such as activations kept for backward.
/// `resize` keeps the memory when it suffices and does not keep the contents when it does not.
template <class T, class Memory = HostMemory>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Buffer() = default;
  explicit Buffer(Index size) { resize(size); }
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer(std::move(other)).swap(*this);
    return *this;
  }

  /// Makes room for `size` elements and returns them. Throws std::invalid_argument for a negative size or one
  /// beyond all memory, std::bad_alloc where there is not so much; then nothing has changed.
  T* resize(Index size) {
    const std::size_t bytes = detail::checked_bytes<T>("Buffer", size);
    if (size > capacity_) {
      auto more = Memory::allocate(bytes);
      outgrown_.add(std::exchange(memory_, std::move(more)));
      capacity_ = size;
    }
    size_ = size;
    return data();
  }

  /// Makes room for the given extents and returns them as a contiguous view.
  template <class... Extents>
  View<T, sizeof...(Extents)> reshape(Extents... extents) {
    const std::array<Index, sizeof...(Extents)> shape{static_cast<Index>(extents)...};
    return {resize(detail::checked_size("Buffer", shape)), shape};
  }

  [[nodiscard]] T* data() const noexcept { return reinterpret_cast<T*>(memory_.get()); }
  [[nodiscard]] Index size() const noexcept { return size_; }
  [[nodiscard]] Index capacity() const noexcept { return capacity_; }
  [[nodiscard]] T& operator[](Index i) const noexcept requires(Memory::is_host) { return data()[i]; }

  void swap(Buffer& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(outgrown_, other.outgrown_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

 private:
  typename Memory::Bytes memory_;
  [[no_unique_address]] typename Memory::Outgrown outgrown_;
  Index size_ = 0;
  Index capacity_ = 0;
};

/// Scratch memory handed out in last-in, first-out order. When all of it has been given back after an
/// overflow, the pieces are replaced by one block of the high-water size, so a repeated call sequence soon
/// allocates nothing. A block that recorded work points into (see HostMemory::is_recorded) is not freed
/// before the arena is. While a thread has a scope of it, any other that asks for one gets std::logic_error.
template <class Memory>
class BasicArena {
 public:
  /// Gives back, at its end, all memory that was taken since its construction.
  class Scope {
   public:
    /// Throws std::logic_error if another thread has a scope of the arena.
    explicit Scope(BasicArena& arena) : arena_(&arena) {
      arena.caller_.enter();
      mark_ = arena.used_;
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope() {
      arena_->release(mark_);
      arena_->caller_.leave();
    }

    /// `count` uninitialised elements, aligned to Memory::alignment, valid until the scope ends. Throws
    /// std::invalid_argument for a negative count or one beyond all memory, std::bad_alloc where there is not
    /// so much, and std::logic_error on a thread that is not the scope's.
    template <class T>
    T* take(Index count) {
      static_assert(std::is_trivially_copyable_v<T>);
      if (!arena_->caller_.is_inside()) detail::OneCaller::refuse();
      return reinterpret_cast<T*>(arena_->take(detail::checked_bytes<T>("scratch", count)));
    }

    /// Uninitialised memory of the given extents as a contiguous view.
    template <class T, class... Extents>
    View<T, sizeof...(Extents)> take_view(Extents... extents) {
      const std::array<Index, sizeof...(Extents)> shape{static_cast<Index>(extents)...};
      return {take<T>(detail::checked_size("scratch", shape)), shape};
    }

   private:
    BasicArena* arena_;
    std::size_t mark_ = 0;
  };

  /// Throws std::logic_error if another thread has a scope.
  [[nodiscard]] Scope scope() { return Scope(*this); }

  /// The most bytes that were ever taken at once.
  [[nodiscard]] std::size_t high_water() const noexcept { return high_water_; }
  /// How often memory was asked of the system.
  [[nodiscard]] std::size_t allocations() const noexcept { return allocations_; }

 private:
  struct Block {
    typename Memory::Bytes memory;
    std::size_t begin;  // value of used_ at the first byte
    std::size_t size;
    bool is_recorded = false;  // whether recorded work was given memory of it
  };

  std::byte* take(std::size_t bytes) {
    bytes = (bytes + Memory::alignment - 1) / Memory::alignment * Memory::alignment;
    if (blocks_.empty() || used_ + bytes > blocks_.back().begin + blocks_.back().size) {
      if (used_ == 0) drop_blocks(0);  // everything was given back: one block of the larger size replaces all
      const std::size_t size = used_ == 0 ? std::max(bytes, high_water_) : std::max(bytes, high_water_ / 2);
      blocks_.push_back({Memory::allocate(size), used_, size});
      ++allocations_;
    }
    blocks_.back().is_recorded = blocks_.back().is_recorded || Memory::is_recorded();
    std::byte* out = blocks_.back().memory.get() + (used_ - blocks_.back().begin);
    used_ += bytes;
    high_water_ = std::max(high_water_, used_);
    return out;
  }

  void release(std::size_t mark) noexcept {
    used_ = mark;
    std::size_t left = blocks_.size();
    while (left > 1 && blocks_[left - 1].begin >= used_) --left;
    // A single block that is smaller than the high-water mark is replaced at the next take from empty.
    if (used_ == 0 && left == 1 && blocks_[0].size < high_water_) left = 0;
    drop_blocks(left);
  }

  /// Drops all blocks but the first `left`.
  void drop_blocks(std::size_t left) {
    while (blocks_.size() > left) {
      if (blocks_.back().is_recorded) outgrown_.add(std::move(blocks_.back().memory));
      blocks_.pop_back();
    }
  }

  std::vector<Block> blocks_;
  [[no_unique_address]] typename Memory::Outgrown outgrown_;
  detail::OneCaller caller_;
  std::size_t used_ = 0;
  std::size_t high_water_ = 0;
  std::size_t allocations_ = 0;
};

/// Scratch memory of the host.
using Arena = BasicArena<HostMemory>;

}  // namespace vlp
