// What the task of the second stage owes: parameters, its teacher, shared weights, held-out terms,
// evaluation.
#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/temporary_folder.hpp"
#include "tasks/few_hybrid.hpp"

#include <vlp/eval/structure_discrimination.hpp>
#include <vlp/optim/adamw.hpp>
#include <vlp/tasks/pair_evaluation.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

using namespace vlp;
using test::few_pairs;
using test::HybridSetup;
using test::message_of;
using test::small_hybrid_options;
using test::TemporaryFolder;

static_assert(train::Task<tasks::Hybrid<float>> && train::Task<tasks::Hybrid<double>>);
static_assert(tasks::EmbedsPairs<tasks::Hybrid<float>>);

namespace {

bool is_shared(const std::string& name) {
  return name.starts_with("decoder.") && name.find(".cross_attention.") == std::string::npos;
}

std::map<std::string, std::vector<double>> values_of(const ParameterList<double>& list) {
  std::map<std::string, std::vector<double>> out;
  for (const auto& [name, parameter] : list)
    out[name].assign(parameter->value().data(), parameter->value().data() + parameter->size());
  return out;
}

}  // namespace

TEST_CASE("a weight of 0 has no parameters and no perturbed texts") {
  const auto names = [](auto change) {
    tasks::HybridOptions options = small_hybrid_options();
    change(options.objective);
    HybridSetup setup(options);
    tasks::Hybrid<double> task = setup.task();
    CHECK(task.make_batch(0).candidates_per_pair == (options.objective.lambda_perturbation > 0 ? 4 : 1));
    CHECK(task.terms().terms.size() == 5);
    std::string all = "\n";
    for (const auto& [name, parameter] : task.parameters()) all += name + "\n";
    return all;
  };
  const auto has = [](const std::string& all, const char* part) {
    return all.find(part) != std::string::npos;
  };
  const std::string all = names([](auto&) {});
  for (const char* part : {"\nword_head", "\nregion_head", "\nimage_head", "\ndecoder.", "\nlog_scale\n",
                           "\nperturbation_log_scale\n", ".cross_attention.caption."})
    CHECK(has(all, part));
  CHECK_FALSE(has(all, "cross_attention.summary"));
  const std::string without_token = names([](auto& o) { o.lambda_token = 0; });
  CHECK_FALSE(has(without_token, "word_head"));
  CHECK_FALSE(has(without_token, "region_head"));
  CHECK_FALSE(has(names([](auto& o) { o.lambda_global = 0; }), "\nlog_scale\n"));
  CHECK_FALSE(has(names([](auto& o) { o.lambda_perturbation = 0; }), "perturbation_log_scale"));
  CHECK(has(names([](auto& o) { o.lambda_caption = 0; }), "\ndecoder."));
  CHECK(has(names([](auto& o) { o.lambda_distillation = 0; }), "\ndecoder."));
  CHECK_FALSE(has(names([](auto& o) { o.lambda_caption = o.lambda_distillation = 0; }), "decoder."));
}

TEST_CASE("the second stage starts from the values of the first, and its teacher never changes") {
  tasks::HybridOptions options = small_hybrid_options();
  options.objective.shared_weights = GENERATE(tasks::SharedWeights::trained, tasks::SharedWeights::frozen);
  options.pairs.micro_batch = GENERATE(0, 3);
  HybridSetup setup(options);
  tasks::Summarisation<double> first(setup.device, options, setup.dataset,
                                     tasks::build_vocabulary(setup.dataset, options));
  io::read_parameters(setup.device, setup.summariser, first.parameters());
  const auto of_first = values_of(first.parameters());
  tasks::Hybrid<double> task = setup.task();
  const auto of_second = values_of(task.parameters());
  std::size_t same = 0;
  for (const auto& [name, values] : of_second) {
    INFO(name);
    const bool starts_there = name.starts_with("text_encoder.") || is_shared(name);
    CHECK(of_first.contains(name) == starts_there);
    if (!starts_there) continue;
    CHECK(values == of_first.at(name));
    ++same;
  }
  CHECK(same > 20);

  REQUIRE(task.teacher() != nullptr);
  const auto gradients = task.teacher()->gradients();
  for (Index i = 0; i < gradients.size(); ++i) gradients[i] = static_cast<double>(i);
  optim::AdamW<double> optimiser(setup.device, task.trained());
  for (Index step = 0; step < 3; ++step) {
    fill(setup.device, task.gradients().data(), task.gradients().size(), 0.0);
    static_cast<void>(task.step(setup.device, task.make_batch(step)));
    optimiser.step(setup.device, 0.01);
  }
  static_cast<void>(task.held_out(setup.device));
  for (Index i = 0; i < gradients.size(); ++i) REQUIRE(gradients[i] == static_cast<double>(i));
  CHECK(values_of(task.teacher()->list()) == of_first);

  // What is frozen stays bit for bit, and is among the parameters though not among those that are trained.
  const bool frozen = options.objective.shared_weights == tasks::SharedWeights::frozen;
  std::vector<std::string> trained;
  for (const auto& [name, parameter] : task.trained()) trained.push_back(name);
  for (const auto& [name, values] : values_of(task.parameters())) {
    INFO(name);
    const bool stays = frozen && is_shared(name);
    CHECK((std::ranges::find(trained, name) == trained.end()) == stays);
    CHECK((values == of_second.at(name)) == stays);
  }
}

