/// \file
/// From word pieces back to text.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/text/detail/basic_tokens.hpp>
#include <vlp/text/detail/unicode.hpp>
#include <vlp/text/vocabulary.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::text {

namespace detail {

/// The sides on which a token goes without a space.
struct Joins {
  bool left = false, right = false;
};

/// The sides of a punctuation mark of ASCII; none for 0, which stands for any other token.
[[nodiscard]] constexpr Joins joins_of(char c) {
  constexpr std::string_view to_left = ".,;:!?%)]}", to_right = "([{<>$#", to_both = "-/'_@^|\\";
  const auto has = [c](std::string_view list) { return list.find(c) != list.npos; };
  return {c != '\0' && (has(to_left) || has(to_both)), c != '\0' && (has(to_right) || has(to_both))};
}

/// Writes tokens as text, one after the other.
class TokenWriter {
 public:
  /// Appends a token. Returns the word it belongs to, counted from 0.
  std::int32_t add(std::string_view token) {
    const char mark = token.size() == 1 && is_ascii_punctuation(token[0]) ? token[0] : '\0';
    if (!text_.empty() && !joins(token, mark)) {
      text_ += ' ';
      ++word_;
    }
    begins_word_ = text_.empty() || text_.back() == ' ';
    mark_ = mark;
    text_ += token;
    return word_;
  }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  /// Whether the token is written to the end of the text without a space.
  [[nodiscard]] bool joins(std::string_view token, char mark) const {
    if (joins_of(mark).left) return true;
    // Within a word, an apostrophe goes before a clitic and is the last character before all else.
    constexpr std::array<std::string_view, 7> clitics{"s", "t", "d", "m", "re", "ll", "ve"};
    if (mark_ == '\'' && !begins_word_) return std::ranges::find(clitics, token) != clitics.end();
    return joins_of(mark_).right;
  }

  std::string text_;
  std::int32_t word_ = 0;
  char mark_ = '\0';          // the last token, where it is a punctuation mark
  bool begins_word_ = false;  // whether it begins a word
};

}  // namespace detail

/// Writes word pieces as the text that they were made from: a piece that begins with "##" continues the token
/// before it, punctuation stands where reports have it ("no effusion, follow-up in 2-3 weeks"), and special
/// pieces are left out, except [UNK], which stands for a token that is not known. Appends to `words`, as
/// WordPiece::encode does, the word that each piece is a part of, where words are separated by white space
/// and counted from 0, and -1 for a piece that is left out.
///
/// Word pieces do not tell where there was a space beside punctuation, so a text comes back as it was if it
/// is written as most are. Whatever the text, encoding the result gives the same pieces, if there is no [UNK]
/// among them. Throws std::invalid_argument for an id outside of the vocabulary.
inline std::string detokenise(std::span<const PieceId> ids, const Vocabulary& vocabulary,
                              std::vector<std::int32_t>& words) {
  const std::size_t before = words.size();
  std::vector<std::string> tokens;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    require(ids[i] >= 0 && static_cast<std::size_t>(ids[i]) < vocabulary.size(), "detokenise: piece ", i,
            " has the id ", ids[i], ", but there are ", vocabulary.size(), " pieces");
    const std::string& piece = vocabulary[ids[i]];
    const bool is_special = std::ranges::find(special_pieces, piece) != special_pieces.end();
    if (piece.empty() || (is_special && ids[i] != vocabulary.unknown())) {
      words.push_back(-1);
      continue;
    }
    const bool continues = piece.size() > 2 && piece.starts_with("##");
    if (!continues || tokens.empty()) tokens.emplace_back();
    tokens.back() += continues ? piece.substr(2) : piece;
    words.push_back(static_cast<std::int32_t>(tokens.size()) - 1);
  }
  detail::TokenWriter writer;
  std::vector<std::int32_t> word_of_token;
  for (const std::string& token : tokens) word_of_token.push_back(writer.add(token));
  for (std::size_t i = before; i < words.size(); ++i)
    if (words[i] >= 0) words[i] = word_of_token[static_cast<std::size_t>(words[i])];
  return writer.take();
}

/// The text alone.
[[nodiscard]] inline std::string detokenise(std::span<const PieceId> ids, const Vocabulary& vocabulary) {
  std::vector<std::int32_t> words;
  return detokenise(ids, vocabulary, words);
}

}  // namespace vlp::text
