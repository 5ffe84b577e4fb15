#include "support/catch.hpp"
#include "support/device.hpp"

#include <cuda_runtime.h>

#include <vlp/core/random.hpp>
#include <vlp/cuda/losses/detail/pair_targets.cuh>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace {

using namespace vlp::test;
using vlp::DuplicatePolicy;
using vlp::Index;
using vlp::cuda::detail::block_of;
using vlp::cuda::detail::GroupKey;
using vlp::cuda::detail::Groups;
using vlp::cuda::detail::GroupTable;
using vlp::cuda::detail::mix;
using Ids = std::vector<std::int64_t>;

constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min(),
                       most = std::numeric_limits<std::int64_t>::max();
constexpr DuplicatePolicy policies[] = {DuplicatePolicy::negatives, DuplicatePolicy::ignore,
                                        DuplicatePolicy::positives};

struct Targets {
  std::vector<int> group;
  std::vector<float> member, smoothing;
};

template <class T>
std::vector<T> read(const T* from, std::size_t count) {
  std::vector<T> out(count);
  vlp::cuda::check(cudaMemcpy(out.data(), from, count * sizeof(T), cudaMemcpyDeviceToHost), "reading");
  return out;
}

Targets find(const Ids& ids, DuplicatePolicy policy, double smoothing) {
  vlp::Cuda device = make_device(static_cast<int>(ids.size() % 3) + 1);
  DeviceArray<std::int64_t> on_device(ids);
  Groups groups;
  const auto batch = static_cast<Index>(ids.size());
  groups.find(device, "test", batch, {}, policy, smoothing, true);  // leaves targets that must not be seen
  groups.find(device, "test", batch, on_device.span(), policy, smoothing, true);
  device.synchronize();
  const auto& targets = groups.targets();
  return {read(targets.group, ids.size()), read(targets.member, ids.size()),
          read(targets.smoothing, ids.size())};
}

/// The same by comparing all pairs with each other.
Targets literal_targets(const Ids& ids, DuplicatePolicy policy, double smoothing) {
  Targets out;
  const auto e = static_cast<float>(smoothing);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    std::size_t first = ids.size(), count = 0;
    for (std::size_t j = 0; j < ids.size(); ++j) {
      if (policy == DuplicatePolicy::negatives ? i != j : ids[i] != ids[j]) continue;
      first = std::min(first, j);
      ++count;
    }
    out.group.push_back(static_cast<int>(first));
    out.member.push_back(policy == DuplicatePolicy::positives ? (1 - e) / static_cast<float>(count) : 1 - e);
    const std::size_t kept = policy == DuplicatePolicy::ignore ? ids.size() - (count - 1) : ids.size();
    out.smoothing.push_back(e / static_cast<float>(kept));
  }
  return out;
}

void check(const Ids& ids, DuplicatePolicy policy, double smoothing) {
  CAPTURE(ids.size(), static_cast<int>(policy), smoothing);
  const Targets got = find(ids, policy, smoothing), want = literal_targets(ids, policy, smoothing);
  CHECK(got.group == want.group);
  CHECK(got.member == want.member);
  CHECK(got.smoothing == want.smoothing);
}

/// Under both policies that count pairs, with numbers that show the counts.
void check(const Ids& ids) {
  check(ids, DuplicatePolicy::positives, 0);
  check(ids, DuplicatePolicy::ignore, 0.1);
}

/// `count` ids, each of them id_of(some number below `distinct`).
template <class IdOf>
Ids draw(std::size_t count, std::uint32_t distinct, IdOf&& id_of) {
  vlp::Random random(1);
  Ids out;
  for (std::size_t i = 0; i < count; ++i)
    out.push_back(static_cast<std::int64_t>(id_of(static_cast<GroupKey>(random.below(distinct)))));
  return out;
}

GroupKey inverse(GroupKey odd) {
  GroupKey out = odd;
  for (int i = 0; i < 6; ++i) out *= 2 - odd * out;
  return out;
}

/// The key that mix() turns into x.
GroupKey unmixed(GroupKey x) {
  x = (x ^ x >> 33) * inverse(0xc4ceb9fe1a85ec53);
  x = (x ^ x >> 33) * inverse(0xff51afd7ed558ccd);
  return x ^ x >> 33;
}

/// Different ids that one block of `blocks` counts; with `collide`, in the same slots in the first round.
Ids ids_of_one_block(std::size_t count, unsigned blocks, bool collide) {
  Ids out;
  for (GroupKey n = 1; out.size() < count; ++n) {
    // slot_of() takes bits 0 to 10 and 32 to 42, modulo 2048
    const GroupKey mixed = (n & 0xfffff) << 11 | (n >> 20) << 43 | GroupKey{77} << 32 | 5;
    const GroupKey key = collide ? unmixed(mixed) : mix(n);
    if (block_of(key, blocks) == blocks - 1) out.push_back(static_cast<std::int64_t>(unmixed(key)));
  }
  return out;
}

unsigned blocks_for(std::size_t count) {
  return static_cast<unsigned>((static_cast<Index>(count) + Groups::pairs_per_table - 1) /
                               Groups::pairs_per_table);
}

}  // namespace

TEST_CASE("CUDA groups of batches of any size") {
  for (std::size_t count : {1, 2, 31, 33, 257, 511, 512, 513, 2049})
    check(draw(count, static_cast<std::uint32_t>(count / 2 + 1), [](GroupKey n) { return n * n - 7; }));
  check(draw(4100, 4100, [](GroupKey n) { return mix(n); }));
}

