#include "losses/every_loss.hpp"

#include "support/device.hpp"
#include "support/gradients.hpp"

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <vlp/cuda/core/check.cuh>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/memory.cuh>
#include <vlp/cuda/losses/all.cuh>

#include <array>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

// The contract of every loss on a CUDA device, beside the one on any device.

namespace {

using namespace vlp::test;
using vlp::Cuda;
using vlp::Random;
using vlp::cuda::check;

#ifdef VLP_CUDA_EMULATION
using Losses = vlp::AllLosses<vlp::Half, Cuda>;  // which keeps more than float and BFloat16 do
constexpr LossSizes small{3, 8, 5, 3, 20}, large{5, 24, 9, 4, 40};
#else
template <class... L, class... M, class... N>
vlp::LossList<L..., M..., N...> join(vlp::LossList<L...>, vlp::LossList<M...>, vlp::LossList<N...>);
using Losses = decltype(join(vlp::AllLosses<float, Cuda>(), vlp::AllLosses<vlp::BFloat16, Cuda>(),
                             vlp::AllLosses<vlp::Half, Cuda>()));
constexpr LossSizes small{60, 64, 49, 30, 3000}, large{300, 96, 60, 40, 4000};
#endif

/// Options that make the loss keep all that it may.
template <vlp::Loss L>
typename L::Options options_of() {
  typename L::Options options{};
  if constexpr (requires { options.duplicate_policy; })
    options.duplicate_policy = vlp::DuplicatePolicy::positives;
  if constexpr (requires { options.kept_score_bytes; }) options.kept_score_bytes = 1 << 20;
  return options;
}

/// A stream, and a graph of what was queued on it.
class Recording {
 public:
  template <class Work>
  Recording(cudaStream_t stream, Work&& work) : stream_(stream) {
    cudaGraph_t graph = nullptr;
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeGlobal), "beginning a capture");
    work();
    check(cudaStreamEndCapture(stream_, &graph), "ending a capture");
    check(cudaGraphInstantiate(&graph_, graph, 0), "instantiating a graph");
    check(cudaGraphDestroy(graph), "giving a graph back");
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  ~Recording() { cudaGraphExecDestroy(graph_); }

  void replay() const {
    check(cudaGraphLaunch(graph_, stream_), "launching a graph");
    check(cudaStreamSynchronize(stream_), "waiting for a graph");
  }

 private:
  cudaStream_t stream_;
  cudaGraphExec_t graph_ = nullptr;
};

struct FirstDeviceAfterwards {
  ~FirstDeviceAfterwards() { cudaSetDevice(0); }
};

struct Stream {
  Stream() { check(cudaStreamCreate(&stream), "making a stream"); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { cudaStreamDestroy(stream); }

  cudaStream_t stream = nullptr;
};

/// Inputs, where results go, and what they are to be.
template <vlp::Loss L>
struct Step {
  explicit Step(const Arrays& arrays) : run(arrays) {
    LossCase<L> alone(arrays);
    want_value = alone.run(options_of<L>());
    want = alone.gradient_values();
  }

  void queue(L& loss, Cuda& device) {
    loss.forward(device, run.inputs, {value.data()});
    loss.backward(device, run.inputs, 1, run.gradients);
  }

  /// The same with memory of the caller's.
  void queue_forward(const L& loss, Cuda& device) {
    saved.resize(static_cast<vlp::Index>(loss.saved_bytes(run.inputs)));
    loss.forward(device, run.inputs, {value.data()}, span());
  }
  void queue_backward(const L& loss, Cuda& device) {
    loss.backward(device, run.inputs, span(), 1, run.gradients);
  }

  void forget() {
    value.host() = {not_a_result<typename L::Accumulator>()};
    value.upload();
    for (const auto& [name, gradient] : want)
      if (!gradient.shape.empty()) run.fill_gradient(name, 1e4);
  }

