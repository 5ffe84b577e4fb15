/// \file
/// Opposites of adjectives.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/text/detail/opposite_lists.hpp>
#include <vlp/text/detail/radiology_antonyms.hpp>

#include <concepts>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::text {

/// Gives a lower-case word its opposites, none of which is the word itself or holds white space. The list and
/// its words live as long as the source; an unknown word has an empty list.
template <class T>
concept AntonymSource = requires(const T& source, std::string_view word) {
  { source.antonyms(word) } -> std::convertible_to<std::span<const std::string_view>>;
};

/// A word and one of its opposites.
using AntonymPair = std::pair<std::string_view, std::string_view>;

/// Opposites from a list of pairs, each of which holds in both directions. Immutable; a copy shares the
/// table.
class AntonymTable {
 public:
  /// Copies the pairs. Throws std::invalid_argument for an empty word, white space in one, or a pair of equal
  /// words.
  explicit AntonymTable(std::span<const AntonymPair> pairs)
      : lists_(std::make_shared<const detail::OppositeLists>(both_ways(pairs))) {}

  /// The opposites of `word` (lower case), in alphabetical order.
  [[nodiscard]] std::span<const std::string_view> antonyms(std::string_view word) const {
    return lists_->find(word);
  }

  /// Number of words that have an opposite.
  [[nodiscard]] std::size_t size() const noexcept { return lists_->size(); }

 private:
  static std::vector<AntonymPair> both_ways(std::span<const AntonymPair> pairs) {
    std::vector<AntonymPair> both;
    both.reserve(2 * pairs.size());
    for (const auto& [a, b] : pairs) {
      for (std::string_view word : {a, b})
        require(!word.empty() && word.find_first_of(" \t\n\v\f\r") == std::string_view::npos, "antonyms: \"",
                word, "\" is not one word");
      require(a != b, "antonyms: \"", a, "\" is given as its own opposite");
      both.emplace_back(a, b);
      both.emplace_back(b, a);
    }
    return both;
  }

  std::shared_ptr<const detail::OppositeLists> lists_;
};
static_assert(AntonymSource<AntonymTable>);

/// The opposites that matter in radiology reports: side, zone, size, severity, course, appearance. The table
/// is never destroyed, so destructors of static objects may use it.
[[nodiscard]] inline const AntonymTable& radiology_antonyms() {
  static const AntonymTable& table = *new AntonymTable(detail::radiology_antonym_pairs);
  return table;
}

/// Asks one source, and a second about the words that the first does not know, so that radiology's sense of
/// "right" comes before a dictionary's.
template <AntonymSource First, AntonymSource Second>
class FallbackAntonyms {
 public:
  FallbackAntonyms(First first, Second second) : first_(std::move(first)), second_(std::move(second)) {}

  /// The opposites of `word` (lower case) in the first source that has any.
  [[nodiscard]] std::span<const std::string_view> antonyms(std::string_view word) const {
    const std::span<const std::string_view> known = first_.antonyms(word);
    return known.empty() ? std::span<const std::string_view>(second_.antonyms(word)) : known;
  }

 private:
  First first_;
  Second second_;
};

}  // namespace vlp::text
