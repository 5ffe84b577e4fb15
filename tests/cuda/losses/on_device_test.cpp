#include "losses/blocks.hpp"
#include "losses/pairs.hpp"
#include "losses/tokens.hpp"
#include "losses/words_and_regions.hpp"
#include "support/device.hpp"
#include "support/gradients.hpp"

#include <cuda_runtime.h>

#include <vlp/cuda/losses/info_nce.cuh>
#include <vlp/cuda/losses/local_alignment.cuh>
#include <vlp/cuda/losses/token_cross_entropy.cuh>
#include <vlp/losses/cpu/info_nce.hpp>
#include <vlp/losses/cpu/local_alignment.hpp>
#include <vlp/losses/cpu/token_cross_entropy.hpp>

#include <cstddef>

// Tests that need a real device: shapes beyond what an emulation has time for.

namespace {

using namespace vlp::test;
using vlp::BFloat16;
using vlp::Cuda;
using vlp::Index;
using vlp::Random;
using vlp::cuda::check;

}  // namespace

TEMPLATE_TEST_CASE("CUDA InfoNCE of a large batch agrees with double", "", VLP_TEST_SCALARS) {
  Random random(2);
  check_against<vlp::InfoNce<TestType, Cuda>>(random_pairs(random, 5003, 96, 4000),
                                              {vlp::DuplicatePolicy::positives});
  check_against<vlp::InfoNce<TestType, Cuda>>(random_pairs(random, 4096, 128), {});
}

TEMPLATE_TEST_CASE("CUDA token cross-entropy over a large vocabulary agrees with double", "",
                   VLP_TEST_SCALARS) {
  Random random(3);
  check_against<vlp::TokenCrossEntropy<TestType, Cuda>>(random_tokens(random, 2100, 64, 30522, false),
                                                        {.label_smoothing = 0.1});
}

TEMPLATE_TEST_CASE("CUDA local alignment of a large batch agrees with double", "", VLP_TEST_SCALARS) {
  Random random(5);
  for (vlp::LocalAlignmentForm form : {vlp::LocalAlignmentForm::gram, vlp::LocalAlignmentForm::direct}) {
    check_against<vlp::LocalAlignment<TestType, Cuda>>(
        words_and_regions(random, {.batch = 40, .regions = 100, .words = 50, .features = 128, .scale = 0.2}),
        {.form = form});
    check_against<vlp::LocalAlignment<TestType, Cuda>>(
        words_and_regions(random, {.batch = 7, .regions = 361, .words = 97, .features = 200, .scale = 0.1}),
        {.duplicate_policy = vlp::DuplicatePolicy::ignore, .label_smoothing = 0.1, .form = form});
  }
}

TEMPLATE_TEST_CASE("CUDA local alignment of a large batch in blocks comes to that of the batch", "",
                   VLP_TEST_SCALARS) {
  using L = vlp::LocalAlignment<TestType, Cuda>;
  constexpr double tolerance =
      6 * tolerance_of<TestType>();  // a gradient is rounded as often as it is added to
  Random random(6);
  const Arrays arrays = rounded<L>(words_and_regions(
      random, {.batch = 150, .regions = 49, .words = 40, .features = 96, .groups = 90, .scale = 0.3}));
  const vlp::LocalAlignmentOptions options{.duplicate_policy = vlp::DuplicatePolicy::positives};
  LossCase<L> whole(arrays), cut(arrays);
  const double want = to_double(whole.run(options));
  clear_gradients(cut);
  const double got = run_in_parts(cut, options, parts(cuts(150, 64), cuts(150, 50)));
  CHECK(relative_error(number(got), number(want), 0.1) <= tolerance);
  CHECK(relative_error(cut.gradient_values(), whole.gradient_values(), 1e-3) <= tolerance);
}

TEST_CASE("CUDA InfoNCE reads and writes rows whose offsets exceed 32 bits") {
  constexpr Index batch = 200, features = 8, stride = Index{1} << 24;
  constexpr std::size_t bytes = static_cast<std::size_t>(batch * stride) * sizeof(BFloat16);
  std::size_t left = 0, all = 0;
  check(cudaMemGetInfo(&left, &all), "asking for the memory that is left");
  if (left < bytes + (std::size_t{1} << 30)) {
    WARN("skipped: needs " << bytes << " bytes of device memory");
    return;
  }
  const vlp::cuda::Buffer<BFloat16> memory(batch * stride);
  const auto far_rows = [&](Index column) {
    return vlp::MatrixView<BFloat16>(memory.data() + column, {batch, features}, {stride, 1});
  };
  const auto copy = [](const vlp::MatrixView<BFloat16>& to, const vlp::MatrixView<const BFloat16>& from) {
    check(cudaMemcpy2D(to.data(), static_cast<std::size_t>(to.stride(0)) * sizeof(BFloat16), from.data(),
                       static_cast<std::size_t>(from.stride(0)) * sizeof(BFloat16),
                       features * sizeof(BFloat16), batch, cudaMemcpyDeviceToDevice),
          "copying rows");
  };
  using L = vlp::InfoNce<BFloat16, Cuda>;
  Random random(4);
  LossCase<L> near(random_pairs(random, batch, features));
  Cuda device;
  L loss;
  const double want = near.forward(loss, device);
  loss.backward(device, near.inputs, 1, near.gradients);
  const Arrays gradients = near.gradient_values();

  auto inputs = near.inputs;
  copy(far_rows(0), inputs.image);
  copy(far_rows(8), inputs.text);
  inputs.image = far_rows(0);
  inputs.text = far_rows(8);
  DeviceArray<float> value({0.0F});
  loss.forward(device, inputs, {value.data()});
  loss.backward(device, inputs, 1, {far_rows(16), far_rows(24), near.gradients.log_scale});
  device.synchronize();
  copy(near.gradients.image, far_rows(16));
  copy(near.gradients.text, far_rows(24));
  value.download();
  CHECK(static_cast<double>(value.host()[0]) == want);
  // Products are cuBLAS's, which may choose another way for rows so far apart.
  CHECK(relative_error(near.gradient_values(), gradients) <= tolerance_of<BFloat16>());
}
