/// \file
/// The merging behind build_vocabulary.
#pragma once

#include <vlp/core/stop.hpp>
#include <vlp/text/detail/unicode.hpp>

#include <algorithm>
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
/// time. The cost of a merge grows with the words that hold the pair, not with the corpus; all merges
/// together change each word at most once a character.
class PieceMerger {
 public:
  /// Starts from single characters. `counts` are the words and how often each is seen. This and every merge
  /// throw Stopped soon after `stop` is raised.
  template <class Counts>
  explicit PieceMerger(const Counts& counts, StopToken stop = {}) : stop_(stop) {
    words_.reserve(counts.size());
    for (const auto& [text, count] : counts) {
      stop_.check();
      Word word{{}, count};
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t length = decode(text, at).length;
        word.pieces.push_back(intern((at > 0 ? "##" : "") + std::string(text.substr(at, length))));
        at += length;
      }
      words_.push_back(std::move(word));
      add_pairs(words_.size() - 1);
    }
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
    std::vector<std::size_t> words;  ///< words that hold the pair, or once did; some more than once
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

  void add_pairs(std::size_t w) {
    const Word& word = words_[w];
    for (std::size_t i = 0; i + 1 < word.pieces.size(); ++i) add({word.pieces[i], word.pieces[i + 1]}, w);
  }

  void add(Pair pair, std::size_t w) {
    Statistics& statistics = pairs_[pair];
    statistics.count += words_[w].count;
    if (statistics.words.empty() || statistics.words.back() != w) statistics.words.push_back(w);
  }

  void apply(Pair pair, std::int32_t merged) {
    std::vector<std::size_t> affected = std::move(pairs_[pair].words);
    std::sort(affected.begin(), affected.end());
    affected.erase(std::unique(affected.begin(), affected.end()), affected.end());
    std::set<Pair> touched{pair};
    for (const std::size_t w : affected) {
      stop_.check();
      merge_in_word(w, pair, merged, touched);
    }
    for (const Pair& changed : touched) {
      const auto found = pairs_.find(changed);
      if (found->second.count > 0)
        queue(changed, found->second.count);
      else
        pairs_.erase(found);
    }
  }

  /// Merges `pair` in one word, from the left. The pairs that come and go are those with the pieces on either
  /// side, so no other is counted anew.
  void merge_in_word(std::size_t w, Pair pair, std::int32_t merged, std::set<Pair>& touched) {
    std::vector<std::int32_t>& pieces = words_[w].pieces;
    const auto here = [&](std::size_t i) {
      return i + 1 < pieces.size() && pieces[i] == pair.first && pieces[i + 1] == pair.second;
    };
    const auto remove = [&](Pair gone) {
      pairs_[gone].count -= words_[w].count;
      touched.insert(gone);
    };
    const auto insert = [&](Pair made) {
      add(made, w);
      touched.insert(made);
    };
    std::size_t kept = 0;
    bool was_merged = false;  // whether the piece before this one is new
    std::int32_t before = 0;  // the old piece before this one
    for (std::size_t i = 0; i < pieces.size(); ++kept) {
      const bool merges = here(i);
      const std::int32_t piece = merges ? merged : pieces[i];
      if (i > 0 && (merges || was_merged)) {
        remove({before, pieces[i]});
        insert({pieces[kept - 1], piece});
      }
      if (merges) remove(pair);
      before = pieces[i + (merges ? 1 : 0)];
      was_merged = merges;
      i += merges ? 2 : 1;
      pieces[kept] = piece;
    }
    pieces.resize(kept);
  }

  std::vector<Word> words_;
  std::vector<std::string> names_;
  std::unordered_map<std::string, std::int32_t> numbers_;
  std::map<Pair, Statistics> pairs_;
  std::priority_queue<Candidate> queue_;
  StopToken stop_;
};

}  // namespace vlp::text::detail
