#include "support/catch.hpp"
#include "text/reports.hpp"

#include <vlp/text/perturbation.hpp>
#include <vlp/text/perturber.hpp>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <string_view>
#include <vector>

using namespace vlp;
using text::Perturbation;
using text::PerturbationScope;
using text::Span;
using text::WordClass;
using text::Words;

namespace {

std::vector<std::string> sorted_words(std::string_view report) {
  std::vector<std::string> words;
  for (std::size_t begin = 0; begin < report.size();) {
    const std::size_t end = std::min(report.find(' ', begin), report.size());
    words.emplace_back(report.substr(begin, end - begin));
    begin = end + 1;
  }
  std::sort(words.begin(), words.end());
  return words;
}

/// The class that shuffles 1, 2 and 7 move a word in; words move among positions of their group. -1: stays.
int group(Perturbation perturbation, WordClass word_class) {
  const bool is_noun = word_class == WordClass::noun, is_adjective = word_class == WordClass::adjective;
  switch (perturbation) {
    case Perturbation::shuffle_nouns_and_adjectives:
      return is_noun ? 0 : is_adjective ? 1 : -1;
    case Perturbation::shuffle_all_but_nouns_and_adjectives:
      return is_noun || is_adjective ? -1 : 0;
    case Perturbation::shuffle_nouns_verbs_and_adjectives:
      return word_class == WordClass::other ? -1 : 0;
    default:
      return 0;
  }
}

/// Whether a perturbation of one sentence may lead to this order, straight from its definition.
bool allowed(Perturbation perturbation, const Words& words, Span range,
             const std::vector<std::uint32_t>& order) {
  const std::uint32_t n = range.size();
  for (std::uint32_t p = 0; p < n; ++p) {
    const std::uint32_t from = order[range.begin + p] - range.begin;
    if (from >= n) return false;
    const int target = group(perturbation, words.classes[range.begin + p]);
    const int source = group(perturbation, words.classes[range.begin + from]);
    if (target != source || (target < 0 && from != p)) return false;
    switch (perturbation) {
      case Perturbation::shuffle_within_trigrams:
        if (from / 3 != p / 3) return false;
        break;
      case Perturbation::shuffle_trigrams:
        if (from % 3 != 0 && (p == 0 || order[range.begin + p - 1] + 1 != order[range.begin + p]))
          return false;
        break;
      case Perturbation::reverse_sentence:
        if (from != n - 1 - p) return false;
        break;
      case Perturbation::swap_adjacent_words:
        if (from != ((p ^ 1u) < n ? (p ^ 1u) : p)) return false;
        break;
      case Perturbation::replace_adjectives_with_antonyms:
        if (from != p) return false;
        break;
      default:
        break;
    }
  }
  return true;
}

/// Every promise about one perturbed report.
void check_promises(const Words& words, Perturbation perturbation, PerturbationScope scope,
                    const text::PerturbedReport& out) {
  RC_ASSERT(out.changed == (out.text != words.text));
  RC_ASSERT(out.size() == words.size());
  RC_ASSERT(out.order.size() == words.size());
  std::vector<std::uint32_t> order = out.order;
  std::sort(order.begin(), order.end());
  for (std::uint32_t i = 0; i < order.size(); ++i) RC_ASSERT(order[i] == i);
  std::string joined;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::string_view original = words[out.order[i]];
    if (perturbation != Perturbation::replace_adjectives_with_antonyms)
      RC_ASSERT(out[i] == original);
    else if (out[i] != original)
      RC_ASSERT(words.classes[i] == WordClass::adjective);
    joined += (i > 0 ? " " : "") + std::string(out[i]);
  }
  RC_ASSERT(joined == out.text);
  if (perturbation != Perturbation::replace_adjectives_with_antonyms)
    RC_ASSERT(sorted_words(out.text) == sorted_words(words.text));
  if (scope == PerturbationScope::sentence)
    for (const Span sentence : words.sentences) RC_ASSERT(allowed(perturbation, words, sentence, out.order));
  else
    RC_ASSERT(allowed(perturbation, words, {0, static_cast<std::uint32_t>(words.size())}, out.order));
}

