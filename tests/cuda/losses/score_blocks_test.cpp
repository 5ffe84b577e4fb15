#include "losses/alignment.hpp"
#include "losses/pairs.hpp"
#include "losses/tokens.hpp"
#include "losses/words_and_regions.hpp"
#include "support/device.hpp"
#include "support/gradients.hpp"

#include <vlp/core/into.hpp>
#include <vlp/cuda/losses/info_nce.cuh>
#include <vlp/cuda/losses/local_alignment.cuh>
#include <vlp/cuda/losses/token_cross_entropy.cuh>
#include <vlp/losses/cpu/info_nce.hpp>
#include <vlp/losses/cpu/local_alignment.hpp>
#include <vlp/losses/cpu/token_cross_entropy.hpp>

#include <cmath>
#include <cstddef>

// The losses whose scores or gradients exist a block at a time, with blocks so small that there are several.

namespace {

using namespace vlp::test;
using vlp::Index;
using vlp::Random;

/// The smallest blocks that there are: one tile, [128, 128].
vlp::Cuda device_of_small_blocks() {
  return vlp::Cuda(nullptr, {.score_block_bytes = 1});
}

/// Gradients in small blocks: written, and then added to.
template <vlp::Loss L>
void check_in_small_blocks(const Arrays& arrays, const typename L::Options& options, Padding padding = {}) {
  constexpr double accuracy = accuracy_of_loss<L>();
  const Arrays given = rounded<L>(arrays);
  LossCase<ReferenceOf<L>> want(given);
  const double want_loss = want.run(options);
  Arrays want_gradients = want.gradient_values();

  vlp::Cuda device = device_of_small_blocks();
  L loss(options);
  LossCase<L> got(given, padding);
  CHECK(relative_error(number(to_double(got.forward(loss, device))), number(want_loss), 0.1) <= accuracy);
  loss.backward(device, got.inputs, 1, got.gradients);
  CHECK(relative_error(got.gradient_values(), want_gradients, 1e-3) <= accuracy);

  got.gradients.into = vlp::Into::add;
  loss.backward(device, got.inputs, 2, got.gradients);
  for (auto& [name, gradient] : want_gradients)
    for (double& v : gradient.values) v *= 3;
  CHECK(relative_error(got.gradient_values(), want_gradients, 1e-3) <= 2 * accuracy);
  CHECK(got.padding_untouched());
}

template <vlp::Loss L>
std::size_t scratch_of(const Arrays& arrays) {
  vlp::Cuda device = device_of_small_blocks();
  L loss;
  LossCase<L> run(arrays);
  run.forward(loss, device);
  loss.backward(device, run.inputs, 1, run.gradients);
  return device.scratch().high_water();
}

}  // namespace

TEMPLATE_TEST_CASE("CUDA InfoNCE in small blocks of scores", "", VLP_TEST_SCALARS) {
  Random random(1);
  check_in_small_blocks<vlp::InfoNce<TestType, vlp::Cuda>>(random_pairs(random, 300, 33, 100), {});
  check_in_small_blocks<vlp::InfoNce<TestType, vlp::Cuda>>(
      random_pairs(random, 290, 24, 100),
      {vlp::DuplicatePolicy::ignore, 0.1, 0.3, 0.9, 290 * 130 * sizeof(float)}, {1, 0});
}

TEMPLATE_TEST_CASE("CUDA token cross-entropy in small blocks of logits", "", VLP_TEST_SCALARS) {
  Random random(2);
  check_in_small_blocks<vlp::TokenCrossEntropy<TestType, vlp::Cuda>>(
      random_tokens(random, 270, 20, 300, true, 5), {.label_smoothing = 0.1}, {1, 0});
}

TEMPLATE_TEST_CASE("CUDA local alignment in small tiles of attention", "", VLP_TEST_SCALARS) {
  using L = vlp::LocalAlignment<TestType, vlp::Cuda>;
  Random random(4);
  const WordsAndRegions shape{
      .batch = 5, .regions = 9, .words = 7, .features = 12, .groups = 3, .scale = 0.5};
  for (vlp::LocalAlignmentForm form : forms) {
    check_in_small_blocks<L>(words_and_regions(random, shape), with_form(form));
    check_in_small_blocks<L>(
        words_and_regions(random, shape),
        with_form(form, {.duplicate_policy = vlp::DuplicatePolicy::positives, .label_smoothing = 0.1}),
        {1, 3});
  }
  // reports longer than a tile, and than what a block keeps of one, and images larger
  check_in_small_blocks<L>(
      words_and_regions(random, {.batch = 2, .regions = 5, .words = 210, .features = 8, .scale = 0.5}), {});
  check_in_small_blocks<L>(
      words_and_regions(random, {.batch = 2, .regions = 270, .words = 6, .features = 8, .scale = 0.5}), {});
}

TEST_CASE("CUDA local alignment with a count that cannot be has no words in any tile") {
  Random random(6);
  using L = vlp::LocalAlignment<vlp::BFloat16, vlp::Cuda>;
  Arrays arrays = words_and_regions(random, {.batch = 12, .regions = 3, .words = 2, .features = 4});
  arrays.at("word_count").values[7] = 0;
  vlp::Cuda device = device_of_small_blocks();
  L loss;
  LossCase<L> run(arrays);
  CHECK(std::isnan(run.forward(loss, device)));
  loss.backward(device, run.inputs, 1, run.gradients);
}

TEST_CASE("CUDA scratch of local alignment grows as the words, not as words times regions") {
  Random random(5);
  using L = vlp::LocalAlignment<vlp::BFloat16, vlp::Cuda>;
  const WordsAndRegions small{.batch = 4, .regions = 20, .words = 8, .features = 8, .ragged = false};
  WordsAndRegions large = small;
  large.batch = 16;
  const std::size_t before = scratch_of<L>(words_and_regions(random, small)),
                    after = scratch_of<L>(words_and_regions(random, large));
  CHECK(after <= 4 * before);
}

TEST_CASE("CUDA scratch of InfoNCE grows as the batch, not as its square") {
  Random random(3);
  using L = vlp::InfoNce<vlp::BFloat16, vlp::Cuda>;
  const std::size_t small = scratch_of<L>(random_pairs(random, 256, 16)),
                    large = scratch_of<L>(random_pairs(random, 1024, 16));
  CHECK(large <= 4 * small);
  CHECK(large < 1024 * 1024 * sizeof(vlp::BFloat16) / 4);
}
