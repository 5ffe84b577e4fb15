/// \file
/// A device whose memory the host cannot touch: a read or write outside of the device's operations ends the
/// program. It computes with the CPU's operations, so a layer must come to the same bits on both.
#pragma once

#include <sys/mman.h>

#include <vlp/core/buffer.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/nn/ops/operations.hpp>
#include <vlp/optim/ops/operations.hpp>

#include <cstddef>
#include <cstring>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace vlp::test {

/// The memory of all guarded devices of the process: one range of addresses, closed unless an operation runs.
/// Memory is NaN until it is written. Serves one thread at a time.
class GuardedPool {
 public:
  static GuardedPool& instance() {
    static GuardedPool pool;
    return pool;
  }

  /// Opens the memory for as long as it lives.
  class Open {
   public:
    Open() {
      if (instance().open_++ == 0) instance().protect(PROT_READ | PROT_WRITE);
    }
    Open(const Open&) = delete;
    Open& operator=(const Open&) = delete;
    ~Open() {
      if (--instance().open_ == 0) instance().protect(PROT_NONE);
    }
  };

  std::byte* take(std::size_t bytes) {
    bytes = rounded(bytes);
    std::vector<std::byte*>& free = free_[bytes];
    std::byte* out = memory_ + used_;
    if (free.empty()) {
      ensure(used_ + bytes <= size, "GuardedPool: there is no room for ", bytes, " bytes more");
      used_ += bytes;
    } else {
      out = free.back();
      free.pop_back();
    }
    const Open open;
    std::memset(out, 0xff, bytes);
    return out;
  }
  void give_back(std::byte* memory, std::size_t bytes) { free_[rounded(bytes)].push_back(memory); }

 private:
  static constexpr std::size_t size = std::size_t{1} << 28;

  GuardedPool() {
    void* memory = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ensure(memory != MAP_FAILED, "GuardedPool: mmap failed");
    memory_ = static_cast<std::byte*>(memory);
  }
  void protect(int how) { ensure(mprotect(memory_, size, how) == 0, "GuardedPool: mprotect failed"); }
  static std::size_t rounded(std::size_t bytes) {
    return (bytes + memory_alignment - 1) / memory_alignment * memory_alignment;
  }

  std::byte* memory_ = nullptr;
  std::size_t used_ = 0;
  int open_ = 0;
  std::map<std::size_t, std::vector<std::byte*>> free_;  // by size
};

/// A kind of memory for Buffer and BasicArena (see HostMemory).
struct GuardedMemory {
  static constexpr bool is_host = false;
  static constexpr std::size_t alignment = memory_alignment;

  struct Delete {
    std::size_t size = 0;
    void operator()(std::byte* p) const noexcept { GuardedPool::instance().give_back(p, size); }
  };
  using Bytes = std::unique_ptr<std::byte[], Delete>;

  static Bytes allocate(std::size_t bytes) {
    return Bytes(GuardedPool::instance().take(bytes), Delete{bytes});
  }
  static constexpr bool is_recorded() noexcept { return false; }
  struct Outgrown {
    static void add(Bytes) noexcept {}
  };
};

/// The device.
class Guarded {
 public:
  using Memory = GuardedMemory;
  template <class T>
  using Buffer = vlp::Buffer<T, GuardedMemory>;

  explicit Guarded(int threads = 1) : cpu_(threads) {}
  [[nodiscard]] BasicArena<GuardedMemory>& scratch() noexcept { return scratch_; }
  [[nodiscard]] Cpu& cpu() noexcept { return cpu_; }

 private:
  Cpu cpu_;
  BasicArena<GuardedMemory> scratch_;
};

/// Defines an operation of Guarded as that of the CPU on opened memory.
#define VLP_GUARDED_OPERATION(name)                                         \
  template <class Scalar, class... Arguments>                               \
  void name(Guarded& device, Arguments&&... arguments) {                    \
    const GuardedPool::Open open;                                           \
    vlp::name<Scalar>(device.cpu(), std::forward<Arguments>(arguments)...); \
  }
/// The same for a transfer, which deduces its type.
#define VLP_GUARDED_TRANSFER(name)                                  \
  template <class... Arguments>                                     \
  void name(Guarded& device, Arguments&&... arguments) {            \
    const GuardedPool::Open open;                                   \
    vlp::name(device.cpu(), std::forward<Arguments>(arguments)...); \
  }

VLP_GUARDED_TRANSFER(fill)
VLP_GUARDED_TRANSFER(copy)
VLP_GUARDED_TRANSFER(upload)
VLP_GUARDED_TRANSFER(download)
VLP_GUARDED_OPERATION(matmul)
VLP_GUARDED_OPERATION(broadcast_bias)
VLP_GUARDED_OPERATION(add_scaled)
VLP_GUARDED_OPERATION(assign_scaled)
VLP_GUARDED_OPERATION(add_column_sums)
VLP_GUARDED_OPERATION(mean_of_rows)
VLP_GUARDED_OPERATION(mean_of_rows_gradient)
VLP_GUARDED_OPERATION(unit_rows)
VLP_GUARDED_OPERATION(unit_rows_gradient)
VLP_GUARDED_OPERATION(gelu_forward)
VLP_GUARDED_OPERATION(gelu_backward)
VLP_GUARDED_OPERATION(layer_norm_forward)
VLP_GUARDED_OPERATION(layer_norm_backward)
VLP_GUARDED_OPERATION(attention_forward)
VLP_GUARDED_OPERATION(attention_backward)
VLP_GUARDED_OPERATION(mean_attention_weights)
VLP_GUARDED_OPERATION(attend_to_rows)
VLP_GUARDED_OPERATION(embed_tokens)
VLP_GUARDED_OPERATION(add_positions)
VLP_GUARDED_OPERATION(add_position_sums)
VLP_GUARDED_OPERATION(add_type_sums)
VLP_GUARDED_OPERATION(pool_groups)
VLP_GUARDED_OPERATION(pool_groups_gradient)
VLP_GUARDED_OPERATION(gather_rows)
VLP_GUARDED_OPERATION(gather_rows_gradient)
VLP_GUARDED_OPERATION(im2col)
VLP_GUARDED_OPERATION(col2im)
VLP_GUARDED_OPERATION(adamw_update)
VLP_GUARDED_OPERATION(sgd_update)
VLP_GUARDED_OPERATION(sum_of_squares)
VLP_GUARDED_OPERATION(scale_gradients)
VLP_GUARDED_OPERATION(clamp_above)
#undef VLP_GUARDED_OPERATION
#undef VLP_GUARDED_TRANSFER

static_assert(nn::Operations<Guarded, float> && nn::Operations<Guarded, double>);
static_assert(optim::Operations<Guarded, float> && optim::Operations<Guarded, double>);

}  // namespace vlp::test
