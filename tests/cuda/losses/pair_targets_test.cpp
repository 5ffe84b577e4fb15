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
using vlp::cuda::detail::GroupTable;
using vlp::cuda::detail::lay_out_targets;
using vlp::cuda::detail::mix;
using vlp::cuda::detail::PairTargets;
using vlp::cuda::detail::TargetInputs;
using vlp::cuda::detail::texts_per_table;
using vlp::cuda::detail::write_targets;
using Ids = std::vector<std::int64_t>;

constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min(),
                       most = std::numeric_limits<std::int64_t>::max();
constexpr DuplicatePolicy policies[] = {DuplicatePolicy::negatives, DuplicatePolicy::ignore,
                                        DuplicatePolicy::positives};

struct Targets {
  std::vector<int> group;  // of all texts of the batch
  std::vector<float> image_member, image_smoothing, text_member, text_smoothing;

  bool operator==(const Targets&) const = default;
};

/// What is known of a batch beside its ids, and which part of it is given.
struct Part {
  vlp::PairBlock block{};
  Index images, texts;                // given
  std::vector<std::uint8_t> valid{};  // or all are
};

/// All of a square batch.
Part square(std::size_t batch) {
  return {{}, static_cast<Index>(batch), static_cast<Index>(batch)};
}

template <class T>
std::vector<T> read(const T* from, Index count) {
  std::vector<T> out(static_cast<std::size_t>(count));
  vlp::cuda::check(cudaMemcpy(out.data(), from, out.size() * sizeof(T), cudaMemcpyDeviceToHost), "reading");
  return out;
}

Targets find(const Ids& ids, const Part& part, DuplicatePolicy policy, double smoothing) {
  vlp::Cuda device = make_device(static_cast<int>(ids.size() % 3) + 1);
  DeviceArray<std::int64_t> on_device(ids);
  DeviceArray<std::uint8_t> valid(part.valid);
  TargetInputs in{part.block.of(part.images, part.texts),
                  part.images,
                  part.texts,
                  on_device.span(),
                  {},
                  policy,
                  smoothing};
  if (!part.valid.empty()) in.valid = {valid.data(), {static_cast<Index>(part.valid.size())}};
  auto scratch = device.scratch().scope();
  const PairTargets targets = lay_out_targets(scratch, in, true);
  write_targets(device, "test", in, targets);
  device.synchronize();
  return {read(targets.group - in.block.first_text, in.block.texts), read(targets.image_member, part.images),
          read(targets.image_smoothing, part.images), read(targets.text_member, part.texts),
          read(targets.text_smoothing, part.texts)};
}

/// The same by comparing all texts with each other.
Targets literal_targets(const Ids& ids, const Part& part, DuplicatePolicy policy, double smoothing) {
  Targets out;
  const vlp::PairBlock block = part.block.of(part.images, part.texts);
  const auto e = static_cast<float>(smoothing);
  const auto is_valid = [&](Index j) {
    return part.valid.empty() || part.valid[static_cast<std::size_t>(j)] != 0;
  };
  // Ids of texts, or of the images that they belong to.
  const auto place = [&](Index j) {
    return static_cast<Index>(ids.size()) == block.texts ? j : block.image_of(j);
  };
  const auto same = [&](Index j, Index k) {
    const bool equal = !ids.empty() && policy != DuplicatePolicy::negatives && place(j) >= 0 &&
                       place(k) >= 0 &&
                       ids[static_cast<std::size_t>(place(j))] == ids[static_cast<std::size_t>(place(k))];
    return is_valid(k) && (j == k || equal);
  };
  const auto first_of = [&](Index j) {
    for (Index k = 0; k < block.texts; ++k)
      if (same(j, k)) return static_cast<int>(k);
    return -1;
  };
  const auto texts_of = [&](Index j) {
    int count = 0;
    for (Index k = 0; k < block.texts; ++k) count += same(j, k) ? 1 : 0;
    return count;
  };
  const auto images_of = [&](Index j) {
    int count = 0;
    for (Index image = 0; image < block.images; ++image) count += same(j, block.text_of(image)) ? 1 : 0;
    return count;
  };
  int valid_texts = 0;
  for (Index j = 0; j < block.texts; ++j) {
    valid_texts += is_valid(j) ? 1 : 0;
    out.group.push_back(is_valid(j) ? first_of(j) : -1);
  }
  const auto add = [&](int all, int in_group, std::vector<float>& member, std::vector<float>& smoothing_of) {
    const bool positives = policy == DuplicatePolicy::positives, ignore = policy == DuplicatePolicy::ignore;
    member.push_back((1 - e) / static_cast<float>(positives ? in_group : 1));
    smoothing_of.push_back(e / static_cast<float>(all - (ignore ? in_group - 1 : 0)));
  };
  for (Index i = 0; i < part.images; ++i)
    add(valid_texts, texts_of(block.text_of(block.first_image + i)), out.image_member, out.image_smoothing);
  for (Index j = 0; j < part.texts; ++j) {
    const Index text = block.first_text + j;
    if (block.image_of(text) >= 0) {
      add(static_cast<int>(block.images), images_of(text), out.text_member, out.text_smoothing);
    } else {
      out.text_member.push_back(0);
      out.text_smoothing.push_back(0);
    }
  }
  return out;
}

