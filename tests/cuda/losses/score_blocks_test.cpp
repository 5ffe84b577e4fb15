#include "losses/pairs.hpp"
#include "losses/tokens.hpp"
#include "support/device.hpp"
#include "support/gradients.hpp"

#include <vlp/cuda/losses/info_nce.cuh>
#include <vlp/cuda/losses/token_cross_entropy.cuh>
#include <vlp/losses/info_nce.hpp>
#include <vlp/losses/token_cross_entropy.hpp>

#include <cstddef>

// The losses whose gradients exist a block at a time, with blocks so small that there are several each way.

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
  constexpr double accuracy = accuracy_of<typename L::Scalar>();
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

  got.gradients.accumulate = true;
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

TEST_CASE("CUDA scratch of InfoNCE grows as the batch, not as its square") {
  Random random(3);
  using L = vlp::InfoNce<vlp::BFloat16, vlp::Cuda>;
  const std::size_t small = scratch_of<L>(random_pairs(random, 256, 16)),
                    large = scratch_of<L>(random_pairs(random, 1024, 16));
  CHECK(large <= 4 * small);
  CHECK(large < 1024 * 1024 * sizeof(vlp::BFloat16) / 4);
}
