/// \file
/// Vocabularies of word pieces, as BERT's `vocab.txt`.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/hash.hpp>
#include <vlp/core/text_encoding.hpp>
#include <vlp/text/detail/piece_trie.hpp>
#include <vlp/text/detail/whole_file.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::text {

/// The index of a word piece in its vocabulary.
using PieceId = std::int32_t;

/// The special pieces, in the order in which build_vocabulary puts them first.
inline constexpr std::array<std::string_view, 5> special_pieces{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};

/// A numbered list of word pieces; a piece that continues a word starts with "##". Immutable.
class Vocabulary {
 public:
  /// Numbers the pieces from 0. Throws std::runtime_error unless they differ from one another, none is empty,
  /// each is UTF-8 without line breaks and without white space at its ends, and [PAD], [UNK], [CLS] and [SEP]
  /// are among them. `source` names them in the message.
  explicit Vocabulary(std::vector<std::string> pieces, std::string_view source = "vocabulary")
      : pieces_(std::move(pieces)) {
    for (std::size_t id = 0; id < pieces_.size(); ++id) {
      const std::string& piece = pieces_[id];
      ensure(!piece.empty(), source, ": piece ", id, " is empty");
      ensure(piece.find_first_of("\r\n") == std::string::npos && trimmed(piece) == piece, source, ": piece ",
             id, " has a line break, or white space at its ends");
      ensure(vlp::detail::first_foreign_byte(piece) == piece.size(), source, ": piece ", id, " is not UTF-8");
      ensure(trie_.insert(piece, static_cast<PieceId>(id), source), source, ": piece ", id, ", \"", piece,
             "\", is there twice");
    }
    find_special_pieces(source);
  }

  /// Reads the bytes of a file with one piece a line, numbered by its line from 0, as the reference
  /// implementation of BERT does: without white space at the ends of a line; a blank line has a number but is
  /// no piece (those that end the file have none); of equal lines the last gives the piece its number.
  /// `notes` counts such lines. Throws std::runtime_error, which names `source`, if that is no UTF-8 text, or
  /// has no [PAD], [UNK], [CLS] or [SEP].
  [[nodiscard]] static Vocabulary parse(std::string_view bytes, std::string_view source) {
    Vocabulary vocabulary;
    std::size_t blank = 0, first_blank = 0, repeated = 0, first_repeated = 0;
    for (std::string_view text = utf8_text(bytes, source); !text.empty();)
      vocabulary.pieces_.emplace_back(trimmed(next_line(text)));
    std::vector<std::string>& pieces = vocabulary.pieces_;
    while (!pieces.empty() && pieces.back().empty()) pieces.pop_back();
    for (std::size_t id = 0; id < pieces.size(); ++id) {
      if (pieces[id].empty()) {
        if (blank++ == 0) first_blank = id + 1;
      } else if (!vocabulary.trie_.insert(pieces[id], static_cast<PieceId>(id), source)) {
        if (repeated++ == 0) first_repeated = id + 1;
      }
    }
    vocabulary.find_special_pieces(source);
    if (blank > 0)
      vocabulary.notes_.push_back(concat(source, ": ", blank, " blank lines, the first is line ", first_blank,
                                         "; each keeps its number but is no piece"));
    if (repeated > 0)
      vocabulary.notes_.push_back(concat(source, ": ", repeated, " lines repeat a piece, the first is line ",
                                         first_repeated, "; the last of equal lines counts"));
    return vocabulary;
  }

  /// Reads a file as `parse` does. Throws std::runtime_error, which names the file, also if it cannot be
  /// read.
  [[nodiscard]] static Vocabulary load(const std::filesystem::path& path) {
    const std::string source = "vocabulary " + path.string();
    return parse(detail::whole_file(path, source), source);
  }

  /// The form that `parse` reads: each piece with a line feed.
  [[nodiscard]] std::string text() const {
    std::string lines;
    for (const std::string& piece : pieces_) lines.append(piece).push_back('\n');
    return lines;
  }

  /// Sentences for the user about lines that are no pieces; none if the vocabulary is as it should be.
  [[nodiscard]] std::span<const std::string> notes() const noexcept { return notes_; }

  /// Number of pieces, or of a file's lines.
  [[nodiscard]] std::size_t size() const noexcept { return pieces_.size(); }
  [[nodiscard]] std::span<const std::string> pieces() const noexcept { return pieces_; }
  [[nodiscard]] const std::string& operator[](PieceId id) const {
    return pieces_[static_cast<std::size_t>(id)];
  }
  /// The number of `piece`, or -1.
  [[nodiscard]] PieceId find(std::string_view piece) const { return trie_.find(piece); }

  [[nodiscard]] PieceId pad() const noexcept { return pad_; }              ///< [PAD]
  [[nodiscard]] PieceId unknown() const noexcept { return unknown_; }      ///< [UNK]
  [[nodiscard]] PieceId begin_of_text() const noexcept { return begin_; }  ///< [CLS]
  [[nodiscard]] PieceId end_of_text() const noexcept { return end_; }      ///< [SEP]

  /// The index behind `find`, for longest matches.
  [[nodiscard]] const detail::PieceTrie& trie() const noexcept { return trie_; }

 private:
  Vocabulary() = default;

  void find_special_pieces(std::string_view source) {
    pad_ = special("[PAD]", source);
    unknown_ = special("[UNK]", source);
    begin_ = special("[CLS]", source);
    end_ = special("[SEP]", source);
  }

  [[nodiscard]] PieceId special(std::string_view piece, std::string_view source) const {
    const PieceId id = find(piece);
    ensure(id >= 0, source, ": there is no ", piece, " among ", pieces_.size(), " pieces");
    return id;
  }

  std::vector<std::string> pieces_, notes_;
  detail::PieceTrie trie_;
  PieceId pad_ = 0, unknown_ = 0, begin_ = 0, end_ = 0;
};

/// A hash of the pieces in their order, by which a model's files know their vocabulary.
[[nodiscard]] inline std::string hash_of_pieces(const Vocabulary& vocabulary) {
  Hash hash;
  for (const std::string& piece : vocabulary.pieces()) hash.add(piece);
  return hash.text();
}

}  // namespace vlp::text
