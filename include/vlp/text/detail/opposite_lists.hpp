/// \file
/// Words with their lists of opposites, looked up by binary search.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::text::detail {

/// Immutable. Owns its letters; views of them last as long as it does.
class OppositeLists {
 public:
  using Directed = std::pair<std::string_view, std::string_view>;  ///< a word, one of its opposites

  /// Copies the words. The order and repetitions of `directed` do not matter.
  explicit OppositeLists(std::vector<Directed> directed) {
    std::sort(directed.begin(), directed.end());
    directed.erase(std::unique(directed.begin(), directed.end()), directed.end());
    std::size_t bytes = 0;
    for (const auto& [word, opposite] : directed) bytes += word.size() + opposite.size();
    letters_.reserve(bytes);  // so that the views stay valid
    opposites_.reserve(directed.size());
    for (const auto& [word, opposite] : directed) {
      if (entries_.empty() || entries_.back().word != word)
        entries_.push_back({keep(word), opposites_.size(), 0});
      opposites_.push_back(keep(opposite));
      ++entries_.back().count;
    }
  }
  OppositeLists(const OppositeLists&) = delete;
  OppositeLists& operator=(const OppositeLists&) = delete;

  /// The opposites of `word`, in alphabetical order.
  [[nodiscard]] std::span<const std::string_view> find(std::string_view word) const {
    const auto found =
        std::lower_bound(entries_.begin(), entries_.end(), word,
                         [](const Entry& entry, std::string_view key) { return entry.word < key; });
    if (found == entries_.end() || found->word != word) return {};
    return std::span(opposites_).subspan(found->first, found->count);
  }

  /// Number of words that have an opposite.
  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

 private:
  struct Entry {
    std::string_view word;
    std::size_t first, count;  ///< its part of `opposites_`
  };

  std::string_view keep(std::string_view word) {
    const std::size_t begin = letters_.size();
    letters_.insert(letters_.end(), word.begin(), word.end());
    return {letters_.data() + begin, word.size()};
  }

  std::vector<char> letters_;
  std::vector<std::string_view> opposites_;
  std::vector<Entry> entries_;
};

}  // namespace vlp::text::detail
