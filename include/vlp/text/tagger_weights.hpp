/// \file
/// The weights of the trained tagger, and the format of their file.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/text/detail/packed_table.hpp>
#include <vlp/text/detail/shipped_tagger_weights.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::text {

/// The weights of PerceptronTagger: two tables of 2^bits buckets of eight slots each (detail::PackedTable).
///
/// The file, all numbers little-endian and of 32 bits: the eight bytes "vlp-tag1", `feature_bits`,
/// `word_bits`, the slots of `features`, the slots of `words`, and the FNV-1a hash of all bytes before it.
struct TaggerWeights {
  static constexpr unsigned max_bits = 20;

  unsigned feature_bits = 0;  ///< in [0, 20]
  unsigned word_bits = 0;     ///< in [0, 20]
  /// The value of a feature's hash is its weights for noun, adjective and verb against other, seven signed
  /// bits each, from the lowest.
  std::vector<std::uint32_t> features;
  /// The value of a word's hash has eight bits that number the tags that the word usually has (1 to 255), and
  /// above them three bits that are 1 + its class where it only ever has one, else 0.
  std::vector<std::uint32_t> words;

  /// Reads the bytes of such a file. Throws std::runtime_error that says what is wrong with them.
  [[nodiscard]] static TaggerWeights parse(std::string_view bytes);

  /// The bytes of such a file.
  [[nodiscard]] std::string serialise() const;

  /// The weights that come with vlp; data/README.md says what they were trained on. Decoded on the first call
  /// (some milliseconds), then shared until the program's very end: destructors of static objects may tag.
  [[nodiscard]] static std::shared_ptr<const TaggerWeights> shipped();
};

namespace detail {

inline constexpr std::string_view tagger_weights_magic = "vlp-tag1";

[[nodiscard]] constexpr std::uint32_t fnv1a(std::string_view bytes) {
  std::uint32_t hash = 2166136261u;
  for (char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

inline void append_little_endian(std::uint32_t value, std::string& bytes) {
  for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>((value >> shift) & 0xff);
}

/// `bytes` holds at least four from `at` on.
[[nodiscard]] constexpr std::uint32_t little_endian(std::string_view bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i)
    value |= std::uint32_t{static_cast<unsigned char>(bytes[at + i])} << (8 * i);
  return value;
}

/// Base 85 for source code: four bytes, as a little-endian number, are five digits, the highest first; a
/// digit d is the character 40 + d, so that no quote is among them and a raw string can hold them all.
inline constexpr int base85_zero = 40;

/// `bytes.size()` is a multiple of 4.
[[nodiscard]] inline std::string encode_base85(std::string_view bytes) {
  std::string text(bytes.size() / 4 * 5, '\0');
  for (std::size_t i = 0; i < bytes.size() / 4; ++i) {
    std::uint32_t value = little_endian(bytes, 4 * i);
    for (std::size_t digit = 5; digit-- > 0; value /= 85)
      text[5 * i + digit] = static_cast<char>(base85_zero + value % 85);
  }
  return text;
}

/// Appends the bytes that `text`, from encode_base85, stands for.
inline void decode_base85(std::string_view text, std::string& bytes) {
  for (std::size_t at = 0; at + 5 <= text.size(); at += 5) {
    std::uint32_t value = 0;
    for (char digit : text.substr(at, 5))
      value = value * 85 + static_cast<std::uint32_t>(digit - base85_zero);
    append_little_endian(value, bytes);
  }
}

}  // namespace detail

inline TaggerWeights TaggerWeights::parse(std::string_view bytes) {
  constexpr std::size_t header = 16, checksum = 4;
  ensure(bytes.starts_with(detail::tagger_weights_magic), "tagger weights: the data does not start with ",
         detail::tagger_weights_magic);
  ensure(bytes.size() >= header + checksum, "tagger weights: ", bytes.size(), " bytes are no whole file");
  TaggerWeights weights;
  weights.feature_bits = detail::little_endian(bytes, 8);
  weights.word_bits = detail::little_endian(bytes, 12);
  ensure(weights.feature_bits <= max_bits && weights.word_bits <= max_bits, "tagger weights: tables of 2^",
         weights.feature_bits, " and 2^", weights.word_bits, " buckets; at most 2^", max_bits,
         " are possible");
  const std::size_t features = detail::packed_bucket_slots << weights.feature_bits;
  const std::size_t words = detail::packed_bucket_slots << weights.word_bits;
  const std::size_t size = header + 4 * (features + words) + checksum;
  ensure(bytes.size() == size, "tagger weights: ", bytes.size(), " bytes where the header calls for ", size);
  ensure(detail::fnv1a(bytes.substr(0, size - checksum)) == detail::little_endian(bytes, size - checksum),
         "tagger weights: the checksum differs, so the data is damaged");
  const auto read = [&](std::size_t at, std::size_t count) {
    std::vector<std::uint32_t> slots(count);
    for (std::size_t i = 0; i < count; ++i) slots[i] = detail::little_endian(bytes, at + 4 * i);
    return slots;
  };
  weights.features = read(header, features);
  weights.words = read(header + 4 * features, words);
  for (const std::uint32_t slot : weights.words)
    ensure(((slot >> 8) & 0x1fff) <= 4, "tagger weights: a word's class is not one of four");
  return weights;
}

inline std::string TaggerWeights::serialise() const {
  std::string bytes(detail::tagger_weights_magic);
  detail::append_little_endian(feature_bits, bytes);
  detail::append_little_endian(word_bits, bytes);
  for (const std::uint32_t slot : features) detail::append_little_endian(slot, bytes);
  for (const std::uint32_t slot : words) detail::append_little_endian(slot, bytes);
  detail::append_little_endian(detail::fnv1a(bytes), bytes);
  return bytes;
}

inline std::shared_ptr<const TaggerWeights> TaggerWeights::shipped() {
  // Never destroyed, so that destructors of other static objects may still tag.
  static const auto& weights = *new std::shared_ptr<const TaggerWeights>([] {
    std::string bytes;
    for (const char* part : detail::shipped_tagger_weights) detail::decode_base85(part, bytes);
    return std::make_shared<const TaggerWeights>(parse(bytes));
  }());
  return weights;
}

}  // namespace vlp::text
