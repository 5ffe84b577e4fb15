#include "support/catch.hpp"
#include "text/open_i_adjectives.hpp"
#include "text/reports.hpp"

#include <vlp/core/errors.hpp>
#include <vlp/text/antonyms.hpp>
#include <vlp/text/perturber.hpp>
#include <vlp/text/wordnet.hpp>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

using namespace vlp;
using text::AntonymPair;
using text::AntonymTable;

namespace {
template <text::AntonymSource Source>
std::vector<std::string> list(const Source& table, std::string_view word) {
  const auto found = table.antonyms(word);
  return {found.begin(), found.end()};
}
using Strings = std::vector<std::string>;

/// A WordNet in small, in the form of its file: offsets are names, so they need not be places.
constexpr std::string_view small_wordnet =
    "  1 A licence, each line of which starts with two spaces.  \n"
    "00000100 00 a 02 right 0 correct 1 003 ! 00000200 a 0101 ! 00000200 a 0202 & 00000500 a 0000 | true  \n"
    "00000200 00 a 02 wrong 0 incorrect 0 001 ! 00000100 a 0101 | untrue  \n"
    "00000300 00 a 01 right(a) 1 001 ! 00000400 a 0101 | not left\n"
    "00000400 00 a 01 left 0 002 ! 00000300 a 0101 = 05200169 n 0000 | not right  \n"
    "00000500 00 s 03 true_up 0 accurate 0 Bang-up 0 001 & 00000100 a 0000 | satellite of right  \n"
    "00000600 00 a 01 ready 0 004 ! 00000700 a 0101 ! 00000700 a 0102 ! 00000700 a 0103 ! 00000700 a 0104 | "
    "x\n"
    "00000700 00 a 0a out_of_order 0 24-hour 0 un-Ready(p) 0 ready 0 e 0 f 0 g 0 h 0 i 0 j 0 000 | y\n";
}  // namespace

TEST_CASE("radiology's opposites work in both directions") {
  const AntonymTable& table = text::radiology_antonyms();
  CHECK(list(table, "left") == Strings{"right"});
  CHECK(list(table, "right") == Strings{"left"});
  CHECK(list(table, "acute") == Strings{"chronic"});
  CHECK(list(table, "lateral") == Strings{"frontal", "medial", "midline"});
  CHECK(list(table, "lung").empty());
  CHECK(list(table, "").empty());
  CHECK(std::size(text::detail::radiology_antonym_pairs) >= 120);
  for (const auto& [a, b] : text::detail::radiology_antonym_pairs) {
    INFO(a << " / " << b);
    const auto forth = table.antonyms(a), back = table.antonyms(b);
    CHECK(std::count(forth.begin(), forth.end(), b) == 1);
    CHECK(std::count(back.begin(), back.end(), a) == 1);
    for (std::string_view word : {a, b}) {
      CHECK(std::all_of(word.begin(), word.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '-'; }));
      CHECK(list(table, word).size() == std::size(table.antonyms(word)));
    }
  }
}

TEST_CASE("a table of one's own keeps its words") {
  const AntonymTable table = [] {
    const std::string up = "up", down = "down", low = "low";
    const std::vector<AntonymPair> pairs{{up, down}, {up, low}, {down, up}};
    AntonymTable made(pairs);
    return AntonymTable(made);
  }();
  CHECK(table.size() == 3);
  CHECK(list(table, "up") == Strings{"down", "low"});
  CHECK(list(table, "low") == Strings{"up"});
  CHECK(AntonymTable(std::vector<AntonymPair>{}).size() == 0);
}

TEST_CASE("pairs that are no opposites of words are refused") {
  for (const AntonymPair& pair : {AntonymPair{"a", "a"}, AntonymPair{"", "a"}, AntonymPair{"a", "b c"}})
    CHECK_THROWS_AS(AntonymTable(std::vector<AntonymPair>{pair}), std::invalid_argument);
}

TEST_CASE("WordNet's opposites are words and those of all senses") {
  const test::TemporaryFolder folder;
  folder.write("data.adj", small_wordnet);
  const auto words = text::WordNet::load(folder.path());
  CHECK(list(words, "right") == Strings{"incorrect", "left", "wrong"});
  CHECK(list(words, "left") == Strings{"right"});
  CHECK(list(words, "correct") == Strings{"incorrect", "wrong"});  // a word of one of those synsets
  CHECK(list(words, "ready") == Strings{"un-ready"});              // no phrase, no number, not itself
  for (const char* word : {"accurate", "true_up", "out_of_order", "", "Right"})
    CHECK(list(words, word).empty());
  const auto through = text::WordNet::load(folder.path(), {.through_heads = true});
  CHECK(list(through, "accurate") == Strings{"incorrect", "wrong"});
  CHECK(list(through, "bang-up") == Strings{"incorrect", "wrong"});
  CHECK(list(through, "right") == list(words, "right"));
}

TEST_CASE("WordNet files that are none are refused") {
  const test::TemporaryFolder folder;
  const auto fails = [&](std::string_view content, const std::string& part) {
    folder.write("data.adj", content);
    INFO(content);
    CHECK_THROWS_WITH(text::WordNet::load(folder.path()), ContainsSubstring(part));
  };
  CHECK_THROWS_WITH(text::WordNet::load(folder.path() / "none"),
                    ContainsSubstring("data.adj: cannot be opened"));
  fails("", "no synsets");
  fails("  only a licence\n", "no synsets");
  fails("no synset", "line 1 is not");
  fails("  licence\n00000100 00 n 01 lung 0 000 | a noun\n", "line 2 is not");
  fails("00000100 00 a 02 right 0 000 | one word is missing\n", "line 1 is not");
  fails("00000100 00 a 01 right 0 001 | no pointer\n", "line 1 is not");
  fails("00000100 00 a 00 000 | no word\n", "line 1 is not");
  fails("00000100 00 a 01 right 0 000\n", "line 1 is not");
  fails("0000010x 00 a 01 right 0 000 | a letter\n", "line 1 is not");
  fails("00000100 00 a ffffffff right 0\n", "line 1 is not");
}

