/// \file
/// WordPiece: turns a text, or a pair of texts, into the ids of a vocabulary's pieces.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/text/detail/basic_tokens.hpp>
#include <vlp/text/vocabulary.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::text {

/// The tokeniser of BERT, uncased (Devlin et al., "BERT: Pre-training of deep bidirectional transformers",
/// 2019): basic tokenisation, then for each token the longest piece that fits, from left to right (Wu et al.,
/// "Google's neural machine translation system", 2016). A token of more than 100 characters, or one that
/// pieces cannot make up, becomes [UNK]. Ids equal those of the reference implementation for its
/// vocabularies; the names of special pieces in the text are not special. Const: one tokeniser serves any
/// number of threads.
class WordPiece {
 public:
  /// The longest token, in characters, that is cut into pieces.
  static constexpr std::size_t max_characters = 100;

  /// Whether a token of UTF-8 is longer than that, so that it becomes [UNK] whatever the vocabulary is.
  [[nodiscard]] static bool is_too_long(std::string_view token) {
    if (token.size() <= max_characters) return false;
    const auto continues = [](char byte) { return (static_cast<unsigned char>(byte) & 0xc0) == 0x80; };
    const auto continuations = std::count_if(token.begin(), token.end(), continues);
    return token.size() - static_cast<std::size_t>(continuations) > max_characters;
  }

  explicit WordPiece(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}

  [[nodiscard]] const Vocabulary& vocabulary() const noexcept { return vocabulary_; }

  /// Appends [CLS], the pieces of `text` and [SEP] to `ids`, at most `max_pieces` (>= 2) in all: pieces that
  /// do not fit are left out at the end. Appends as many numbers to `words`: for each piece the word of
  /// `text` it comes from, where words are separated by white space and counted from 0 (the words of Words,
  /// if text is normalised), and -1 for [CLS] and [SEP]. Returns how many were appended. Throws
  /// std::invalid_argument for a smaller `max_pieces`.
  std::size_t encode(std::string_view text, std::size_t max_pieces, std::vector<PieceId>& ids,
                     std::vector<std::int32_t>& words) const {
    require(max_pieces >= 2, "encode: max_pieces is ", max_pieces, ", but [CLS] and [SEP] alone are 2");
    append_special(vocabulary_.begin_of_text(), ids, words);
    const std::size_t count = append_text(text, max_pieces - 2, ids, words);
    append_special(vocabulary_.end_of_text(), ids, words);
    return count + 2;
  }

  /// Appends [CLS], the pieces of `text_a`, [SEP], the pieces of `text_b` and [SEP] to `ids`, at most
  /// `max_pieces` (>= 3) in all. If the texts do not fit, the one that has more pieces loses its last piece,
  /// again and again until they fit; if both have the same number, text_b loses one. BERT's run_classifier.py
  /// and "longest_first" of Hugging Face's Python tokenisers do the same; the compiled tokenisers leave an
  /// odd piece to the text that was longer, or to text_b if none was. `words` gets a number per piece as in
  /// encode, counted from 0 in each text. `type_ids` gets 0 for each piece up to the first [SEP], and 1 for
  /// those after it. Returns how many pieces were appended. Throws std::invalid_argument for a smaller
  /// `max_pieces`, before anything is appended.
  std::size_t encode_pair(std::string_view text_a, std::string_view text_b, std::size_t max_pieces,
                          std::vector<PieceId>& ids, std::vector<std::int32_t>& words,
                          std::vector<std::int32_t>& type_ids) const {
    require(max_pieces >= 3, "encode_pair: max_pieces is ", max_pieces,
            ", but [CLS] and two times [SEP] alone are 3");
    const std::size_t room = max_pieces - 3;
    append_special(vocabulary_.begin_of_text(), ids, words);
    const std::size_t count_a = append_text(text_a, room, ids, words);
    const std::size_t end_a = ids.size(), words_end_a = words.size();
    append_special(vocabulary_.end_of_text(), ids, words);
    const std::size_t count_b = append_text(text_b, room, ids, words);
    // Dropping one piece at a time ends here: text_a keeps what text_b leaves free, but at least half of the
    // room.
    const std::size_t kept_a = std::min(count_a, std::max(room - count_b, room - room / 2));
    const std::size_t kept_b = std::min(count_b, room - kept_a);
    drop(ids, ids.size(), count_b - kept_b);
    drop(words, words.size(), count_b - kept_b);
    drop(ids, end_a, count_a - kept_a);
    drop(words, words_end_a, count_a - kept_a);
    append_special(vocabulary_.end_of_text(), ids, words);
    type_ids.resize(type_ids.size() + kept_a + 2, 0);
    type_ids.resize(type_ids.size() + kept_b + 1, 1);
    return kept_a + kept_b + 3;
  }

  /// Does what encode does, and appends [PAD] (word -1) up to exactly `length` pieces. Returns how many
  /// pieces come before the padding.
  std::size_t encode_padded(std::string_view text, std::size_t length, std::vector<PieceId>& ids,
                            std::vector<std::int32_t>& words) const {
    const std::size_t count = encode(text, length, ids, words);
    ids.resize(ids.size() + length - count, vocabulary_.pad());
    words.resize(words.size() + length - count, -1);
    return count;
  }

 private:
  static void append_special(PieceId id, std::vector<PieceId>& ids, std::vector<std::int32_t>& words) {
    ids.push_back(id);
    words.push_back(-1);
  }

  /// Erases the `count` elements that come before `end`.
  static void drop(std::vector<std::int32_t>& list, std::size_t end, std::size_t count) {
    const auto last = list.begin() + static_cast<std::ptrdiff_t>(end);
    list.erase(last - static_cast<std::ptrdiff_t>(count), last);
  }

  /// Appends the first `room` pieces of `text`; returns how many those are.
  std::size_t append_text(std::string_view text, std::size_t room, std::vector<PieceId>& ids,
                          std::vector<std::int32_t>& words) const {
    const std::size_t before = ids.size();
    const std::size_t limit = before + room;
    detail::for_each_basic_token(text, [&](std::string_view token, std::int32_t word) {
      if (ids.size() < limit) append_pieces(token, word, ids, words);
    });
    if (ids.size() > limit) {  // the last token had more pieces than fit
      words.resize(words.size() - (ids.size() - limit));
      ids.resize(limit);
    }
    return ids.size() - before;
  }

  void append_pieces(std::string_view token, std::int32_t word, std::vector<PieceId>& ids,
                     std::vector<std::int32_t>& words) const {
    const std::size_t before = ids.size();
    bool fits = !is_too_long(token);
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

  Vocabulary vocabulary_;
};

}  // namespace vlp::text