/// Whether any allowed order reads differently, by trying all. For short reports.
bool different_exists(Perturbation perturbation, const Words& words) {
  std::vector<std::uint32_t> order(words.size());
  std::iota(order.begin(), order.end(), 0u);
  const Span all{0, static_cast<std::uint32_t>(words.size())};
  do {
    if (!allowed(perturbation, words, all, order)) continue;
    for (std::size_t i = 0; i < order.size(); ++i)
      if (words[order[i]] != words[i]) return true;
  } while (std::next_permutation(order.begin(), order.end()));
  return false;
}

text::PerturbedReport perturbed(const Words& words, Perturbation perturbation,
                                text::PerturberOptions options = {}, std::uint32_t epoch = 0,
                                std::uint32_t report = 0) {
  text::Perturber perturb(options);
  text::PerturbedReport out;
  perturb(words, perturbation, epoch, report, out);
  return out;
}

}  // namespace

TEST_CASE("perturbations have fixed numbers and names") {
  for (std::uint32_t i = 0; i < 9; ++i) {
    const Perturbation perturbation = text::all_perturbations[i];
    CHECK(number(perturbation) == i + 1);
    CHECK(text::parse_perturbation(name(perturbation)) == perturbation);
    CHECK(text::parse_perturbation(std::to_string(i + 1)) == perturbation);
  }
  CHECK(name(Perturbation::reverse_sentence) == "reverse_sentence");
  CHECK(text::parse_perturbations("all").size() == 9);
  CHECK(text::parse_perturbations("9,reverse_sentence") ==
        std::vector{Perturbation::swap_adjacent_words, Perturbation::reverse_sentence});
  for (const char* bad : {"", "0", "10", "1,", ",1", "1,1", "reverse", "01", "all,1", "1 "})
    CHECK_THROWS_AS(text::parse_perturbations(bad), std::invalid_argument);
  CHECK_THROWS_AS(name(static_cast<Perturbation>(0)), std::invalid_argument);
}

TEST_CASE("the perturbations without a choice") {
  const Words words = text::read_words("The left lung is clear, no acute disease.");
  CHECK(perturbed(words, Perturbation::reverse_sentence).text == "disease acute no clear, is lung left the");
  CHECK(perturbed(words, Perturbation::swap_adjacent_words).text ==
        "left the is lung no clear, disease acute");
  const text::AntonymTable table(
      std::vector<text::AntonymPair>{{"left", "right"}, {"clear", "hazy"}, {"is", "was"}});
  text::Perturber perturb({}, table);
  text::PerturbedReport out;
  perturb(words, Perturbation::replace_adjectives_with_antonyms, 0, 0, out);
  CHECK(out.text == "the right lung is hazy, no acute disease");
  CHECK(out.changed);
}

TEST_CASE("sentences are perturbed on their own") {
  const Words words = text::read_words("Left lung clear. No effusion seen. Stable.");
  const text::PerturberOptions options{.seed = 1, .scope = PerturbationScope::sentence};
  CHECK(perturbed(words, Perturbation::reverse_sentence, options).text ==
        "clear lung left seen effusion no stable");
  CHECK(perturbed(words, Perturbation::swap_adjacent_words, options).text ==
        "lung left clear effusion no seen stable");
}

