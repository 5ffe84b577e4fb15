/// \file
/// A compact read-only map from hashes to 21-bit values, in which a look-up reads one run of eight numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace vlp::text::detail {

/// The bits of a slot: the low 21 hold the value, the high 11 the bits of the key that its bucket does not
/// imply.
inline constexpr unsigned packed_value_bits = 21;
inline constexpr unsigned packed_tag_bits = 32 - packed_value_bits;
inline constexpr std::uint32_t packed_value_mask = (1u << packed_value_bits) - 1;
inline constexpr std::size_t packed_bucket_slots = 8;

/// Look-ups in a table of 2^n buckets of eight slots each. A key's low n bits choose its bucket, the 11 bits
/// above tell keys of one bucket apart. An empty slot needs no mark: its value is 0, which is also the answer
/// for a missing key.
class PackedTable {
 public:
  /// `slots.size()` is 8 * 2^bucket_bits, bucket_bits at most 21; the table points to the slots and does not
  /// copy them.
  constexpr PackedTable(std::span<const std::uint32_t> slots, unsigned bucket_bits) noexcept
      : slots_(slots.data()), bucket_bits_(bucket_bits) {}

  /// The value of `hash`, or 0. No branch depends on what is found, so the eight comparisons become one or
  /// two vector instructions.
  [[nodiscard]] constexpr std::uint32_t find(std::uint32_t hash) const noexcept {
    const std::uint32_t bucket = hash & ((1u << bucket_bits_) - 1);
    const std::uint32_t wanted = (hash >> bucket_bits_) & ((1u << packed_tag_bits) - 1);
    const std::uint32_t* slot = slots_ + packed_bucket_slots * bucket;
    std::uint32_t found = 0;
    for (std::size_t i = 0; i < packed_bucket_slots; ++i)
      found |= (slot[i] >> packed_value_bits) == wanted ? slot[i] : 0;
    return found & packed_value_mask;
  }

 private:
  const std::uint32_t* slots_;
  unsigned bucket_bits_;
};

}  // namespace vlp::text::detail
