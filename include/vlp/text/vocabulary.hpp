/// \file
/// Vocabularies of word pieces, as BERT's `vocab.txt`.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/text/detail/piece_trie.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
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

/// An ordered set of word pieces; a piece that continues a word starts with "##". Immutable.
class Vocabulary {
 public:
  /// Throws std::runtime_error unless the pieces differ from one another, none is empty, and [PAD], [UNK],
  /// [CLS] and [SEP] are among them. `source` names them in the message.
  explicit Vocabulary(std::vector<std::string> pieces, std::string_view source = "vocabulary")
      : pieces_(std::move(pieces)) {
    for (std::size_t id = 0; id < pieces_.size(); ++id) {
      ensure(!pieces_[id].empty(), source, ": piece ", id, " is empty");
      ensure(pieces_[id].find('\n') == std::string::npos, source, ": piece ", id, " has a line break");
      ensure(trie_.insert(pieces_[id], static_cast<PieceId>(id)), source, ": piece ", id, ", \"", pieces_[id],
             "\", is there twice");
    }
    pad_ = special("[PAD]", source);
    unknown_ = special("[UNK]", source);
    begin_ = special("[CLS]", source);
    end_ = special("[SEP]", source);
  }

  /// Reads a file with one piece a line, numbered by its line from 0. Throws std::runtime_error if the file
  /// cannot be read or is no vocabulary.
  [[nodiscard]] static Vocabulary load(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    ensure(file.good(), "vocabulary ", path.string(), ": cannot be opened");
    std::vector<std::string> pieces;
    for (std::string line; std::getline(file, line);) {
      if (!line.empty() && line.back() == '\r') line.pop_back();
      pieces.push_back(std::move(line));
    }
    ensure(!file.bad(), "vocabulary ", path.string(), ": cannot be read");
    return Vocabulary(std::move(pieces), "vocabulary " + path.string());
  }

  /// Writes the form that `load` reads, under a temporary name first, so that `path` is never half written.
  void save(const std::filesystem::path& path) const {
    std::filesystem::path temporary = path;
    temporary += ".tmp";
    {
      std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
      for (const std::string& piece : pieces_) file << piece << '\n';
      file.flush();
      ensure(file.good(), "vocabulary ", path.string(), ": cannot be written");
    }
    std::filesystem::rename(temporary, path);
  }

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
  [[nodiscard]] PieceId special(std::string_view piece, std::string_view source) const {
    const PieceId id = find(piece);
    ensure(id >= 0, source, ": there is no ", piece, " among ", pieces_.size(), " pieces");
    return id;
  }

  std::vector<std::string> pieces_;
  detail::PieceTrie trie_;
  PieceId pad_ = 0, unknown_ = 0, begin_ = 0, end_ = 0;
};

}  // namespace vlp::text
