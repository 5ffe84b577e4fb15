/// \file
/// The features of a token and its neighbours that the trained tagger sums weights of. The tagger and its
/// trainer share them.
#pragma once

#include <vlp/text/detail/unicode.hpp>
#include <vlp/text/word_class.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace vlp::text::detail::perceptron {

/// The facts about one token that do not depend on its neighbours. Hashes are taken of the lower-cased token
/// with every digit read as 0.
struct TokenFacts {
  std::uint32_t word = 0;     ///< hash of the whole token; 0 beyond the ends of a sentence
  std::uint32_t suffix2 = 0;  ///< hashes of its last two, three and four bytes
  std::uint32_t suffix3 = 0;
  std::uint32_t suffix4 = 0;
  std::uint32_t suffix5 = 0;
  std::uint32_t prefix3 = 0;  ///< hashes of its first three and five bytes
  std::uint32_t prefix5 = 0;
  std::uint32_t tail = 0;    ///< hash of what follows the last hyphen; 0 without one
  std::uint8_t shape = 0;    ///< its capitals, digits and hyphens; see shape_of
  std::uint8_t habit = 0;    ///< the word's usual tags as the lexicon numbers them; 0 for an unknown word
  std::uint8_t certain = 0;  ///< 1 + the only class that the word ever has, or 0
};

/// Bits of a token's shape.
enum Shape : std::uint8_t {
  starts_upper = 1,
  more_upper = 2,
  has_lower = 4,
  has_digit = 8,
  has_hyphen = 16,
  has_word_byte = 32,
  beyond_ascii = 64
};

[[nodiscard]] constexpr std::uint8_t shape_of(std::string_view token) {
  unsigned shape = !token.empty() && is_ascii_upper(token.front()) ? starts_upper : 0;
  for (std::size_t i = 0; i < token.size(); ++i) {
    const char c = token[i];
    if (i > 0 && is_ascii_upper(c)) shape |= more_upper;
    if (is_ascii_lower(c)) shape |= has_lower;
    if (is_ascii_digit(c)) shape |= has_digit;
    if (c == '-') shape |= has_hyphen;
    if (is_word_byte(c)) shape |= has_word_byte;
    if (static_cast<unsigned char>(c) >= 0x80) shape |= beyond_ascii;
  }
  return static_cast<std::uint8_t>(shape);
}

/// Mixes 64 bits (the finaliser of MurmurHash3, Appleby 2011).
[[nodiscard]] constexpr std::uint64_t mix(std::uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdull;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ull;
  return x ^ (x >> 33);
}

/// The facts that need no lexicon.
[[nodiscard]] constexpr TokenFacts facts_of(std::string_view token) {
  constexpr std::size_t kept = 64;  // a longer token counts by its end, as suffixes do
  if (token.size() > kept) token.remove_prefix(token.size() - kept);
  constexpr std::uint64_t start = 0xcbf29ce484222325ull, prime = 0x100000001b3ull;  // FNV-1a
  const auto letter = [&](std::size_t i) {
    return static_cast<unsigned char>(is_ascii_digit(token[i]) ? '0' : ascii_lower(token[i]));
  };
  const auto fold = [](std::uint64_t hash) { return static_cast<std::uint32_t>(hash ^ (hash >> 32)); };
  TokenFacts facts;
  std::uint64_t hash = start;
  for (std::size_t i = 0; i < token.size(); ++i) {
    hash = (hash ^ letter(i)) * prime;
    if (i == 2) facts.prefix3 = fold(hash);
    if (i == 4) facts.prefix5 = fold(hash);
  }
  facts.word = fold(mix(hash));
  hash = start;
  for (std::size_t n = 1; n <= token.size(); ++n) {
    hash = (hash ^ letter(token.size() - n)) * prime;
    if (n == 2) facts.suffix2 = fold(hash);
    if (n == 3) facts.suffix3 = fold(hash);
    if (n == 4) facts.suffix4 = fold(hash);
    if (n == 5) facts.suffix5 = fold(hash);
    if (token[token.size() - n] == '-') {
      if (facts.tail == 0) facts.tail = fold(hash);
    }
  }
  facts.shape = shape_of(token);
  return facts;
}

/// Two tokens before, the token itself, two after.
using Window = std::array<TokenFacts, 5>;

/// The class of a token before the start of a sentence.
inline constexpr unsigned no_class = 4;

inline constexpr std::size_t feature_count = 31;
using Features = std::array<std::uint32_t, feature_count>;

/// The hashes of the features of the window's middle token, whose two tokens before got the classes `before`
/// and `before2` (or no_class). `capitals` says whether the sentence has any.
[[nodiscard]] constexpr Features features_of(const Window& window, bool capitals, unsigned before,
                                             unsigned before2) {
  const auto& [w2, w1, now, n1, n2] = window;
  const auto habits = [](const TokenFacts& a, const TokenFacts& b) { return a.habit * 256u + b.habit; };
  const std::uint32_t h = now.habit;
  // A capital means less on the first token of a sentence, and its absence means nothing in a sentence
  // without any.
  const std::uint32_t shape = now.shape | (w1.word == 0 ? 128u : 0u) | (capitals ? 256u : 0u);
  const std::uint32_t history = before * 8 + before2;
  Features features{};
  std::uint32_t count = 0;
  const auto add = [&](std::uint32_t a, std::uint32_t b = 0) {
    const std::uint64_t x = (std::uint64_t{a} << 32) | b;
    features[count] = static_cast<std::uint32_t>(mix(x + (count + 1) * 0x9e3779b97f4a7c15ull) >> 32);
    ++count;
  };
  // The token itself.
  add(now.word);
  add(now.suffix2);
  add(now.suffix3);
  add(now.suffix4);
  add(now.suffix5);
  add(now.prefix3);
  add(now.prefix5);
  add(now.tail);
  add(shape);
  add(now.suffix3, shape);
  add(h, shape);
  // The classes of the tokens before.
  add(history);
  add(history, h);
  add(before, now.word);
  add(before, now.suffix3);
  add(before, habits(now, n1));
  // The words around the token.
  add(w2.word);
  add(n1.word, n2.word);
  add(w1.word);
  add(n1.word);
  add(n2.word);
  add(w1.word, now.word);
  add(now.word, n1.word);
  add(w1.word, n1.word);
  // The habits and suffixes of these words.
  add(habits(w1, now), n1.habit);
  add(habits(w2, w1), h);
  add(habits(now, n1), n2.habit);
  add(habits(w1, n1), now.suffix2);
  add(n1.habit, now.suffix3);
  add(w1.suffix3, h);
  add(n1.suffix3, h);
  return features;
}

}  // namespace vlp::text::detail::perceptron
