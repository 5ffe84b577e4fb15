/// \file
/// Targets of a contrastive batch, on the device.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/losses/contrast.hpp>
#include <vlp/losses/loss.hpp>

#include <algorithm>
#include <climits>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

namespace vlp::cuda::detail {

/// Pairs are counted in 32 bits.
inline constexpr Index most_pairs = Index{1} << 30;

/// Inputs that the targets of a block of scores depend on.
struct TargetInputs {
  PairBlock block;                       // with its numbers filled in
  Index images, texts;                   // given
  std::span<const std::int64_t> group;   // [block.texts], [block.images] or empty; in device memory
  VectorView<const std::uint8_t> valid;  // [block.texts], or empty; in device memory
  DuplicatePolicy policy;
  double label_smoothing;

  [[nodiscard]] bool ids_of_texts() const { return static_cast<Index>(group.size()) == block.texts; }
  [[nodiscard]] bool grouped() const { return !group.empty() && policy != DuplicatePolicy::negatives; }
  /// By its extent, since a view without data stands for one of that size.
  [[nodiscard]] bool masks() const { return valid.extent(0) > 0; }
  [[nodiscard]] bool smooths() const { return label_smoothing > 0; }
  /// Where among the texts given the first given image's own would be.
  [[nodiscard]] Index own_text() const { return block.text_of(block.first_image) - block.first_text; }

  /// Says whether text i is image i's own, of as many, and no other pair is special.
  [[nodiscard]] bool is_identity() const {
    return images == texts && own_text() == 0 && (block.own_text_step == 1 || images == 1) && !grouped() &&
           !smooths() && !masks();
  }
};

/// The targets of a block of scores [b, n], as kernels take them: in row i and column j
///
///   q[i, j]  = image_member[i] [j is a member of i] + image_smoothing[i] [kept(i, j)],
///   q'[i, j] = text_member[j] [j is a member of i] + text_smoothing[j] [kept(i, j)],
///
/// of the cross-entropies of rows and of columns. Members of image i are its own text or, under
/// DuplicatePolicy::positives, the valid texts of its group. The arrays may be missing if both are the
/// identity.
struct PairTargets {
  int* group;           // [n] the first valid text of j's group in the batch: j's own place without groups,
                        // -1 for texts that are not valid; it goes on beyond both ends, to all texts of the
                        // batch
  float* image_member;  // [b]
  float* image_smoothing;       // [b]
  float* text_member;           // [n]; 0 for texts that are no image's own, which have no cross-entropy
  float* text_smoothing;        // [n]; the same
  int own_text, own_text_step;  // among the texts given, image i's is own_text + i own_text_step
  DuplicatePolicy policy;
  bool grouped;  // else only own texts are special
  bool smooths;
  bool masks;  // some texts may not be valid

  [[nodiscard]] __device__ int own_text_of(int i) const { return own_text + i * own_text_step; }
  [[nodiscard]] __device__ int group_of_image(int i) const { return load_here(group + own_text_of(i)); }
  [[nodiscard]] __device__ int group_of(int j) const { return load_here(group + j); }
  [[nodiscard]] __device__ float member_of_image(int i) const { return load_here(image_member + i); }
  [[nodiscard]] __device__ float member_of(int j) const { return load_here(text_member + j); }
  [[nodiscard]] __device__ float smoothing_of_image(int i) const { return load_here(image_smoothing + i); }
  [[nodiscard]] __device__ float smoothing_of(int j) const { return load_here(text_smoothing + j); }

  /// Says whether text j may be met at all.
  [[nodiscard]] __device__ bool is_valid(int j) const { return !masks || group_of(j) >= 0; }
  /// Says whether text j is some image's own, so that its column has a cross-entropy.
  [[nodiscard]] __device__ bool is_own_text(int j) const { return member_of(j) > 0; }

  /// Says whether text j is of image i's group, or its own if there are no groups.
  [[nodiscard]] __device__ bool is_member(int i, int j) const {
    return grouped ? group_of(j) == group_of_image(i) : j == own_text_of(i);
  }

