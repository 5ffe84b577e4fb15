#include "losses/pairs.hpp"
#include "losses/scales.hpp"
#include "losses/tokens.hpp"
#include "losses/words_and_regions.hpp"
#include "support/device.hpp"
#include "support/gradients.hpp"

#include <cuda_runtime.h>

#include <vlp/cuda/losses/distillation.cuh>
#include <vlp/cuda/losses/info_nce.cuh>
#include <vlp/cuda/losses/local_alignment.cuh>
#include <vlp/cuda/losses/multi_scale.cuh>
#include <vlp/cuda/losses/perturbation_sensitivity.cuh>
#include <vlp/cuda/losses/token_cross_entropy.cuh>
#include <vlp/losses/info_nce.hpp>
#include <vlp/losses/local_alignment.hpp>
#include <vlp/losses/token_cross_entropy.hpp>

#include <cstddef>

// What takes a real device: graphs, and shapes beyond what an emulation has time for.

namespace {

using namespace vlp::test;
using vlp::BFloat16;
using vlp::Cuda;
using vlp::Index;
using vlp::Random;
using vlp::cuda::check;

/// A stream, and a graph of what was queued on it.
class Recording {
 public:
  Recording() { check(cudaStreamCreate(&stream_), "making a stream"); }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  ~Recording() {
    cudaGraphExecDestroy(graph_);
    cudaStreamDestroy(stream_);
  }

  [[nodiscard]] cudaStream_t stream() const noexcept { return stream_; }

  template <class Work>
  void record(Work&& work) {
    cudaGraph_t graph = nullptr;
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeGlobal), "beginning a capture");
    work();
    check(cudaStreamEndCapture(stream_, &graph), "ending a capture");
    check(cudaGraphInstantiate(&graph_, graph, 0), "instantiating a graph");
    check(cudaGraphDestroy(graph), "giving a graph back");
  }
  void replay() const {
    check(cudaGraphLaunch(graph_, stream_), "launching a graph");
    check(cudaStreamSynchronize(stream_), "waiting for a graph");
  }

 private:
  cudaStream_t stream_ = nullptr;
  cudaGraphExec_t graph_ = nullptr;
};

/// A step that was captured in a graph gives the bits of one that was not, when it is replayed too.
template <vlp::Loss L>
void check_captured(const Arrays& arrays) {
  LossCase<L> plain(arrays), captured(arrays);
  plain.run({});
  const Arrays want = plain.gradient_values();
  Recording recording;
  Cuda device(recording.stream());
  L loss;
  for (int step = 0; step < 2; ++step) {  // memory grows now: pieces first, then one block in place of them
    captured.forward(loss, device);
    loss.backward(device, captured.inputs, 1, captured.gradients);
  }
  recording.record([&] {
    loss.forward(device, captured.inputs, {});
    loss.backward(device, captured.inputs, 1, captured.gradients);
  });
  for (int repeat = 0; repeat < 3; ++repeat) {
    recording.replay();
    CHECK(same_bits(captured.gradient_values(), want));
  }
}

}  // namespace

TEST_CASE("CUDA steps are captured in a graph") {
  Random random(1);
  check_captured<vlp::InfoNce<BFloat16, Cuda>>(random_pairs(random, 300, 64, 50));
  check_captured<vlp::InfoNce<float, Cuda>>(random_pairs(random, 200, 33));
  check_captured<vlp::TokenCrossEntropy<BFloat16, Cuda>>(random_tokens(random, 200, 64, 500, false));
  check_captured<vlp::PerturbationSensitivity<BFloat16, Cuda>>({{"image", normal(random, {50, 64})},
                                                                {"text", normal(random, {50, 10, 64})},
                                                                {"log_scale", number(2)}});
  check_captured<vlp::Distillation<BFloat16, Cuda>>(
      {{"student", normal(random, {60, 3000})}, {"teacher", normal(random, {60, 3000})}});
  const WordsAndRegions local{.batch = 20, .regions = 49, .words = 30, .features = 64, .scale = 0.2};
  check_captured<vlp::LocalAlignment<BFloat16, Cuda>>(words_and_regions(random, local));
  check_captured<vlp::LocalAlignment<float, Cuda>>(words_and_regions(random, local));
  check_captured<vlp::MultiScale<BFloat16, Cuda>>(all_scales(random, 20, 3, 64, local));
}

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
