// tagger_accuracy: how often the tagger gives the tokens of a tagged file their class.
#include "tagger/accuracy.hpp"
#include "tagger/corpus.hpp"

#include <CLI/CLI.hpp>

#include <vlp/core/errors.hpp>
#include <vlp/io/file.hpp>
#include <vlp/text/perceptron_tagger.hpp>

#include <exception>
#include <iostream>
#include <string>

namespace {

void run(const std::string& file, const std::string& weights) {
  const tagger::Corpus corpus = tagger::read_corpus(file);
  const vlp::text::PerceptronTagger word_tagger =
      weights.empty()
          ? vlp::text::PerceptronTagger()
          : vlp::text::PerceptronTagger(vlp::text::TaggerWeights::parse(vlp::io::read_file(weights)));
  const tagger::Confusion cased = tagger::confusion_of(word_tagger, corpus, false);
  vlp::ensure(tagger::scored(cased) > 0, file, ": no token is scored");
  tagger::print(std::cout, "cased", cased);
  tagger::print(std::cout, "lower-cased", tagger::confusion_of(word_tagger, corpus, true));
  std::cout.flush();
  vlp::ensure(std::cout.good(), "standard output: cannot be written");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Tags a file of lines 'token TAB tag', a blank line between two sentences, and prints how often the "
      "class\n"
      "is right, as the file is and in lower case. A tag is of the Penn Treebank, or a class (noun, "
      "adjective,\n"
      "verb, other; N, J, V, O), or ? for a token that is not scored."};
  std::string file, weights;
  app.add_option("FILE", file, "The tagged file")->required();
  app.add_option("--weights", weights, "A file of weights from tagger_train, instead of those built in");
  try {
    app.parse(argc, argv);
    run(file, weights);
    return 0;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    std::cerr << "tagger_accuracy: " << error.what() << '\n';
  } catch (const std::exception& error) {
    std::cerr << "tagger_accuracy: " << error.what() << '\n';
  }
  return 2;
}