  /// Says whether results are those wanted, to the bit.
  bool has_value() {
    value.download();
    return value.host()[0] == want_value;
  }
  bool has_gradients() { return same_bits(run.gradient_values(), want); }

  [[nodiscard]] std::span<std::byte> span() { return {saved.data(), static_cast<std::size_t>(saved.size())}; }

  LossCase<L> run;
  vlp::cuda::Buffer<std::byte> saved;
  DeviceArray<typename L::Accumulator> value{{0}};
  typename L::Accumulator want_value{};
  Arrays want;
};

}  // namespace

// A step that was captured gives the bits of one that was not, also after the loss and its device were used
// with more than they had room for.
TEMPLATE_LIST_TEST_CASE("CUDA every loss is captured in graphs, which outlive the growth of memory", "",
                        Losses) {
  Random random(1);
  Step<TestType> first(inputs_of<TestType>(random, small)), second(inputs_of<TestType>(random, large));
  const Stream stream;
  Cuda device(stream.stream);
  TestType loss(options_of<TestType>());
  for (int step = 0; step < 2; ++step)  // memory grows now: pieces first, then one block in place of them
    first.queue(loss, device);
  const Recording all(stream.stream, [&] { first.queue(loss, device); });
  const Recording backward(stream.stream,
                           [&] { loss.backward(device, first.run.inputs, 1, first.run.gradients); });
  for (int step = 0; step < 2; ++step) second.queue(loss, device);
  device.synchronize();
  CHECK(second.has_value());
  CHECK(second.has_gradients());
  const Recording larger(stream.stream, [&] { second.queue(loss, device); });

  first.forget();
  all.replay();
  CHECK(first.has_value());
  CHECK(first.has_gradients());
  first.forget();
  backward.replay();
  CHECK(first.has_gradients());
  second.forget();
  larger.replay();
  CHECK(second.has_value());
  CHECK(second.has_gradients());
}

// A loss that keeps nothing itself may serve steps that are captured in any order.
TEMPLATE_LIST_TEST_CASE("CUDA every loss is captured with memory of the caller's", "", Losses) {
  Random random(4);
  Step<TestType> first(inputs_of<TestType>(random, small)), second(inputs_of<TestType>(random, large));
  const Stream stream;
  Cuda device(stream.stream);
  const TestType loss(options_of<TestType>());
  const auto queue = [&] {
    first.queue_forward(loss, device);
    second.queue_forward(loss, device);
    first.queue_backward(loss, device);
    second.queue_backward(loss, device);
  };
  for (int step = 0; step < 2; ++step) queue();
  const Recording all(stream.stream, queue);
  const Recording backward(stream.stream, [&] { first.queue_backward(loss, device); });
  first.forget();
  second.forget();
  all.replay();
  for (auto* step : {&first, &second}) {
    CHECK(step->has_value());
    CHECK(step->has_gradients());
  }
  second.queue_forward(loss, device);  // which leaves what the first one saved alone
  first.forget();
  backward.replay();
  CHECK(first.has_gradients());
}

TEMPLATE_LIST_TEST_CASE("CUDA every loss serves two devices in turn, of which none sees the other's state",
                        "", Losses) {
  Random random(5);
  Step<TestType> first(inputs_of<TestType>(random, small)), second(inputs_of<TestType>(random, large));
  const Stream streams[2];
  Cuda one(streams[0].stream), other(streams[1].stream);
  const TestType loss(options_of<TestType>());
  for (int step = 0; step < 2; ++step) {
    first.forget();
    second.forget();
    first.queue_forward(loss, one);
    second.queue_forward(loss, other);
    if (step == 1) first.queue_forward(loss, one);
    second.queue_backward(loss, other);
    first.queue_backward(loss, one);
    one.synchronize();
    other.synchronize();
    for (auto* of_device : {&first, &second}) {
      CHECK(of_device->has_value());
      CHECK(of_device->has_gradients());
    }
  }
}

