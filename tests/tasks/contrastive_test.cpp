// Contrastive pretraining as a whole: the gradient of every parameter, what a task owes, evaluation.
#include "support/catch.hpp"
#include "support/messages.hpp"
#include "tasks/few_pairs.hpp"
#include "tasks/task_gradient.hpp"

#include <vlp/core/parameters.hpp>
#include <vlp/losses/multi_scale.hpp>
#include <vlp/tasks/contrastive.hpp>
#include <vlp/tasks/pair_evaluation.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

using namespace vlp;
using test::few_pairs;
using test::message_of;
using test::small_options;

static_assert(train::Task<tasks::Contrastive<float>> && train::Task<tasks::Contrastive<double>>);

TEST_CASE("the gradient of the whole task agrees with central differences") {
  tasks::ContrastiveOptions options = small_options();
  SECTION("regions before the blocks, words of all layers") {
    options.objective.alpha = GENERATE(0.0, 0.7);
    options.objective.beta = GENERATE(0.0, 0.9);
  }
  SECTION("regions after the blocks, words of the last layer, duplicates as positives") {
    options.pairs.model.image_blocks = options.pairs.model.region_blocks = 2;
    options.pairs.model.word_layers = 1;
    options.pairs.duplicates = DuplicatePolicy::positives;
    options.pairs.local_words = data::LocalWords::all;
  }
  SECTION("perturbed reports as negatives") {
    options.objective.perturbed_as_negatives = true;
    options.objective.alpha = GENERATE(0.0, 0.7);
    options.objective.beta = GENERATE(0.0, 0.9);
  }
  CAPTURE(options.objective.alpha, options.objective.beta, options.pairs.model.region_blocks);
  Cpu device(1);
  const data::Dataset dataset = few_pairs(16);
  tasks::Contrastive<double> task(device, options, dataset, tasks::build_vocabulary(dataset, options.pairs));
  const auto batch = task.make_batch(0);
  Random random(5);
  test::unsettle(task.parameters(), random);
  test::check_task_gradient(device, task, batch, task.parameters(), random, [&] {
    task.embed(device, batch);
    return task.evaluate_objective(device).total;
  });
}

TEST_CASE("a term of weight 0 has no parameters and no perturbed texts") {
  Cpu device(1);
  const data::Dataset dataset = few_pairs(16);
  const auto names = [&](double alpha, double beta) {
    tasks::ContrastiveOptions options = small_options();
    options.objective.alpha = alpha;
    options.objective.beta = beta;
    tasks::Contrastive task(device, options, dataset, tasks::build_vocabulary(dataset, options.pairs));
    CHECK(task.make_batch(0).texts_per_pair == (beta > 0 ? 4 : 1));
    std::string all;
    for (const auto& [name, parameter] : task.parameters()) all += name + "\n";
    return all;
  };
  const std::string every = names(1, 1), without_local = names(0, 1), without_perturbed = names(1, 0);
  CHECK(every.find("word_head") != std::string::npos);
  CHECK(every.find("\nlog_scale\nperturbation_log_scale\n") != std::string::npos);
  CHECK(without_local.find("word_head") == std::string::npos);
  CHECK(without_local.find("region") == std::string::npos);
  CHECK(without_perturbed.find("perturbation_log_scale") == std::string::npos);
}

