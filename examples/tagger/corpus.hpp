/// \file
/// Sentences with Penn tags, as the tagger's trainer and its measure of accuracy read them.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/text_encoding.hpp>
#include <vlp/io/file.hpp>
#include <vlp/text/detail/unicode.hpp>
#include <vlp/text/word_class.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tagger {

using vlp::text::WordClass;

struct TaggedToken {
  std::string token;
  std::string tag;  ///< a Penn tag, the name of a class, its letter (N, J, V, O), or ? for unscored
};
using Sentence = std::vector<TaggedToken>;
using Corpus = std::vector<Sentence>;

/// The class that a tag stands for; none for `?`.
inline std::optional<WordClass> class_of(std::string_view tag) {
  if (tag == "?") return std::nullopt;
  for (const WordClass c : {WordClass::noun, WordClass::adjective, WordClass::verb, WordClass::other})
    if (tag == name(c)) return c;
  if (tag == "N") return WordClass::noun;
  if (tag == "J") return WordClass::adjective;
  if (tag == "V") return WordClass::verb;
  return vlp::text::word_class_of_penn_tag(tag);
}

/// Reads the text of a file of lines "token TAB tag", a blank line between two sentences. A line whose token
/// is empty (MASC has eleven) is passed over. Throws std::runtime_error that names `path` and the line of a
/// mistake.
inline Corpus parse_corpus(std::string_view bytes, const std::string& path) {
  Corpus corpus(1);
  vlp::Index number = 0;
  for (std::string_view text = vlp::utf8_text(bytes, path); !text.empty();) {
    const std::string_view line = vlp::without_line_end(vlp::next_line(text));
    ++number;
    if (line.empty()) {
      if (!corpus.back().empty()) corpus.emplace_back();
      continue;
    }
    const std::size_t tab = std::min(line.find('\t'), line.size());
    const std::string_view tag = vlp::trimmed(line.substr(tab));
    vlp::ensure(!tag.empty() && tag.find_first_of(" \t") == tag.npos, path, ":", number,
                ": not a token, a tab and a tag");
    if (tab == 0) continue;
    corpus.back().push_back({std::string(line.substr(0, tab)), std::string(tag)});
  }
  if (corpus.back().empty()) corpus.pop_back();
  return corpus;
}

/// Reads such a file.
inline Corpus read_corpus(const std::string& path) {
  return parse_corpus(vlp::io::read_file(path), path);
}

/// The number, from 1, of the block of some 300 sentences, about a document, that a sentence lies in. What
/// occurs in fewer than min_blocks blocks is peculiar to its document and says little of others.
constexpr std::size_t block_of(std::size_t sentence) {
  return sentence / 300 + 1;
}
inline constexpr std::size_t min_blocks = 3;

inline std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), vlp::text::detail::ascii_lower);
  return text;
}

}  // namespace tagger
