// The first stage of hybrid pretraining: the gradient of every parameter, what the task owes.
#include "support/catch.hpp"
#include "support/messages.hpp"
#include "tasks/few_hybrid.hpp"
#include "tasks/task_gradient.hpp"

#include <vlp/optim/adamw.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

using namespace vlp;
using test::few_pairs;
using test::message_of;
using test::small_hybrid_options;

static_assert(train::Task<tasks::Summarisation<float>> && train::Task<tasks::Summarisation<double>>);

TEST_CASE("the gradient of summarisation agrees with central differences") {
  tasks::HybridOptions options = small_hybrid_options();
  SECTION("two blocks, tied") {}
  SECTION("untied, words of the last layer") {
    options.objective.tied_output = false;
    options.objective.decoder_blocks = 1;
    options.pairs.model.word_layers = 1;
  }
  SECTION("micro-batches") {
    options.pairs.micro_batch = GENERATE(1, 3);
  }
  Cpu device(1);
  const data::Dataset dataset = few_pairs(16);
  tasks::Summarisation<double> task(device, options, dataset, tasks::build_vocabulary(dataset, options));
  const auto batch = task.make_batch(0);
  Random random(5);
  test::unsettle(task.parameters(), random);
  test::check_task_gradient(device, task, batch, task.parameters(), random,
                            [&] { return task.evaluate_objective(device, batch).total; });
}

TEST_CASE("the summary term is the mean over all tokens of the impressions, the last of which is [SEP]") {
  Cpu device(1);
  const data::Dataset dataset = few_pairs(16);
  tasks::HybridOptions options = small_hybrid_options();
  options.pairs.micro_batch = GENERATE(0, 3);
  tasks::Summarisation<double> task(device, options, dataset, tasks::build_vocabulary(dataset, options));
  const auto batch = task.make_batch(0);
  REQUIRE(batch.pairs == 4);
  REQUIRE(batch.texts_per_pair == 2);
  CHECK(batch.images.empty());
  const text::Vocabulary& vocabulary = task.word_piece().vocabulary();
  double sum = 0;
  Index tokens = 0;
  for (std::size_t pair = 0; pair < 4; ++pair) {
    // One pair after the other, each with its own impression and findings.
    std::vector<std::int32_t> impression, findings, ignored;
    const data::Example& example = dataset.train[static_cast<std::size_t>(batch.examples[pair])];
    task.word_piece().encode(text::normalise(example.report, 12), 26, impression, ignored);
    task.word_piece().encode(text::normalise(example.findings, 12), 26, findings, ignored);
    CHECK(impression.front() == vocabulary.begin_of_text());
    CHECK(impression.back() == vocabulary.end_of_text());
    const Index length = static_cast<Index>(impression.size()) - 1;
    nn::Tokens<> in, context;
    in.assign(device, std::span(impression).first(impression.size() - 1), std::vector<Index>{0, length});
    context.assign(device, findings, std::vector<Index>{0, static_cast<Index>(findings.size())});
    std::vector<double> hidden(static_cast<std::size_t>(length) * 8);
    task.model().forward(device, {context, in}, {hidden.data(), {length, 8}});
    const Index words = static_cast<Index>(vocabulary.size());
    std::vector<double> logits(static_cast<std::size_t>(length * words));
    const MatrixView<double> z(logits.data(), {length, words});
    task.model().decoder().logits(device, {hidden.data(), {length, 8}}, z);
    for (Index t = 0; t < length; ++t) {
      double normaliser = 0;
      for (Index v = 0; v < words; ++v) normaliser += std::exp(z(t, v));
      sum += std::log(normaliser) - z(t, impression[static_cast<std::size_t>(t) + 1]);
    }
    tokens += length;
  }
  const train::Terms terms = task.step(device, batch);
  REQUIRE(terms.terms.size() == 1);
  CHECK(terms.terms[0].name == "summary");
  CHECK(std::abs(terms.terms[0].value - sum / static_cast<double>(tokens)) < 1e-12);
  CHECK(std::abs(terms.total - 0.6 * terms.terms[0].value) < 1e-12);
}

TEST_CASE("held-out summaries are a mean over tokens, whatever the batches") {
  Cpu device(1);
  const data::Dataset dataset = few_pairs(16);
  tasks::HybridOptions options = small_hybrid_options();
  const auto held_out_with = [&](Index batch_size) {
    options.pairs.batch_size = batch_size;
    tasks::Summarisation<double> task(device, options, dataset, tasks::build_vocabulary(dataset, options));
    return task.held_out(device).total;
  };
  CHECK(std::abs(held_out_with(1) - held_out_with(2)) < 1e-12);
  tasks::Summarisation<double> task(device, options, dataset, tasks::build_vocabulary(dataset, options));
  data::PairBatchMaker maker(task.batch_options(), task.word_piece(), {});
  const auto both = maker.make_texts(dataset.held_out, std::vector<Index>{0, 1}, 0);
  CHECK(std::abs(task.evaluate_objective(device, both).total - held_out_with(2)) < 1e-12);
}