TEST_CASE("the draws are the same on every platform") {
  const Words words = text::read_words(
      "There is a small left pleural effusion. The heart is mildly enlarged, lungs are clear.");
  const text::PerturberOptions options{.seed = 2024};
  std::string all;
  for (const Perturbation perturbation : text::all_perturbations)
    all += perturbed(words, perturbation, options, 3, 7).text + '\n';
  CHECK(all == R"(there is a pleural left enlarged, heart the effusion is mildly small lungs are clear
there are the small left pleural effusion is heart mildly is enlarged, lungs a clear
there is a left pleural small heart effusion the enlarged, is mildly clear lungs are
effusion the heart there is a lungs are clear is mildly enlarged, small left pleural
heart pleural there the a is lungs enlarged, clear small effusion left is are mildly
clear are lungs enlarged, mildly is heart the effusion pleural left small a is there
there is a effusion left heart enlarged, the are small mildly lungs is pleural clear
there is a big right pleural effusion the heart is mildly normal-sized, lungs are opacified
is there small a pleural left the effusion is heart enlarged, mildly are lungs clear
)");
}

TEST_CASE("every address of a draw gives another and the same twice") {
  std::string report;
  for (int i = 0; i < 40; ++i) report += "word" + std::to_string(i) + ' ';
  const Words words = text::read_words(report);
  std::set<std::string> texts;
  for (std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 32})
    for (std::uint32_t epoch : {0u, 1u})
      for (std::uint32_t index : {0u, 1u}) {
        const auto draw = perturbed(words, Perturbation::shuffle_all_words, {.seed = seed}, epoch, index);
        texts.insert(draw.text);
        CHECK(perturbed(words, Perturbation::shuffle_all_words, {.seed = seed}, epoch, index).text ==
              draw.text);
      }
  CHECK(texts.size() == 12);
  // What was drawn before does not matter.
  text::Perturber perturb({.seed = 5});
  text::PerturbedReport first, second;
  perturb(words, Perturbation::shuffle_trigrams, 1, 2, first);
  perturb(words, Perturbation::shuffle_all_words, 1, 2, second);
  perturb(words, Perturbation::shuffle_trigrams, 1, 2, second);
  CHECK(first.text == second.text);
}

TEST_CASE("the promises hold for any bytes") {
  CHECK(rc::check("promises", [] {
    const Words words = text::read_words(*test::random_report(), *rc::gen::inRange<std::size_t>(0, 60));
    const auto scope = *rc::gen::element(PerturbationScope::report, PerturbationScope::sentence);
    const text::PerturberOptions options{.seed = *rc::gen::arbitrary<std::uint64_t>(), .scope = scope};
    const auto report = *rc::gen::arbitrary<std::uint32_t>();
    for (const Perturbation perturbation : text::all_perturbations)
      check_promises(words, perturbation, scope, perturbed(words, perturbation, options, 0, report));
  }));
}

TEST_CASE("five perturbations ask for no classes and draw the same without") {
  text::WordReader<text::NoTagger> plain;
  CHECK(rc::check("no classes", [&] {
    const std::string report = *test::random_report();
    const Words untagged = plain.read(report), tagged = text::read_words(report);
    for (const Perturbation perturbation : text::all_perturbations) {
      if (needs_word_classes(perturbation)) {
        if (!untagged.empty()) RC_ASSERT_THROWS_AS(perturbed(untagged, perturbation), std::invalid_argument);
        continue;
      }
      const auto without = perturbed(untagged, perturbation), with = perturbed(tagged, perturbation);
      RC_ASSERT(without.text == with.text);
      RC_ASSERT(without.spans == with.spans);
      RC_ASSERT(without.order == with.order);
      RC_ASSERT(without.changed == with.changed);
    }
  }));
  std::vector<std::uint32_t> asking;
  for (const Perturbation perturbation : text::all_perturbations)
    if (needs_word_classes(perturbation)) asking.push_back(number(perturbation));
  CHECK(asking == std::vector<std::uint32_t>{1, 2, 7, 8});
  const Words half = test::make_words({"a", "b"}, {WordClass::noun});
  CHECK_THROWS_AS(perturbed(half, Perturbation::reverse_sentence), std::invalid_argument);
}

