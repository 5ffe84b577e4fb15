/// \file
/// A vocabulary of word pieces from the reports themselves.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/text/detail/basic_tokens.hpp>
#include <vlp/text/detail/piece_merger.hpp>
#include <vlp/text/vocabulary.hpp>
#include <vlp/text/word_piece.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <ranges>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace vlp::text {

namespace detail {

/// Looks up strings by their views.
struct ViewHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>()(text); }
};

/// How often each word of the reports occurs, except those that are too long for a vocabulary.
template <std::ranges::input_range Reports>
std::map<std::string, std::int64_t, std::less<>> count_words(Reports&& reports, StopToken stop) {
  std::unordered_map<std::string, std::int64_t, ViewHash, std::equal_to<>> counts;
  for (const std::string_view report : reports) {
    stop.check();
    for_each_basic_token(report, [&](std::string_view token, std::int32_t) {
      stop.check();
      if (WordPiece::is_too_long(token)) return;
      const auto found = counts.find(token);
      if (found != counts.end())
        ++found->second;
      else
        counts.emplace(token, 1);
    });
  }
  return {counts.begin(), counts.end()};
}

}  // namespace detail

struct VocabularyOptions {
  std::size_t size = 4096;     ///< the most pieces, special ones included
  std::int64_t min_count = 2;  ///< a pair seen less often than this is not merged
};

/// Builds a WordPiece vocabulary from `reports` (a range of strings): the special pieces, each character of
/// the corpus as start and as continuation of a word, in order of code points, and then pieces merged from
/// the most frequent pair of adjacent pieces, again and again (ties: the pair first in the order of bytes),
/// until `size` or no pair is seen `min_count` times. This is the merging that BERT vocabularies are trained
/// with in practice (Sennrich et al., "Neural machine translation of rare words with subword units", 2016, on
/// pieces marked as in WordPiece). No word made of the corpus's characters, up to 100 of them, becomes [UNK];
/// longer ones always do, so the corpus's own longer ones are left out, their characters too. The result
/// depends on the words' counts only, not on their order. Throws std::invalid_argument if `size` cannot hold
/// the characters, and Stopped soon after `stop` is raised.
template <std::ranges::input_range Reports>
[[nodiscard]] Vocabulary build_vocabulary(Reports&& reports, const VocabularyOptions& options = {},
                                          StopToken stop = {}) {
  const auto counts = detail::count_words(reports, stop);
  std::set<detail::CodePoint> characters;
  for (const auto& [word, count] : counts)
    for (std::size_t at = 0; at < word.size();) {
      const auto [character, length] = detail::decode(word, at);
      characters.insert(character);
      at += length;
    }

  std::vector<std::string> pieces(special_pieces.begin(), special_pieces.end());
  for (const detail::CodePoint character : characters) {
    std::string piece;
    detail::append(piece, character);
    // Each punctuation mark and each Chinese character is a word of its own, so no piece continues it.
    if (!detail::is_bert_punctuation(character) && !detail::is_chinese(character))
      pieces.push_back("##" + piece);
    pieces.push_back(std::move(piece));
  }
  require(pieces.size() <= options.size, "build_vocabulary: size is ", options.size, ", but the corpus's ",
          characters.size(), " characters and the special pieces are ", pieces.size());
  detail::PieceMerger merger(counts, stop);
  while (pieces.size() < options.size) {
    stop.check();
    std::string merged = merger.merge_most_frequent(options.min_count);
    if (merged.empty()) break;
    pieces.push_back(std::move(merged));
  }
  return Vocabulary(std::move(pieces));
}

}  // namespace vlp::text
