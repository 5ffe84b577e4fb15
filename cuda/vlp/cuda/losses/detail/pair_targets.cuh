/// \file
/// Targets of a contrastive batch, on the device.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/losses/loss.hpp>

#include <climits>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

namespace vlp::cuda::detail {

/// The targets q of vlp::detail::PairTargets, as kernels take them:
///
///   q[i, j] = member[i] [j is a member of i] + smoothing[i] [kept(i, j)]
///
/// where i's members are i itself or, under DuplicatePolicy::positives, its group. The arrays may be missing
/// if q is the identity.
struct PairTargets {
  const int* group;        // [B] the first pair of i's group: i without groups
  const float* member;     // [B]
  const float* smoothing;  // [B]
  DuplicatePolicy policy;
  bool grouped;  // else only the diagonal is special
  bool smooths;

  [[nodiscard]] __host__ __device__ bool is_identity() const { return !grouped && !smooths; }

  [[nodiscard]] __device__ int group_of(int i) const { return load_here(group + i); }
  [[nodiscard]] __device__ float member_of(int i) const { return load_here(member + i); }
  [[nodiscard]] __device__ float smoothing_of(int i) const { return load_here(smoothing + i); }

  /// Says whether column j, of i's group, leaves the denominator of row i.
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

/// The arrays of PairTargets, as the kernels that write them see them.
struct WriteTargets {
  int batch;
  DuplicatePolicy policy;
  float label_smoothing;
  int* group;
  float* member;
  float* smoothing;

  /// Writes the targets of pair i, whose group has `count` pairs, from `first` on.
  __device__ void write(int i, int first, int count) const {
    group[i] = first;
    member[i] = (1 - label_smoothing) / static_cast<float>(policy == DuplicatePolicy::positives ? count : 1);
    const int dropped = policy == DuplicatePolicy::ignore ? count - 1 : 0;
    smoothing[i] = label_smoothing / static_cast<float>(batch - dropped);
  }
};

/// Writes the targets of pairs that all differ: a thread a pair.
template <int Threads>
__global__ void __launch_bounds__(Threads) write_targets(WriteTargets to) {
  const Index i = static_cast<Index>(blockIdx.x) * Threads + static_cast<int>(threadIdx.x);
  if (i < to.batch) to.write(static_cast<int>(i), static_cast<int>(i), 1);
}

/// An id with its bits mixed. Two ids are equal if and only if their keys are.
using GroupKey = unsigned long long;

/// Mixes the bits of a number: the finalizer of MurmurHash3 (Appleby), which is a bijection.
[[nodiscard]] __host__ __device__ constexpr GroupKey mix(GroupKey x) {
  x = (x ^ x >> 33) * 0xff51afd7ed558ccd;
  x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53;
  return x ^ x >> 33;
}

/// Hash table in the shared memory of a block: the first pair of each key, and the number of its pairs.
///
/// A key has 16 slots to choose from and takes one, which no other key can take within the round. If a pair
/// finds other keys in all 16, then no pair of its key has a slot, nor will any get one: a round counts all
/// pairs of a key or none, whatever the order of the pairs. The next round begins with an empty table and
/// gives each key other slots.
struct GroupTable {
  static constexpr int threads = 512;  // of the block
  static constexpr int slots = 2048, slots_of_key = 16;
  static constexpr GroupKey no_key = 0;  // in empty slots

  GroupKey keys[slots];
  int first[slots + 1], count[slots + 1];  // the last is of the key 0, which needs no slot

  __device__ void clear() {
    for (int slot = static_cast<int>(threadIdx.x); slot <= slots; slot += threads) {
      if (slot < slots) keys[slot] = no_key;
      first[slot] = INT_MAX;
      count[slot] = 0;
    }
  }

  /// Counts pair i, unless this round has no slot for its key.
  __device__ void add(GroupKey key, int round, int i) {
    const int slot = search(key, round, [&](GroupKey& held) {
      const GroupKey before = atomicCAS(&held, no_key, key);
      return before == no_key || before == key;
    });
    if (slot < 0) return;
    atomicMin(first + slot, i);
    atomicAdd(count + slot, 1);
  }

  /// The slot of a key, once all pairs were added; -1 if it has none in this round.
  [[nodiscard]] __device__ int find(GroupKey key, int round) {
    return search(key, round, [&](const GroupKey& held) { return held == key; });
  }

  /// The key's slot number `k`, of slots_of_key different ones.
  [[nodiscard]] __host__ __device__ static constexpr int slot_of(GroupKey key, int round, int k) {
    const GroupKey mixed = mix(key + static_cast<GroupKey>(round));
    const auto begin = static_cast<unsigned>(mixed), step = static_cast<unsigned>(mixed >> 32) | 1;
    return static_cast<int>((begin + static_cast<unsigned>(k) * step) % slots);
  }