TEST_CASE("words of every length are joined whole") {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < 40; ++i)
    names.push_back(std::string((i * 7) % 40 + 1, static_cast<char>('a' + i % 26)));
  for (std::size_t first = 0; first < names.size(); ++first) {
    const std::vector<std::string> part(names.begin() + static_cast<std::ptrdiff_t>(first), names.end());
    const Words words = test::make_words(part, std::vector(part.size(), WordClass::other));
    std::string reversed;
    for (auto word = part.rbegin(); word != part.rend(); ++word)
      reversed += (reversed.empty() ? "" : " ") + *word;
    CHECK(perturbed(words, Perturbation::reverse_sentence).text == reversed);
  }
}

TEST_CASE("a report changes exactly if another arrangement exists") {
  CHECK(rc::check("existence", [] {
    const auto size = *rc::gen::inRange<std::size_t>(0, 8);
    const auto classes = *rc::gen::container<std::vector<WordClass>>(
        size, rc::gen::element(WordClass::noun, WordClass::adjective, WordClass::verb, WordClass::other));
    const auto names =
        *rc::gen::container<std::vector<std::string>>(size, rc::gen::element<std::string>("a", "b"));
    const Words words = test::make_words(names, classes);
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    for (const Perturbation perturbation : text::all_perturbations) {
      const auto out = perturbed(words, perturbation, {.seed = seed});
      check_promises(words, perturbation, PerturbationScope::report, out);
      RC_ASSERT(out.changed == different_exists(perturbation, words));
    }
  }));
}

TEST_CASE("every short report of two different words changes exactly if it can") {
  for (std::size_t size = 0; size <= 7; ++size) {
    for (unsigned bits = 0; bits < 1u << size; ++bits) {
      std::vector<std::string> names;
      for (std::size_t i = 0; i < size; ++i) names.emplace_back((bits >> i & 1u) != 0 ? "b" : "a");
      const Words words = test::make_words(names, std::vector(size, WordClass::other));
      for (const Perturbation perturbation :
           {Perturbation::shuffle_within_trigrams, Perturbation::shuffle_trigrams,
            Perturbation::shuffle_all_words, Perturbation::reverse_sentence,
            Perturbation::swap_adjacent_words}) {
        INFO(words.text << ": " << name(perturbation));
        CHECK(perturbed(words, perturbation, {.seed = bits}).changed ==
              different_exists(perturbation, words));
      }
    }
  }
}

TEST_CASE("draws are uniform over the arrangements that differ") {
  const Words words = test::make_words({"a", "b", "c"}, std::vector(3, WordClass::noun));
  std::map<std::string, int> counts;
  text::Perturber perturb({.seed = 3});
  text::PerturbedReport out;
  for (std::uint32_t i = 0; i < 5000; ++i) {
    perturb(words, Perturbation::shuffle_all_words, 0, i, out);
    ++counts[out.text];
  }
  CHECK(counts.size() == 5);
  for (const auto& [order, count] : counts) CHECK(std::abs(count - 1000) < 150);
}

TEST_CASE("adversarial reports") {
  std::string equal, alternating, almost;
  for (int i = 0; i < 10000; ++i) {
    equal += "clear. ";
    alternating += i % 2 == 0 ? "left " : "lung ";
    almost += i == 9999 ? "right " : "left ";
  }
  for (const auto scope : {PerturbationScope::report, PerturbationScope::sentence}) {
    for (const Perturbation perturbation : text::all_perturbations) {
      const text::PerturberOptions options{.seed = 1, .scope = scope};
      INFO(name(perturbation));
      CHECK_FALSE(perturbed(text::read_words(""), perturbation, options).changed);
      CHECK(perturbed(text::read_words(""), perturbation, options).text.empty());
      CHECK_FALSE(perturbed(text::read_words("lung"), perturbation, options).changed);
      CHECK(perturbed(text::read_words("lung"), perturbation, options).text == "lung");
      const bool replaces = perturbation == Perturbation::replace_adjectives_with_antonyms;
      CHECK(perturbed(text::read_words(equal, text::all_words), perturbation, options).changed == replaces);
      CHECK(perturbed(text::read_words(alternating, text::all_words), perturbation, options).size() == 10000);
    }
  }
  const Words words = text::read_words(almost, text::all_words);
  CHECK(words.size() == 10000);
  for (const Perturbation perturbation :
       {Perturbation::shuffle_within_trigrams, Perturbation::shuffle_trigrams,
        Perturbation::shuffle_all_words, Perturbation::reverse_sentence, Perturbation::swap_adjacent_words}) {
    // The last run of three is the odd word alone, which shuffle_within_trigrams cannot move.
    CHECK(perturbed(words, perturbation).changed == (perturbation != Perturbation::shuffle_within_trigrams));
  }
}

