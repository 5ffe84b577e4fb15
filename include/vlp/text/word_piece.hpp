/// \file
/// WordPiece: text as the ids of a vocabulary's pieces.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/text/detail/basic_tokens.hpp>
#include <vlp/text/vocabulary.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::text {

/// The tokeniser of BERT, uncased (Devlin et al., "BERT: Pre-training of deep bidirectional transformers",
/// 2019): basic tokenisation, then for each token the longest piece that fits, from left to right (Wu et al.,
/// "Google's neural machine translation system", 2016). A token of more than 100 characters, or one that no
/// pieces fit, is [UNK]. Ids equal those of the reference implementation for its vocabularies; the names of
/// special pieces in the text are not special. Const: one tokeniser serves any number of threads.
class WordPiece {
 public:
  /// The longest token, in characters, that is cut into pieces.
  static constexpr std::size_t max_characters = 100;

  explicit WordPiece(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}

  [[nodiscard]] const Vocabulary& vocabulary() const noexcept { return vocabulary_; }

  /// Appends [CLS], the pieces of `text` and [SEP] to `ids`, at most `max_pieces` (>= 2) in all: pieces that
  /// do not fit are left out at the end. Appends as many numbers to `words`: for each piece which word of
  /// `text` it comes from, counting what stands between white space from 0 (the words of Words, if text is
  /// normalised), and -1 for [CLS] and [SEP]. Returns how many were appended. std::invalid_argument for a
  /// smaller `max_pieces`.
  std::size_t encode(std::string_view text, std::size_t max_pieces, std::vector<PieceId>& ids,
                     std::vector<std::int32_t>& words) const {
    require(max_pieces >= 2, "encode: max_pieces is ", max_pieces, ", but [CLS] and [SEP] alone are 2");
    const std::size_t before = ids.size();
    const std::size_t limit = before + max_pieces - 1;
    ids.push_back(vocabulary_.begin_of_text());
    words.push_back(-1);
    detail::for_each_basic_token(text, [&](std::string_view token, std::int32_t word) {
      if (ids.size() < limit) append_pieces(token, word, ids, words);
    });
    if (ids.size() > limit) {
      words.resize(words.size() - (ids.size() - limit));
      ids.resize(limit);
    }
    ids.push_back(vocabulary_.end_of_text());
    words.push_back(-1);
    return ids.size() - before;
  }

  /// The same, with [PAD] (word -1) up to exactly `length` pieces; returns how many come before the padding.
  std::size_t encode_padded(std::string_view text, std::size_t length, std::vector<PieceId>& ids,
                            std::vector<std::int32_t>& words) const {
    const std::size_t count = encode(text, length, ids, words);
    ids.resize(ids.size() + length - count, vocabulary_.pad());
    words.resize(words.size() + length - count, -1);
    return count;
  }

 private:
  void append_pieces(std::string_view token, std::int32_t word, std::vector<PieceId>& ids,
                     std::vector<std::int32_t>& words) const {
    const std::size_t before = ids.size();
    bool fits = token.size() <= max_characters || characters(token) <= max_characters;
    for (std::size_t at = 0; fits && at < token.size();) {
      const auto match = vocabulary_.trie().longest(token.substr(at), at > 0);
      fits = match.id >= 0;
      at += match.length;
      ids.push_back(match.id);
    }
    if (!fits) {
      ids.resize(before);
      ids.push_back(vocabulary_.unknown());
    }
    words.resize(words.size() + ids.size() - before, word);
  }

  /// The number of code points of UTF-8.
  static std::size_t characters(std::string_view token) {
    std::size_t count = 0;
    for (const char byte : token) count += (static_cast<unsigned char>(byte) & 0xc0) != 0x80;
    return count;
  }

  Vocabulary vocabulary_;
};

}  // namespace vlp::text