TEST_CASE("perturbed reports as negatives make the global term that of MultiScale with them") {
  Cpu device(1);
  const data::Dataset dataset = few_pairs(16);
  tasks::ContrastiveOptions options = small_options();
  options.objective.alpha = 0;
  options.objective.beta = GENERATE(0.0, 0.9);
  const auto vocabulary = tasks::build_vocabulary(dataset, options.pairs);
  const auto terms_with = [&](bool negatives) {
    options.objective.perturbed_as_negatives = negatives;
    tasks::Contrastive<double> task(device, options, dataset, vocabulary);
    const auto batch = task.make_batch(0);
    if (!negatives) return task.step(device, batch);
    CHECK(batch.texts_per_pair == 4);
    for (const auto& [name, parameter] : task.parameters())
      if (name == "perturbation_log_scale") CHECK(options.objective.beta > 0);
    const auto features = task.embed(device, batch);
    auto expected = MultiScaleOptions::neg_clip();
    expected.beta = options.objective.beta;
    expected.global.duplicate_policy = DuplicatePolicy::ignore;
    MultiScale<double> loss(expected);
    const double log_scale = std::log(1 / 0.07);
    MultiScale<double>::Inputs inputs;
    inputs.image = features.image;
    inputs.text = features.text;
    inputs.log_scale = inputs.perturbation_log_scale = &log_scale;
    inputs.valid = {batch.valid.data(), {batch.pairs, batch.texts_per_pair}};
    inputs.group = batch.group;
    double total = 0, global = 0;
    loss.forward(device, inputs, {.loss = &total, .global = &global});
    const train::Terms terms = task.step(device, batch);
    CHECK(std::abs(terms.total - total) < 1e-12);
    CHECK(std::abs(terms.terms[0].value - global) < 1e-12);
    return terms;
  };
  // More negatives make the global term larger, and leave the others.
  const train::Terms with = terms_with(true), without = terms_with(false);
  CHECK(with.terms[0].value > without.terms[0].value + 0.01);
  CHECK(std::abs(with.terms[2].value - without.terms[2].value) < 1e-12);
}

TEST_CASE("batches depend on the seed and the step alone and cover an epoch once") {
  Cpu device(1);
  const data::Dataset dataset = few_pairs(16);
  tasks::ContrastiveOptions options = small_options();
  options.pairs.batch_size = 2;
  options.pairs.perturbations_per_step = 2;
  const auto vocabulary = tasks::build_vocabulary(dataset, options.pairs);
  tasks::Contrastive one(device, options, dataset, vocabulary), other(device, options, dataset, vocabulary);
  CHECK(one.steps_per_epoch() == 2);
  CHECK(one.examples_per_step() == 2);
  std::vector<Index> seen;
  for (Index step = 0; step < 2; ++step) {
    const auto batch = one.make_batch(step);
    seen.insert(seen.end(), batch.examples.begin(), batch.examples.end());
  }
  std::sort(seen.begin(), seen.end());
  CHECK(seen == std::vector<Index>{0, 1, 2, 3});
  // A task that starts at step 5 meets what one meets that comes from step 0.
  for (Index step = 2; step < 5; ++step) static_cast<void>(one.make_batch(step));
  const auto a = one.make_batch(5), b = other.make_batch(5);
  CHECK(a.examples == b.examples);
  CHECK(a.pieces == b.pieces);
  CHECK(a.images == b.images);
  options.pairs.seed = 2;
  tasks::Contrastive reseeded(device, options, dataset, vocabulary);
  CHECK(reseeded.make_batch(5).pieces != a.pieces);
}

TEST_CASE("scales are kept at or below 100 and are read as they are") {
  Cpu device(1);
  const data::Dataset dataset = few_pairs(16);
  const tasks::ContrastiveOptions options = small_options();
  tasks::Contrastive<double> task(device, options, dataset, tasks::build_vocabulary(dataset, options.pairs));
  CHECK(std::abs(task.readings(device)[0].value - std::log(1 / 0.07)) < 1e-12);
  for (const auto& [name, parameter] : task.parameters())
    if (name.ends_with("log_scale")) parameter->value()[0] = 5;
  task.constrain(device);
  for (const auto& [name, parameter] : task.parameters())
    if (name.ends_with("log_scale")) CHECK(std::abs(parameter->value()[0] - std::log(100.0)) < 1e-12);
}