TEST_CASE("without a summariser all weights are fresh, and what needs one is refused") {
  Cpu device(1);
  const data::Dataset dataset = few_pairs(16);
  const TemporaryFolder folder;
  const auto message = [&](auto change, const io::Path& summariser = {}) {
    tasks::HybridOptions options = small_hybrid_options();
    data::Dataset data = few_pairs(16);
    change(options, data);
    const auto make = [&] {
      tasks::Hybrid<double>(device, options, data, tasks::build_vocabulary(dataset, small_hybrid_options()),
                            summariser);
    };
    return summariser.empty() ? message_of<std::invalid_argument>(make) : message_of(make);
  };
  CHECK(message([](auto&, auto&) {}) ==
        "Hybrid: lambda-distillation is 0.4, but there is no summariser to learn from");
  CHECK(message([](auto& o, auto&) {
          o.objective.lambda_distillation = 0;
          o.objective.shared_weights = tasks::SharedWeights::frozen;
        }) == "Hybrid: shared-weights is frozen, but there is no summariser whose weights they would keep");
  CHECK(message([](auto& o, auto&) { o.objective.lambda_distillation = 0; }) == "no error");
  CHECK(message([](auto& o, auto&) {
          o.objective.lambda_global = o.objective.lambda_token = o.objective.lambda_caption =
              o.objective.lambda_distillation = o.objective.lambda_perturbation = 0;
        }) == "Hybrid: all weights of the second stage are 0, so that there is nothing to learn");
  CHECK(message([](auto& o, auto&) {
          o.objective.lambda_distillation = 0;
          o.pairs.perturbations.clear();
        }) == "Hybrid: lambda-perturbation is 0.9, but there are no perturbations");
  CHECK(message([](auto& o, auto& d) {
          o.objective.lambda_distillation = 0;
          d.held_out[1].findings.clear();
        }) == "Hybrid: 1 of 6 examples have no findings; the first is example 5");

  const io::Path file = folder / "summariser.safetensors";
  test::write_summariser<double>(device, small_hybrid_options(), dataset, file);
  CHECK(message([](auto&, auto&) {}, file) == "no error");
  CHECK(message([](auto& o, auto&) { o.objective.decoder_blocks = 3; }, file)
            .starts_with(file.string() + ": does not fit the model: "));
  CHECK(message([](auto&, auto&) {}, folder / "none.safetensors").find("none.safetensors") !=
        std::string::npos);
}

TEST_CASE("held-out terms of hybrid pretraining are means over pairs and over tokens") {
  tasks::HybridOptions options = small_hybrid_options();
  options.objective.lambda_global = 0;  // a contrast depends on the batch
  HybridSetup setup(options);
  const auto held_out_with = [&](Index batch_size) {
    setup.options.pairs.batch_size = batch_size;
    tasks::Hybrid<double> task = setup.task();
    return task.held_out(setup.device);
  };
  const train::Terms one = held_out_with(1), both = held_out_with(2);
  CHECK(std::abs(one.total - both.total) < 1e-12);
  for (std::size_t i = 0; i < one.terms.size(); ++i) {
    INFO(one.terms[i].name);
    CHECK(std::abs(one.terms[i].value - both.terms[i].value) < 1e-12);
  }
  REQUIRE(one.terms[1].chance.has_value());
  CHECK(std::abs(*one.terms[1].chance - *both.terms[1].chance) < 1e-12);
}

TEST_CASE("the token term is reported beside the loss of words or pairs that are all alike") {
  tasks::HybridOptions options = small_hybrid_options();
  const bool local = GENERATE(false, true);
  options.objective.token_loss =
      local ? tasks::TokenLoss::local_alignment : tasks::TokenLoss::token_alignment;
  options.pairs.duplicates = DuplicatePolicy::negatives;
  HybridSetup setup(options);
  tasks::Hybrid<double> task = setup.task();
  CHECK(task.terms().terms[1].chance == 0.0);
  // Words that are all alike cannot be told apart.
  for (const auto& [name, parameter] : task.parameters())
    if (name == "word_head.weight" || name == "word_head.bias")
      for (Index i = 0; i < parameter->size(); ++i)
        parameter->value()[i] = name == "word_head.bias" ? 1.0 + static_cast<double>(i) : 0.0;
  const train::Term term = task.step(setup.device, task.make_batch(0)).terms[1];
  REQUIRE(term.chance.has_value());
  CHECK(*term.chance > 0);
  if (local)
    CHECK(std::abs(*term.chance - std::log(4)) < 1e-12);
  else
    CHECK(std::abs(term.value - *term.chance) < 1e-9);
}

