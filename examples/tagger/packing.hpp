/// \file
/// Fills the tables that vlp::text::detail::PackedTable reads.
#pragma once

#include <vlp/text/detail/packed_table.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <vector>

namespace tagger {

struct PackedEntry {
  std::uint32_t key = 0;        ///< from table_key
  std::uint32_t value = 0;      ///< 21 bits
  std::int64_t importance = 0;  ///< where a bucket is too small, the most important stay
};

/// All of a hash that a table of 2^bits buckets can tell from others.
constexpr std::uint32_t table_key(std::uint32_t hash, unsigned bits) {
  return hash & ((1u << (bits + vlp::text::detail::packed_tag_bits)) - 1);
}

/// Leaves of each bucket's entries the eight most important, and orders them by bucket and importance.
inline void keep_what_fits(std::vector<PackedEntry>& entries, unsigned bits) {
  const std::uint32_t mask = (1u << bits) - 1;
  std::sort(entries.begin(), entries.end(), [&](const PackedEntry& a, const PackedEntry& b) {
    return std::tuple(a.key & mask, -a.importance, a.key) < std::tuple(b.key & mask, -b.importance, b.key);
  });
  std::size_t in_bucket = 0, kept = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    in_bucket = i > 0 && (entries[i].key & mask) == (entries[i - 1].key & mask) ? in_bucket + 1 : 0;
    const PackedEntry entry = entries[i];
    if (in_bucket < vlp::text::detail::packed_bucket_slots) entries[kept++] = entry;
  }
  entries.resize(kept);
}

/// The slots of a table of 2^bits buckets with those of the entries that fit.
inline std::vector<std::uint32_t> pack(std::vector<PackedEntry> entries, unsigned bits) {
  using namespace vlp::text::detail;
  keep_what_fits(entries, bits);
  std::vector<std::uint32_t> slots(packed_bucket_slots << bits);
  std::vector<std::uint8_t> used(std::size_t{1} << bits);
  for (const PackedEntry& entry : entries) {
    const std::uint32_t bucket = entry.key & ((1u << bits) - 1);
    slots[packed_bucket_slots * bucket + used[bucket]++] =
        (entry.key >> bits) << packed_value_bits | entry.value;
  }
  return slots;
}

}  // namespace tagger
