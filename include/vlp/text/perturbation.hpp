/// \file
/// The nine perturbations of a report: their numbers and names.
#pragma once

#include <vlp/core/errors.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::text {

/// The nine perturbations of the words of a report. Their numbers are fixed, since results have columns and
/// random numbers have streams of these numbers.
enum class Perturbation : std::uint32_t {
  shuffle_nouns_and_adjectives = 1,  ///< nouns among noun positions, adjectives among adjective positions
  shuffle_all_but_nouns_and_adjectives = 2,  ///< every other word among the other positions
  shuffle_within_trigrams = 3,               ///< words inside each run of three
  shuffle_trigrams = 4,                      ///< the runs of three, each kept whole
  shuffle_all_words = 5,                     ///< all words
  reverse_sentence = 6,                      ///< words in reverse order
  shuffle_nouns_verbs_and_adjectives = 7,    ///< nouns, verbs and adjectives, together, among their positions
  replace_adjectives_with_antonyms = 8,      ///< each adjective that has opposites becomes one of them
  swap_adjacent_words = 9,                   ///< words 1 and 2 change places, 3 and 4, ...
};

/// All nine, in order: `all_perturbations[i]` has the number i + 1.
inline constexpr std::array<Perturbation, 9> all_perturbations{
    Perturbation::shuffle_nouns_and_adjectives,
    Perturbation::shuffle_all_but_nouns_and_adjectives,
    Perturbation::shuffle_within_trigrams,
    Perturbation::shuffle_trigrams,
    Perturbation::shuffle_all_words,
    Perturbation::reverse_sentence,
    Perturbation::shuffle_nouns_verbs_and_adjectives,
    Perturbation::replace_adjectives_with_antonyms,
    Perturbation::swap_adjacent_words};

namespace detail {
inline constexpr std::array<std::string_view, 9> perturbation_names{"shuffle_nouns_and_adjectives",
                                                                    "shuffle_all_but_nouns_and_adjectives",
                                                                    "shuffle_within_trigrams",
                                                                    "shuffle_trigrams",
                                                                    "shuffle_all_words",
                                                                    "reverse_sentence",
                                                                    "shuffle_nouns_verbs_and_adjectives",
                                                                    "replace_adjectives_with_antonyms",
                                                                    "swap_adjacent_words"};
}  // namespace detail

/// The number of a perturbation, 1 to 9.
[[nodiscard]] constexpr std::uint32_t number(Perturbation perturbation) {
  return static_cast<std::uint32_t>(perturbation);
}

/// Whether a perturbation asks for the words' classes: 1, 2, 7 and 8 do.
[[nodiscard]] constexpr bool needs_word_classes(Perturbation perturbation) {
  return perturbation == Perturbation::shuffle_nouns_and_adjectives ||
         perturbation == Perturbation::shuffle_all_but_nouns_and_adjectives ||
         perturbation == Perturbation::shuffle_nouns_verbs_and_adjectives ||
         perturbation == Perturbation::replace_adjectives_with_antonyms;
}

/// The name of a perturbation, as written in Perturbation.
[[nodiscard]] inline std::string_view name(Perturbation perturbation) {
  require(number(perturbation) >= 1 && number(perturbation) <= 9, "perturbation: number ",
          number(perturbation), " is not within 1 to 9");
  return detail::perturbation_names[number(perturbation) - 1];
}

/// The perturbation called `name_or_number`, such as "reverse_sentence" or "6". Throws std::invalid_argument
/// if there is none.
[[nodiscard]] inline Perturbation parse_perturbation(std::string_view name_or_number) {
  for (const Perturbation perturbation : all_perturbations)
    if (name_or_number == name(perturbation) || name_or_number == std::to_string(number(perturbation)))
      return perturbation;
  require(false, "perturbation: \"", name_or_number, "\" is neither a name nor a number from 1 to 9");
  return {};
}

/// The list of perturbations that parse_perturbations reads back: "all", or names separated by commas.
[[nodiscard]] inline std::string to_text(const std::vector<Perturbation>& perturbations) {
  if (std::equal(perturbations.begin(), perturbations.end(), all_perturbations.begin(),
                 all_perturbations.end()))
    return "all";
  std::string list;
  for (const Perturbation perturbation : perturbations)
    list.append(list.empty() ? "" : ",").append(name(perturbation));
  return list;
}

/// The perturbations of a list separated by commas, such as "1,3,reverse_sentence", in its order; "all"
/// stands for all nine. Throws std::invalid_argument for an unknown or repeated one.
[[nodiscard]] inline std::vector<Perturbation> parse_perturbations(std::string_view list) {
  if (list == "all") return {all_perturbations.begin(), all_perturbations.end()};
  std::vector<Perturbation> result;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    const Perturbation perturbation = parse_perturbation(list.substr(begin, end - begin));
    require(std::find(result.begin(), result.end(), perturbation) == result.end(),
            "perturbation: ", name(perturbation), " is listed twice");
    result.push_back(perturbation);
    begin = end + 1;
  }
  return result;
}

/// As parse_perturbations.
inline void from_text(std::string_view list, std::vector<Perturbation>& perturbations) {
  perturbations = parse_perturbations(list);
}

}  // namespace vlp::text
