// libFuzzer target: any bytes as a report, through the whole text chain, with every promise that is cheap to
// check.
#include "fuzzer.hpp"

#include <vlp/text/build_vocabulary.hpp>
#include <vlp/text/perturber.hpp>
#include <vlp/text/word_piece.hpp>
#include <vlp/text/words.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace text = vlp::text;
using vlp::fuzz::promise;

std::vector<std::string_view> sorted_words(const text::PerturbedReport& report) {
  std::vector<std::string_view> words;
  for (std::size_t i = 0; i < report.size(); ++i) words.push_back(report[i]);
  std::sort(words.begin(), words.end());
  return words;
}

void check_words(const text::Words& words, std::string_view report, std::size_t max_words) {
  promise(words.size() <= max_words, "at most max_words words");
  promise(words.classes.size() == words.size() && words.sources.size() == words.size(), "as many of all");
  promise(text::normalise(words.text, max_words) == words.text, "normalising twice changes nothing");
  std::uint32_t next = 0;
  for (const text::Span sentence : words.sentences) {
    promise(sentence.begin == next && sentence.end > next, "sentences cover the words");
    next = sentence.end;
  }
  promise(next == words.size(), "sentences cover all words");
  for (std::size_t i = 0; i < words.size(); ++i)
    promise(text::normalise(slice(report, words.sources[i])) == words[i], "a word comes from its source");
}

void check_perturbations(const text::Words& words, text::PerturbationScope scope, std::uint64_t seed) {
  text::Perturber perturb({.seed = seed, .scope = scope});
  text::PerturbedReport out, again;
  std::vector<std::string_view> original;
  for (std::size_t i = 0; i < words.size(); ++i) original.push_back(words[i]);
  std::sort(original.begin(), original.end());
  for (const text::Perturbation perturbation : text::all_perturbations) {
    perturb(words, perturbation, 1, 2, out);
    perturb(words, perturbation, 1, 2, again);
    promise(out.text == again.text, "the same address draws the same");
    promise(out.changed == (out.text != words.text), "`changed` tells the truth");
    promise(out.size() == words.size(), "as many words");
    if (perturbation != text::Perturbation::replace_adjectives_with_antonyms)
      promise(sorted_words(out) == original, "the same words");
  }
}

void check_pieces(const text::WordPiece& tokeniser, std::string_view report, std::size_t max_pieces) {
  std::vector<text::PieceId> ids;
  std::vector<std::int32_t> words;
  const std::size_t count = tokeniser.encode(report, max_pieces, ids, words);
  promise(count <= max_pieces && ids.size() == count && words.size() == count, "at most max_pieces pieces");
  for (const text::PieceId id : ids)
    promise(id >= 0 && static_cast<std::size_t>(id) < tokeniser.vocabulary().size(), "ids of the vocabulary");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const text::WordPiece tokeniser(text::build_vocabulary(
      std::vector<std::string>{"the left lung is clear, no acute effusion", "3.2 cm nodule (stable)"}));
  if (size < 2) return 0;
  // The first two bytes choose the options, the rest is the report.
  const std::size_t max_words = data[0];
  const auto scope = data[1] % 2 != 0 ? text::PerturbationScope::sentence : text::PerturbationScope::report;
  const std::string report(reinterpret_cast<const char*>(data) + 2, size - 2);

  text::WordReader reader(max_words);
  text::Words words;
  reader.read(report, words);
  check_words(words, report, max_words);
  check_perturbations(words, scope, data[1]);
  check_pieces(tokeniser, report, max_words + 2);
  check_pieces(tokeniser, words.text, 512);
  return 0;
}