void check(const Ids& ids, const Part& part, DuplicatePolicy policy, double smoothing) {
  CAPTURE(ids.size(), part.images, part.texts, static_cast<int>(policy), smoothing);
  const Targets got = find(ids, part, policy, smoothing),
                want = literal_targets(ids, part, policy, smoothing);
  CHECK(got.group == want.group);
  CHECK(got == want);
}

void check(const Ids& ids, DuplicatePolicy policy, double smoothing) {
  check(ids, square(ids.size()), policy, smoothing);
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
  return static_cast<unsigned>((static_cast<Index>(count) + texts_per_table - 1) / texts_per_table);
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
      for (GroupKey n = 0; n < blocks * texts_per_table; ++n)
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

TEST_CASE("CUDA targets of parts of batches, of extra texts and of texts that are not valid") {
  constexpr Index images = 40, texts = 130;
  const Ids ids = draw(texts, 30, [](GroupKey n) { return n * 3; });
  std::vector<std::uint8_t> valid(texts, 1);
  for (Index j = 2; j < texts; j += 5) valid[static_cast<std::size_t>(j)] = (j - 7) % 3 == 0;  // not own ones
  const Part parts[] = {
      {{.own_text = 7, .own_text_step = 3}, images, texts, {}},
      {{.own_text = 7, .own_text_step = 3}, images, texts, valid},
      {{.images = images,
        .texts = texts,
        .first_image = 5,
        .first_text = 20,
        .own_text = 7,
        .own_text_step = 3},
       20,
       33,
       valid},
      {{.images = images, .texts = texts, .first_text = 100}, images, 30, {}},  // not one image's own text
      {{.own_text = 129, .own_text_step = Index{1} << 40}, 1, texts, {}},       // of one image
  };
  for (const Part& part : parts)
    for (DuplicatePolicy policy : policies)
      for (double smoothing : {0.0, 0.1}) {
        check(ids, part, policy, smoothing);
        check({}, part, policy, smoothing);
        const Index of_images = part.block.of(part.images, part.texts).images;
        check(Ids(ids.begin(), ids.begin() + of_images), part, policy, smoothing);
      }
}

TEST_CASE("CUDA texts that are not valid are in no group, however ids collide") {
  Ids ids = ids_of_one_block(900, blocks_for(900), true);
  std::copy_n(ids.begin(), 300, ids.begin() + 300);
  Part part = square(ids.size());
  part.images = 300;
  for (std::size_t j = 0; j < ids.size(); ++j) part.valid.push_back(j < 300 || j % 4 != 0);
  for (DuplicatePolicy policy : policies) check(ids, part, policy, 0.1);
}

TEST_CASE("CUDA targets that are the identity take no memory and no launch") {
  vlp::Cuda device = make_device();
  DeviceArray<std::int64_t> ids(Ids{3, 3});
  DeviceArray<std::uint8_t> valid({1, 1});
  const auto has_arrays = [&](const TargetInputs& in, bool always = false) {
    auto scratch = device.scratch().scope();
    const PairTargets targets = lay_out_targets(scratch, in, always);
    write_targets(device, "test", in, targets);
    return targets.group != nullptr;
  };
  const auto of = [&](const vlp::PairBlock& block, Index images, Index texts) {
    return TargetInputs{block.of(images, texts), images, texts, {}, {}, DuplicatePolicy::positives, 0};
  };
  TargetInputs in = of({}, 2, 2);
  CHECK(!has_arrays(in));
  CHECK(has_arrays(in, true));
  in.group = ids.span();
  CHECK(has_arrays(in));
  in.policy = DuplicatePolicy::negatives;
  CHECK(!has_arrays(in));
  in.label_smoothing = 0.1;
  CHECK(has_arrays(in));
  in = of({}, 2, 2);
  in.valid = {valid.data(), {2}};
  CHECK(has_arrays(in));
  in.valid = {nullptr, {2}};
  CHECK(in.masks());
  CHECK(has_arrays(of({}, 2, 3)));
  CHECK(has_arrays(of({.own_text = 1}, 1, 2)));
  CHECK(has_arrays(of({.images = 4, .texts = 4, .first_text = 2}, 2, 2)));
  CHECK(has_arrays(of({.images = 2, .texts = 4, .own_text_step = 2}, 2, 2)));
  CHECK(!has_arrays(of({.images = 4, .texts = 4, .first_image = 2, .first_text = 2}, 2, 2)));
  CHECK_THROWS_WITH(write_targets(device, "test", of({}, 1, vlp::cuda::detail::most_pairs + 1), {}),
                    "test: a batch of 1073741825 texts is more than 1073741824");
}
