// The second stage of hybrid pretraining as a whole: the gradient of every parameter, the value of every
// term.
#include "support/catch.hpp"
#include "tasks/few_hybrid.hpp"
#include "tasks/task_gradient.hpp"

#include <vlp/losses/info_nce.hpp>
#include <vlp/losses/local_alignment.hpp>
#include <vlp/losses/perturbation_sensitivity.hpp>
#include <vlp/losses/token_alignment.hpp>
#include <vlp/optim/adamw.hpp>

#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

using namespace vlp;
using test::HybridSetup;
using test::small_hybrid_options;

namespace {

/// Checks the gradient of each trained parameter of a task of these options.
void check_gradient(tasks::HybridOptions options) {
  options.pairs.perturbations = text::parse_perturbations("1,6");
  options.pairs.batch_size = 3;
  HybridSetup setup(options);
  tasks::Hybrid<double> task = setup.task();
  const auto batch = task.make_batch(0);
  Random random(5);
  test::unsettle(task.parameters(), random);
  test::check_task_gradient(setup.device, task, batch, task.trained(), random, [&] {
    task.embed(setup.device, batch);
    return task.evaluate_objective(setup.device).total;
  });
}

}  // namespace

TEST_CASE("the gradient of hybrid pretraining agrees with central differences") {
  tasks::HybridOptions options = small_hybrid_options();
  SECTION("token alignment, regions before the blocks") {}
  SECTION("local alignment, regions after the blocks, words of the last layer, untied output, positives") {
    options.objective.token_loss = tasks::TokenLoss::local_alignment;
    options.pairs.model.image_blocks = options.pairs.model.region_blocks = 2;
    options.pairs.model.word_layers = 1;
    options.pairs.duplicates = DuplicatePolicy::positives;
    options.pairs.local_words = data::LocalWords::all;
    options.objective.tied_output = false;
  }
  SECTION("frozen shared weights, micro-batches") {
    options.objective.shared_weights = tasks::SharedWeights::frozen;
    options.pairs.micro_batch = 2;
  }
  check_gradient(options);
}

TEST_CASE("the gradient of hybrid pretraining without any one of its terms agrees with central differences") {
  tasks::HybridOptions options = small_hybrid_options();
  options.pairs.micro_batch = 2;
  auto& o = options.objective;
  SECTION("without the global term") {
    o.lambda_global = 0;
  }
  SECTION("without the token term") {
    o.lambda_token = 0;
  }
  SECTION("without captions") {
    o.lambda_caption = 0;
  }
  SECTION("without distillation") {
    o.lambda_distillation = 0;
  }
  SECTION("without perturbations") {
    o.lambda_perturbation = 0;
  }
  SECTION("without a decoder") {
    o.lambda_caption = o.lambda_distillation = 0;
  }
  check_gradient(options);
}

TEST_CASE("a hybrid step by micro-batches of any size is the step of the whole batch") {
  tasks::HybridOptions options = small_hybrid_options();
  options.objective.token_loss =
      GENERATE(tasks::TokenLoss::token_alignment, tasks::TokenLoss::local_alignment);
  HybridSetup setup(options);
  const auto result_of = [&](Index micro_batch) {
    setup.options.pairs.micro_batch = micro_batch;
    tasks::Hybrid<double> task = setup.task();
    std::vector<double> out;
    const auto add = [&](const train::Terms& terms) {
      out.push_back(terms.total);
      for (const train::Term& term : terms.terms) out.push_back(term.value);
    };
    add(task.step(setup.device, task.make_batch(0)));
    add(task.step(setup.device, task.make_batch(1)));
    add(task.held_out(setup.device));
    out.insert(out.end(), task.gradients().data(), task.gradients().data() + task.gradients().size());
    return out;
  };
  const auto whole = result_of(0);
  for (const Index size : {1, 2, 3, 4, 1000}) {
    CAPTURE(size);
    const auto parts = result_of(size);
    REQUIRE(parts.size() == whole.size());
    double error = 0;
    for (std::size_t i = 0; i < whole.size(); ++i) {
      const double off = std::abs(parts[i] - whole[i]) / (1 + std::abs(whole[i]));
      error = off <= error ? error : off;
    }
    CHECK(error < 1e-12);
    if (size >= 4) CHECK(parts == whole);
  }
}

