// The model that pretrain trains: its gradient as a whole.
#include "pretrain/model.hpp"
#include "support/catch.hpp"

#include <vlp/core/parameters.hpp>
#include <vlp/text/build_vocabulary.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

using namespace vlp;

namespace {

/// Four pairs, of which two have the same report.
std::vector<pretrain::Example> few_examples(Index image_size) {
  const std::vector<std::string> reports{
      "Small left effusion. The heart is large.", "The lungs are clear today.",
      "Large right nodule near the old tube.", "The lungs are clear today."};
  std::vector<pretrain::Example> examples;
  for (std::size_t i = 0; i < reports.size(); ++i) {
    pretrain::Example example{
        "example " + std::to_string(i), {}, reports[i], i == 3 ? 1 : std::int64_t(i), {}};
    Random random(7, 1, static_cast<std::uint32_t>(i));
    for (Index p = 0; p < image_size * image_size; ++p)
      example.pixels.push_back(static_cast<std::uint16_t>(random.below(65536)));
    examples.push_back(std::move(example));
  }
  return examples;
}

}  // namespace

TEST_CASE("the gradient of the whole model agrees with central differences") {
  pretrain::Options options;
  options.image_size = 16;
  options.width = 8;
  options.heads = 2;
  options.embedding = 6;
  options.max_words = 12;
  SECTION("regions before the blocks, words of all layers") {
    options.alpha = GENERATE(0.0, 0.7);
    options.beta = GENERATE(0.0, 0.9);
  }
  SECTION("regions after the blocks, words of the last layer, duplicates as positives") {
    options.alpha = 0.7;
    options.beta = 0.9;
    options.image_blocks = options.region_blocks = 2;
    options.word_layers = 1;
    options.duplicates = "positives";
    options.local_words = "all";
  }
  CAPTURE(options.alpha, options.beta, options.region_blocks);
  const auto examples = few_examples(options.image_size);
  std::vector<std::string> texts;
  for (const auto& example : examples) texts.push_back(text::normalise(example.report, 12));
  const text::WordPiece word_piece(text::build_vocabulary(texts, {.size = 80}));
  std::vector<text::Perturbation> perturbations;
  if (options.beta > 0) perturbations = text::parse_perturbations("1,6,8");
  pretrain::BatchMaker maker(options, word_piece, perturbations);
  std::vector<Index> indices(examples.size());
  std::iota(indices.begin(), indices.end(), Index(0));
  const pretrain::Batch batch = maker.make(examples, indices, 0);

  Cpu device(1);
  pretrain::Model<double> model(options, static_cast<Index>(word_piece.vocabulary().size()));
  const Parameters<double> memory(device, model);
  const auto& parameters = memory.list();
  // Off the starting values, where biases are zero and both scales are equal.
  Random random(5);
  for (auto& [name, parameter] : parameters)
    for (Index i = 0; i < parameter->size(); ++i)
      parameter->value()[i] += 0.1 * static_cast<double>(random.normal());

  const auto loss = [&] {
    model.embed(device, batch);
    return model.losses(device, batch).total;
  };
  // Backward adds to what the gradients hold.
  for (auto& [name, parameter] : parameters)
    for (Index i = 0; i < parameter->size(); ++i) parameter->gradient()[i] = 0.25;
  const double value = loss();
  CHECK(std::isfinite(value));
  model.differentiate_losses(device, batch);
  model.backward(device, batch);

  for (auto& [name, parameter] : parameters) {
    double largest = 0;
    for (Index i = 0; i < parameter->size(); ++i)
      largest = std::max(largest, std::abs(parameter->gradient()[i] - 0.25));
    INFO("parameter " << name);
    // Without the local term nothing reads the regions.
    CHECK((largest > 0) == (options.alpha > 0 || name.find("region_norm") == std::string::npos));
    constexpr Index most = 3;
    for (Index k = 0; k < std::min(parameter->size(), most); ++k) {
      const Index i = parameter->size() <= most
                          ? k
                          : static_cast<Index>(random.below(static_cast<std::uint32_t>(parameter->size())));
      const double before = parameter->value()[i], step = 2e-5;
      const auto loss_at = [&](double steps) {
        parameter->value()[i] = before + steps * step;
        return loss();
      };
      const double numeric = (8 * (loss_at(1) - loss_at(-1)) - (loss_at(2) - loss_at(-2))) / (12 * step);
      parameter->value()[i] = before;
      INFO("element " << i);
      CHECK(std::abs(parameter->gradient()[i] - 0.25 - numeric) <= 2e-7 * (1 + std::abs(numeric)));
    }
  }
}
