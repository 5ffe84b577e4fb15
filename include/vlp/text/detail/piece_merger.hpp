/// \file
/// The merging behind build_vocabulary.
#pragma once

#include <vlp/text/detail/unicode.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <queue>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace vlp::text::detail {

/// The words of a corpus, each a sequence of pieces, whose most frequent adjacent pair becomes one piece at a
/// time. The cost of a merge grows with the words that hold the pair, not with the corpus.
class PieceMerger {
 public:
  /// Starts from single characters. `counts` are the words and how often each is seen.
  template <class Counts>
  explicit PieceMerger(const Counts& counts) {
    for (const auto& [text, count] : counts) {
      Word word{{}, count};
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t length = decode(text, at).length;
        word.pieces.push_back(intern((at > 0 ? "##" : "") + std::string(text.substr(at, length))));
        at += length;
      }
      words_.push_back(std::move(word));
    }
    for (std::size_t w = 0; w < words_.size(); ++w) count_pairs(w, +1);
    for (const auto& [pair, statistics] : pairs_) queue(pair, statistics.count);
  }

  /// Merges the most frequent pair everywhere and returns the new piece; nothing if no pair is seen
  /// `min_count` times. A piece that two different pairs make is returned once.
  std::string merge_most_frequent(std::int64_t min_count) {
    while (!queue_.empty()) {
      const Candidate best = queue_.top();
      queue_.pop();
      const auto found = pairs_.find(best.pair);
      if (found == pairs_.end() || found->second.count != best.count) continue;  // an outdated entry
      if (best.count < min_count || best.count <= 0) return {};
      const std::size_t known = names_.size();
      const std::int32_t merged =
          intern(names_[index(best.pair.first)] + names_[index(best.pair.second)].substr(2));
      apply(best.pair, merged);
      if (index(merged) == known) return names_[known];
    }
    return {};
  }

 private:
  using Pair = std::pair<std::int32_t, std::int32_t>;

  struct Word {
    std::vector<std::int32_t> pieces;
    std::int64_t count;
  };
  struct Statistics {
    std::int64_t count = 0;
    std::set<std::size_t> words;  ///< words that hold the pair, or once did
  };
  struct Candidate {
    std::int64_t count;
    std::string_view first, second;
    Pair pair;
    /// The queue's top is the largest: more frequent, then earlier in the order of bytes.
    bool operator<(const Candidate& other) const {
      if (count != other.count) return count < other.count;
      return std::pair(first, second) > std::pair(other.first, other.second);
    }
  };

  static std::size_t index(std::int32_t piece) { return static_cast<std::size_t>(piece); }

  std::int32_t intern(std::string name) {
    const auto [at, is_new] = numbers_.try_emplace(std::move(name), static_cast<std::int32_t>(names_.size()));
    if (is_new) names_.push_back(at->first);
    return at->second;
  }

  void queue(Pair pair, std::int64_t count) {
    // Keys of an unordered_map stay where they are, so that views of them stay valid.
    queue_.push({count, numbers_.find(names_[index(pair.first)])->first,
                 numbers_.find(names_[index(pair.second)])->first, pair});
  }

  void count_pairs(std::size_t w, std::int64_t sign) {
    const Word& word = words_[w];
    for (std::size_t i = 0; i + 1 < word.pieces.size(); ++i) {
      Statistics& statistics = pairs_[{word.pieces[i], word.pieces[i + 1]}];
      statistics.count += sign * word.count;
      if (sign > 0) statistics.words.insert(w);
    }
  }

  void apply(Pair pair, std::int32_t merged) {
    const std::set<std::size_t> affected = std::move(pairs_[pair].words);
    std::set<Pair> touched;
    const auto touch = [&](const Word& word) {
      for (std::size_t i = 0; i + 1 < word.pieces.size(); ++i)
        touched.insert({word.pieces[i], word.pieces[i + 1]});
    };
    for (const std::size_t w : affected) {
      Word& word = words_[w];
      touch(word);
      count_pairs(w, -1);
      std::size_t kept = 0;
      for (std::size_t i = 0; i < word.pieces.size(); ++kept) {
        const bool here = i + 1 < word.pieces.size() && Pair{word.pieces[i], word.pieces[i + 1]} == pair;
        word.pieces[kept] = here ? merged : word.pieces[i];
        i += here ? 2 : 1;
      }
      word.pieces.resize(kept);
      count_pairs(w, +1);
      touch(word);
    }
    for (const Pair& changed : touched) {
      const auto found = pairs_.find(changed);
      if (found->second.count > 0)
        queue(changed, found->second.count);
      else
        pairs_.erase(found);
    }
  }

  std::vector<Word> words_;
  std::vector<std::string> names_;
  std::unordered_map<std::string, std::int32_t> numbers_;
  std::map<Pair, Statistics> pairs_;
  std::priority_queue<Candidate> queue_;
};

}  // namespace vlp::text::detail
