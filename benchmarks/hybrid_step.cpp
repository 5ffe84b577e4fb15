// Steps of the second stage of hybrid pretraining on built-in data, for compare_hybrid.py, which takes the
// same steps in PyTorch: writes the weights that it starts from, those of the teacher and its batches, and
// prints what the steps gave and took as JSON.
//
//   benchmark_hybrid_step FOLDER THREADS SECONDS WIDTH HEADS IMAGE_BLOCKS TEXT_BLOCKS DECODER_BLOCKS
//   IMAGE_SIZE BATCH_SIZE
#include "builtin/study.hpp"

#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/numbers.hpp>
#include <vlp/data/dataset.hpp>
#include <vlp/data/pair_batch.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/parameters.hpp>
#include <vlp/io/safetensors.hpp>
#include <vlp/optim/adamw.hpp>
#include <vlp/tasks/hybrid.hpp>
#include <vlp/tasks/summarisation.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace vlp::benchmarks {
namespace {

constexpr Index batches = 4;
constexpr std::size_t compared = 2 * batches,
                      least = 5;  // first steps, whose terms are printed, and further ones

struct Arguments {
  io::Path folder;
  int threads;
  double seconds;
  tasks::HybridOptions options;

  explicit Arguments(std::span<char*> words) {
    require(words.size() == 11, "hybrid_step: ", words.size() - 1, " arguments, but it takes 10");
    const auto number = [&](std::size_t i) { return static_cast<Index>(std::atoll(words[i])); };
    folder = words[1];
    threads = static_cast<int>(number(2));
    seconds = std::atof(words[3]);
    options.pairs.model.width = number(4);
    options.pairs.model.heads = number(5);
    options.pairs.model.image_blocks = number(6);
    options.pairs.model.text_blocks = number(7);
    options.objective.decoder_blocks = number(8);
    options.pairs.image_size = number(9);
    options.pairs.batch_size = number(10);
  }
};

data::Dataset draw(Cpu& device, const tasks::HybridOptions& options) {
  return builtin::draw_dataset(device, 1, batches * options.pairs.batch_size + 8,
                               {.image_size = options.pairs.image_size,
                                .held_out = 0.001,
                                .report_part = data::ReportPart::impression});
}

void write_batch(const io::Path& file, const data::PairBatch& batch, Index image_size) {
  const auto vector = []<class T>(std::string name, const std::vector<T>& values) {
    return io::tensor_ref(std::move(name), std::span<const T>(values), {static_cast<Index>(values.size())});
  };
  io::write_safetensors(
      file,
      std::vector{io::tensor_ref("images", std::span<const float>(batch.images),
                                 {batch.pairs, 1, image_size, image_size}),
                  vector("pieces", batch.pieces), vector("offsets", batch.offsets),
                  vector("word_slot", batch.word_slot), vector("word_count", batch.word_count),
                  vector("group", batch.group)},
      {{"words", std::to_string(batch.max_words)}, {"texts_per_pair", std::to_string(batch.texts_per_pair)}});
}

std::string to_json(const train::Terms& terms) {
  std::string text = "{\"total\": " + number_text(terms.total);
  for (const train::Term& term : terms.terms)
    text += concat(", \"", term.name, "\": ", number_text(term.value));
  return text + "}";
}

void run(const Arguments& arguments) {
  Cpu device(arguments.threads);
  const tasks::HybridOptions& options = arguments.options;
  const data::Dataset dataset = draw(device, options);
  const text::Vocabulary vocabulary = tasks::build_vocabulary(dataset, options.pairs);
  std::filesystem::create_directories(arguments.folder);
  const io::Path summariser = arguments.folder / "summariser.safetensors";
  {
    tasks::Summarisation<float> stage(device, options, dataset, vocabulary);
    io::write_parameters(device, summariser, stage.parameters());
  }
  tasks::Hybrid<float> task(device, options, dataset, vocabulary, summariser);
  io::write_parameters(device, arguments.folder / "model.safetensors", task.parameters());
  std::vector<data::PairBatch> made;
  for (Index step = 0; step < batches; ++step) {
    made.push_back(task.make_batch(step));
    write_batch(arguments.folder / concat("batch", step, ".safetensors"), made.back(),
                options.pairs.image_size);
  }

  optim::AdamW<float> optimiser(device, task.trained(), optim::AdamWOptions{.weight_decay = 0});
  std::string values, seconds;
  const auto begin = std::chrono::steady_clock::now();
  const auto since = [](auto then) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - then).count();
  };
  for (std::size_t step = 0; step < compared + least || since(begin) < arguments.seconds; ++step) {
    const auto start = std::chrono::steady_clock::now();
    fill(device, task.gradients().data(), task.gradients().size(), 0.0f);
    const train::Terms terms = task.step(device, made[step % made.size()]);
    optimiser.step(device, 1e-4);
    seconds += (step == 0 ? "" : ", ") + number_text(since(start));
    if (step < compared) values += (step == 0 ? "" : ", ") + to_json(terms);
  }
  std::printf(
      "{\"vocabulary\": %zu, \"positions\": %td, \"parameters\": %td, \"terms\": [%s], \"seconds\": [%s]}\n",
      vocabulary.size(), task.batch_options().max_pieces(), task.size(), values.c_str(), seconds.c_str());
}

}  // namespace
}  // namespace vlp::benchmarks

int main(int argc, char** argv) {
  try {
    vlp::benchmarks::run(vlp::benchmarks::Arguments({argv, static_cast<std::size_t>(argc)}));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "hybrid_step: %s\n", error.what());
    return 2;
  }
}
