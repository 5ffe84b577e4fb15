#include "support/catch.hpp"
#include "text/reports.hpp"

#include <vlp/text/word_class.hpp>
#include <vlp/text/words.hpp>

#include <string>
#include <string_view>
#include <vector>

using namespace vlp;
using text::WordClass;

namespace {

/// The classes of a report's words as letters: N, J, V, O.
std::string classes_of(const text::Words& words) {
  std::string letters;
  for (const WordClass word_class : words.classes) letters += "NJVO"[static_cast<int>(word_class)];
  return letters;
}

std::vector<std::string> tokens_of(std::string_view text) {
  std::vector<text::Span> spans;
  text::tokenise(text, {0, static_cast<std::uint32_t>(text.size())}, spans);
  std::vector<std::string> tokens;
  for (const text::Span span : spans) tokens.emplace_back(slice(text, span));
  return tokens;
}
using Strings = std::vector<std::string>;

/// Calls everything a noun whose first letter is a capital.
struct CapitalTagger {
  void tag(std::string_view report, std::span<const text::Span> tokens, std::span<WordClass> classes) const {
    for (std::size_t i = 0; i < tokens.size(); ++i)
      classes[i] = text::detail::is_ascii_upper(report[tokens[i].begin]) ? WordClass::noun : WordClass::other;
  }
};

}  // namespace

TEST_CASE("Penn tags map to the four classes") {
  for (const char* tag : {"NN", "NNS", "NNP", "NNPS"})
    CHECK(text::word_class_of_penn_tag(tag) == WordClass::noun);
  for (const char* tag : {"JJ", "JJR", "JJS"})
    CHECK(text::word_class_of_penn_tag(tag) == WordClass::adjective);
  for (const char* tag : {"VB", "VBD", "VBG", "VBN", "VBP", "VBZ"})
    CHECK(text::word_class_of_penn_tag(tag) == WordClass::verb);
  for (const char* tag : {"MD", "RB", "CD", "IN", ".", "", "N"})
    CHECK(text::word_class_of_penn_tag(tag) == WordClass::other);
  CHECK(name(WordClass::adjective) == "adjective");
}

TEST_CASE("tokens are words apart from their punctuation") {
  CHECK(tokens_of("Normal, clear.") == Strings{"Normal", ",", "clear", "."});
  CHECK(tokens_of("(3.2 cm) x-ray and/or 1,000;b") ==
        Strings{"(", "3.2", "cm", ")", "x-ray", "and/or", "1,000", ";", "b"});
  CHECK(tokens_of("patient's don't 'quoted'") == Strings{"patient", "'s", "do", "n't", "'", "quoted", "'"});
  CHECK(tokens_of("... --") == Strings{".", ".", ".", "-", "-"});
  CHECK(tokens_of("clear.Heart") == Strings{"clear", ".", "Heart"});
  CHECK(tokens_of("").empty());
}

TEST_CASE("words carry the classes of the original cased text") {
  CHECK(classes_of(text::read_words("Heart size is normal. The lungs are clear.")) == "NNVJONVJ");
  CHECK(classes_of(text::read_words("Left lower lobe opacity, seen on the left.")) == "JJNNVOON");
  CHECK(classes_of(text::read_words("No change in the calcified granuloma (3.2 cm)")) == "ONOOJNOON");
  CHECK(classes_of(text::read_words("\"Clear\" -- the patient's lungs")) == "JOONN");
  text::WordReader<CapitalTagger> reader(50, CapitalTagger{});
  CHECK(classes_of(reader.read("Heart \"Lungs\" clear. In X-rays, HERE")) == "NNONNN");
}

TEST_CASE("sentences of words follow those of the report") {
  const text::Words words = text::read_words("FINDINGS: Lungs clear. ! 1. No effusion. Rest is cut.", 7);
  CHECK(words.text == "findings lungs clear 1 no effusion rest");
  CHECK(words.sentences == std::vector<text::Span>{{0, 1}, {1, 3}, {3, 6}, {6, 7}});
}

TEST_CASE("words read without a tagger are the same but for their classes") {
  text::WordReader<text::NoTagger> plain;
  CHECK(rc::check("no tagger", [&] {
    const std::string report = *test::random_report();
    const text::Words untagged = plain.read(report), tagged = text::read_words(report);
    RC_ASSERT(untagged.text == tagged.text);
    RC_ASSERT(untagged.spans == tagged.spans);
    RC_ASSERT(untagged.sources == tagged.sources);
    RC_ASSERT(untagged.sentences == tagged.sentences);
    RC_ASSERT(untagged.classes.empty());
  }));
}

TEST_CASE("reading again replaces all") {
  text::WordReader reader;
  text::Words words;
  reader.read("One two. Three four five.", words);
  reader.read("Lungs clear.", words);
  CHECK(words.text == "lungs clear");
  CHECK(words.size() == 2);
  CHECK(words.classes.size() == 2);
  CHECK(words.sources.size() == 2);
  CHECK(words.sentences == std::vector<text::Span>{{0, 2}});
  reader.read("", words);
  CHECK(words.empty());
  CHECK(words.sentences.empty());
}

TEST_CASE("any bytes are read into consistent words") {
  CHECK(rc::check("words", [] {
    const std::string report = *test::random_report();
    const std::size_t max_words = *rc::gen::inRange<std::size_t>(0, 60);
    const text::Words words = text::read_words(report, max_words);
    RC_ASSERT(words.text == text::normalise(report, max_words));
    RC_ASSERT(words.classes.size() == words.size());
    std::uint32_t at = 0;
    for (const text::Span sentence : words.sentences) {
      RC_ASSERT(sentence.begin == at);
      RC_ASSERT(sentence.end > at);
      at = sentence.end;
    }
    RC_ASSERT(at == words.size());
  }));
}
