/// \file
/// Opposites from WordNet, where it is installed.
#pragma once

#include <vlp/text/antonyms.hpp>
#include <vlp/text/detail/opposite_lists.hpp>
#include <vlp/text/detail/whole_file.hpp>
#include <vlp/text/detail/wordnet_adjectives.hpp>

#include <array>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace vlp::text {

struct WordNetOptions {
  /// Gives a word without antonyms those of the head words that its synsets are satellites of: "tiny", a
  /// satellite of "small", gets "large". Twice as many words, many of them odd ("skeletal" gets "fat").
  bool through_heads = false;
};

/// The adjectives of WordNet 3.x (Fellbaum, "WordNet: an electronic lexical database", 1998) as a source of
/// opposites: the antonyms of all words of all synsets that a word belongs to. Only words of letters and
/// inner hyphens come out, in lower case: no phrases, no numbers. Immutable; a copy shares the lists.
///
/// WordNet has everyday senses ("wrong" for "right", "paranormal" for "normal"), so a table for radiology
/// goes before it: `FallbackAntonyms(radiology_antonyms(), WordNet::load(folder))`.
class WordNet {
 public:
  /// Reads `data.adj` from WordNet's folder `dict` (a few megabytes, some hundredths of a second). Throws
  /// std::runtime_error, naming file and line, if it is missing or not in WordNet's form, or if its synsets
  /// name one another far more often than WordNet's do.
  [[nodiscard]] static WordNet load(const std::filesystem::path& folder, WordNetOptions options = {}) {
    const std::filesystem::path path = folder / "data.adj";
    const std::string source = "WordNet " + path.string();
    return WordNet(detail::whole_file(path, source), source, options);
  }

  /// The opposites of `word` (lower case), in alphabetical order.
  [[nodiscard]] std::span<const std::string_view> antonyms(std::string_view word) const {
    return lists_->find(word);
  }

  /// Number of words that have an opposite.
  [[nodiscard]] std::size_t size() const noexcept { return lists_->size(); }

 private:
  WordNet(std::string_view content, const std::string& source, WordNetOptions options)
      : lists_(std::make_shared<const detail::OppositeLists>(
            detail::WordNetCollector(detail::WordNetAdjectives(content, source), options.through_heads,
                                     source)
                .opposites()
                .directed())) {}

  std::shared_ptr<const detail::OppositeLists> lists_;
};
static_assert(AntonymSource<WordNet>);

/// The folder of an installed WordNet: the environment's WNSEARCHDIR or WNHOME/dict (WordNet's own
/// variables), else where packages put it. None if no `data.adj` is there.
[[nodiscard]] inline std::optional<std::filesystem::path> find_wordnet() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::filesystem::path(value != nullptr ? value : "");
  };
  const std::filesystem::path home = variable("WNHOME");
  const std::array<std::filesystem::path, 5> places{
      variable("WNSEARCHDIR"), home.empty() ? home : home / "dict", "/usr/share/wordnet",
      "/usr/local/WordNet-3.0/dict", "/opt/homebrew/opt/wordnet/dict"};
  for (const std::filesystem::path& place : places) {
    std::error_code ignored;
    if (!place.empty() && std::filesystem::is_regular_file(place / "data.adj", ignored)) return place;
  }
  return std::nullopt;
}

}  // namespace vlp::text