TEST_CASE("the value of hybrid pretraining is the weighted sum of its losses, each computed by hand") {
  tasks::HybridOptions options = small_hybrid_options();
  options.objective.token_loss =
      GENERATE(tasks::TokenLoss::token_alignment, tasks::TokenLoss::local_alignment);
  options.pairs.duplicates = GENERATE(DuplicatePolicy::negatives, DuplicatePolicy::ignore);
  options.objective.temperature = 0.2;
  options.objective.token_temperature = 0.3;
  options.objective.distillation_temperature = 1.5;
  HybridSetup setup(options);
  Cpu& device = setup.device;
  tasks::Hybrid<double> task = setup.task();
  const auto batch = task.make_batch(0);
  REQUIRE(batch.pairs == 4);
  REQUIRE(batch.texts_per_pair == 5);
  const auto features = task.embed(device, batch);
  const double log_scale = std::log(1 / 0.2);

  // Texts one by one, as the losses take them.
  const Index width = features.image.cols();
  std::vector<double> impressions, candidates;
  for (Index b = 0; b < 4; ++b)
    for (Index k = 0; k < 4; ++k)
      for (Index d = 0; d < width; ++d) {
        if (k == 0) impressions.push_back(features.text(b, 0, d));
        candidates.push_back(features.text(b, k, d));
      }
  double global = 0, token = 0, perturbation = 0;
  InfoNce<double> info_nce({.duplicate_policy = options.pairs.duplicates});
  InfoNce<double>::Inputs global_inputs;
  global_inputs.image = features.image;
  global_inputs.text = {impressions.data(), {4, width}};
  global_inputs.log_scale = &log_scale;
  global_inputs.group = batch.group;
  info_nce.forward(device, global_inputs, {&global});
  PerturbationSensitivity<double> sensitivity;
  sensitivity.forward(
      device, {features.image, {candidates.data(), {4, 4, width}}, &log_scale, {batch.valid.data(), {4, 4}}},
      {&perturbation});
  if (options.objective.token_loss == tasks::TokenLoss::token_alignment) {
    TokenAlignment<double> alignment({.attention_temperature = 0.3, .contrast_temperature = 0.3});
    alignment.forward(device, {features.regions, features.words, batch.word_count}, {.loss = &token});
  } else {
    LocalAlignment<double> alignment({.duplicate_policy = options.pairs.duplicates});
    LocalAlignment<double>::Inputs in;
    in.regions = features.regions;
    in.words = features.words;
    in.word_count = batch.word_count;
    in.group = batch.group;
    alignment.forward(device, in, {.loss = &token});
  }

  // Captions, one pair after the other, by the models alone.
  const auto vocabulary = static_cast<Index>(task.word_piece().vocabulary().size());
  models::Summariser<double> teacher(options.pairs.model,
                                     {.blocks = 2, .vocabulary = vocabulary, .longest_text = 26}, 9);
  Parameters<double> teacher_parameters(device, teacher);
  io::read_parameters(device, setup.summariser, teacher_parameters.list());
  double caption = 0, distillation = 0;
  Index tokens = 0;
  const double t = 1.5;
  for (std::size_t pair = 0; pair < 4; ++pair) {
    const auto text = [&](std::size_t number) {
      return std::span<const std::int32_t>(batch.pieces)
          .subspan(static_cast<std::size_t>(batch.offsets[number]),
                   static_cast<std::size_t>(batch.offsets[number + 1] - batch.offsets[number]));
    };
    const auto impression = text(pair * 5), findings = text(pair * 5 + 4);
    const Index length = static_cast<Index>(impression.size()) - 1;
    nn::Tokens<> in, context;
    in.assign(device, impression.first(impression.size() - 1), std::vector<Index>{0, length});
    context.assign(device, findings, std::vector<Index>{0, static_cast<Index>(findings.size())});
    nn::Sequences<> regions;
    regions.assign_equal(device, 1, 4);
    // The image on its own.
    const auto size = static_cast<std::size_t>(16 * 16);
    std::vector<double> pixels(batch.images.begin() + static_cast<std::ptrdiff_t>(pair * size),
                               batch.images.begin() + static_cast<std::ptrdiff_t>((pair + 1) * size));
    nn::WordSlots<> slots;
    slots.assign(device, std::vector<std::int32_t>(impression.size() - 1, -1));
    models::PairFeatureBuffers<double> room;
    const models::PairInputs<double, Cpu> alone{
        .images = {pixels.data(), {1, 16, 16, 1}}, .texts = in, .word_slots = slots, .words_per_text = 1};
    task.model().forward(device, alone, room.resize(task.model().feature_extents(1, 1, 1)));
    std::vector<double> s_hidden(static_cast<std::size_t>(length) * 8), t_hidden(s_hidden);
    const MatrixView<double> s_h(s_hidden.data(), {length, 8}), t_h(t_hidden.data(), {length, 8});
    task.decoder().forward(device,
                           {.tokens = in,
                            .context = flatten_rows(task.model().encoder_features(alone).regions),
                            .contexts = regions},
                           s_h);
    teacher.forward(device, {context, in}, t_h);
    std::vector<double> s_logits(static_cast<std::size_t>(length * vocabulary)), t_logits(s_logits);
    const MatrixView<double> s(s_logits.data(), {length, vocabulary}),
        w(t_logits.data(), {length, vocabulary});
    task.decoder().logits(device, s_h, s);
    teacher.decoder().logits(device, t_h, w);
    for (Index i = 0; i < length; ++i) {
      double all = 0, s_sum = 0, w_sum = 0;
      for (Index v = 0; v < vocabulary; ++v) {
        all += std::exp(s(i, v));
        s_sum += std::exp(s(i, v) / t);
        w_sum += std::exp(w(i, v) / t);
      }
      caption += std::log(all) - s(i, impression[static_cast<std::size_t>(i) + 1]);
      for (Index v = 0; v < vocabulary; ++v) {
        const double p = std::exp(w(i, v) / t) / w_sum;
        distillation += t * t * p * (std::log(p) - (s(i, v) / t - std::log(s_sum)));
      }
    }
    tokens += length;
  }
  caption /= static_cast<double>(tokens);
  distillation /= static_cast<double>(tokens);

  const train::Terms terms = task.step(device, batch);
  const std::vector<std::pair<std::string, double>> expected{{"global", global},
                                                             {"token", token},
                                                             {"caption", caption},
                                                             {"distillation", distillation},
                                                             {"perturbation", perturbation}};
  REQUIRE(terms.terms.size() == 5);
  for (std::size_t i = 0; i < 5; ++i) {
    INFO(expected[i].first);
    CHECK(terms.terms[i].name == expected[i].first);
    CHECK(terms.terms[i].value > 0);
    CHECK(std::abs(terms.terms[i].value - expected[i].second) < 1e-11);
  }
  CHECK(std::abs(terms.total - (0.8 * global + 0.7 * token + 0.5 * caption + 0.4 * distillation +
                                0.9 * perturbation)) < 1e-11);
}

