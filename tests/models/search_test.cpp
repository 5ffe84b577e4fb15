// Greedy and beam search over toy token models whose best texts are found by enumerating all.
#include "models/toy_token_model.hpp"
#include "support/catch.hpp"
#include "support/guarded_device.hpp"
#include "support/messages.hpp"

#include <rapidcheck.h>

#include <vlp/core/cpu.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/models/search.hpp>
#include <vlp/models/token_model.hpp>

#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

using namespace vlp;
using namespace vlp::test;

TEST_CASE("a beam of full width finds the best of all texts") {
  for (std::uint32_t seed = 0; seed < 40; ++seed) {
    SearchOptions o = small_search();
    o.beam = 200;  // there are 3^3 texts of the longest length, with 4 continuations each
    o.length_penalty = seed % 3;
    o.no_repeat = seed % 4;
    const auto logits = drawn_logits(seed, 5);
    const auto found = searched(logits, 2, o);
    REQUIRE(found.size() == 2);
    for (Index c = 0; c < 2; ++c) check_same(found[static_cast<std::size_t>(c)], best_of_all(logits, c, o));
  }
}

TEST_CASE("a beam of 1 takes the most probable token each time") {
  CHECK(rc::check([] {
    SearchOptions o = drawn_options();
    o.beam = 1;
    const auto logits = drawn_logits(*rc::gen::arbitrary<std::uint32_t>(), 5, *rc::gen::arbitrary<bool>());
    const FoundText found = searched(logits, 1, o).at(0), wanted = greedy(logits, 0, o);
    RC_ASSERT(found.tokens == wanted.tokens);
    RC_ASSERT(found.is_cut == wanted.is_cut);
    RC_ASSERT(std::abs(found.log_probability - wanted.log_probability) < 1e-12);
    RC_ASSERT(std::abs(found.score - wanted.score) < 1e-12);
  }));
}

TEST_CASE("a beam never finds a text of a lower score than the greedy one") {
  int lost = 0;  // by a beam that does not keep the greedy text
  for (std::uint32_t seed = 0; seed < 2000; ++seed) {
    SearchOptions o = small_search();
    o.longest = 5;
    o.length_penalty = 0.5 * (seed % 4);
    o.no_repeat = seed % 3;
    const auto logits = steep_logits(seed, 5);
    const double greedy_score = searched(logits, 1, o).at(0).score;
    o.beam = 2 + seed % 3;
    CHECK(searched(logits, 1, o).at(0).score >= greedy_score);
    lost += reference_beam(logits, o, false).score < greedy_score - 1e-9;
  }
  CHECK(lost > 5);
}

TEST_CASE("a beam is the one that is defined") {
  for (std::uint32_t seed = 0; seed < 2000; ++seed) {
    SearchOptions o = small_search();
    o.longest = 5;
    o.beam = 1 + seed % 5;
    o.length_penalty = 0.5 * (seed % 4);
    o.no_repeat = seed % 3;
    const auto logits = seed % 2 == 0 ? drawn_logits(seed, 5) : steep_logits(seed, 5);
    INFO("seed " << seed);
    check_same(searched(logits, 1, o).at(0), reference_beam(logits, o, true));
  }
}

TEST_CASE("the greedy text stays though a beam would lose it") {
  // Token 2 is the most probable first one; its continuations are all unlikely but for one, which comes
  // after 3 and 4 have filled a beam of two with texts that go on well and end badly.
  const auto logits = [](Index, const Text& text) {
    const auto row = [](std::vector<double> probabilities) {
      for (double& p : probabilities) p = std::log(p);
      return probabilities;
    };
    const double no = 1e-6;
    if (text.size() == 1) return row({no, no, 0.4, 0.3, 0.3, no});
    const std::int32_t first = text[1];
    if (text.size() == 2)
      return first == 2 ? row({no, 0.1, 0.3, 0.2, 0.2, 0.2}) : row({no, no, no, 1, no, no});
    if (text.size() == 3 && first == 2) return row({no, 1, no, no, no, no});
    return row({no, 1e-5, 0.5, 0.5, 0.5, 0.5});
  };
  SearchOptions o = small_search();
  o.beam = 2;
  const FoundText found = searched(logits, 1, o).at(0);
  CHECK(found.tokens == Text{2, 2});
  CHECK(found == searched(logits, 1, small_search()).at(0));
}

