#include "support/catch.hpp"
#include "support/messages.hpp"

#include <rapidcheck.h>

#include <vlp/core/random.hpp>
#include <vlp/eval/text_scores.hpp>
#include <vlp/text/normalise.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

using vlp::Index;
using vlp::eval::bleu;
using vlp::eval::exact_match;
using vlp::eval::References;
using vlp::eval::rouge_l;

namespace {

using Texts = std::vector<std::string>;

std::string normal(const std::string& text) {
  return vlp::text::normalise(text, vlp::text::all_words);
}

/// BLEU of one sentence against references, all normalised.
vlp::eval::Bleu bleu_of(const std::string& candidate, const Texts& references) {
  References normalised;
  for (const std::string& reference : references) normalised.push_back(normal(reference));
  return bleu(Texts{normal(candidate)}, std::vector<References>{normalised});
}

vlp::eval::RougeL rouge_of(const std::string& candidate, const Texts& references, double beta = 1) {
  return rouge_l(Texts{candidate}, std::vector<References>{references}, beta);
}

/// The references of Example 1 of Papineni et al., 2002.
const Texts example_1{
    "It is a guide to action that ensures that the military will forever heed Party commands.",
    "It is the guiding principle which guarantees the military forces always being under the command of the "
    "Party.",
    "It is the practical guide for the army always to heed the directions of the party."};

/// Random sequences of eight words, each candidate an edited reference, drawn once by a script.
const Texts drawn{"no opacity left",
                  "opacity opacity",
                  "large left left opacity left",
                  "lung no left",
                  "lung no lung small left right effusion right large right",
                  "no effusion effusion lung no",
                  "effusion no large no",
                  "lung small large effusion effusion left large right"};
const std::vector<References> drawn_references{
    {"no left left opacity", "effusion effusion opacity small small right no effusion"},
    {"small opacity effusion opacity effusion", "effusion left effusion small small"},
    {"large left left left opacity left", "right opacity small left small left small"},
    {"large lung no left", "left lung large no no right opacity"},
    {"lung no lung small left right effusion lung right right", "small opacity lung right large left"},
    {"no effusion lung no", "right large lung lung left lung small lung small no"},
    {"small large no opacity large effusion lung", "effusion no large no"},
    {"lung right small effusion small", "lung small effusion effusion left lung right"}};

std::vector<References> first_of(const std::vector<References>& references) {
  std::vector<References> out;
  for (const References& of : references) out.push_back({of.front()});
  return out;
}

/// A text of up to `longest` words of four.
rc::Gen<std::string> some_text(std::size_t longest) {
  return rc::gen::map(rc::gen::mapcat(rc::gen::inRange<std::size_t>(0, longest + 1),
                                      [](std::size_t words) {
                                        return rc::gen::container<Texts>(
                                            words,
                                            rc::gen::element<std::string>("left", "right", "lung", "tube"));
                                      }),
                      [](const Texts& words) {
                        std::string text;
                        for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
                        return text;
                      });
}

rc::Gen<Texts> some_texts(std::size_t least, std::size_t most, std::size_t longest) {
  return rc::gen::mapcat(rc::gen::inRange(least, most + 1), [longest](std::size_t count) {
    return rc::gen::container<Texts>(count, some_text(longest));
  });
}

std::vector<References> some_references(std::size_t count) {
  std::vector<References> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(*some_texts(1, 3, 8));
  return out;
}

Texts words_of(const std::string& text) {
  Texts words;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

/// Longest common subsequence by its recursive definition.
std::size_t common_subsequence(const Texts& a, const Texts& b, std::size_t i, std::size_t j) {
  if (i == 0 || j == 0) return 0;
  if (a[i - 1] == b[j - 1]) return common_subsequence(a, b, i - 1, j - 1) + 1;
  return std::max(common_subsequence(a, b, i - 1, j), common_subsequence(a, b, i, j - 1));
}

}  // namespace

TEST_CASE("BLEU has the modified precisions of its paper's examples") {
  // Papineni et al., "BLEU: a method for automatic evaluation of machine translation", ACL 2002, sections 2.1
  // and 2.1.1: Example 1, with unigrams 17/18 and 8/14, bigrams 10/17 and 1/13; Example 2, unigrams 2/7,
  // bigrams none; and Example 3, "of the", unigrams 2/2 and bigrams 1/1, which the brevity penalty is for.
  const auto first = bleu_of(
      "It is a guide to action which ensures that the military always obeys the commands of the party.",
      example_1);
  CHECK(first.matches[0] == 17);
  CHECK(first.total[0] == 18);
  CHECK(first.matches[1] == 10);
  CHECK(first.total[1] == 17);
  const auto second = bleu_of(
      "It is to insure the troops forever hearing the activity guidebook that party direct.", example_1);
  CHECK(second.matches[0] == 8);
  CHECK(second.total[0] == 14);
  CHECK(second.matches[1] == 1);
  CHECK(second.total[1] == 13);
  const auto repeated =
      bleu_of("the the the the the the the.", {"The cat is on the mat.", "There is a cat on the mat."});
  CHECK(repeated.matches[0] == 2);
  CHECK(repeated.total[0] == 7);
  CHECK(repeated.matches[1] == 0);
  CHECK(repeated.score[0] == Approx(2.0 / 7));
  CHECK(repeated.score[1] == 0);
  const auto brief = bleu_of("of the", example_1);
  CHECK(brief.matches[0] == 2);
  CHECK(brief.matches[1] == 1);
  CHECK(brief.total[1] == 1);
  CHECK(brief.reference_words == 16);
  CHECK(brief.score[1] == Approx(std::exp(1 - 16.0 / 2)));
  CHECK(brief.score[2] == 0);
}

TEST_CASE("BLEU compares lengths with the closest reference, the shorter one of two") {
  // Section 2.2.2: references of 12, 15 and 17 words, and a candidate of 12, need no penalty.
  const auto of = [](int words) {
    std::string text;
    for (int i = 0; i < words; ++i) text += " w";
    return text;
  };
  const auto length = [&](int candidate, const Texts& references) {
    const auto result = bleu(Texts{of(candidate)}, std::vector<References>{references});
    return std::pair(result.reference_words, result.brevity_penalty);
  };
  CHECK(length(12, {of(17), of(12), of(15)}) == std::pair(Index{12}, 1.0));
  CHECK(length(14, {of(17), of(12), of(15)}) == std::pair(Index{15}, std::exp(1 - 15.0 / 14)));
  CHECK(length(4, {of(6), of(2)}) == std::pair(Index{2}, 1.0));
  CHECK(length(4, {of(2), of(6)}) == std::pair(Index{2}, 1.0));
  CHECK(length(9, {of(6)}) == std::pair(Index{6}, 1.0));
}

TEST_CASE("BLEU of a corpus is that of sacrebleu") {
  // sacrebleu 2.6.0 on the words as they are, without smoothing; nltk 3.10.4 agrees for one and two words (it
  // counts at least one sequence for each candidate, however short).
  const auto several = bleu(drawn, drawn_references);
  CHECK(several.matches == std::array<Index, 4>{37, 22, 13, 6});
  CHECK(several.total == std::array<Index, 4>{40, 32, 24, 17});
  CHECK(several.candidate_words == 40);
  CHECK(several.reference_words == 44);
  CHECK(several.brevity_penalty == Approx(0.9048374180359595).epsilon(1e-12));
  const double expected[] = {0.836974611683263, 0.7215688382167909, 0.6342873748555014, 0.5342970428510937};
  const auto one = bleu(drawn, first_of(drawn_references));
  const double expected_one[] = {0.728059944632291, 0.5667938981825352, 0.4906638853343071,
                                 0.41845295424960227};
  for (std::size_t n = 0; n < 4; ++n) {
    CHECK(several.score[n] == Approx(expected[n]).epsilon(1e-12));
    CHECK(one.score[n] == Approx(expected_one[n]).epsilon(1e-12));
  }
}

TEST_CASE("ROUGE-L has the values of its paper's examples") {
  // Lin, "ROUGE: a package for automatic evaluation of summaries", 2004, section 3.1: S2 has 3/4, S3 has 2/4
  // with beta = 1, and S4, which the longest of its common subsequences alone counts for, 2/4 as well.
  const std::string s1 = "police killed the gunman";
  CHECK(rouge_of("police kill the gunman", {s1}).f == Approx(0.75));
  CHECK(rouge_of("the gunman kill police", {s1}).f == Approx(0.5));
  CHECK(rouge_of("the gunman police killed", {s1}).f == Approx(0.5));
  CHECK(rouge_of("police killed the gunman", {s1}).f == 1);
}

TEST_CASE("ROUGE-L of a corpus is that of rouge-score, and beta weighs recall") {
  // rouge-score 0.1.2, without stemming; for several references, that of the highest F.
  const auto one = rouge_l(drawn, first_of(drawn_references));
  CHECK(one.precision == Approx(0.7802083333333333).epsilon(1e-12));
  CHECK(one.recall == Approx(0.6586309523809523).epsilon(1e-12));
  CHECK(one.f == Approx(0.6903943278943279).epsilon(1e-12));
  const auto several = rouge_l(drawn, drawn_references);
  CHECK(several.precision == Approx(0.8895833333333333).epsilon(1e-12));
  CHECK(several.recall == Approx(0.7800595238095237).epsilon(1e-12));
  CHECK(several.f == Approx(0.8122474747474747).epsilon(1e-12));
  CHECK(rouge_l(drawn, first_of(drawn_references), 1.2).f == Approx(0.6815987565642071).epsilon(1e-12));
  // Precision 1, recall 1/2: (1 + b^2) / (2 + ... ) by the definition.
  CHECK(rouge_of("left lung", {"left lung is clear"}, 2).f == Approx(5 * 0.5 / (0.5 + 4)));
}

TEST_CASE("exact match is that of words, whatever the space between them") {
  const Texts candidates{"left  lung", "left lung", " left lung\n", "lung left", "", "left"};
  const std::vector<References> references{{"x", "left lung"}, {"left lung "}, {"left lung"},
                                           {"left lung"},      {""},           {"leftlung"}};
  CHECK(exact_match(candidates, references) == Approx(4.0 / 6));
}

TEST_CASE("texts that are one of their references have every score 1") {
  CHECK(rc::check([] {
    auto candidates = *some_texts(1, 5, 9);
    for (std::string& candidate : candidates) candidate += " a b c d";
    auto references = some_references(candidates.size());
    for (std::size_t i = 0; i < candidates.size(); ++i) references[i].push_back(candidates[i]);
    RC_ASSERT(exact_match(candidates, references) == 1.0);
    RC_ASSERT(rouge_l(candidates, references).f == 1.0);
    for (const double score : bleu(candidates, references).score) RC_ASSERT(score == 1.0);
  }));
}

TEST_CASE("scores of any texts are from 0 to 1") {
  CHECK(rc::check([] {
    const auto candidates = *some_texts(1, 5, 8);
    const auto references = some_references(candidates.size());
    const auto result = bleu(candidates, references);
    for (std::size_t n = 0; n < 4; ++n) {
      RC_ASSERT(result.score[n] >= 0 && result.score[n] <= 1);
      RC_ASSERT(result.matches[n] <= result.total[n]);
    }
    const auto rouge = rouge_l(candidates, references);
    for (const double value : {rouge.precision, rouge.recall, rouge.f}) RC_ASSERT(value >= 0 && value <= 1);
    RC_ASSERT(rouge.f <= std::max(rouge.precision, rouge.recall) + 1e-12);
  }));
}

TEST_CASE("the order of candidates, and of the references of each, changes no score") {
  CHECK(rc::check([](std::uint32_t seed) {
    const auto candidates = *some_texts(1, 6, 8);
    const auto references = some_references(candidates.size());
    std::vector<std::size_t> order(candidates.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    vlp::Random random(seed);
    random.shuffle(order.begin(), order.end());
    Texts shuffled;
    std::vector<References> shuffled_references;
    for (const std::size_t i : order) {
      shuffled.push_back(candidates[i]);
      shuffled_references.push_back(references[i]);
      random.shuffle(shuffled_references.back().begin(), shuffled_references.back().end());
    }
    const auto one = bleu(candidates, references), other = bleu(shuffled, shuffled_references);
    RC_ASSERT(one.score == other.score);
    RC_ASSERT(one.reference_words == other.reference_words);
    RC_ASSERT(std::abs(rouge_l(candidates, references).f - rouge_l(shuffled, shuffled_references).f) < 1e-12);
    RC_ASSERT(exact_match(candidates, references) == exact_match(shuffled, shuffled_references));
  }));
}

TEST_CASE("ROUGE-L is made of the longest common subsequence by its definition") {
  CHECK(rc::check([] {
    const std::string candidate = *some_text(7), reference = *some_text(7);
    const Texts a = words_of(candidate), b = words_of(reference);
    const auto common = static_cast<double>(common_subsequence(a, b, a.size(), b.size()));
    const auto result = rouge_of(candidate, {reference});
    RC_ASSERT(std::abs(result.precision * static_cast<double>(a.size()) - common) < 1e-9);
    RC_ASSERT(std::abs(result.recall * static_cast<double>(b.size()) - common) < 1e-9);
    const double sum = static_cast<double>(a.size() + b.size());
    if (sum > 0) RC_ASSERT(std::abs(result.f - 2 * common / sum) < 1e-12);
  }));
}

TEST_CASE("candidates or references without words score 0, and no candidates NaN") {
  for (const std::string text : {"", " \n"}) {
    for (const auto& result :
         {bleu_of(text, {"left lung"}), bleu_of("left lung", {text}), bleu_of(text, {text})})
      for (const double score : result.score) CHECK(score == 0);
    CHECK(rouge_of(text, {"left lung"}).f == 0);
    CHECK(rouge_of("left lung", {text}).recall == 0);
    CHECK(rouge_of(text, {text}).f == 0);
  }
  CHECK(bleu_of("", {"left lung"}).brevity_penalty == 0);
  // Three words have no sequence of four, so a perfect short text has a BLEU-4 of 0, as in sacrebleu.
  CHECK(bleu_of("no acute disease", {"no acute disease"}).score == std::array<double, 4>{1, 1, 1, 0});
  const auto none = bleu({}, {});
  for (const double score : none.score) CHECK(std::isnan(score));
  CHECK(std::isnan(none.brevity_penalty));
  CHECK(std::isnan(rouge_l({}, {}).f));
  CHECK(std::isnan(exact_match({}, {})));
}

TEST_CASE("scores of texts refuse references that do not fit") {
  const Texts two{"a", "b"};
  const std::vector<References> one{{"a"}}, hole{{"a"}, {}};
  const auto message = [](auto&& action) {
    return vlp::test::message_of<std::invalid_argument>([&] { static_cast<void>(action()); });
  };
  CHECK(message([&] { return bleu(two, one); }) == "bleu: there are 2 candidates but references of 1");
  CHECK(message([&] { return rouge_l(two, one); }) == "rouge_l: there are 2 candidates but references of 1");
  CHECK(message([&] { return exact_match(two, one); }) ==
        "exact_match: there are 2 candidates but references of 1");
  CHECK(message([&] { return bleu(two, hole); }) == "bleu: candidate 1 has no reference");
  CHECK(message([&] { return rouge_l(two, hole); }) == "rouge_l: candidate 1 has no reference");
  CHECK(message([&] { return exact_match(two, hole); }) == "exact_match: candidate 1 has no reference");
  for (const double beta : {0.0, -1.0, std::nan(""), HUGE_VAL})
    CHECK_THROWS_AS(rouge_of("a", {"a"}, beta), std::invalid_argument);
  CHECK(message([&] { return rouge_of("a", {"a"}, 0); }) ==
        "rouge_l: beta must be a positive number, but is 0");
}
