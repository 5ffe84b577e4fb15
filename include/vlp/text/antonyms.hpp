/// \file
/// Opposites of adjectives.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/text/detail/radiology_antonyms.hpp>

#include <algorithm>
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

/// Opposites from a list of pairs, each good in both directions. Immutable; a copy shares the table.
class AntonymTable {
 public:
  /// Copies the pairs. std::invalid_argument for an empty word, white space in one, or a pair of equal words.
  explicit AntonymTable(std::span<const AntonymPair> pairs) : data_(std::make_shared<const Data>(pairs)) {}

  /// The opposites of `word` (lower case), in alphabetical order.
  [[nodiscard]] std::span<const std::string_view> antonyms(std::string_view word) const {
    const auto& entries = data_->entries;
    const auto found =
        std::lower_bound(entries.begin(), entries.end(), word,
                         [](const Entry& entry, std::string_view key) { return entry.word < key; });
    if (found == entries.end() || found->word != word) return {};
    return std::span(data_->opposites).subspan(found->first, found->count);
  }

  /// Number of words that have an opposite.
  [[nodiscard]] std::size_t size() const noexcept { return data_->entries.size(); }

 private:
  struct Entry {
    std::string_view word;
    std::size_t first, count;  ///< its part of `opposites`
  };

  struct Data {
    explicit Data(std::span<const AntonymPair> pairs) {
      std::size_t bytes = 0;
      for (const auto& [a, b] : pairs) {
        for (std::string_view word : {a, b})
          require(!word.empty() && word.find_first_of(" \t\n\v\f\r") == std::string_view::npos,
                  "antonyms: \"", word, "\" is not one word");
        require(a != b, "antonyms: \"", a, "\" is given as its own opposite");
        bytes += a.size() + b.size();
      }
      letters.reserve(bytes);  // so that the views stay valid
      std::vector<AntonymPair> both;
      both.reserve(2 * pairs.size());
      for (const auto& [a, b] : pairs) {
        const std::string_view first = keep(a), second = keep(b);
        both.emplace_back(first, second);
        both.emplace_back(second, first);
      }
      std::sort(both.begin(), both.end());
      both.erase(std::unique(both.begin(), both.end()), both.end());
      for (const auto& [word, opposite] : both) {
        if (entries.empty() || entries.back().word != word) entries.push_back({word, opposites.size(), 0});
        opposites.push_back(opposite);
        ++entries.back().count;
      }
    }
    Data(const Data&) = delete;
    Data& operator=(const Data&) = delete;

    std::string_view keep(std::string_view word) {
      const std::size_t begin = letters.size();
      letters.insert(letters.end(), word.begin(), word.end());
      return {letters.data() + begin, word.size()};
    }

    std::vector<char> letters;
    std::vector<std::string_view> opposites;
    std::vector<Entry> entries;
  };

  std::shared_ptr<const Data> data_;
};
static_assert(AntonymSource<AntonymTable>);

/// The opposites that matter in radiology reports: side, zone, size, severity, course, appearance.
[[nodiscard]] inline const AntonymTable& radiology_antonyms() {
  static const AntonymTable table(detail::radiology_antonym_pairs);
  return table;
}

}  // namespace vlp::text