TEST_CASE("scores are those of the text's own tokens") {
  CHECK(rc::check([] {
    const SearchOptions o = drawn_options();
    const auto logits = drawn_logits(*rc::gen::arbitrary<std::uint32_t>(), 5);
    const FoundText found = searched(logits, 1, o).at(0);
    RC_ASSERT(static_cast<Index>(found.tokens.size()) <= o.longest);
    RC_ASSERT(allowed(o, found.tokens));
    bool is_there = false;
    for_each_text(logits, 0, o, {}, 0, [&](const Text& text, double log_probability) {
      if (text != found.tokens) return;
      is_there = true;
      RC_ASSERT(std::abs(log_probability - found.log_probability) < 1e-12);
      RC_ASSERT(std::abs(penalised(log_probability, text.size(), o.length_penalty) - found.score) < 1e-12);
    });
    RC_ASSERT(is_there);
  }));
}

TEST_CASE("several contexts are searched as each would be alone") {
  CHECK(rc::check([] {
    const SearchOptions o = drawn_options();
    const auto logits = drawn_logits(*rc::gen::arbitrary<std::uint32_t>(), 5);
    const auto together = searched(logits, 4, o);
    for (Index c = 0; c < 4; ++c) {
      const auto alone = searched([&](Index, const Text& text) { return logits(c, text); }, 1, o);
      RC_ASSERT(together[static_cast<std::size_t>(c)] == alone.at(0));
    }
  }));
}

TEST_CASE("the length penalty is that of Wu et al.") {
  // P(end) = 1/2, P(2, end) = 1/2 * 9/10, so that a penalty of 0 ends at once and a larger one writes 2.
  const auto logits = [](Index, const Text& text) {
    return text.size() == 1 ? std::vector<double>{-50, std::log(0.5), std::log(0.5)}
                            : std::vector<double>{-50, std::log(0.9), std::log(0.1)};
  };
  SearchOptions o{.beam = 2, .longest = 2, .begin = 0, .end = 1, .never = {0}};
  const FoundText plain = searched(logits, 1, o).at(0);
  CHECK(plain.tokens.empty());
  CHECK_FALSE(plain.is_cut);
  CHECK(std::abs(plain.score - std::log(0.5)) < 1e-12);
  o.length_penalty = 2;
  const FoundText longer = searched(logits, 1, o).at(0);
  CHECK(longer.tokens == Text{2});
  CHECK(std::abs(longer.log_probability - std::log(0.45)) < 1e-12);
  CHECK(std::abs(longer.score - std::log(0.45) / (49.0 / 36)) < 1e-12);
}

TEST_CASE("a text of the longest length ends there, and says whether it was cut") {
  const auto never_ends = [](Index, const Text&) { return std::vector<double>{0, -1, 2, 1}; };
  const auto ends_in_time = [](Index, const Text& text) {
    return text.size() < 4 ? std::vector<double>{0, -1, 2, 1} : std::vector<double>{0, 3, 2, 1};
  };
  const Index beam = GENERATE(1, 3);
  SearchOptions o = small_search();
  o.beam = beam;
  o.length_penalty = 9;  // or else an early end wins in the beam
  const FoundText cut = searched(never_ends, 1, o).at(0);
  CHECK(cut.tokens == Text{2, 2, 2});
  CHECK(cut.is_cut);
  const double z = std::log(1 + std::exp(-1) + std::exp(2) + std::exp(1));
  CHECK(std::abs(cut.log_probability - (3 * 2 - 1 - 4 * z)) < 1e-12);
  const FoundText whole = searched(ends_in_time, 1, o).at(0);
  CHECK(whole.tokens == Text{2, 2, 2});
  CHECK_FALSE(whole.is_cut);
}