TEST_CASE("a perturbation of one's own") {
  const Words words = text::read_words("Left lung clear. No effusion.");
  text::Perturber perturb({.seed = 1, .scope = PerturbationScope::sentence});
  text::PerturbedReport out;
  const auto rotate = [](const Words&, Span range, Random&, text::Draft& draft) {
    std::rotate(draft.order.begin() + range.begin, draft.order.begin() + range.begin + 1,
                draft.order.begin() + range.end);
  };
  perturb(words, rotate, 10, 0, 0, out);
  CHECK(out.text == "lung clear left effusion no");
  CHECK(out.changed);
  perturb(
      words, [](const Words&, Span, Random&, text::Draft& draft) { draft.replacements[1] = "heart"; }, 11, 0,
      0, out);
  CHECK(out.text == "left heart clear no effusion");
  perturb(
      words, [](const Words&, Span, Random&, text::Draft&) {}, 11, 0, 0, out);
  CHECK_FALSE(out.changed);
  const auto shrink = [](const Words&, Span, Random&, text::Draft& draft) { draft.order.resize(1); };
  const auto outside = [](const Words&, Span, Random&, text::Draft& draft) { draft.order[0] = 5; };
  const auto two_words = [](const Words&, Span, Random&, text::Draft& draft) {
    draft.replacements[0] = "a b";
  };
  CHECK_THROWS_AS(perturb(words, shrink, 10, 0, 0, out), std::invalid_argument);
  CHECK_THROWS_AS(perturb(words, outside, 10, 0, 0, out), std::invalid_argument);
  CHECK_THROWS_AS(perturb(words, two_words, 10, 0, 0, out), std::invalid_argument);
  CHECK_THROWS_AS(perturb(words, rotate, 9, 0, 0, out), std::invalid_argument);
  CHECK_THROWS_AS(perturb(test::make_words({"a", "b"}, {}), rotate, 10, 0, 0, out), std::invalid_argument);
  CHECK_THROWS_AS(perturb(words, static_cast<Perturbation>(10), 0, 0, out), std::invalid_argument);
}

TEST_CASE("the promises hold for every Open-I report") {
  std::uint32_t index = 0;
  std::array<int, 9> changed{};
  text::WordReader reader;
  Words words;
  text::PerturbedReport out;
  for (const auto scope : {PerturbationScope::report, PerturbationScope::sentence}) {
    text::Perturber perturb({.seed = 1, .scope = scope});
    for (const std::string& report : test::open_i_reports()) {
      reader.read(report, words);
      for (const Perturbation perturbation : text::all_perturbations) {
        perturb(words, perturbation, 0, index, out);
        REQUIRE_NOTHROW(check_promises(words, perturbation, scope, out));
        if (scope == PerturbationScope::report) changed[number(perturbation) - 1] += out.changed ? 1 : 0;
      }
      ++index;
    }
  }
  if (index == 0) return;
  for (const Perturbation perturbation : text::all_perturbations) {
    INFO(name(perturbation) << " changes " << changed[number(perturbation) - 1] << " of " << index / 2);
    CHECK(changed[number(perturbation) - 1] >= 3700);
  }
}