TEST_CASE("CUDA groups under every policy") {
  const Ids ids = draw(70, 25, [](GroupKey n) { return n - 9; });
  for (DuplicatePolicy policy : policies)
    for (double smoothing : {0.0, 0.1, 1.0}) check(ids, policy, smoothing);
}

TEST_CASE("CUDA groups of any ids") {
  const auto equal = [](std::int64_t id) { return Ids(700, id); };
  for (std::int64_t id : {std::int64_t{0}, least, most}) check(equal(id));
  check(draw(600, 8, [](GroupKey n) {  // as far apart as ids can be, and neighbours
    return n < 3   ? n - 1
           : n < 5 ? static_cast<GroupKey>(most) - (n - 3)
                   : static_cast<GroupKey>(least) + (n - 5);
  }));
  check(draw(600, 300, [](GroupKey n) { return n << 32; }));
  check(draw(600, 300, [](GroupKey n) { return n << 52; }));
  Ids distinct;
  for (std::int64_t i = 0; i < 600; ++i) distinct.push_back(300 - i);
  check(distinct);
}

TEST_CASE("CUDA groups of ids that collide") {
  constexpr std::size_t count = 900;
  const Ids few = ids_of_one_block(count / 3, blocks_for(count), true);
  check(draw(count, static_cast<std::uint32_t>(few.size()),
             [&](GroupKey n) { return static_cast<GroupKey>(few[static_cast<std::size_t>(n)]); }));
  // The key 0 has a place of its own: ids on the slots that it would have stay apart from it.
  Ids with_0{0};
  for (std::int64_t id = 1; with_0.size() < 40; ++id)
    if (GroupTable::slot_of(mix(static_cast<GroupKey>(id)), 0, 0) == GroupTable::slot_of(0, 0, 0))
      with_0.insert(with_0.end(), {id, 0});
  check(with_0);
}

TEST_CASE("CUDA groups of more ids than a table has slots") {
  constexpr std::size_t count = 3000;
  Ids ids = ids_of_one_block(count - 400, blocks_for(count), false);
  REQUIRE(ids.size() > GroupTable::slots);
  ids.insert(ids.end(), ids.begin(), ids.begin() + 400);
  check(ids, DuplicatePolicy::positives, 0);
}

TEST_CASE("CUDA ids that collide in one round are apart in the next") {
  const Ids ids = ids_of_one_block(1000, 4, true);
  std::vector<int> in_slot(GroupTable::slots);
  for (std::int64_t id : ids) {
    const GroupKey key = mix(static_cast<GroupKey>(id));
    CHECK(unmixed(key) == static_cast<GroupKey>(id));
    for (int k = 0; k < GroupTable::slots_of_key; ++k)
      CHECK(GroupTable::slot_of(key, 0, k) == (5 + 77 * k) % GroupTable::slots);
    ++in_slot[static_cast<std::size_t>(GroupTable::slot_of(key, 1, 0))];
  }
  CHECK(*std::max_element(in_slot.begin(), in_slot.end()) < 10);
}

TEST_CASE("CUDA groups of ids with a pattern are spread over all blocks, and each has its slots") {
  constexpr unsigned blocks = 64;
  for (int shift : {0, 7, 32, 40})
    for (GroupKey step : {1, 12345, 0x10001}) {
      CAPTURE(shift, step);
      std::vector<int> in_block(blocks);
      for (GroupKey n = 0; n < blocks * Groups::pairs_per_table; ++n)
        ++in_block[block_of(mix(n * step << shift), blocks)];
      CHECK(*std::max_element(in_block.begin(), in_block.end()) < GroupTable::slots / 3);
    }
  for (GroupKey key = 1; key < 200; ++key) {
    std::vector<int> slots;
    for (int k = 0; k < GroupTable::slots_of_key; ++k) slots.push_back(GroupTable::slot_of(key, 3, k));
    std::sort(slots.begin(), slots.end());
    CHECK(std::adjacent_find(slots.begin(), slots.end()) == slots.end());
    CHECK((slots.front() >= 0 && slots.back() < GroupTable::slots));
  }
}

TEST_CASE("CUDA targets that are the identity take no launch") {
  vlp::Cuda device = make_device();
  DeviceArray<std::int64_t> ids(Ids{3, 3});
  Groups groups;
  const auto has_arrays = [&](std::span<const std::int64_t> group, DuplicatePolicy policy, double smoothing,
                              bool always) {
    groups.find(device, "test", 2, group, policy, smoothing, always);
    return groups.targets().group != nullptr;
  };
  CHECK(!has_arrays({}, DuplicatePolicy::positives, 0, false));
  CHECK(!has_arrays(ids.span(), DuplicatePolicy::negatives, 0, false));
  CHECK(has_arrays({}, DuplicatePolicy::positives, 0, true));
  CHECK(has_arrays({}, DuplicatePolicy::positives, 0.1, false));
  CHECK(has_arrays(ids.span(), DuplicatePolicy::ignore, 0, false));
  CHECK_THROWS_WITH(
      groups.find(device, "test", vlp::cuda::detail::most_pairs + 1, {}, DuplicatePolicy::ignore, 0),
      "test: a batch of 1073741825 pairs is more than 1073741824");
}