TEST_CASE("the local term is reported beside its chance level, that of the batch") {
  Cpu device(1);
  const data::Dataset dataset = few_pairs(16);
  tasks::ContrastiveOptions options = small_options();
  options.pairs.batch_size = GENERATE(1, 2, 3, 4);
  CAPTURE(options.pairs.batch_size);
  const auto vocabulary = tasks::build_vocabulary(dataset, options.pairs);
  tasks::Contrastive<double> task(device, options, dataset, vocabulary);
  CHECK(task.terms().terms[1].name == "local");
  CHECK(task.terms().terms[1].chance == 0.0);
  const train::Terms terms = task.step(device, task.make_batch(0));
  REQUIRE(terms.terms[1].chance.has_value());
  CHECK(std::abs(*terms.terms[1].chance - std::log(options.pairs.batch_size)) < 1e-15);
  // Two pairs are held out, in one batch or in two of one.
  const double held_out = options.pairs.batch_size == 1 ? 0 : std::log(2);
  CHECK(std::abs(*task.held_out(device).terms[1].chance - held_out) < 1e-15);
  for (const std::size_t other : {0u, 2u}) CHECK_FALSE(terms.terms[other].chance.has_value());
  // Of copies of one pair nothing can be told apart.
  data::Dataset copies = few_pairs(16);
  std::fill(copies.train.begin(), copies.train.end(), dataset.train[0]);
  options.pairs.duplicates = DuplicatePolicy::negatives;
  tasks::Contrastive<double> alike(device, options, copies, vocabulary);
  const train::Term local = alike.step(device, alike.make_batch(0)).terms[1];
  CHECK(std::abs(local.value - *local.chance) < 1e-12);

  options.objective.alpha = 0;
  tasks::Contrastive<double> without(device, options, dataset, vocabulary);
  CHECK_FALSE(without.terms().terms[1].chance.has_value());
  CHECK_FALSE(without.step(device, without.make_batch(0)).terms[1].chance.has_value());
}

TEST_CASE("held-out terms are means over examples, whatever the batches") {
  Cpu device(1);
  const data::Dataset dataset = few_pairs(16);
  tasks::ContrastiveOptions options = small_options();
  options.pairs.batch_size = 1;  // two batches of one
  tasks::Contrastive<double> task(device, options, dataset, tasks::build_vocabulary(dataset, options.pairs));
  const train::Terms mean = task.held_out(device);
  double total = 0, perturbation = 0;
  data::PairBatchMaker maker(task.batch_options(), task.word_piece(), options.pairs.perturbations);
  task.for_each_batch(maker, dataset.held_out, [&](const auto& batch) {
    task.embed(device, batch);
    const train::Terms terms = task.evaluate_objective(device);
    total += terms.total / 2;
    perturbation += terms.terms[2].value / 2;
  });
  CHECK(std::abs(mean.total - total) < 1e-12);
  CHECK(mean.terms[2].name == "perturbation");
  CHECK(std::abs(mean.terms[2].value - perturbation) < 1e-12);
}

TEST_CASE("rows that are not finite are described by their example") {
  Cpu device(1);
  const data::Dataset dataset = few_pairs(16);
  const tasks::ContrastiveOptions options = small_options();
  tasks::Contrastive task(device, options, dataset, tasks::build_vocabulary(dataset, options.pairs));
  auto batch = task.make_batch(0);
  static_cast<void>(task.step(device, batch));
  CHECK(task.describe(device, batch) == "none");
  batch.images[2 * 16 * 16 + 5] = std::numeric_limits<float>::quiet_NaN();
  static_cast<void>(task.step(device, batch));
  CHECK(task.describe(device, batch) ==
        "2 (image of " + dataset.train[static_cast<std::size_t>(batch.examples[2])].name + ")");
}