 private:
  template <class Accept>
  [[nodiscard]] __device__ int search(GroupKey key, int round, Accept&& accept) {
    if (key == no_key) return slots;
#pragma unroll 1
    for (int k = 0; k < slots_of_key; ++k) {
      const int slot = slot_of(key, round, k);
      if (accept(keys[slot])) return slot;
    }
    return -1;
  }
};

/// The block, of `blocks`, whose table counts a key.
[[nodiscard]] __host__ __device__ constexpr unsigned block_of(GroupKey key, unsigned blocks) {
  return static_cast<unsigned>((key >> 32) * blocks >> 32);
}

/// Calls visit(i, key) for the pairs that this block counts.
template <class Id, class Visit>
__device__ void for_each_pair_of_block(const Id* __restrict__ id, int batch, Visit&& visit) {
  constexpr int threads = GroupTable::threads;
  constexpr int at_once = 4;  // loads in flight: few blocks do not hide latency by their number
  for (int begin = static_cast<int>(threadIdx.x); begin < batch; begin += at_once * threads) {
    GroupKey ids[at_once];
#pragma unroll
    for (int k = 0; k < at_once; ++k) ids[k] = static_cast<GroupKey>(id[min(begin + k * threads, batch - 1)]);
#pragma unroll
    for (int k = 0; k < at_once; ++k) {
      const int i = begin + k * threads;
      const GroupKey key = mix(ids[k]);
      if (i < batch && block_of(key, gridDim.x) == blockIdx.x) visit(i, key);
    }
  }
}

/// Finds groups and writes the targets of their pairs. Every block goes through all ids and counts those
/// whose keys are its own, so that blocks share nothing.
///
/// Keys fill a fourth of a table, and about one of 4^16 needs a second round. Ids made to collide do so for
/// two or three rounds, since some 20 bits of an id decide each; from then on a round counts nearly as many
/// ids as a table has slots.
template <class Id>
__global__ void __launch_bounds__(GroupTable::threads)
    find_groups(const Id* __restrict__ id, WriteTargets to) {
  auto& table = shared_memory<GroupTable>();
  int left = 1;  // whether pairs are not counted yet, which have group -1
  for (int round = 0; left != 0; ++round) {
    table.clear();
    __syncthreads();
    for_each_pair_of_block(id, to.batch, [&](int i, GroupKey key) {
      if (round == 0 || to.group[i] < 0) table.add(key, round, i);
    });
    __syncthreads();
    left = 0;
    for_each_pair_of_block(id, to.batch, [&](int i, GroupKey key) {
      if (round > 0 && to.group[i] >= 0) return;
      const int slot = table.find(key, round);
      if (slot >= 0) {
        to.write(i, table.first[slot], table.count[slot]);
      } else {
        to.group[i] = -1;
        left = 1;
      }
    });
    left = __syncthreads_or(left);
  }
}

/// Pairs are counted in 32 bits.
inline constexpr Index most_pairs = Index{1} << 30;

/// Finds the groups of a batch and keeps O(B) numbers of them.
class Groups {
 public:
  /// Pairs for each block of find_groups: a fourth of what its table holds.
  static constexpr Index pairs_per_table = GroupTable::slots / 4;

  /// `group` is empty or has `batch` ids, in device memory. `always`: writes the arrays even if the targets
  /// are the identity; otherwise nothing is launched in that case. Throws std::invalid_argument for a batch
  /// that cannot be counted.
  void find(Cuda& device, std::string_view loss, Index batch, std::span<const std::int64_t> group,
            DuplicatePolicy policy, double label_smoothing, bool always = false) {
    require(batch <= most_pairs, loss, ": a batch of ", batch, " pairs is more than ", most_pairs);
    const bool grouped = !group.empty() && policy != DuplicatePolicy::negatives;
    targets_ = {nullptr, nullptr, nullptr, policy, grouped, label_smoothing > 0};
    if (targets_.is_identity() && !always) return;
    const WriteTargets to{static_cast<int>(batch),
                          policy,
                          static_cast<float>(label_smoothing),
                          first_.resize(batch),
                          member_.resize(batch),
                          smoothing_.resize(batch)};
    if (grouped)
      launch(find_groups<std::int64_t>, blocks(batch, pairs_per_table), GroupTable::threads,
             sizeof(GroupTable), device.stream(), group.data(), to);
    else
      launch(write_targets<256>, blocks(batch, 256), 256, 0, device.stream(), to);
    targets_.group = to.group;
    targets_.member = to.member;
    targets_.smoothing = to.smoothing;
  }

  [[nodiscard]] const PairTargets& targets() const noexcept { return targets_; }

 private:
  Buffer<int> first_;
  Buffer<float> member_, smoothing_;
  PairTargets targets_{};
};

}  // namespace vlp::cuda::detail
