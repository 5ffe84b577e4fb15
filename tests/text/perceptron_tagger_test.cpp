#include "support/catch.hpp"
#include "tagger/accuracy.hpp"
#include "tagger/corpus.hpp"
#include "tagger/packing.hpp"
#include "text/reports.hpp"

#include <vlp/core/random.hpp>
#include <vlp/io/file.hpp>
#include <vlp/text/antonyms.hpp>
#include <vlp/text/perceptron_tagger.hpp>
#include <vlp/text/perturber.hpp>
#include <vlp/text/words.hpp>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace vlp;
using text::TaggerWeights;
using text::WordClass;

namespace {

/// The classes of the tokens of one sentence as letters: N, J, V, O.
std::string classes_of(const text::PerceptronTagger& tagger, std::string_view sentence) {
  std::vector<text::Span> tokens;
  text::tokenise(sentence, {0, static_cast<std::uint32_t>(sentence.size())}, tokens);
  std::vector<WordClass> classes(tokens.size());
  tagger.tag(sentence, tokens, classes);
  std::string letters;
  for (const WordClass word_class : classes) letters += "NJVO"[static_cast<int>(word_class)];
  return letters;
}

/// Weights that know nothing.
TaggerWeights blank(unsigned feature_bits, unsigned word_bits) {
  return {feature_bits, word_bits, std::vector<std::uint32_t>(8u << feature_bits),
          std::vector<std::uint32_t>(8u << word_bits)};
}

/// Made before the weights and the table are, and so destroyed after any static object that holds them: the
/// test program fails if its destructor cannot tag and perturb as before.
struct PerturbsAtExit {
  ~PerturbsAtExit() {
    text::Words words = text::read_words("Small left pleural effusion.");
    text::PerturbedReport out;
    text::Perturber perturb({.seed = 1});
    perturb(words, text::Perturbation::replace_adjectives_with_antonyms, 0, 0, out);
    if (out.text == "large right pleural effusion") return;
    std::fprintf(stderr, "in a static destructor: \"%s\"\n", out.text.c_str());
    std::_Exit(3);
  }
} perturbs_at_exit;

}  // namespace

TEST_CASE("the tagger and the antonyms live as long as static objects") {
  // They are made now at the latest; perturbs_at_exit is destroyed after this program's last test.
  CHECK_FALSE(text::radiology_antonyms().antonyms("left").empty());
  CHECK(text::read_words("Lungs clear.").size() == 2);
}

TEST_CASE("packed tables hold what fits and nothing else") {
  Random random(5);
  const unsigned bits = 4;
  std::map<std::uint32_t, std::uint32_t> values;
  std::vector<tagger::PackedEntry> entries;
  while (entries.size() < 300) {  // into 128 slots
    const std::uint32_t key = tagger::table_key(random(), bits);
    const std::uint32_t value = 1 + random.below(text::detail::packed_value_mask);
    if (values.emplace(key, value).second)
      entries.push_back({key, value, static_cast<std::int64_t>(entries.size())});
  }
  const std::vector<std::uint32_t> slots = tagger::pack(entries, bits);
  const text::detail::PackedTable table(slots, bits);
  std::map<std::uint32_t, int> better;  // of a bucket: the more important entries
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    const bool fits = better[entry->key % 16]++ < 8;
    CHECK(table.find(entry->key) == (fits ? entry->value : 0));
    CHECK(table.find(entry->key | 1u << (bits + 11)) ==
          table.find(entry->key));  // bits beyond count for nothing
  }
  for (int i = 0; i < 1000; ++i) {
    const std::uint32_t key = tagger::table_key(random(), bits);
    if (!values.contains(key)) CHECK(table.find(key) == 0);
  }
}

TEST_CASE("base 85 gives back the bytes") {
  CHECK(rc::check("base 85", [](std::vector<std::uint32_t> numbers) {
    numbers.push_back(0xffffffffu);
    std::string bytes, decoded;
    for (const std::uint32_t number : numbers) text::detail::append_little_endian(number, bytes);
    const std::string digits = text::detail::encode_base85(bytes);
    RC_ASSERT(digits.size() == 5 * numbers.size());
    RC_ASSERT(digits.find('"') == std::string::npos);
    text::detail::decode_base85(digits, decoded);
    RC_ASSERT(decoded == bytes);
  }));
}

