// The program perturb, run as a process.
#include "support/catch.hpp"
#include "support/program.hpp"
#include "support/temporary_folder.hpp"

#include <vlp/io/file.hpp>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#ifdef VLP_TEST_PERTURB

using namespace vlp;

namespace {

using Arguments = std::vector<std::string>;

test::ProgramResult run(const test::TemporaryFolder& folder, Arguments arguments,
                        const io::Path& input = "/dev/null") {
  arguments.insert(arguments.begin(), VLP_TEST_PERTURB);
  return test::run_program(folder.path(), std::move(arguments), input);
}

}  // namespace

TEST_CASE("perturb writes a line for each report and perturbation") {
  const test::TemporaryFolder folder;
  const io::Path input = folder.write("reports.txt", "Heart size normal.\n\nStable.\n");
  const std::string file = input.string();
  const auto result = run(folder, {file, "--only", "reverse_sentence,9"});
  CHECK(result.status == 0);
  CHECK(result.error.empty());
  CHECK(result.out ==
        "1\treverse_sentence\t1\tnormal size heart\n1\tswap_adjacent_words\t1\tsize heart normal\n"
        "2\treverse_sentence\t0\t\n2\tswap_adjacent_words\t0\t\n"
        "3\treverse_sentence\t0\tstable\n3\tswap_adjacent_words\t0\tstable\n");
  const auto all = run(folder, {file});
  CHECK(std::count(all.out.begin(), all.out.end(), '\n') == 27);
  CHECK(run(folder, {}, input).out == all.out);
  CHECK(run(folder, {file, "--seed", "5"}).out == run(folder, {file, "--seed", "5"}).out);
  CHECK(run(folder, {file, "--only", "6", "--max-words", "2"}).out.substr(0, 35) ==
        "1\treverse_sentence\t1\tsize heart\n2\tr");
}

TEST_CASE("perturb reads a column of a CSV file") {
  const test::TemporaryFolder folder;
  const auto file =
      folder.write("reports.csv", "id,findings\n1,\"Lungs clear,\nheart normal. No effusion.\"\n");
  CHECK(run(folder, {"--csv", file.string(), "--column", "findings", "--only", "6", "--scope", "sentence"})
            .out == "1\treverse_sentence\t1\tnormal heart clear, lungs effusion no\n");
}

TEST_CASE("perturb says what is wrong in one line") {
  const test::TemporaryFolder folder;
  const std::string csv = folder.write("reports.csv", "id,findings\n1,a\n").string();
  const std::vector<std::pair<Arguments, std::string>> cases{
      {{"missing.txt"}, "missing.txt"},
      {{folder.path().string()}, folder.path().string()},
      {{"--only", "12"}, "12"},
      {{"--only", ""}, "neither"},
      {{"--scope", "word"}, "scope"},
      {{"--seed", "x"}, "seed"},
      {{"--max-words", "0"}, "max-words"},
      {{"--csv", "missing.csv"}, "missing.csv"},
      {{"--csv", csv, "--column", "report"}, "report"},
      {{"--column", "findings"}, "csv"},
      {{"--csv", csv, csv}, "csv"},
      {{"--nonsense"}, "nonsense"}};
  for (const auto& [arguments, part] : cases) {
    const auto result = run(folder, arguments);
    INFO("expected: " << part << "; stderr: " << result.error);
    CHECK(result.status == 2);
    CHECK(result.out.empty());
    CHECK(std::count(result.error.begin(), result.error.end(), '\n') == 1);
    CHECK(result.error.find(part) != std::string::npos);
  }
  const auto help = run(folder, {"--help"});
  CHECK(help.status == 0);
  for (const char* part : {"--seed", "=50", "=report", "--csv", "--only", "=all"})
    CHECK(help.out.find(part) != std::string::npos);
}

#endif
