// libFuzzer target: any bytes as a tagged file, and the accuracy of the shipped tagger on it.
#include "fuzzer.hpp"
#include "tagger/accuracy.hpp"
#include "tagger/corpus.hpp"

#include <vlp/text/perceptron_tagger.hpp>

#include <cstddef>
#include <cstdint>
#include <sstream>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using vlp::fuzz::promise;
  static const vlp::text::PerceptronTagger word_tagger;
  vlp::fuzz::reads([&] {
    const tagger::Corpus corpus = tagger::parse_corpus(vlp::fuzz::text_of(data, size), "tagged.tsv");
    std::string written = "\n";  // so that a mark in the first token is not the file's
    std::int64_t scored = 0;
    for (const tagger::Sentence& sentence : corpus) {
      promise(!sentence.empty(), "no sentence is empty");
      for (const tagger::TaggedToken& token : sentence) {
        promise(!token.token.empty() && !token.tag.empty(), "tokens and tags are not empty");
        scored += tagger::class_of(token.tag).has_value();
        written += token.token + '\t' + token.tag + '\n';
      }
      written += '\n';
    }
    const tagger::Corpus again = tagger::parse_corpus(written, "again.tsv");
    promise(again.size() == corpus.size(), "it is read as written");
    for (const bool lower_case : {false, true}) {
      const tagger::Confusion confusion = tagger::confusion_of(word_tagger, corpus, lower_case);
      promise(tagger::scored(confusion) == scored, "every token with a class is counted");
      std::ostringstream out;
      if (scored > 0) tagger::print(out, "any", confusion);
    }
  });
  return 0;
}
