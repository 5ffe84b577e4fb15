// Batches that are embedded a micro-batch at a time: the same terms, gradients and features as whole ones.
#include "support/catch.hpp"
#include "support/messages.hpp"
#include "tasks/few_pairs.hpp"

#include <vlp/core/parameters.hpp>
#include <vlp/models/dual_encoder.hpp>
#include <vlp/tasks/contrastive.hpp>
#include <vlp/tasks/detail/batch_embedding.hpp>
#include <vlp/tasks/pair_evaluation.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

using namespace vlp;
using test::few_pairs;
using test::small_options;

namespace {

/// Results of some steps, of the held-out terms and of an evaluation, at weights off their starting values.
template <class Scalar>
struct Results {
  std::vector<double> terms;
  std::vector<std::vector<Scalar>> gradients;  // of each parameter, after all steps
};

template <class Scalar>
Results<Scalar> results_with(Index micro_batch, const tasks::ContrastiveOptions& base, Index steps = 2) {
  Cpu device(1);
  const data::Dataset dataset = few_pairs(16);
  tasks::ContrastiveOptions options = base;
  options.pairs.micro_batch = micro_batch;
  tasks::Contrastive<Scalar> task(device, options, dataset, tasks::build_vocabulary(dataset, options.pairs));
  Random random(5);
  for (auto& [name, parameter] : task.parameters())
    for (Index i = 0; i < parameter->size(); ++i)
      parameter->value()[i] += Scalar(0.1) * static_cast<Scalar>(random.normal());
  Results<Scalar> out;
  const auto add = [&](const train::Terms& terms) {
    out.terms.push_back(terms.total);
    for (const train::Term& term : terms.terms) out.terms.push_back(term.value);
  };
  // Gradients of all steps are added up; the batches, of other epochs, differ in their order.
  for (Index step = 0; step < steps; ++step) add(task.step(device, task.make_batch(step)));
  add(task.held_out(device));
  for (const auto& [name, parameter] : task.parameters())
    out.gradients.push_back(download_gradient(device, *parameter));
  return out;
}

template <class Scalar>
void check_same(const Results<Scalar>& whole, const Results<Scalar>& parts, double tolerance) {
  REQUIRE(whole.terms.size() == parts.terms.size());
  for (std::size_t i = 0; i < whole.terms.size(); ++i)
    CHECK(std::abs(parts.terms[i] - whole.terms[i]) <= tolerance * std::abs(whole.terms[i]));
  REQUIRE(whole.gradients.size() == parts.gradients.size());
  for (std::size_t p = 0; p < whole.gradients.size(); ++p) {
    double largest = 0, error = 0;
    for (std::size_t i = 0; i < whole.gradients[p].size(); ++i) {
      const auto expected = static_cast<double>(whole.gradients[p][i]);
      const double off = std::abs(static_cast<double>(parts.gradients[p][i]) - expected);
      largest = std::max(largest, std::abs(expected));
      error = off <= error ? error : off;  // NaN stays
    }
    INFO("parameter " << p);
    CHECK(largest > 0);
    CHECK(error <= tolerance * largest);
  }
}

}  // namespace

TEST_CASE("a step by micro-batches of any size is the step of the whole batch") {
  tasks::ContrastiveOptions options = small_options();
  SECTION("all terms") {}
  SECTION("without regions and words") {
    options.objective.alpha = 0;
  }
  SECTION("without perturbed texts") {
    options.objective.beta = 0;
  }
  SECTION("perturbed reports as negatives") {
    options.objective.perturbed_as_negatives = true;
  }
  SECTION("regions of all blocks, every word") {
    options.pairs.model.image_blocks = options.pairs.model.region_blocks = 2;
    options.pairs.local_words = data::LocalWords::all;
  }
  const auto whole = results_with<double>(0, options);
  const auto whole_float = results_with<float>(0, options);
  for (const Index size : {1, 2, 3, 4, 5, 1000}) {  // of a batch of 4; 3 leaves a micro-batch of 1
    CAPTURE(size);
    const auto parts = results_with<double>(size, options);
    check_same(whole, parts, 1e-12);
    check_same(whole_float, results_with<float>(size, options), 2e-5);
    if (size >= options.pairs.batch_size) {  // nothing is cut, so not a bit differs
      CHECK(parts.terms == whole.terms);
      CHECK(parts.gradients == whole.gradients);
    }
  }
}

