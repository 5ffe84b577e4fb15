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
  CHECK(run(folder, {file, "--seed", "010"}).out == run(folder, {file, "--seed", "10"}).out);
  CHECK(run(folder, {file, "--seed", "18446744073709551615"}).status == 0);
  CHECK(run(folder, {file, "--only", "6", "--max-words", "2"}).out.substr(0, 35) ==
        "1\treverse_sentence\t1\tsize heart\n2\tr");
}

TEST_CASE("perturb reads lines of UTF-8 with a byte order mark and any line ends") {
  const test::TemporaryFolder folder;
  const std::string expected =
      "1\treverse_sentence\t1\tclear are lungs\n2\treverse_sentence\t1\tseen effusion no\n"
      "3\treverse_sentence\t0\t\n4\treverse_sentence\t0\t\n";
  for (const std::string line_end : {"\n", "\r\n", "\r"}) {
    const io::Path file =
        folder.write("reports.txt", "\xef\xbb\xbfLungs are clear." + line_end + "No\xc2\xa0" +
                                        "effusion seen." + line_end + line_end + "..." + line_end);
    CHECK(run(folder, {file.string(), "--only", "6"}).out == expected);
    CHECK(run(folder, {"--only", "6"}, file).out == expected);
  }
  const auto latin1 = folder.write("latin1.txt", "Lungs clear.\n\nA ca\xf1on.\n");
  const auto refused = run(folder, {latin1.string(), "--only", "6"});
  CHECK(refused.status == 2);
  CHECK(refused.error.find("latin1.txt:3: the byte F1 is not UTF-8") != std::string::npos);
  CHECK(run(folder, {}, latin1).error.find("standard input:3: the byte F1") != std::string::npos);
}

TEST_CASE("perturb reads a column of a CSV file") {
  const test::TemporaryFolder folder;
  const auto file =
      folder.write("reports.csv", "id,findings\n1,\"Lungs clear,\nheart normal. No effusion.\"\n");
  CHECK(run(folder, {"--csv", file.string(), "--column", "findings", "--only", "6", "--scope", "sentence"})
            .out == "1\treverse_sentence\t1\tnormal heart clear, lungs effusion no\n");
}

TEST_CASE("perturb writes a page of one report") {
  const test::TemporaryFolder folder;
  const std::string file =
      folder.write("reports.txt", "Stable.\nLeft <lung> & heart clear, \x01 no \"acute\" disease.\n")
          .string();
  const std::string page = (folder / "page.html").string();
  const auto result = run(folder, {file, "--html", page, "--row", "2", "--seed", "3"});
  CHECK(result.status == 0);
  CHECK(result.error.empty());
  CHECK(result.out.empty());
  const std::string html = io::read_file(folder / "page.html");
  CHECK(html.starts_with("<!DOCTYPE html>"));
  CHECK(html.find("Report 2 and its perturbations (seed 3, epoch 0)") != std::string::npos);
  const auto count = [&](std::string_view part) {
    std::size_t found = 0;
    for (auto at = html.find(part); at != std::string::npos; at = html.find(part, at + 1)) ++found;
    return found;
  };
  CHECK(count("<section>") == 10);
  CHECK(count("&lt;lung&gt;") >= 9);  // in the report and every perturbation, but for a hint or two
  CHECK(count("<lung>") == 0);
  CHECK(count("\x01") == 0);
  CHECK(count("http") == 0);  // needs nothing but itself
  CHECK(count("in place of left\">right</mark>") == 1);
  CHECK(count("<mark") == count("</mark>"));
  // The same words as in the lines.
  run(folder, {file, "--html", page, "--only", "6"});
  const std::string single = io::read_file(folder / "page.html");
  CHECK(single.find("no other arrangement") != std::string::npos);
  CHECK(run(folder, {file, "--html", page, "--row", "3"}).error.find("the input has 2") != std::string::npos);
}

TEST_CASE("perturb asks WordNet after its own table") {
  const test::TemporaryFolder folder;
  const std::string file = folder.write("reports.txt", "A right lytic lesion, a bony one.\n").string();
  folder.write("data.adj",
               "00000100 00 a 01 right 0 001 ! 00000200 a 0101 | a\n"
               "00000200 00 a 01 wrong 0 001 ! 00000100 a 0101 | b\n"
               "00000300 00 a 01 bony 0 001 ! 00000400 a 0101 | c\n"
               "00000400 00 a 01 boneless 0 001 ! 00000300 a 0101 | d\n");
  const std::string line = "1\treplace_adjectives_with_antonyms\t1\ta left sclerotic lesion, a ";
  CHECK(run(folder, {file, "--only", "8"}).out == line + "bony one\n");
  CHECK(run(folder, {file, "--only", "8", "--wordnet", folder.path().string()}).out ==
        line + "boneless one\n");
}

TEST_CASE("perturb says what is wrong in one line") {
  const test::TemporaryFolder folder;
  const std::string csv = folder.write("reports.csv", "id,findings\n1,a\n").string();
  const std::string utf16 = folder.write("utf16.txt", std::string("\xff\xfeL\0u\0\n\0", 8)).string();
  const std::string zero = folder.write("zero.txt", std::string("Lu\0ngs\n", 7)).string();
  const std::vector<std::pair<Arguments, std::string>> cases{
      {{"missing.txt"}, "missing.txt"},
      {{folder.path().string()}, folder.path().string()},
      {{"--only", "12"}, "12"},
      {{"--only", ""}, "neither"},
      {{"--scope", "word"}, "scope"},
      {{"--seed", "x"}, "seed"},
      {{"--seed", "-1"}, "must be a whole number from 0 to 18446744073709551615, but is '-1'"},
      {{"--seed", "18446744073709551616"}, "but is '18446744073709551616'"},
      {{"--epoch", "4294967296"}, "from 0 to 4294967295"},
      {{"--max-words", "99999999999999999999"}, "max-words"},
      {{utf16}, "utf16.txt: this is UTF-16 text"},
      {{zero}, "zero.txt:1: a zero byte"},
      {{"--max-words", "0"}, "max-words"},
      {{"--csv", "missing.csv"}, "missing.csv"},
      {{"--csv", csv, "--column", "report"}, "report"},
      {{"--column", "findings"}, "csv"},
      {{"--csv", csv, csv}, "csv"},
      {{"--row", "2"}, "html"},
      {{"--html", "page.html", "--row", "0"}, "row"},
      {{"--html", "page.html"}, "the input has 0"},
      {{"--html", (folder / "none" / "page.html").string(), csv}, "page.html"},
      {{"--wordnet", "missing"}, "data.adj"},
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
  for (const char* part : {"--seed", "--csv", "--only"}) CHECK(help.out.find(part) != std::string::npos);
  // CLI11 writes a default value as "=50" before version 2.4, as "[50]" since.
  for (const std::string value : {"50", "report", "all"}) {
    INFO("default value: " << value);
    CHECK((help.out.find("=" + value) != std::string::npos ||
           help.out.find("[" + value + "]") != std::string::npos));
  }
}

#endif
