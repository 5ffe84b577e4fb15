/// \file
/// The rearrangements behind the perturbations, each with the exact answer to "is there a different one?".
#pragma once

#include <vlp/core/random.hpp>
#include <vlp/text/detail/unicode.hpp>
#include <vlp/text/span.hpp>
#include <vlp/text/words.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace vlp::text::detail {

/// The bytes of `word` without the ASCII punctuation at its ends.
[[nodiscard]] inline Span without_punctuation(std::string_view word) {
  std::uint32_t begin = 0;
  auto end = static_cast<std::uint32_t>(word.size());
  while (begin < end && is_ascii_punctuation(word[begin])) ++begin;
  while (end > begin && is_ascii_punctuation(word[end - 1])) --end;
  return {begin, end};
}

/// Rearranges the positions `range` of `order`, which is the identity there.
///
/// A shuffle is drawn until the words differ from the original. The drawing ends: if at least two
/// arrangements of words exist, each is as likely as any other (all permutations of positions are), so that
/// at most half of the draws repeat the original. The code decides beforehand whether they exist, by
/// comparing words.
class Arranger {
 public:
  Arranger(const Words& words, Span range, Random& random, std::vector<std::uint32_t>& order,
           std::vector<std::uint32_t>& scratch)
      : words_(words), range_(range), random_(random), order_(order), scratch_(scratch) {}

  /// Shuffles the words of each set (a predicate of position) among that set's positions. The sets are
  /// disjoint. Another arrangement exists if some set holds two different words.
  template <class... Sets>
  void shuffle_sets(Sets... sets) {
    scratch_.clear();
    std::array<std::size_t, sizeof...(Sets) + 1> ends{};
    std::size_t filled = 0;
    (collect(sets, ends[++filled]), ...);
    bool other_exists = false;
    for (std::size_t s = 0; s < sizeof...(Sets); ++s)
      other_exists = other_exists || !all_equal(std::span(scratch_).subspan(ends[s], ends[s + 1] - ends[s]));
    if (!other_exists) return;
    // The positions are shuffled in a copy beside them, from where they are dealt out.
    const std::size_t count = scratch_.size();
    scratch_.resize(2 * count);
    const auto positions = scratch_.begin();
    const auto drawn = scratch_.begin() + static_cast<std::ptrdiff_t>(count);
    std::copy_n(positions, count, drawn);
    do {
      for (std::size_t s = 0; s < sizeof...(Sets); ++s)
        random_.shuffle(drawn + static_cast<std::ptrdiff_t>(ends[s]),
                        drawn + static_cast<std::ptrdiff_t>(ends[s + 1]));
      for (std::size_t i = 0; i < count; ++i) order_[scratch_[i]] = scratch_[count + i];
    } while (reads_as_original());
  }

  /// Another arrangement exists if some run of three (the last may be shorter) holds two different words.
  void shuffle_within_trigrams() {
    bool other_exists = false;
    for (std::uint32_t begin = range_.begin; begin < range_.end && !other_exists; begin += 3)
      for (std::uint32_t i = begin + 1; i < trigram_end(begin); ++i)
        other_exists = other_exists || words_[i] != words_[begin];
    if (!other_exists) return;
    do {
      for (std::uint32_t begin = range_.begin; begin < range_.end; begin += 3)
        random_.shuffle(order_.begin() + begin, order_.begin() + trigram_end(begin));
    } while (reads_as_original());
  }

  /// Another arrangement exists if two full runs differ, or if there is a shorter run beside full ones and
  /// not all words are equal: then moving the short run s before a full run B reads the same only if sB = Bs,
  /// which makes both repetitions of one word, as their lengths have no common divisor. Draws that repeat the
  /// original are at most half here too: given where the short run goes, the text decides the order of the
  /// full ones.
  void shuffle_trigrams() {
    if (!other_trigrams_exist()) return;
    scratch_.clear();
    for (std::uint32_t begin = range_.begin; begin < range_.end; begin += 3) scratch_.push_back(begin);
    do {
      random_.shuffle(scratch_.begin(), scratch_.end());
      std::uint32_t position = range_.begin;
      for (const std::uint32_t begin : scratch_)
        for (std::uint32_t i = begin; i < trigram_end(begin); ++i) order_[position++] = i;
    } while (reads_as_original());
  }

  void reverse() { std::reverse(order_.begin() + range_.begin, order_.begin() + range_.end); }

  void swap_adjacent() {
    for (std::uint32_t i = range_.begin; i + 1 < range_.end; i += 2) std::swap(order_[i], order_[i + 1]);
  }

 private:
  template <class Set>
  void collect(const Set& set, std::size_t& end) {
    for (std::uint32_t i = range_.begin; i < range_.end; ++i)
      if (set(i)) scratch_.push_back(i);
    end = scratch_.size();
  }

  [[nodiscard]] std::uint32_t trigram_end(std::uint32_t begin) const {
    return std::min(begin + 3, range_.end);
  }

  [[nodiscard]] bool all_equal(std::span<const std::uint32_t> positions) const {
    return std::all_of(positions.begin(), positions.end(),
                       [&](std::uint32_t i) { return words_[i] == words_[positions.front()]; });
  }

  [[nodiscard]] bool other_trigrams_exist() const {
    if (range_.size() <= 3) return false;
    // Equal words are repetitions of the first; equal full runs repeat with period three.
    const std::uint32_t distance = range_.size() % 3 == 0 ? 3 : 1;
    for (std::uint32_t i = range_.begin + distance; i < range_.end; ++i)
      if (words_[i] != words_[i - distance]) return true;
    return false;
  }

  [[nodiscard]] bool reads_as_original() const {
    for (std::uint32_t i = range_.begin; i < range_.end; ++i)
      if (order_[i] != i && words_[order_[i]] != words_[i]) return false;
    return true;
  }

  const Words& words_;
  Span range_;
  Random& random_;
  std::vector<std::uint32_t>& order_;
  std::vector<std::uint32_t>& scratch_;
};

}  // namespace vlp::text::detail