TEST_CASE("no n tokens in a row are written twice") {
  const auto loops = [](Index, const Text& text) {
    std::vector<double> logits{0, -9, 0, 0, 0};
    logits[static_cast<std::size_t>(text.back() < 2 || text.back() == 4 ? 2 : text.back() + 1)] = 5;
    return logits;
  };
  SearchOptions o = small_search();
  o.longest = 8;
  CHECK(searched(loops, 1, o).at(0).tokens == Text{2, 3, 4, 2, 3, 4, 2, 3});
  o.no_repeat = 3;
  const Text text = searched(loops, 1, o).at(0).tokens;
  CHECK(Text(text.begin(), text.begin() + 5) == Text{2, 3, 4, 2, 3});
  CHECK(text[5] != 4);
  CHECK_FALSE(repeats(text, 3));
  o.no_repeat = 1;
  const FoundText each_once = searched(loops, 1, o).at(0);
  CHECK(each_once.tokens == Text{2, 3, 4});
  CHECK_FALSE(each_once.is_cut);  // nothing else was allowed
}

TEST_CASE("of equals the smaller token comes first") {
  const auto alike = [](Index, const Text& text) {
    return text.size() < 3 ? std::vector<double>{1, 0, 1, 1, 1} : std::vector<double>{1, 30, 1, 1, 1};
  };
  const Index beam = GENERATE(1, 2, 3, 4, 50);
  SearchOptions o = small_search();
  o.beam = beam;
  o.length_penalty = 9;
  CHECK(searched(alike, 1, o).at(0).tokens == Text{2, 2});
}

TEST_CASE("tokens without probability are never written") {
  const auto only_three = [](Index, const Text& text) {
    if (text.size() < 3) return std::vector<double>{-infinity, -infinity, -infinity, 0};
    return std::vector<double>{-infinity, 1, -infinity, 0};
  };
  SearchOptions o = small_search();
  o.beam = 3;
  CHECK(searched(only_three, 1, o).at(0).tokens == Text{3, 3});
  // Nothing that may be written has any: the text ends.
  o.never = {0, 3};
  const FoundText nothing = searched(only_three, 1, o).at(0);
  CHECK(nothing.tokens.empty());
  CHECK(nothing.log_probability == -infinity);
  CHECK(nothing.is_cut);
}

TEST_CASE("a search asks for no more texts than the beam and the greedy one, and stops when none can win") {
  Cpu device(1);
  SearchOptions o = small_search();
  o.beam = 2;
  o.longest = 50;
  ToyModel<> wide([](Index, const Text&) { return std::vector<double>{0, -1, 0, 0, 0}; });
  static_cast<void>(search(device, wide, 3, o));
  CHECK(wide.most_texts <= 9);
  ToyModel<> sure([](Index, const Text&) { return std::vector<double>{0, 9, 0, 0, 0}; });
  static_cast<void>(search(device, sure, 3, o));
  CHECK(sure.calls == 1);
  ToyModel<> none(drawn_logits(1, 5));
  CHECK(search(device, none, 0, o).empty());
  CHECK(none.calls == 0);
}

TEST_CASE("an ensemble writes by the geometric mean of two models") {
  const auto first = drawn_logits(1, 5), second = drawn_logits(2, 5);
  const auto mean = [&](Index context, const Text& text) {
    std::vector<double> a = log_probabilities(first(context, text));
    const std::vector<double> b = log_probabilities(second(context, text));
    for (std::size_t i = 0; i < a.size(); ++i) a[i] = (a[i] + b[i]) / 2;
    return a;
  };
  SearchOptions o = small_search();
  o.beam = 3;
  Cpu device(1);
  ToyModel<> one(first), other(second);
  Both<Cpu> both(one, other);
  const auto found = search(device, both, 3, o);
  const auto wanted = searched(mean, 3, o);
  for (std::size_t c = 0; c < 3; ++c) check_same(found[c], wanted[c]);
  // A model with itself writes as it does alone.
  ToyModel<> same(first), again(first);
  Both<Cpu> twice(same, again);
  check_same(search(device, twice, 1, o).at(0), searched(first, 1, o).at(0));

  ToyModel<> five(first), four(drawn_logits(1, 4));
  CHECK_THROWS_WITH(Both<Cpu>(five, four),
                    "TokenEnsemble: the models have vocabularies of 5 and of 4 tokens");
}