TEST_CASE("a few steps of hybrid pretraining lower each of its terms") {
  tasks::HybridOptions options = small_hybrid_options();
  options.objective.token_loss =
      GENERATE(tasks::TokenLoss::token_alignment, tasks::TokenLoss::local_alignment);
  options.pairs.duplicates = DuplicatePolicy::positives;
  HybridSetup setup(options);
  const auto train = [&](auto& task, int steps) {
    optim::AdamW<double> optimiser(setup.device, task.trained());
    const auto batch = task.make_batch(0);
    train::Terms first, last;
    for (int i = 0; i < steps; ++i) {
      fill(setup.device, task.gradients().data(), task.gradients().size(), 0.0);
      last = task.step(setup.device, batch);
      if (i == 0) first = last;
      optimiser.step(setup.device, 0.02);
      task.constrain(setup.device);
    }
    return std::pair(first, last);
  };
  // A teacher that has learned, and a student that starts elsewhere.
  tasks::Summarisation<double> stage(setup.device, options, setup.dataset,
                                     tasks::build_vocabulary(setup.dataset, options));
  train(stage, 30);
  io::write_parameters(setup.device, setup.summariser, stage.parameters());
  tasks::Hybrid<double> task = setup.task();
  Random random(5);
  test::unsettle(task.parameters(), random);
  test::unsettle(task.parameters(), random);
  const auto [first, last] = train(task, 30);
  for (std::size_t i = 0; i < last.terms.size(); ++i) {
    INFO(last.terms[i].name);
    CHECK(last.terms[i].value < 0.9 * first.terms[i].value);
  }
}
