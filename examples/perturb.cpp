// perturb: prints the perturbations of reports as tab-separated values, or shows those of one report as a
// page.
#include "cli/whole_number.hpp"
#include "perturb/html_page.hpp"

#include <CLI/CLI.hpp>

#include <vlp/core/errors.hpp>
#include <vlp/core/text_encoding.hpp>
#include <vlp/io/csv.hpp>
#include <vlp/io/file.hpp>
#include <vlp/text/antonyms.hpp>
#include <vlp/text/perturber.hpp>
#include <vlp/text/wordnet.hpp>
#include <vlp/text/words.hpp>

#include <cstdint>
#include <exception>
#include <fstream>
#include <functional>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

namespace text = vlp::text;

namespace {

struct Options {
  std::string file = "-";
  std::string csv;
  std::string column = "report";
  std::uint64_t seed = 0;
  std::uint32_t epoch = 0;
  std::string only = "all";
  text::PerturbationScope scope = text::PerturbationScope::report;
  std::size_t max_words = text::default_max_words;
  std::string wordnet;
  std::string html;
  vlp::Index row = 1;
};

/// Calls `use(line number, report)` for each line of a stream, counted from 1, as it comes. Lines may end in
/// CR alone. Throws std::runtime_error, which names `name` and the line, for text that is not UTF-8.
void read_lines(std::istream& in, const std::string& name,
                const std::function<void(vlp::Index, std::string_view)>& use) {
  vlp::Index number = 0;
  for (std::string piece; std::getline(in, piece);) {
    std::string_view text = vlp::utf8_text(piece, name, number + 1);
    do {
      use(++number, text.empty() ? text : vlp::without_line_end(vlp::next_line(text)));
    } while (!text.empty());
  }
  vlp::ensure(!in.bad(), name, ": cannot be read");
}

/// Calls `use` for each report of the input; those of a CSV file are numbered by row, from 1.
void read_reports(const Options& options, const std::function<void(vlp::Index, std::string_view)>& use) {
  if (!options.csv.empty()) {
    const vlp::io::CsvTable table = vlp::io::read_csv(options.csv);
    const auto column = static_cast<std::size_t>(table.column(options.column));
    vlp::Index number = 0;
    for (const auto& row : table.rows) use(++number, row[column]);
  } else if (options.file == "-") {
    read_lines(std::cin, "standard input", use);
  } else {
    std::ifstream file(options.file, std::ios::binary);
    vlp::ensure(file.good(), options.file, ": cannot be opened");
    read_lines(file, options.file, use);
  }
}

/// Prints a line for each report and perturbation.
template <class Perturber>
void print_lines(const Options& options, Perturber& perturb,
                 const std::vector<text::Perturbation>& perturbations) {
  text::WordReader reader(options.max_words);
  text::Words words;
  text::PerturbedReport perturbed;
  read_reports(options, [&](vlp::Index number, std::string_view report) {
    reader.read(report, words);
    for (const text::Perturbation perturbation : perturbations) {
      perturb(words, perturbation, options.epoch, static_cast<std::uint32_t>(number - 1), perturbed);
      std::cout << number << '\t' << name(perturbation) << '\t' << perturbed.changed << '\t' << perturbed.text
                << '\n';
    }
  });
  std::cout.flush();
  vlp::ensure(std::cout.good(), "standard output: cannot be written");
}

/// Writes the page of the report `options.row`.
template <class Perturber>
void write_page(const Options& options, Perturber& perturb,
                const std::vector<text::Perturbation>& perturbations) {
  text::Words words;
  vlp::Index reports = 0;
  read_reports(options, [&](vlp::Index number, std::string_view report) {
    reports = number;
    if (number == options.row) text::WordReader(options.max_words).read(report, words);
  });
  vlp::ensure(options.row <= reports, "--row: there is no report ", options.row, ", the input has ", reports);
  std::vector<text::PerturbedReport> perturbed(perturbations.size());
  for (std::size_t i = 0; i < perturbations.size(); ++i)
    perturb(words, perturbations[i], options.epoch, static_cast<std::uint32_t>(options.row - 1),
            perturbed[i]);
  const std::string title = vlp::concat("Report ", options.row, " and its perturbations (seed ", options.seed,
                                        ", epoch ", options.epoch, ")");
  vlp::io::write_file(options.html, vlp::perturb_page::html_page(title, words, perturbations, perturbed));
}

template <class Antonyms>
void run(const Options& options, const Antonyms& antonyms) {
  const std::vector<text::Perturbation> perturbations = text::parse_perturbations(options.only);
  text::Perturber perturb({.seed = options.seed, .scope = options.scope}, antonyms);
  if (options.html.empty())
    print_lines(options, perturb, perturbations);
  else
    write_page(options, perturb, perturbations);
}

void run(const Options& options) {
  if (options.wordnet.empty())
    run(options, text::radiology_antonyms());
  else
    run(options, text::FallbackAntonyms(text::radiology_antonyms(), text::WordNet::load(options.wordnet)));
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{
      "Perturbs reports. Prints a line for each report and perturbation: the report's line (or row), the\n"
      "perturbation's name, 1 if the text changed or 0 if it cannot, and the text, separated by tabs."};
  app.option_defaults()->always_capture_default();
  std::string scope = "report";
  auto* file = app.add_option("FILE", options.file, "Text file with one report a line; - is standard input");
  auto* csv =
      app.add_option("--csv", options.csv, "Read the reports from this CSV file instead")->excludes(file);
  app.add_option("--column", options.column, "Column of the CSV file that holds the reports")->needs(csv);
  app.add_option("--seed", options.seed, "Seed of all draws")
      ->transform(vlp::cli::whole_number<std::uint64_t>());
  app.add_option("--epoch", options.epoch, "Epoch, whose draws differ from those of any other")
      ->transform(vlp::cli::whole_number<std::uint32_t>());
  app.add_option("--only", options.only, "Perturbations, by name or number, separated by commas");
  app.add_option("--scope", scope, "What is perturbed as one: report or sentence")
      ->check(CLI::IsMember(std::vector<std::string>{"report", "sentence"}));
  app.add_option("--max-words", options.max_words, "Words of a report that are kept")
      ->transform(vlp::cli::whole_number<std::size_t>(1));
  app.add_option("--wordnet", options.wordnet,
                 "WordNet's folder dict, asked for opposites that radiology's table does not know");
  auto* html =
      app.add_option("--html", options.html, "Write one report and its perturbations to this page instead");
  app.add_option("--row", options.row, "The report of the page, counted from 1")
      ->needs(html)
      ->transform(vlp::cli::whole_number<vlp::Index>(1));
  try {
    app.parse(argc, argv);
    if (scope == "sentence") options.scope = text::PerturbationScope::sentence;
    run(options);
    return 0;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    std::cerr << "perturb: " << error.what() << '\n';
  } catch (const std::exception& error) {
    std::cerr << "perturb: " << error.what() << '\n';
  }
  return 2;
}