TEST_CASE("weights decide as their definition says") {
  TaggerWeights weights = blank(14, 12);
  CHECK(classes_of(text::PerceptronTagger(weights), "any words tie") ==
        "NNN");  // equal sums: the first class
  const auto word = [](std::string_view token) { return text::detail::perceptron::facts_of(token).word; };
  weights.words = tagger::pack({{tagger::table_key(word("sure"), 12), 3u << 8 | 7u, 1}}, 12);
  // The first feature is the word: verb 63 against noun 5; adjective -64; noun -1, so that other wins.
  const auto feature = [&](std::string_view token) {
    text::detail::perceptron::Window window;
    window[2] = text::detail::perceptron::facts_of(token);
    return tagger::table_key(text::detail::perceptron::features_of(window, false, 4, 4)[0], 14);
  };
  weights.features = tagger::pack({{feature("run"), 63u << 14 | 5u, 1},
                                   {feature("bad"), 64u << 7 | 1u, 1},
                                   {feature("off"), 127u << 14 | 127u << 7 | 127u, 1},
                                   {feature("sure"), 63u, 1}},
                                  14);
  const text::PerceptronTagger tagger(weights);
  CHECK(classes_of(tagger, "run bad off sure RUN") == "VNOVV");
}

TEST_CASE("radiology's style is read") {
  const text::PerceptronTagger tagger;
  CHECK(classes_of(tagger, "Heart size normal.") == "NNJO");
  CHECK(classes_of(tagger, "Lungs clear.") == "NJO");
  CHECK(classes_of(tagger, "Left lower lobe opacity is seen.") == "JJNNVVO");
  CHECK(classes_of(tagger, "A calcified granuloma on the left.") == "OJNOONO");
  CHECK(classes_of(tagger, "no acute cardiopulmonary abnormality") == "OJJN");
  CHECK(classes_of(tagger, "THE LUNGS ARE CLEAR") == "ONVJ");
  CHECK(classes_of(tagger, "") == "");
}

TEST_CASE("tagging does not fail on any bytes and depends on the sentence alone") {
  const text::PerceptronTagger tagger, copy = tagger;
  CHECK(rc::check("any bytes", [&] {
    const std::string report = *test::random_report();
    const std::string letters = classes_of(tagger, report);
    RC_ASSERT(classes_of(copy, report) == letters);
    RC_ASSERT(letters.find_first_not_of("NJVO") == std::string::npos);
  }));
  CHECK(classes_of(tagger, std::string(100000, 'x')).size() == 1);
}

TEST_CASE("the embedded weights are those of the data folder") {
  const std::string bytes = io::read_file(VLP_TEST_TAGGER_WEIGHTS);
  CHECK(TaggerWeights::shipped()->serialise() == bytes);
  CHECK(TaggerWeights::parse(bytes).features == TaggerWeights::shipped()->features);
  CHECK(bytes.size() <= 1000000);
}

TEST_CASE("damaged weights are refused with a reason") {
  const std::string good = blank(1, 2).serialise();
  CHECK(TaggerWeights::parse(good).word_bits == 2);
  const auto message = [](const std::string& bytes) -> std::string {
    try {
      static_cast<void>(TaggerWeights::parse(bytes));
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "none";
  };
  std::string flipped = good, large = good, other = good;
  flipped[30] ^= 1;
  large[8] = 21;
  other[0] = 'V';
  CHECK(message("") == "tagger weights: the data does not start with vlp-tag1");
  CHECK(message(other) == "tagger weights: the data does not start with vlp-tag1");
  CHECK(message(good.substr(0, 12)) == "tagger weights: 12 bytes are no whole file");
  CHECK(message(good + "x") == "tagger weights: 213 bytes where the header calls for 212");
  CHECK(message(flipped) == "tagger weights: the checksum differs, so the data is damaged");
  CHECK(message(large).find("2^21 and 2^2") != std::string::npos);
  TaggerWeights fifth = blank(0, 0);
  fifth.words[0] = 5u << 8;
  CHECK(message(fifth.serialise()) == "tagger weights: a word's class is not one of four");
  TaggerWeights short_by_one = blank(1, 1);
  short_by_one.words.pop_back();
  CHECK_THROWS_AS(text::PerceptronTagger(short_by_one), std::invalid_argument);
  CHECK_THROWS_AS(text::PerceptronTagger(std::shared_ptr<const TaggerWeights>()), std::invalid_argument);
}

TEST_CASE("the tagger agrees with the hand-tagged radiology sentences") {
  const auto folder = test::real_data();
  if (!folder) return;
  const tagger::Corpus corpus = tagger::read_corpus((*folder / "tagged" / "radiology_dev.tsv").string());
  for (const bool lower_cased : {false, true}) {
    const tagger::Confusion confusion = tagger::confusion_of(text::PerceptronTagger(), corpus, lower_cased);
    CHECK(tagger::scored(confusion) > 190);
    CHECK(tagger::percent(tagger::right(confusion), tagger::scored(confusion)) >= 98.0);
  }
}