TEST_CASE("a search reads device memory by transfers alone") {
  test::Guarded device;
  const auto first = drawn_logits(1, 5), second = drawn_logits(2, 5);
  ToyModel<test::Guarded> one(first), other(second), alone(first);
  Both<test::Guarded> both(one, other);
  SearchOptions o = small_search();
  o.beam = 3;
  CHECK(search(device, both, 2, o).size() == 2);
  check_same(search(device, alone, 1, o).at(0), searched(first, 1, o).at(0));
}

TEST_CASE("a search refuses options out of range and logits that are not finite") {
  const auto logits = drawn_logits(1, 5);
  const auto refused = [&](auto&& change) {
    SearchOptions o = small_search();
    change(o);
    return test::message_of<std::invalid_argument>([&] { static_cast<void>(searched(logits, 1, o)); });
  };
  CHECK(refused([](auto& o) { o.beam = 0; }) == "beam must be from 1 to 1000000, but is 0");
  CHECK(refused([](auto& o) { o.longest = 0; }) == "longest must be from 1 to 1000000, but is 0");
  CHECK(refused([](auto& o) { o.no_repeat = -1; }) == "no-repeat must be from 0 to 1000000, but is -1");
  CHECK(refused([](auto& o) { o.length_penalty = -0.5; }) ==
        "length-penalty must be 0 or a positive number, but is -0.5");
  CHECK(refused([](auto& o) { o.length_penalty = infinity; }) ==
        "length-penalty must be 0 or a positive number, but is inf");
  CHECK(refused([](auto& o) { o.end = 5; }) == "search: there is no token 5 among 5");
  CHECK(refused([](auto& o) { o.never = {-1}; }) == "search: there is no token -1 among 5");
  CHECK(refused([](auto& o) { o.never = {1}; }) ==
        "search: the token 1, which ends a text, is among those that no text has");
  CHECK(refused([](auto& o) { o.longest = 1000; }) ==
        "search: texts of up to 1000 tokens behind the first, but the model has 1000 positions");
  CHECK_THROWS_WITH(searched(logits, -1, small_search()), "search: there cannot be -1 contexts");

  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), infinity})
    for (const std::size_t at : {std::size_t{0}, std::size_t{2}, std::size_t{4}}) {
      const auto not_finite = [&](Index, const Text&) {
        std::vector<double> row{0, 1, 2, 3, 4};
        row[at] = bad;
        return row;
      };
      CHECK_THROWS_WITH(searched(not_finite, 1, small_search()),
                        "the logits of the next token are not finite");
    }
  const auto all_impossible = [](Index, const Text&) { return std::vector<double>(5, -infinity); };
  CHECK_THROWS_WITH(searched(all_impossible, 1, small_search()),
                    "the logits of the next token are not finite");
}

TEST_CASE("a search ends when it is asked to") {
  Cpu device(1);
  std::atomic<bool> flag{false};
  int calls = 0;
  ToyModel<> model([&](Index, const Text&) {
    flag = ++calls == 4;  // the first of them asks how large the vocabulary is
    return std::vector<double>{0, -9, 0, 0, 0};
  });
  SearchOptions o = small_search();
  o.longest = 999;
  CHECK_THROWS_AS(search(device, model, 1, o, StopToken(flag)), Stopped);
  CHECK(calls == 4);
}
