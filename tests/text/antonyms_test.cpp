#include "support/catch.hpp"

#include <vlp/text/antonyms.hpp>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

using namespace vlp;
using text::AntonymPair;
using text::AntonymTable;

namespace {
std::vector<std::string> list(const AntonymTable& table, std::string_view word) {
  const auto found = table.antonyms(word);
  return {found.begin(), found.end()};
}
using Strings = std::vector<std::string>;
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
