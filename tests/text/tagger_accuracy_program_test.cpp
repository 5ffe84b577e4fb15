// The program tagger_accuracy, run as a process.
#include "support/catch.hpp"
#include "support/program.hpp"
#include "support/temporary_folder.hpp"

#include <string>
#include <utility>
#include <vector>

#ifdef VLP_TEST_TAGGER_ACCURACY

using namespace vlp;

namespace {

test::ProgramResult run(const test::TemporaryFolder& folder, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), VLP_TEST_TAGGER_ACCURACY);
  return test::run_program(folder.path(), std::move(arguments), "/dev/null");
}

}  // namespace

TEST_CASE("tagger_accuracy counts what is scored") {
  const test::TemporaryFolder folder;
  // Penn tags, names and letters; one token unscored, one wrong on purpose.
  const auto file = folder.write(
      "tagged.tsv", "Heart\tNN\nsize\tN\nnormal\tadjective\n.\t.\n\n\nLungs\tverb\r\nclear\t?\n");
  const auto result = run(folder, {file.string()});
  CHECK(result.status == 0);
  CHECK(result.error.empty());
  CHECK(result.out.find("cased: 80.00 % of 5 tokens\n") == 0);
  CHECK(result.out.find("\nlower-cased: 80.00 % of 5 tokens\n") != std::string::npos);
  CHECK(result.out.find(
            "  noun         100.00        66.67           2             0           0           0\n") !=
        std::string::npos);
  CHECK(result.out.find(
            "  verb           0.00       100.00           1             0           0           0\n") !=
        std::string::npos);
  CHECK(run(folder, {file.string(), "--weights", VLP_TEST_TAGGER_WEIGHTS}).out == result.out);
  // The same with a byte order mark, CR line ends and blanks after a tag.
  const auto marked = folder.write(
      "marked.tsv", "\xef\xbb\xbfHeart\tNN \rsize\tN\rnormal\tadjective\r.\t.\r\rLungs\tverb\rclear\t?\r");
  CHECK(run(folder, {marked.string()}).out == result.out);
}

TEST_CASE("tagger_accuracy says what is wrong in one line") {
  const test::TemporaryFolder folder;
  const std::string good = folder.write("good.tsv", "Heart\tNN\n").string();
  const std::string bad = folder.write("bad.tsv", "Heart\tNN\nsize\n").string();
  const std::string unscored = folder.write("unscored.tsv", "Heart\t?\n").string();
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
      {{}, "FILE"},
      {{"missing.tsv"}, "missing.tsv"},
      {{bad}, "bad.tsv:2: not a token"},
      {{folder.write("two_tags.tsv", "Heart\tNN\n\nsize\tNN JJ\n").string()}, "two_tags.tsv:3: not a token"},
      {{folder.write("latin1.tsv", "Heart\tNN\nca\xf1on\tNN\n").string()}, "latin1.tsv:2: the byte F1"},
      {{folder.write("utf16.tsv", std::string("\xff\xfeH\0\t\0N\0", 8)).string()},
       "utf16.tsv: this is UTF-16"},
      {{unscored}, "no token is scored"},
      {{good, "--weights", bad}, "vlp-tag1"},
  };
  for (const auto& [arguments, words] : cases) {
    const auto result = run(folder, arguments);
    INFO(result.error);
    CHECK(result.status == 2);
    CHECK(result.out.empty());
    CHECK(result.error.find("tagger_accuracy: ") == 0);
    CHECK(result.error.find(words) != std::string::npos);
    CHECK(result.error.find('\n') == result.error.size() - 1);
  }
}

#endif
