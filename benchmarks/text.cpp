// How fast reports are read, perturbed and cut into word pieces, and how often that asks for memory.
//
// Reports are those of Open-I where they are (the folder VLP_DATA_DIR, or shared/data beside the checkout),
// else built-in ones; the label says which. One iteration is one pass over all of them; items are reports,
// for word_piece pieces. `allocations` counts those of a pass, per report, after two passes that warm up.
#include "builtin/study.hpp"
#include "support/allocations.hpp"

#include <benchmark/benchmark.h>

#include <vlp/io/csv.hpp>
#include <vlp/text/build_vocabulary.hpp>
#include <vlp/text/normalise.hpp>
#include <vlp/text/perturber.hpp>
#include <vlp/text/word_piece.hpp>
#include <vlp/text/words.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace {

namespace text = vlp::text;
using text::Perturbation;

std::filesystem::path data_folder() {
  const char* folder = std::getenv("VLP_DATA_DIR");
  return folder != nullptr ? folder : VLP_BENCHMARK_DATA_DIR;
}

struct Corpus {
  std::string name;
  std::vector<std::string> reports;

  Corpus() {
    const std::filesystem::path file = data_folder() / "open_i" / "indiana_reports.csv";
    if (std::filesystem::is_regular_file(file)) {
      name = "Open-I";
      const vlp::io::CsvTable table = vlp::io::read_csv(file);
      const auto findings = static_cast<std::size_t>(table.column("findings"));
      const auto impression = static_cast<std::size_t>(table.column("impression"));
      for (const auto& row : table.rows) reports.push_back(row[findings] + ' ' + row[impression]);
    } else {
      name = "built-in";
      for (std::uint32_t i = 0; i < 2000; ++i) {
        const vlp::builtin::Study study = vlp::builtin::draw_study(0, i, 32);
        reports.push_back(study.findings + ' ' + study.impression);
      }
    }
  }
};

const Corpus& corpus() {
  static const Corpus all;
  return all;
}

/// Times `pass()`, which goes over all reports and returns how many items that were.
template <class Pass>
void measure(benchmark::State& state, Pass pass) {
  pass();
  pass();
  const std::int64_t before = vlp::benchmarks::allocations();
  pass();
  const std::int64_t during = vlp::benchmarks::allocations() - before;
  std::int64_t items = 0;
  for (auto _ : state) items += pass();
  state.SetItemsProcessed(items);
  if (state.threads() == 1)  // with two, the other may still warm up
    state.counters["allocations"] =
        static_cast<double>(during) / static_cast<double>(corpus().reports.size());
  if (state.thread_index() == 0) state.SetLabel(corpus().name);
}

template <class Use>
std::int64_t for_each_report(Use use) {
  std::uint32_t index = 0;
  for (const std::string& report : corpus().reports) use(report, index++);
  return static_cast<std::int64_t>(corpus().reports.size());
}

void normalise(benchmark::State& state) {
  std::string plain;
  std::vector<text::Span> spans, sources;
  measure(state, [&] {
    return for_each_report([&](const std::string& report, std::uint32_t) {
      text::detail::normalise(report, text::default_max_words, plain, spans, sources);
      benchmark::DoNotOptimize(plain.data());
    });
  });
}

template <class Reader>
void read_words(benchmark::State& state) {
  Reader reader;
  text::Words words;
  measure(state, [&] {
    return for_each_report([&](const std::string& report, std::uint32_t) {
      reader.read(report, words);
      benchmark::DoNotOptimize(words.text.data());
    });
  });
}

template <class Reader, class Perturbations>
void perturb(benchmark::State& state, const Perturbations& perturbations) {
  Reader reader;
  text::Perturber perturber;
  text::Words words;
  text::PerturbedReport perturbed;
  measure(state, [&] {
    return for_each_report([&](const std::string& report, std::uint32_t index) {
      reader.read(report, words);
      for (const Perturbation perturbation : perturbations) {
        perturber(words, perturbation, 0, index, perturbed);
        benchmark::DoNotOptimize(perturbed.text.data());
      }
    });
  });
}

void all_nine(benchmark::State& state) {
  perturb<text::WordReader<>>(state, text::all_perturbations);
}

void five_without_tags(benchmark::State& state) {
  constexpr std::array five{Perturbation::shuffle_within_trigrams, Perturbation::shuffle_trigrams,
                            Perturbation::shuffle_all_words, Perturbation::reverse_sentence,
                            Perturbation::swap_adjacent_words};
  perturb<text::WordReader<text::NoTagger>>(state, five);
}

const text::WordPiece& tokeniser() {
  static const text::WordPiece one([] {
    const std::filesystem::path file = data_folder() / "bert_vocab" / "vocab.txt";
    return std::filesystem::is_regular_file(file) ? text::Vocabulary::load(file)
                                                  : text::build_vocabulary(corpus().reports);
  }());
  return one;
}

void word_piece(benchmark::State& state) {
  const text::WordPiece& cut = tokeniser();
  std::vector<text::PieceId> ids;
  std::vector<std::int32_t> words;
  measure(state, [&] {
    std::int64_t pieces = 0;
    for_each_report([&](const std::string& report, std::uint32_t) {
      ids.clear();
      words.clear();
      pieces += static_cast<std::int64_t>(cut.encode(report, 512, ids, words));
      benchmark::DoNotOptimize(ids.data());
    });
    return pieces;
  });
}

/// On one thread by the processor's time, on two by the clock's.
void on_one_and_two_threads(const char* name, void (*run)(benchmark::State&)) {
  benchmark::RegisterBenchmark(name, run)->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark(name, run)->Threads(2)->UseRealTime()->Unit(benchmark::kMillisecond);
}

}  // namespace

int main(int argc, char** argv) {
  on_one_and_two_threads("normalise", normalise);
  on_one_and_two_threads("read_words_without_tags", read_words<text::WordReader<text::NoTagger>>);
  on_one_and_two_threads("read_words", read_words<text::WordReader<>>);
  on_one_and_two_threads("all_nine", all_nine);
  on_one_and_two_threads("five_without_tags", five_without_tags);
  on_one_and_two_threads("word_piece", word_piece);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
