/// \file
/// The four classes of words that the perturbations tell apart.
#pragma once

#include <cstdint>
#include <string_view>

namespace vlp::text {

enum class WordClass : std::uint8_t { noun, adjective, verb, other };

/// The class of a Penn Treebank tag: nouns are NN NNS NNP NNPS, adjectives JJ JJR JJS, verbs VB VBD VBG VBN
/// VBP VBZ; all else (modals, adverbs, numbers, punctuation, ...) is `other`.
[[nodiscard]] constexpr WordClass word_class_of_penn_tag(std::string_view tag) {
  if (tag == "NN" || tag == "NNS" || tag == "NNP" || tag == "NNPS") return WordClass::noun;
  if (tag == "JJ" || tag == "JJR" || tag == "JJS") return WordClass::adjective;
  if (tag == "VB" || tag == "VBD" || tag == "VBG" || tag == "VBN" || tag == "VBP" || tag == "VBZ")
    return WordClass::verb;
  return WordClass::other;
}

/// "noun", "adjective", "verb" or "other".
[[nodiscard]] constexpr std::string_view name(WordClass word_class) {
  switch (word_class) {
    case WordClass::noun:
      return "noun";
    case WordClass::adjective:
      return "adjective";
    case WordClass::verb:
      return "verb";
    case WordClass::other:
      break;
  }
  return "other";
}

}  // namespace vlp::text
