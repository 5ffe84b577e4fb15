// tagger_train: trains the tagger's weights and writes them as a file and as the header that ships them.
#include "cli/whole_number.hpp"
#include "tagger/accuracy.hpp"
#include "tagger/corpus.hpp"
#include "tagger/perceptron.hpp"
#include "tagger/radiology_sentences.hpp"

#include <CLI/CLI.hpp>

#include <vlp/core/errors.hpp>
#include <vlp/io/file.hpp>
#include <vlp/text/perceptron_tagger.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iostream>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

namespace {

struct Options {
  std::string data = "../shared/data/tagged";
  std::string weights = "data/tagger_weights.bin";
  std::string header = "include/vlp/text/detail/shipped_tagger_weights.hpp";
  std::string held_out;
  int held_out_documents = 8;
  int radiology_sentences = 3600;
  tagger::TrainingOptions training;
};

/// Splits the last `documents` documents off CRAFT. Its file does not mark where they start; most do with a
/// title and the lone heading "Abstract".
tagger::Corpus split_documents(tagger::Corpus& corpus, int documents) {
  std::size_t at = corpus.size();
  for (int left = documents; left > 0;) {
    vlp::ensure(at >= 2, "CRAFT has fewer than ", documents, " documents with an abstract");
    --at;
    if (corpus[at].size() == 1 && tagger::lower_case(corpus[at][0].token) == "abstract") --left;
  }
  if (documents > 0) --at;  // the title
  const auto first = corpus.begin() + static_cast<std::ptrdiff_t>(at);
  tagger::Corpus last(std::make_move_iterator(first), std::make_move_iterator(corpus.end()));
  corpus.erase(first, corpus.end());
  return last;
}

std::string tab_separated(const tagger::Corpus& corpus) {
  std::string text;
  for (const tagger::Sentence& sentence : corpus) {
    for (const tagger::TaggedToken& token : sentence) text += token.token + '\t' + token.tag + '\n';
    text += '\n';
  }
  return text;
}

/// The header with the bytes of a weights file, in string literals that stay under the 64 KiB that compilers
/// must take.
std::string header_of(std::string_view bytes) {
  constexpr std::size_t line = 100, lines = 600;
  std::string text =
      "/// \\file\n"
      "/// The tagger's weights as base 85 (see tagger_weights.hpp), written by examples/tagger_train.cpp. "
      "They were\n"
      "/// trained on MASC, on sentences drawn from a grammar of vlp, and on the CRAFT corpus of M. Bada and "
      "others,\n"
      "/// used under CC BY 3.0 (https://creativecommons.org/licenses/by/3.0/), its tags reduced to four "
      "classes. The\n"
      "/// whole attribution is in data/README.md, which is installed as "
      "share/licenses/vlp/tagger_weights.md.\n"
      "#pragma once\n\nnamespace vlp::text::detail {\n\n// clang-format off\n"
      "inline constexpr const char* shipped_tagger_weights[] = {\n";
  const std::string digits = vlp::text::detail::encode_base85(bytes);
  for (std::size_t at = 0, count = 1; at < digits.size(); at += line, ++count) {
    text += "R\"(" + digits.substr(at, line) + ")\"";
    text += count % lines == 0 || at + line >= digits.size() ? ",\n" : "\n";
  }
  return text + "};\n// clang-format on\n\n}  // namespace vlp::text::detail\n";
}

void run(const Options& options) {
  tagger::Corpus corpus = tagger::read_corpus(options.data + "/craft.tsv");
  const tagger::Corpus held_out = split_documents(corpus, options.held_out_documents);
  std::cout << "CRAFT: " << corpus.size() << " sentences to train on, " << held_out.size() << " held out\n";
  if (!options.held_out.empty()) vlp::io::write_file(options.held_out, tab_separated(held_out));
  tagger::Corpus masc = tagger::read_corpus(options.data + "/masc_written.tsv");
  std::cout << "MASC: " << masc.size() << " sentences\n";
  std::move(masc.begin(), masc.end(), std::back_inserter(corpus));
  tagger::RadiologySentences radiology(options.training.seed);
  for (int i = 0; i < options.radiology_sentences; ++i) corpus.push_back(radiology.draw());
  std::cout << "radiology grammar: " << options.radiology_sentences << " sentences\n" << std::flush;

  tagger::PerceptronTrainer trainer(corpus, options.training);
  const vlp::text::TaggerWeights weights = trainer.train();
  std::cout << trainer.features() << " features\n";
  const std::string bytes = weights.serialise();
  vlp::io::write_file(options.weights, bytes);
  vlp::io::write_file(options.header, header_of(bytes));

  const vlp::text::PerceptronTagger word_tagger(weights);
  tagger::print(std::cout, "CRAFT, held out, cased", tagger::confusion_of(word_tagger, held_out, false));
  tagger::print(std::cout, "CRAFT, held out, lower-cased", tagger::confusion_of(word_tagger, held_out, true));
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{
      "Trains the word-class tagger on CRAFT, MASC and sentences drawn from a radiology grammar. Run from "
      "the root\n"
      "of the repository it writes the weights that ship, equal to the byte on every platform."};
  app.option_defaults()->always_capture_default();
  app.add_option("--data", options.data, "Folder with craft.tsv and masc_written.tsv");
  app.add_option("--weights", options.weights, "Where to write the weights");
  app.add_option("--header", options.header, "Where to write the header that embeds them");
  app.add_option("--held-out", options.held_out, "Where to write the sentences of CRAFT that are held out");
  app.add_option("--held-out-documents", options.held_out_documents,
                 "Documents at the end of CRAFT, counted by their abstracts, that are not trained on")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--radiology-sentences", options.radiology_sentences, "Sentences drawn from the grammar")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--epochs", options.training.epochs, "Passes over the data")->check(CLI::PositiveNumber);
  app.add_option("--min-count", options.training.min_count, "Occurrences that a feature needs")
      ->check(CLI::PositiveNumber);
  app.add_option("--feature-bits", options.training.feature_bits,
                 "Binary logarithm of the buckets of features")
      ->check(CLI::Range(1u, vlp::text::TaggerWeights::max_bits));
  app.add_option("--word-bits", options.training.word_bits, "Binary logarithm of the buckets of words")
      ->check(CLI::Range(1u, vlp::text::TaggerWeights::max_bits));
  app.add_option("--seed", options.training.seed, "Seed of all draws")
      ->transform(vlp::cli::whole_number<std::uint64_t>());
  try {
    app.parse(argc, argv);
    run(options);
    return 0;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    std::cerr << "tagger_train: " << error.what() << '\n';
  } catch (const std::exception& error) {
    std::cerr << "tagger_train: " << error.what() << '\n';
  }
  return 2;
}