TEST_CASE("evaluation gives every figure, and attention where it was trained") {
  Cpu device(1);
  const data::Dataset dataset = few_pairs(16);
  tasks::ContrastiveOptions options = small_options();
  const auto evaluation_of = [&](double alpha, std::vector<tasks::AttendedPair>& attended) {
    options.objective.alpha = alpha;
    tasks::Contrastive task(device, options, dataset, tasks::build_vocabulary(dataset, options.pairs));
    return evaluate(task, device, device, 5, attended);
  };
  std::vector<tasks::AttendedPair> attended, none;
  const auto evaluation = evaluation_of(1, attended);
  CHECK(evaluation.pairs == 2);
  CHECK(evaluation.structure.overall.count == 2);
  CHECK(evaluation.structure.perturbations.size() == 3);
  CHECK(evaluation.pointing.overall().count == 1);
  REQUIRE(attended.size() == 2);
  CHECK(attended[0].words.size() == 1);  // the mark's word alone
  CHECK(attended[0].words[0].word == "heart");
  CHECK(attended[1].words[0].word == "nodule");
  for (const auto& pair : attended)
    for (const auto& word : pair.words) {
      double sum = 0;
      for (const float x : word.attention) sum += static_cast<double>(x);
      CHECK(std::abs(sum - 1) < 1e-5);
    }
  CHECK(tables(evaluation).find("| heart |") != std::string::npos);
  CHECK(evaluation_of(0, none).pointing.overall().count == 0);
  CHECK(none.empty());
}

TEST_CASE("reports of one image are not negatives of each other, and all of them are found") {
  Cpu device(1);
  data::Dataset dataset = few_pairs(16);
  dataset.train.resize(2);  // of different reports
  tasks::ContrastiveOptions options = small_options();
  const auto vocabulary = tasks::build_vocabulary(dataset, options.pairs);
  const auto global_and_recall = [&] {
    tasks::Contrastive task(device, options, dataset, vocabulary);
    std::vector<tasks::AttendedPair> attended;
    const auto evaluation = evaluate(task, device, device, 0, attended);
    CHECK(evaluation.retrieval.image_to_text[0].chance == evaluation.retrieval.text_to_image[0].chance);
    return std::pair(task.step(device, task.make_batch(0)).terms[0].value,
                     evaluation.retrieval.text_to_image[0]);
  };
  CHECK(global_and_recall().first > 0.01);
  CHECK(global_and_recall().second.chance == 0.5);
  // Each pair's other candidate leaves its denominator, so nothing is left to tell apart.
  for (auto* side : {&dataset.train, &dataset.held_out})
    for (data::Example& example : *side) {
      example.image_id = side->front().image_id;
      example.image_texts = std::make_shared<const std::vector<std::int64_t>>(
          std::initializer_list<std::int64_t>{side->front().text_id, side->back().text_id});
    }
  const auto [global, recall] = global_and_recall();
  CHECK(std::abs(global) < 1e-6);
  CHECK(recall.recall == 1);
  CHECK(recall.chance == 1);
}

TEST_CASE("settings out of range and datasets of another size are refused") {
  Cpu device(1);
  const data::Dataset dataset = few_pairs(16);
  const auto message = [&](auto change) {
    tasks::ContrastiveOptions options = small_options();
    change(options);
    return message_of<std::invalid_argument>([&] {
      tasks::Contrastive(device, options, dataset, tasks::build_vocabulary(dataset, small_options().pairs));
    });
  };
  CHECK(message([](auto& o) { o.pairs.image_size = 24; }) ==
        "Contrastive: the images of the dataset are 16 pixels a side, but image-size is 24");
  CHECK(message([](auto& o) { o.pairs.image_size = 20; }) == "image-size must be a multiple of 8, but is 20");
  CHECK(message([](auto& o) { o.pairs.model.heads = 3; }) ==
        "width must be a multiple of heads, but is 8 for 3 heads");
  CHECK(message([](auto& o) { o.objective.beta = -1; }) == "beta must be 0 or a positive number, but is -1");
  CHECK(message([](auto& o) { o.pairs.batch_size = 0; }) ==
        "batch-size must be from 1 to 1000000000, but is 0");
}
