/// \file
/// How often a tagger is right.
#pragma once

#include "tagger/corpus.hpp"

#include <vlp/text/span.hpp>
#include <vlp/text/tagger.hpp>
#include <vlp/text/word_class.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <iomanip>
#include <ostream>
#include <string>
#include <vector>

namespace tagger {

/// Counts of scored tokens: confusion[truth][answer], in the order of WordClass.
using Confusion = std::array<std::array<std::int64_t, 4>, 4>;

/// Tags the sentences of `corpus`, all in lower case if so wished, and counts.
template <vlp::text::Tagger T>
Confusion confusion_of(const T& word_tagger, const Corpus& corpus, bool lower_cased) {
  Confusion confusion{};
  std::vector<vlp::text::Span> tokens;
  std::vector<WordClass> classes;
  for (const Sentence& sentence : corpus) {
    std::string text;
    tokens.clear();
    for (const TaggedToken& token : sentence) {
      const auto begin = static_cast<std::uint32_t>(text.size());
      text += token.token;
      tokens.push_back({begin, static_cast<std::uint32_t>(text.size())});
      text += ' ';
    }
    if (lower_cased) text = lower_case(std::move(text));
    classes.assign(tokens.size(), WordClass::other);
    word_tagger.tag(text, tokens, classes);
    for (std::size_t i = 0; i < sentence.size(); ++i)
      if (const auto truth = class_of(sentence[i].tag))
        ++confusion[static_cast<std::size_t>(*truth)][static_cast<std::size_t>(classes[i])];
  }
  return confusion;
}

inline std::int64_t scored(const Confusion& confusion) {
  std::int64_t sum = 0;
  for (const auto& row : confusion)
    for (const std::int64_t count : row) sum += count;
  return sum;
}

inline std::int64_t right(const Confusion& confusion) {
  std::int64_t sum = 0;
  for (std::size_t c = 0; c < 4; ++c) sum += confusion[c][c];
  return sum;
}

/// `part` of `whole` in percent; 100 of nothing.
inline double percent(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 100.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

/// Prints the accuracy, each class's recall and precision, and the table of what was taken for what.
inline void print(std::ostream& out, const std::string& title, const Confusion& confusion) {
  out << std::fixed << std::setprecision(2) << title << ": " << percent(right(confusion), scored(confusion))
      << " % of " << scored(confusion) << " tokens\n"
      << "  truth      recall %  precision %     as noun  as adjective     as verb    as other\n";
  for (std::size_t c = 0; c < 4; ++c) {
    std::int64_t truths = 0, answers = 0;
    for (std::size_t other = 0; other < 4; ++other) {
      truths += confusion[c][other];
      answers += confusion[other][c];
    }
    out << "  " << std::left << std::setw(10) << name(static_cast<WordClass>(c)) << std::right << std::setw(9)
        << percent(confusion[c][c], truths) << std::setw(13) << percent(confusion[c][c], answers);
    for (std::size_t answer = 0; answer < 4; ++answer)
      out << std::setw(answer == 1 ? 14 : 12) << confusion[c][answer];
    out << '\n';
  }
}

}  // namespace tagger
