/// \file
/// Arrays larger than the machine's memory, of which only what is touched takes room: for tests of offsets.
#pragma once

#include <sys/mman.h>

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>

#include <cstddef>

namespace vlp::test {

/// Zeros, reserved but not backed by memory until written.
template <class T>
class SparseMemory {
 public:
  explicit SparseMemory(Index size) : bytes_(static_cast<std::size_t>(size) * sizeof(T)) {
    data_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ensure(data_ != MAP_FAILED, "cannot reserve ", bytes_, " bytes of address space");
  }
  SparseMemory(const SparseMemory&) = delete;
  SparseMemory& operator=(const SparseMemory&) = delete;
  ~SparseMemory() { munmap(data_, bytes_); }

  [[nodiscard]] T* data() const noexcept { return static_cast<T*>(data_); }

 private:
  std::size_t bytes_;
  void* data_;
};

}  // namespace vlp::test