TEMPLATE_LIST_TEST_CASE("CUDA every loss that goes forward and back at once comes to the same bits", "",
                        Losses) {
  using L = TestType;
  if constexpr (requires(const L& loss, Cuda& device) { loss.forward_backward(device, {}, 1, {}, {}); }) {
    Random random(6);
    const Arrays arrays = inputs_of<L>(random, large);
    for (const std::size_t block : {std::size_t{1}, vlp::CudaOptions().score_block_bytes}) {
      Step<L> step(arrays);
      Cuda device(nullptr, {.score_block_bytes = block});
      const L loss(options_of<L>());
      step.forget();
      loss.forward_backward(device, step.run.inputs, 1, {step.value.data()}, step.run.gradients);
      device.synchronize();
      CHECK(step.has_value());
      CHECK(step.has_gradients());
      step.forget();
      loss.forward_backward(device, step.run.inputs, 1, {step.value.data()}, {});
      device.synchronize();
      CHECK(step.has_value());
      step.forget();
      loss.forward_backward(device, step.run.inputs, 1, {}, step.run.gradients);
      device.synchronize();
      CHECK(step.has_gradients());
    }
  }
}

TEST_CASE("CUDA token alignment at once gives the attention too") {
  using L = vlp::TokenAlignment<float, Cuda>;
  Random random(7);
  LossCase<L> run(inputs_of<L>(random, small));
  const auto& words = run.inputs.words;
  const std::array<vlp::Index, 3> shape{words.extent(0), words.extent(1), run.inputs.regions.extent(1)};
  const std::vector<float> nothing(static_cast<std::size_t>(shape[0] * shape[1] * shape[2]), NAN);
  DeviceArray<float> want(nothing), got(nothing);
  Cuda device;
  L loss;
  loss.forward(device, run.inputs, {nullptr, {want.data(), shape}});
  loss.forward_backward(device, run.inputs, 1, {nullptr, {got.data(), shape}}, run.gradients);
  device.synchronize();
  want.download();
  got.download();
  CHECK(got.host() == want.host());  // NaN is equal to nothing
}

TEMPLATE_LIST_TEST_CASE("CUDA every loss works on its device, whichever is current", "", Losses) {
  int devices = 0, current = -1;
  check(cudaGetDeviceCount(&devices), "counting devices");
  if (devices < 2) {
    SUCCEED("skipped: there is one device");
    return;
  }
  Random random(2);
  const Arrays arrays = inputs_of<TestType>(random, small);
  const FirstDeviceAfterwards afterwards;
  check(cudaSetDevice(1), "changing the device");
  Step<TestType> step(arrays);
  Cuda device;
  check(cudaSetDevice(0), "changing the device");
  TestType loss(options_of<TestType>());
  step.queue(loss, device);
  device.synchronize();
  CHECK(step.has_value());
  CHECK(step.has_gradients());
  check(cudaGetDevice(&current), "looking for the current device");
  CHECK(current == 0);
}

#ifdef VLP_CUDA_EMULATION
TEMPLATE_LIST_TEST_CASE("CUDA products are of matrices whose rows begin at multiples of 16 bytes", "",
                        Losses) {
  // Nothing is a whole number of packs, but the caller's rows begin at multiples of 16 bytes.
  constexpr LossSizes odd{3, 13, 6, 3, 21};
  Random random(3);
  const Arrays arrays = inputs_of<TestType>(random, odd);
  for (vlp::LocalAlignmentForm form : {vlp::LocalAlignmentForm::gram, vlp::LocalAlignmentForm::direct}) {
    typename TestType::Options options = options_of<TestType>();
    if constexpr (requires { options.form; })
      options.form = form;
    else if constexpr (requires { options.local.form; })
      options.local.form = form;
    else if (form != vlp::LocalAlignmentForm::gram)
      continue;
    const std::size_t before = cuda_emulation::unaligned_products();
    LossCase<TestType>(arrays, {.row = 3}).run(options);
    CHECK(cuda_emulation::unaligned_products() == before);
  }
}
#endif
