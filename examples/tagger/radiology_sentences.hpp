/// \file
/// Draws tagged sentences from the radiology grammar.
#pragma once

#include "tagger/corpus.hpp"
#include "tagger/radiology_grammar.hpp"

#include <vlp/core/errors.hpp>
#include <vlp/core/random.hpp>
#include <vlp/text/detail/unicode.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tagger {

/// Expands the grammar at random, but fairly: the alternatives of a name come up equally often, as from a
/// pack of cards that is dealt to its end before it is shuffled again, so that every word of a list is used.
class RadiologySentences {
 public:
  explicit RadiologySentences(std::uint64_t seed) : random_(seed) {
    for (const WordList& list : radiology_words)
      for (const std::string& word : split(list.words, " \n"))
        packs_[list.name].cards.push_back(word + '/' + std::string(list.tag));
    for (const Phrases& phrases : radiology_phrases)
      packs_[phrases.name].cards = split(phrases.alternatives, "\n");
  }

  /// The next sentence: mostly with a capital at its start; one in twelve in capitals throughout.
  [[nodiscard]] Sentence draw() {
    Sentence sentence;
    expand("sentence", sentence);
    for (TaggedToken& token : sentence)
      if (token.token != "PA") token.token = lower_case(token.token);
    const std::uint32_t style = random_.below(12);
    for (std::size_t i = 0; i < sentence.size(); ++i) {
      if (style == 0) upper_case(sentence[i].token, sentence[i].token.size());
      if (style > 1 && i == 0) upper_case(sentence[i].token, 1);
    }
    return sentence;
  }

 private:
  struct Pack {
    std::vector<std::string> cards;
    std::size_t dealt = 0;
  };

  static std::vector<std::string> split(std::string_view text, std::string_view separators) {
    std::vector<std::string> parts;
    for (std::size_t at = 0; (at = text.find_first_not_of(separators, at)) != std::string_view::npos;) {
      const std::size_t end = std::min(text.find_first_of(separators, at), text.size());
      parts.emplace_back(text.substr(at, end - at));
      at = end;
    }
    return parts;
  }

  static void upper_case(std::string& text, std::size_t letters) {
    for (std::size_t i = 0; i < letters; ++i)
      if (vlp::text::detail::is_ascii_lower(text[i])) text[i] = static_cast<char>(text[i] - 32);
  }

  void expand(std::string_view name, Sentence& sentence) {
    const auto found = packs_.find(name);
    vlp::require(found != packs_.end(), "radiology grammar: nothing is called ", name);
    Pack& pack = found->second;
    if (pack.dealt == 0) random_.shuffle(pack.cards.begin(), pack.cards.end());
    const std::string& card = pack.cards[pack.dealt];
    pack.dealt = (pack.dealt + 1) % pack.cards.size();
    for (const std::string& part : split(std::string(card), " ")) {
      if (part.front() == '<') {
        expand(std::string_view(part).substr(1, part.size() - 2), sentence);
        continue;
      }
      const std::size_t slash = part.rfind('/');
      sentence.push_back({part.substr(0, slash), part.substr(slash + 1)});
    }
  }

  vlp::Random random_;
  std::map<std::string_view, Pack> packs_;
};

}  // namespace tagger