TEST_CASE("scales of hybrid pretraining start at the temperature, are read and are kept at or below 100") {
  tasks::HybridOptions options = small_hybrid_options();
  options.objective.temperature = GENERATE(0.5, 0.001);
  HybridSetup setup(options);
  tasks::Hybrid<double> task = setup.task();
  const double start = std::min(std::log(1 / options.objective.temperature), std::log(100.0));
  const auto readings = task.readings(setup.device);
  REQUIRE(readings.size() == 2);
  CHECK(readings[0].name == "log_scale");
  CHECK(readings[1].name == "perturbation_log_scale");
  for (const auto& reading : readings) CHECK(std::abs(reading.value - start) < 1e-12);
  for (const auto& [name, parameter] : task.parameters())
    if (name.ends_with("log_scale")) parameter->value()[0] = 5;
  task.constrain(setup.device);
  for (const auto& reading : task.readings(setup.device))
    CHECK(std::abs(reading.value - std::log(100.0)) < 1e-12);
}

TEST_CASE("evaluation of hybrid pretraining sees impressions as candidates and words of the findings") {
  tasks::HybridOptions options = small_hybrid_options();
  options.objective.lambda_perturbation = GENERATE(0.0, 0.9);
  options.objective.lambda_token = GENERATE(0.0, 0.7);
  HybridSetup setup(options);
  setup.dataset.held_out[0].report = "Small heart.";
  setup.dataset.held_out[0].marks = {{"effusion", "effusion", {2, 2, 9, 9}}};
  tasks::Hybrid<double> task = setup.task();
  std::vector<tasks::AttendedPair> attended;
  const auto evaluation = evaluate(task, setup.device, setup.device, 5, attended);
  CHECK(evaluation.pairs == 2);
  CHECK(evaluation.structure.overall.count == 2);
  CHECK(evaluation.structure.perturbations.size() == 3);
  if (options.objective.lambda_token == 0) {
    CHECK(attended.empty());
    return;
  }
  CHECK(evaluation.pointing.overall().count == 1);
  REQUIRE(attended.size() == 2);
  REQUIRE(attended[0].words.size() == 1);
  CHECK(attended[0].words[0].word == "effusion");
  for (const auto& pair : attended)
    for (const auto& word : pair.words) {
      double sum = 0;
      for (const float x : word.attention) sum += static_cast<double>(x);
      CHECK(std::abs(sum - 1) < 1e-5);
    }
}

TEST_CASE("evaluation of hybrid pretraining scores each image with its own impression and perturbations") {
  const tasks::HybridOptions options = small_hybrid_options();
  HybridSetup setup(options);
  setup.dataset.held_out = setup.dataset.train;
  tasks::Hybrid<double> task = setup.task();
  optim::AdamW<double> optimiser(setup.device, task.trained());
  for (int i = 0; i < 30; ++i) {  // until it tells most of them apart
    fill(setup.device, task.gradients().data(), task.gradients().size(), 0.0);
    static_cast<void>(task.step(setup.device, task.make_batch(0)));
    optimiser.step(setup.device, 0.02);
  }
  std::vector<tasks::AttendedPair> attended;
  const auto evaluation = evaluate(task, setup.device, setup.device, 0, attended);
  std::vector<double> scores;
  std::vector<std::uint8_t> valid;
  data::PairBatchMaker maker(task.batch_options(), task.word_piece(), options.pairs.perturbations);
  task.for_each_batch(maker, setup.dataset.held_out, [&](const data::PairBatch& batch) {
    const auto features = task.embed(setup.device, batch);
    valid.insert(valid.end(), batch.valid.begin(), batch.valid.end());
    for (Index b = 0; b < batch.pairs; ++b)
      for (Index k = 0; k < 4; ++k) {
        double dot = 0, length = 0;
        for (Index d = 0; d < features.image.cols(); ++d) {
          dot += features.image(b, d) * features.text(b, k, d);
          length += features.text(b, k, d) * features.text(b, k, d);
        }
        scores.push_back(dot / std::sqrt(length));
      }
  });
  std::vector<std::string> names(3);
  const auto expected =
      eval::structure_discrimination(MatrixView<const double>(scores.data(), {4, 4}),
                                     MatrixView<const std::uint8_t>(valid.data(), {4, 4}), names);
  CHECK(expected.overall.correct >= 3);
  CHECK(evaluation.structure.overall.correct == expected.overall.correct);
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(evaluation.structure.perturbations[i].accuracy.correct ==
          expected.perturbations[i].accuracy.correct);
}

TEST_CASE("rows of hybrid pretraining that are not finite are described by their example") {
  tasks::HybridOptions options = small_hybrid_options();
  options.pairs.micro_batch = GENERATE(0, 3);
  HybridSetup setup(options);
  tasks::Hybrid<double> task = setup.task();
  auto batch = task.make_batch(0);
  static_cast<void>(task.step(setup.device, batch));
  CHECK(task.describe(setup.device, batch) == "none");
  batch.images[2 * 16 * 16 + 5] = std::numeric_limits<float>::quiet_NaN();
  static_cast<void>(task.step(setup.device, batch));
  CHECK(task.describe(setup.device, batch) ==
        "2 (image of " + setup.dataset.train[static_cast<std::size_t>(batch.examples[2])].name + ")");
}