TEST_CASE("what stands at data.adj and cannot be read is named") {
  const test::TemporaryFolder folder;
  std::filesystem::create_directory(folder / "data.adj");
  CHECK_THROWS_WITH(text::WordNet::load(folder.path()),
                    ContainsSubstring((folder / "data.adj").string() + ": cannot be read"));
}

TEST_CASE("a WordNet whose synsets name one another without end takes neither time nor memory") {
  const test::TemporaryFolder folder;
  const auto word = [](int i) {
    std::string letters;
    for (; letters.size() < 4; i /= 26) letters += static_cast<char>('a' + i % 26);
    return letters;
  };
  // Each of 1,500 words has all words of a synset of 2,000 as antonyms, hundreds of times; through heads as
  // well.
  const auto write = [&](const std::string& symbol, const std::string& last) {
    std::string content = "00000001 00 a 7d0";
    for (int i = 0; i < 2000; ++i) content += ' ' + word(i) + " 0";
    content += last;
    for (int i = 0; i < 1500; ++i) {
      content += concat(10000000 + i, " 00 s 01 x", word(i), " 0 300");
      for (int pointer = 0; pointer < 300; ++pointer) content += ' ' + symbol + " 00000001 a 0000";
      content += " | x\n";
    }
    folder.write("data.adj", content);
  };
  write("!", " 000 | x\n");
  CHECK_THROWS_WITH(text::WordNet::load(folder.path()),
                    ContainsSubstring("data.adj: the synsets name one another more than"));
  write("&", " 000 | x\n");
  CHECK(text::WordNet::load(folder.path()).size() == 0);
  write("&", " 001 ! 00000001 a 0000 | x\n");
  CHECK_THROWS_WITH(text::WordNet::load(folder.path(), {.through_heads = true}),
                    ContainsSubstring("data.adj: the synsets name one another more than"));
}

TEST_CASE("a table goes before WordNet") {
  const test::TemporaryFolder folder;
  folder.write("data.adj", small_wordnet);
  const text::FallbackAntonyms both(text::radiology_antonyms(), text::WordNet::load(folder.path()));
  CHECK(list(both, "right") == Strings{"left"});
  CHECK(list(both, "ready") == Strings{"un-ready"});
  CHECK(list(both, "lung").empty());
  text::Perturber perturb({.seed = 1}, both);
  text::PerturbedReport out;
  perturb(text::read_words("Right lung normal."), text::Perturbation::replace_adjectives_with_antonyms, 0, 0,
          out);
  CHECK(out.text == "left lung abnormal");
}

TEST_CASE("the installed WordNet gives words only") {
  const auto folder = text::find_wordnet();
  if (!folder) {
    WARN("skipped: WordNet is not installed (Debian: wordnet-base)");
    return;
  }
  const text::FallbackAntonyms both(text::radiology_antonyms(), text::WordNet::load(*folder));
  const auto words = text::WordNet::load(*folder);
  CHECK(words.size() > 4000);
  CHECK(list(words, "afebrile") == Strings{"febrile"});
  CHECK(list(words, "able") == Strings{"unable"});
  CHECK(list(both, "right") == Strings{"left"});
  CHECK(list(both, "normal") == Strings{"abnormal"});
  for (const test::WordCount& adjective : test::open_i_adjectives())
    for (const std::string_view opposite : both.antonyms(adjective.word)) {
      INFO(adjective.word << " / " << opposite);
      CHECK(opposite != adjective.word);
      CHECK(opposite.find_first_not_of("abcdefghijklmnopqrstuvwxyz-") == std::string_view::npos);
    }
}

TEST_CASE("the table covers the adjectives of Open-I that have a clinical opposite") {
  const std::set<std::string_view> with(std::begin(test::adjectives_with_opposite),
                                        std::end(test::adjectives_with_opposite));
  const std::set<std::string_view> without(std::begin(test::adjectives_without_opposite),
                                           std::end(test::adjectives_without_opposite));
  for (const std::string_view word : without) {
    INFO(word);
    CHECK(with.count(word) == 0);
    CHECK(text::radiology_antonyms().antonyms(word).empty());  // else one of the two lists is wrong
  }
  long all = 0, reviewed = 0, have_opposite = 0, covered = 0;
  for (const test::WordCount& adjective : test::open_i_adjectives()) {
    all += adjective.count;
    const bool has = with.count(adjective.word) > 0;
    if (has || without.count(adjective.word) > 0) reviewed += adjective.count;
    if (!has) continue;
    have_opposite += adjective.count;
    if (!text::radiology_antonyms().antonyms(adjective.word).empty()) covered += adjective.count;
  }
  if (all == 0) return;
  INFO(all << " adjectives, " << reviewed << " reviewed, " << have_opposite << " with a clinical opposite, "
           << covered << " covered");
  CHECK(all > 20000);
  CHECK(reviewed >= 0.93 * all);
  CHECK(covered >= 0.8 * have_opposite);
}
