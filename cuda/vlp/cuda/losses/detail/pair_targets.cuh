/// \file
/// What each pair of a contrastive batch should match, on the device.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/losses/types.hpp>

#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

namespace vlp::cuda::detail {

/// The targets q of vlp::detail::PairTargets, as kernels take them:
///
///   q[i, j] = member[i] [j is a member of i] + smoothing[i] [kept(i, j)]
///
/// where i's members are i itself or, under DuplicatePolicy::positives, its group.
struct PairTargets {
  const int* group;        // [B] the first pair of i's group: i without groups
  const float* member;     // [B]
  const float* smoothing;  // [B]
  DuplicatePolicy policy;
  bool grouped;  // else only the diagonal is special
  bool smooths;

  [[nodiscard]] __device__ int group_of(int i) const { return load_here(group + i); }
  [[nodiscard]] __device__ float member_of(int i) const { return load_here(member + i); }
  [[nodiscard]] __device__ float smoothing_of(int i) const { return load_here(smoothing + i); }

  /// Whether column j, of i's group, leaves the denominator of row i.
  [[nodiscard]] __device__ bool drops(int i, int j) const {
    return policy == DuplicatePolicy::ignore && i != j;
  }

 private:
  /// A load that stays where it is written: moved ahead of an unrolled loop, as compilers like to, it would
  /// take the registers of a tile, which almost never needs it. One of a volatile would stay too, but L1
  /// would not serve it.
  template <class T>
  [[nodiscard]] __device__ static T load_here(const T* from) {
#ifdef VLP_CUDA_EMULATION
    return *from;
#else
    static_assert(sizeof(T) == 4);
    T out;
    if constexpr (std::is_same_v<T, float>)
      asm volatile("ld.global.nc.f32 %0, [%1];" : "=f"(out) : "l"(from));
    else
      asm volatile("ld.global.nc.s32 %0, [%1];" : "=r"(out) : "l"(from));
    return out;
#endif
  }
};

/// Thread i compares its id with all others: B^2 comparisons, nothing beside the B^2 D of the scores.
template <class Id>
__global__ void __launch_bounds__(256)
    find_groups(const Id* id, Index batch, DuplicatePolicy policy, float label_smoothing, int* group,
                float* member, float* smoothing) {
  const Index i = static_cast<Index>(blockIdx.x) * 256 + threadIdx.x;
  if (i >= batch) return;
  Index first = i, count = 1;
  if (id != nullptr) {
    const Id own = id[i];
    count = 0;
    for (Index j = 0; j < batch; ++j) {
      if (id[j] != own) continue;
      if (count == 0) first = j;
      ++count;
    }
  }
  group[i] = static_cast<int>(first);
  member[i] = (1 - label_smoothing) / static_cast<float>(policy == DuplicatePolicy::positives ? count : 1);
  const Index dropped = policy == DuplicatePolicy::ignore ? count - 1 : 0;
  smoothing[i] = label_smoothing / static_cast<float>(batch - dropped);
}

/// Pairs are counted in 32 bits.
inline constexpr Index most_pairs = Index{1} << 30;

/// Finds the groups of a batch and keeps O(B) numbers of them.
class Groups {
 public:
  /// `group` is empty or has `batch` ids, in device memory. Throws std::invalid_argument for a batch that
  /// cannot be counted.
  void find(Cuda& device, std::string_view loss, Index batch, std::span<const std::int64_t> group,
            DuplicatePolicy policy, double label_smoothing) {
    require(batch <= most_pairs, loss, ": a batch of ", batch, " pairs is more than ", most_pairs);
    const bool grouped = !group.empty() && policy != DuplicatePolicy::negatives;
    int* first = first_.resize(batch);
    float* member = member_.resize(batch);
    float* smoothing = smoothing_.resize(batch);
    launch(find_groups<std::int64_t>, blocks(batch, 256), 256, 0, device.stream(),
           grouped ? group.data() : nullptr, batch, policy, static_cast<float>(label_smoothing), first,
           member, smoothing);
    targets_ = {first, member, smoothing, policy, grouped, label_smoothing > 0};
  }

  [[nodiscard]] const PairTargets& targets() const noexcept { return targets_; }

 private:
  Buffer<int> first_;
  Buffer<float> member_, smoothing_;
  PairTargets targets_{};
};

}  // namespace vlp::cuda::detail