  /// Says whether text j, of image i's group, leaves the denominators of row i and column j.
  [[nodiscard]] __device__ bool drops(int i, int j) const {
    return policy == DuplicatePolicy::ignore && j != own_text_of(i);
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

/// Takes the arrays of targets, unless these are the identity and not `always` wanted. `Arrays` has take, as
/// vlp::detail::SavedArrays and scratch have.
template <class Arrays>
[[nodiscard]] PairTargets lay_out_targets(Arrays& arrays, const TargetInputs& in, bool always = false) {
  PairTargets out{};
  out.own_text = static_cast<int>(in.own_text());
  out.own_text_step = static_cast<int>(std::min(in.block.own_text_step, most_pairs));
  out.policy = in.policy;
  out.grouped = in.grouped();
  out.smooths = in.smooths();
  out.masks = in.masks();
  if (in.is_identity() && !always) return out;
  out.group = arrays.template take<int>(in.block.texts);
  if (out.group != nullptr) out.group += in.block.first_text;
  out.image_member = arrays.template take<float>(in.images);
  out.image_smoothing = arrays.template take<float>(in.images);
  out.text_member = arrays.template take<float>(in.texts);
  out.text_smoothing = arrays.template take<float>(in.texts);
  return out;
}

/// The arrays of PairTargets and what they are made of, as the kernels that write them see them. Texts and
/// images are named by their places in the batch.
struct WriteTargets {
  PairTargets to;
  int images, texts;              // of the batch
  int first_image, given_images;  // given
  int first_text, given_texts;
  int own_text, own_text_step;  // of the batch
  float label_smoothing;
  const std::uint8_t* valid;  // [texts], or null

  [[nodiscard]] __device__ bool is_valid(int text) const { return valid == nullptr || valid[text] != 0; }
  /// The image that a text belongs to, or -1.
  [[nodiscard]] __device__ int image_of(int text) const {
    const int from = text - own_text;
    return from >= 0 && from % own_text_step == 0 && from / own_text_step < images ? from / own_text_step
                                                                                   : -1;
  }

  /// Writes the targets of a text and of the image that it belongs to. Its group has the text `first` and as
  /// many valid texts and images; the batch has `valid_texts`.
  __device__ void write(int text, int first, int group_texts, int group_images, int valid_texts) const {
    const int image = image_of(text), j = text - first_text, i = image - first_image;
    const bool joins = to.policy == DuplicatePolicy::positives, drops = to.policy == DuplicatePolicy::ignore;
    to.group[j] = is_valid(text) ? first : -1;
    if (j >= 0 && j < given_texts) {
      const int kept = images - (drops ? group_images - 1 : 0);
      to.text_member[j] = image < 0 ? 0.0F : share(1 - label_smoothing, joins ? group_images : 1);
      to.text_smoothing[j] = image < 0 ? 0.0F : share(label_smoothing, kept);
    }
    if (image >= 0 && i >= 0 && i < given_images) {
      to.image_member[i] = share(1 - label_smoothing, joins ? group_texts : 1);
      to.image_smoothing[i] = share(label_smoothing, valid_texts - (drops ? group_texts - 1 : 0));
    }
  }

 private:
  /// One of `count` equal parts. An own text that is not valid, which is an error, may leave none.
  __device__ static float share(float all, int count) { return all / static_cast<float>(max(count, 1)); }
};

/// The number of valid texts of the batch, in all threads of a block.
__device__ inline int count_valid_texts(const WriteTargets& to, BlockRoom<int>& room) {
  if (to.valid == nullptr) return to.texts;
  int count = 0;
  for (int text = static_cast<int>(threadIdx.x); text < to.texts; text += static_cast<int>(blockDim.x))
    count += to.is_valid(text) ? 1 : 0;
  return block_sum(count, room);
}

/// Writes the targets of texts without groups: a thread a text.
template <int Threads>
__global__ void __launch_bounds__(Threads) write_targets(WriteTargets to) {
  const int valid_texts = count_valid_texts(to, shared_memory<BlockRoom<int>>());
  const Index text = static_cast<Index>(blockIdx.x) * Threads + static_cast<int>(threadIdx.x);
  if (text < to.texts) to.write(static_cast<int>(text), static_cast<int>(text), 1, 1, valid_texts);
}

/// An id with its bits mixed. Two ids are equal if and only if their keys are.
using GroupKey = unsigned long long;

/// Mixes the bits of a number: the finalizer of MurmurHash3 (Appleby), which is a bijection.
[[nodiscard]] __host__ __device__ constexpr GroupKey mix(GroupKey x) {
  x = (x ^ x >> 33) * 0xff51afd7ed558ccd;
  x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53;
  return x ^ x >> 33;
}

/// Hash table in the shared memory of a block: the first text of each key, and the number of its texts and
/// of the images that these belong to.
///
/// A key has 16 slots to choose from and takes one, which no other key can take within the round. If a text
/// finds other keys in all 16, then no text of its key has a slot, nor will any get one: a round counts all
/// texts of a key or none, whatever the order of the texts. The next round begins with an empty table and
/// gives each key other slots.
struct GroupTable {
  static constexpr int threads = 512;  // of the block
  static constexpr int slots = 2048, slots_of_key = 16;
  static constexpr GroupKey no_key = 0;  // in empty slots

  GroupKey keys[slots];
  int first[slots + 1], texts[slots + 1], images[slots + 1];  // the last is of the key 0, which needs no slot

  __device__ void clear() {
    for (int slot = static_cast<int>(threadIdx.x); slot <= slots; slot += threads) {
      if (slot < slots) keys[slot] = no_key;
      first[slot] = INT_MAX;
      texts[slot] = 0;
      images[slot] = 0;
    }
  }

  /// Counts a text, and its image if it has one, unless this round has no slot for its key.
  __device__ void add(GroupKey key, int round, int text, bool has_image) {
    const int slot = search(key, round, [&](GroupKey& held) {
      const GroupKey before = atomicCAS(&held, no_key, key);
      return before == no_key || before == key;
    });
    if (slot < 0) return;
    atomicMin(first + slot, text);
    atomicAdd(texts + slot, 1);
    if (has_image) atomicAdd(images + slot, 1);
  }

  /// The slot of a key, once all texts were added; -1 if it has none in this round.
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

/// Ids of all texts, or those of the images, whose own texts then are the only ones in groups.
template <class Id>
struct GroupIds {
  const Id* __restrict__ id;
  bool of_texts;

  [[nodiscard]] __device__ bool has(const WriteTargets& to, int text) const {
    return to.is_valid(text) && (of_texts || to.image_of(text) >= 0);
  }
  [[nodiscard]] __device__ GroupKey of(const WriteTargets& to, int text) const {
    const int image = of_texts ? text : to.image_of(text);
    return static_cast<GroupKey>(image < 0 ? text : id[image]);  // any number, which spreads them over blocks
  }
};

/// Calls visit(text, key) for the texts that this block counts.
template <class Id, class Visit>
__device__ void for_each_text_of_block(const GroupIds<Id>& id, const WriteTargets& to, Visit&& visit) {
  constexpr int threads = GroupTable::threads;
  constexpr int at_once = 4;  // loads in flight: few blocks do not hide latency by their number
  for (int begin = static_cast<int>(threadIdx.x); begin < to.texts; begin += at_once * threads) {
    GroupKey ids[at_once];
#pragma unroll
    for (int k = 0; k < at_once; ++k) ids[k] = id.of(to, min(begin + k * threads, to.texts - 1));
#pragma unroll
    for (int k = 0; k < at_once; ++k) {
      const int text = begin + k * threads;
      const GroupKey key = mix(ids[k]);
      if (text < to.texts && block_of(key, gridDim.x) == blockIdx.x) visit(text, key);
    }
  }
}

/// Shared memory of find_groups.
struct FindGroupsShared {
  GroupTable table;
  BlockRoom<int> room;
};

/// Finds groups and writes the targets of their texts and images. Every block goes through all ids and counts
/// those whose keys are its own, so that blocks share nothing. Texts that are not valid, or have no id, are
/// in no group.
///
/// Keys fill a fourth of a table, and about one of 4^16 needs a second round. Ids made to collide do so for
/// two or three rounds, since some 20 bits of an id decide each; from then on a round counts nearly as many
/// ids as a table has slots.
template <class Id>
__global__ void __launch_bounds__(GroupTable::threads) find_groups(GroupIds<Id> id, WriteTargets to) {
  constexpr int not_counted = -2;
  auto& shared = shared_memory<FindGroupsShared>();
  GroupTable& table = shared.table;
  int* const group = to.to.group - to.first_text;  // of all texts of the batch
  const int valid_texts = count_valid_texts(to, shared.room);
  int left = 1;  // whether there are texts that are not counted yet
  for (int round = 0; left != 0; ++round) {
    table.clear();
    __syncthreads();
    for_each_text_of_block(id, to, [&](int text, GroupKey key) {
      if (round == 0 ? id.has(to, text) : group[text] == not_counted)
        table.add(key, round, text, to.image_of(text) >= 0);
    });
    __syncthreads();
    left = 0;
    for_each_text_of_block(id, to, [&](int text, GroupKey key) {
      if (round > 0 && group[text] != not_counted) return;
      if (!id.has(to, text)) {
        to.write(text, text, 1, 1, valid_texts);
        return;
      }
      const int slot = table.find(key, round);
      if (slot >= 0) {
        to.write(text, table.first[slot], table.texts[slot], table.images[slot], valid_texts);
      } else {
        group[text] = not_counted;
        left = 1;
      }
    });
    left = __syncthreads_or(left);
  }
}

/// Texts for each block of find_groups: a fourth of what its table holds.
inline constexpr Index texts_per_table = GroupTable::slots / 4;

/// Writes the arrays that lay_out_targets took, if it took them. Throws std::invalid_argument for a batch
/// that cannot be counted.
inline void write_targets(Cuda& device, std::string_view loss, const TargetInputs& in,
                          const PairTargets& to) {
  const PairBlock& block = in.block;
  require(block.texts <= most_pairs, loss, ": a batch of ", block.texts, " texts is more than ", most_pairs);
  if (to.group == nullptr) return;
  const auto number = [](Index x) { return static_cast<int>(x); };
  const WriteTargets write{to,
                           number(block.images),
                           number(block.texts),
                           number(block.first_image),
                           number(in.images),
                           number(block.first_text),
                           number(in.texts),
                           number(block.own_text),
                           to.own_text_step,
                           static_cast<float>(in.label_smoothing),
                           in.valid.data()};
  if (in.grouped())
    launch(find_groups<std::int64_t>, blocks(block.texts, texts_per_table), GroupTable::threads,
           sizeof(FindGroupsShared), device.stream(),
           GroupIds<std::int64_t>{in.group.data(), in.ids_of_texts()}, write);
  else
    launch(write_targets<256>, blocks(block.texts, 256), 256, sizeof(BlockRoom<int>), device.stream(), write);
}

}  // namespace vlp::cuda::detail