TEST_CASE("the micro-batch that was embedded last goes back without a second pass") {
  Cpu device(1);
  const data::Dataset dataset = few_pairs(16);
  tasks::ContrastiveOptions options = small_options();
  tasks::Contrastive<double> task(device, options, dataset, tasks::build_vocabulary(dataset, options.pairs));
  auto batch = task.make_batch(0);
  models::DualEncoder<double> model(
      options.pairs.model,
      {.image_size = 16, .vocabulary = 80, .longest_text = task.batch_options().max_pieces()}, 1);
  Parameters<double> parameters(device, model);
  const auto is_finite_after = [&](Index micro_batch, std::size_t row) {
    tasks::detail::BatchEmbedding<double, Cpu> embedding(16, micro_batch);
    embedding.forward(device, model, batch);
    const auto& d = embedding.feature_gradients();
    fill(device, d.image.data(), d.image.size(), 1.0);
    for (const auto& view : {d.text, d.regions, d.words}) fill(device, view.data(), view.size(), 1.0);
    // A pass over the images from now on would meet this one.
    const float before = std::exchange(batch.images[row * 16 * 16], std::numeric_limits<float>::quiet_NaN());
    parameters.zero_gradients(device);
    embedding.backward(device, model, batch);
    batch.images[row * 16 * 16] = before;
    return std::ranges::all_of(parameters.list(), [&](const auto& named) {
      return std::ranges::all_of(download_gradient(device, *named.parameter),
                                 [](double x) { return std::isfinite(x); });
    });
  };
  CHECK(is_finite_after(3, 3));
  CHECK_FALSE(is_finite_after(3, 0));
  for (const std::size_t row : {0u, 3u}) CHECK(is_finite_after(0, row));
}

TEST_CASE("evaluation by micro-batches gives the figures and the attention of whole batches") {
  Cpu device(1);
  const data::Dataset dataset = few_pairs(16);
  tasks::ContrastiveOptions options = small_options();
  const auto evaluation_with = [&](Index micro_batch, std::vector<tasks::AttendedPair>& attended) {
    options.pairs.micro_batch = micro_batch;
    tasks::Contrastive<double> task(device, options, dataset,
                                    tasks::build_vocabulary(dataset, options.pairs));
    return tables(evaluate(task, device, device, 5, attended));
  };
  std::vector<tasks::AttendedPair> whole, parts;
  CHECK(evaluation_with(0, whole) == evaluation_with(1, parts));
  REQUIRE(whole.size() == 2);
  REQUIRE(parts.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    REQUIRE(parts[i].words.size() == whole[i].words.size());
    for (std::size_t w = 0; w < whole[i].words.size(); ++w)
      for (std::size_t r = 0; r < whole[i].words[w].attention.size(); ++r)
        CHECK(std::abs(parts[i].words[w].attention[r] - whole[i].words[w].attention[r]) < 1e-6f);
  }
}

TEST_CASE("rows that are not finite are described in whichever micro-batch they stand") {
  Cpu device(1);
  const data::Dataset dataset = few_pairs(16);
  tasks::ContrastiveOptions options = small_options();
  options.pairs.micro_batch = GENERATE(1, 3);
  const std::size_t row = GENERATE(0u, 2u, 3u);
  CAPTURE(options.pairs.micro_batch, row);
  tasks::Contrastive task(device, options, dataset, tasks::build_vocabulary(dataset, options.pairs));
  auto batch = task.make_batch(0);
  static_cast<void>(task.step(device, batch));
  CHECK(task.describe(device, batch) == "none");
  batch.images[row * 16 * 16 + 5] = std::numeric_limits<float>::quiet_NaN();
  static_cast<void>(task.step(device, batch));
  CHECK(task.describe(device, batch) ==
        std::to_string(row) + " (image of " +
            dataset.train[static_cast<std::size_t>(batch.examples[row])].name + ")");
}

TEST_CASE("a negative micro-batch is refused") {
  tasks::ContrastiveOptions options = small_options();
  options.pairs.micro_batch = -1;
  CHECK(test::message_of<std::invalid_argument>([&] { validate(options); }) ==
        "micro-batch must be from 0 to 1000000000, but is -1");
}
