// libFuzzer target: any bytes as WordNet's data.adj, and the opposites that it gives.
#include "fuzzer.hpp"

#include <vlp/text/perturber.hpp>
#include <vlp/text/wordnet.hpp>
#include <vlp/text/words.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

namespace {

using vlp::fuzz::promise;

void check_opposites(const vlp::text::WordNet& source, std::string_view word) {
  const auto opposites = source.antonyms(word);
  promise(std::adjacent_find(opposites.begin(), opposites.end(), std::greater_equal<>()) == opposites.end(),
          "opposites are in order and differ");
  for (const std::string_view opposite : opposites)
    promise(!opposite.empty() && opposite != word &&
                opposite.find_first_not_of("abcdefghijklmnopqrstuvwxyz-") == opposite.npos,
            "an opposite is another word of letters and hyphens");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace text = vlp::text;
  const std::string_view bytes = vlp::fuzz::text_of(data, size);
  const auto folder = vlp::fuzz::file_with(bytes, "data.adj").parent_path();
  vlp::fuzz::reads([&] {
    std::size_t direct = 0;
    for (const bool through_heads : {false, true}) {
      const auto source = text::WordNet::load(folder, {.through_heads = through_heads});
      promise(source.size() >= direct, "heads give more words opposites, never fewer");
      direct = source.size();
      for (std::size_t at = 0; at < bytes.size();) {  // any word of the file
        const std::size_t end = std::min(bytes.find(' ', at), bytes.size());
        check_opposites(source, bytes.substr(at, end - at));
        at = end + 1;
      }
      text::Perturber perturb({.seed = 1}, source);
      text::PerturbedReport out;
      const text::Words words = text::read_words("small able tiny left lung");
      perturb(words, text::Perturbation::replace_adjectives_with_antonyms, 0, 0, out);
      promise(out.size() == words.size(), "as many words");
    }
  });
  return 0;
}
