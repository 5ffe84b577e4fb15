/// \file
/// The tags that each word usually has by itself, counted over a corpus.
#pragma once

#include "tagger/corpus.hpp"
#include "tagger/packing.hpp"

#include <vlp/core/errors.hpp>
#include <vlp/text/detail/perceptron_features.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

namespace tagger {

/// Tags that act alike on their neighbours count as one; the last group takes all that is not listed.
inline std::size_t tag_group(std::string_view tag) {
  constexpr std::string_view groups[] = {
      "NN",  "NNS", "NNP NNPS", "JJ JJR JJS", "VB",      "VBD",        "VBG",       "VBN",
      "VBP", "VBZ", "MD",       "RB RBR RBS", "IN RP",   "DT PDT WDT", "PRP EX WP", "PRP$ POS WP$",
      "CC",  "CD",  "TO",       "HYPH",       "-LRB- (", ". , : --"};
  std::size_t group = 0;
  for (const std::string_view tags : groups) {
    for (std::size_t at = 0; (at = tags.find(tag, at)) != std::string_view::npos; ++at) {
      const std::size_t end = at + tag.size();
      if ((at == 0 || tags[at - 1] == ' ') && (end == tags.size() || tags[end] == ' ')) return group;
    }
    ++group;
  }
  return group;
}
inline constexpr std::size_t tag_groups = 23;

/// The slots of TaggerWeights::words: every word seen three times or more, and in min_blocks blocks, has a
/// habit, the number of its most frequent group of tags and of its second (if that takes a twentieth or
/// more); a word seen twenty times or more has a certain class if one in five hundred or fewer were of
/// another.
inline std::vector<std::uint32_t> build_lexicon(const Corpus& corpus, unsigned bits) {
  struct Counts {
    std::array<std::int64_t, tag_groups> groups{};
    std::array<std::int64_t, 4> classes{};
    std::int64_t all = 0;
    std::size_t blocks = 0, last_block = 0;
  };
  std::map<std::uint32_t, Counts> words;  // by all of the hash that a table can tell
  for (std::size_t number = 0; number < corpus.size(); ++number) {
    const std::size_t block = block_of(number);
    for (const TaggedToken& token : corpus[number]) {
      const auto hash = vlp::text::detail::perceptron::facts_of(token.token).word;
      Counts& counts = words[table_key(hash, bits)];
      ++counts.groups[tag_group(token.tag)];
      ++counts.classes[static_cast<std::size_t>(class_of(token.tag).value())];
      ++counts.all;
      if (std::exchange(counts.last_block, block) != block) ++counts.blocks;
    }
  }
  std::erase_if(words,
                [](const auto& word) { return word.second.all < 3 || word.second.blocks < min_blocks; });

  using Habit = std::pair<std::size_t, std::size_t>;  // tag_groups as the second: none
  const auto habit_of = [](const Counts& counts) {
    const auto& groups = counts.groups;
    const auto first =
        static_cast<std::size_t>(std::max_element(groups.begin(), groups.end()) - groups.begin());
    std::size_t second = tag_groups;
    for (std::size_t g = 0; g < tag_groups; ++g)
      if (g != first && 20 * groups[g] >= counts.all && (second == tag_groups || groups[g] > groups[second]))
        second = g;
    return Habit{first, second};
  };
  std::map<Habit, std::uint32_t> numbers;  // 1 to 255: there are fewer pairs of groups that occur
  for (const auto& [key, counts] : words) numbers.try_emplace(habit_of(counts), 0);
  vlp::ensure(numbers.size() <= 255, "lexicon: ", numbers.size(), " habits of words; 255 fit");
  std::uint32_t number = 0;
  for (auto& [habit, its_number] : numbers) its_number = ++number;

  std::vector<PackedEntry> entries;
  for (const auto& [key, counts] : words) {
    const auto& classes = counts.classes;
    const auto most =
        static_cast<std::size_t>(std::max_element(classes.begin(), classes.end()) - classes.begin());
    const bool certain = counts.all >= 20 && 500 * (counts.all - classes[most]) <= counts.all;
    const std::uint32_t value =
        numbers.at(habit_of(counts)) | (certain ? static_cast<std::uint32_t>(most + 1) << 8 : 0);
    entries.push_back({key, value, counts.all});
  }
  return pack(std::move(entries), bits);
}

}  // namespace tagger