TEST_CASE("a few steps of summarisation lower its loss") {
  Cpu device(1);
  const data::Dataset dataset = few_pairs(16);
  const tasks::HybridOptions options = small_hybrid_options();
  tasks::Summarisation task(device, options, dataset, tasks::build_vocabulary(dataset, options));
  optim::AdamW<float> optimiser(device, task.trained());
  const auto batch = task.make_batch(0);
  double first = 0, last = 0;
  for (int i = 0; i < 30; ++i) {
    fill(device, task.gradients().data(), task.gradients().size(), 0.0f);
    last = task.step(device, batch).total;
    if (i == 0) first = last;
    optimiser.step(device, 0.02);
  }
  CHECK(last < 0.6 * first);
}

TEST_CASE("summarisation reads no image and makes no perturbation") {
  Cpu device(1);
  data::Dataset dataset = few_pairs(16);
  const tasks::HybridOptions options = small_hybrid_options();
  const auto vocabulary = tasks::build_vocabulary(dataset, options);
  dataset.images = nullptr;
  tasks::Summarisation<double> task(device, options, dataset, vocabulary);
  CHECK(task.make_batch(0).candidates_per_pair == 1);
  CHECK(std::isfinite(task.step(device, task.make_batch(0)).total));
  CHECK(std::isfinite(task.held_out(device).total));
  for (const auto& [name, parameter] : task.parameters())
    CHECK((name.starts_with("text_encoder.") || name.starts_with("decoder.")));
}

TEST_CASE("impressions that are not finite are described by their example") {
  Cpu device(1);
  const data::Dataset dataset = few_pairs(16);
  tasks::HybridOptions options = small_hybrid_options();
  options.pairs.micro_batch = GENERATE(0, 3);
  tasks::Summarisation<double> task(device, options, dataset, tasks::build_vocabulary(dataset, options));
  const auto batch = task.make_batch(0);
  static_cast<void>(task.step(device, batch));
  CHECK(task.describe(device, batch) == "none");
  // A word that the impression and the findings of one example alone have.
  std::vector<std::int32_t> pieces, ignored;
  task.word_piece().encode("right", 8, pieces, ignored);
  for (const auto& [name, parameter] : task.parameters())
    if (name == "text_encoder.embedding.word")
      parameter->value()[pieces[1] * 8] = std::numeric_limits<double>::quiet_NaN();
  std::string expected;
  for (std::size_t b = 0; b < 4; ++b) {
    const data::Example& example = dataset.train[static_cast<std::size_t>(batch.examples[b])];
    std::vector<std::int32_t> of_example;
    task.word_piece().encode(text::normalise(example.findings, 12), 26, of_example, ignored);
    if (std::ranges::find(of_example, pieces[1]) != of_example.end())
      expected +=
          (expected.empty() ? "" : ", ") + std::to_string(b) + " (impression of " + example.name + ")";
  }
  CHECK_FALSE(expected.empty());
  CHECK(task.describe(device, batch) == expected);
}

TEST_CASE("what summarisation cannot learn from is refused") {
  Cpu device(1);
  const data::Dataset sound = few_pairs(16);
  const auto message = [&](auto change) {
    tasks::HybridOptions options = small_hybrid_options();
    data::Dataset dataset = few_pairs(16);
    change(options, dataset);
    return message_of<std::invalid_argument>([&] {
      tasks::Summarisation(device, options, dataset, tasks::build_vocabulary(sound, small_hybrid_options()));
    });
  };
  CHECK(message([](auto& o, auto&) { o.objective.lambda_summary = 0; }) ==
        "Summarisation: lambda-summary is 0, so that there is nothing to learn");
  CHECK(message([](auto&, auto& d) {
          d.train[1].findings.clear();
          d.held_out[0].findings.clear();
        }) == "Summarisation: 2 of 6 examples have no findings; the first is example 1");
  CHECK(message([](auto& o, auto&) { o.objective.decoder_blocks = 0; }) ==
        "decoder-blocks must be from 1 to 100, but is 0");
  CHECK(message([](auto&, auto& d) { d.held_out.clear(); }) ==
        "Summarisation: 4 examples to train on and 0 held out; both need at least one");
}
