#include "losses_cuda/support/info_nce_by_cublas.cuh"

#include "losses/pairs.hpp"
#include "support/device.hpp"
#include "support/gradients.hpp"

#include <vlp/losses/cpu/info_nce.hpp>

#include <stdexcept>

// The form of InfoNCE that benchmarks time beside the library's must compute the same.

namespace {

using namespace vlp::test;
using vlp::BFloat16;
using vlp::Index;
using vlp::Random;

/// Against the CPU's loss in double, in blocks of one tile and in a single block.
template <class Stored>
void check_agrees(Index batch, Index features, double scale, double accuracy) {
  CAPTURE(batch, features, scale);
  using L = vlp::benchmarks::InfoNceByCublas<BFloat16, Stored>;
  Random random(7);
  const Arrays arrays = rounded<L>(random_pairs(random, batch, features, 0, scale));
  const vlp::InfoNceOptions options{.image_to_text_weight = 0.3, .text_to_image_weight = 0.9};
  LossCase<vlp::InfoNce<double>> want(arrays);
  const double want_loss = want.run(options);
  for (const std::size_t block_bytes : {std::size_t{1}, std::size_t{16} << 20}) {
    vlp::Cuda device(nullptr, {.score_block_bytes = block_bytes});
    L loss(options);
    LossCase<L> got(arrays);
    CHECK(relative_error(number(to_double(got.forward(loss, device))), number(want_loss), 0.1) <= accuracy);
    loss.backward(device, got.inputs, 1, got.gradients);
    CHECK(relative_error(got.gradient_values(), want.gradient_values(), 1e-3) <= accuracy);
  }
}

}  // namespace

TEST_CASE("CUDA InfoNCE by cuBLAS, which benchmarks time, agrees with the loss in double") {
  for (const auto& [batch, features] : {std::pair<Index, Index>{1, 8}, {5, 24}, {300, 16}}) {
    check_agrees<float>(batch, features, 1 / 0.07, accuracy_of<BFloat16>());
    check_agrees<BFloat16>(batch, features, 2, 4 * accuracy_of<BFloat16>());
  }
  check_agrees<float>(130, 16, 40, accuracy_of<BFloat16>());
}

TEST_CASE("CUDA InfoNCE by cuBLAS refuses what it does not have") {
  using L = vlp::benchmarks::InfoNceByCublas<BFloat16, float>;
  CHECK_THROWS_AS(L({.label_smoothing = 0.1}), std::invalid_argument);
  CHECK_THROWS_AS(L({.kept_score_bytes = 4096}), std::invalid_argument);
}
