/// \file
/// A 64-bit hash of numbers and bytes, by which a run recognises its files and its data again.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace vlp {

/// Hashes what is added, in its order: words of 64 bits, each mixed by a multiplication and a shift, after
/// MurmurHash3's 64-bit finaliser. A change to any one word always changes the hash. It finds damage and
/// mistakes at some GB/s, but it is no protection against forgery.
class Hash {
 public:
  void add(std::uint64_t word) noexcept { state_ = mixed(state_ ^ word, 0xff51afd7ed558ccdu); }
  void add(double value) noexcept { add(std::bit_cast<std::uint64_t>(value)); }

  /// Adds the length first, so that texts added one after the other differ from their concatenation.
  void add(std::string_view bytes) noexcept {
    add(static_cast<std::uint64_t>(bytes.size()));
    for (; bytes.size() >= sizeof(std::uint64_t); bytes.remove_prefix(sizeof(std::uint64_t)))
      add(word_of(bytes.data(), sizeof(std::uint64_t)));
    if (!bytes.empty()) add(word_of(bytes.data(), bytes.size()));
  }
  /// Adds the bytes of numbers.
  template <class Number>
  requires std::is_arithmetic_v<Number>
  void add(std::span<const Number> numbers) noexcept {
    add(std::string_view(reinterpret_cast<const char*>(numbers.data()), numbers.size_bytes()));
  }

  [[nodiscard]] std::uint64_t value() const noexcept { return mixed(state_, 0xc4ceb9fe1a85ec53u); }
  /// The value as 16 hexadecimal digits.
  [[nodiscard]] std::string text() const {
    char digits[17];
    std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(value()));
    return digits;
  }

 private:
  static std::uint64_t mixed(std::uint64_t word, std::uint64_t factor) noexcept {
    word *= factor;
    return word ^ (word >> 32);
  }
  static std::uint64_t word_of(const char* bytes, std::size_t count) noexcept {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes, count);
    return word;
  }

  std::uint64_t state_ = 0x9e3779b97f4a7c15u;
};

/// The hash of some bytes.
[[nodiscard]] inline std::uint64_t hash_of(std::string_view bytes) noexcept {
  Hash hash;
  hash.add(bytes);
  return hash.value();
}

}  // namespace vlp
