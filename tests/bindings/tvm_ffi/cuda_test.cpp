#include "bindings/c/arrays.hpp"
#include "losses/every_loss.hpp"
#include "support/catch.hpp"
#include "support/device.hpp"
#include "support/gradients.hpp"
#include "support/loss_case.hpp"
#include "support/saved_memory.hpp"

#include <cuda_runtime.h>
#include <tvm/ffi/any.h>
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/shape.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/dtype.h>
#include <tvm/ffi/error.h>
#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/string.h>

#include <vlp/cuda/losses/all.cuh>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

// The library for CUDA devices behind tvm-ffi, on the emulated ones: bindings/c/vlp_ops.cu and
// bindings/tvm_ffi/losses.cpp as they are, and tensors that say that they are on a CUDA device.

extern "C" int __tvm_ffi_prepare(void* self, const TVMFFIAny* arguments, std::int32_t count,
                                 TVMFFIAny* result);

namespace {

namespace ffi = tvm::ffi;
using namespace vlp::test;
using vlp::Index;
using vlp::Random;
using Texts = ffi::Array<ffi::String>;

constexpr LossSizes sizes{5, 7, 6, 4, 20};
constexpr double upstream = 0.7;

template <class T>
constexpr DLDataType type_of() {
  if constexpr (std::is_same_v<T, vlp::Half>)
    return {kDLFloat, 16, 1};
  else if constexpr (std::is_same_v<T, vlp::BFloat16>)
    return {kDLBfloat, 16, 1};
  else if constexpr (std::is_same_v<T, std::byte>)
    return {kDLUInt, 8, 1};
  else
    return {vlp::bindings::element_type<T>.code, vlp::bindings::element_type<T>.bits, 1};
}

/// Arguments of a call, in order; keeps the descriptions of the tensors.
class CallArguments {
 public:
  /// `id` is that of the CUDA device that tensors say they are on.
  explicit CallArguments(int id = 0, DLDeviceType kind = kDLCUDA) : where_{kind, id} {}

  template <class T>
  void add(const T& value) requires std::is_arithmetic_v<T> {
    arguments_.emplace_back(value);
  }
  template <class T, std::size_t Rank>
  void add(const vlp::View<T, Rank>& view) {
    add_tensor<std::remove_const_t<T>>(view.data(), view.extents(), view.strides());
  }
  template <class T>
  void add(const std::span<T>& ids) {
    add_tensor<std::remove_const_t<T>>(ids.data(), std::array{static_cast<Index>(ids.size())},
                                       std::array{Index{1}});
  }
  template <class T>
  void add(T* const& number) {
    add_tensor<std::remove_const_t<T>>(number, std::span<const Index>(), std::span<const Index>());
  }
  template <class T, std::size_t Rank>
  void add_shape(const vlp::View<T, Rank>& view) {
    add_shape(view.data() != nullptr, view.extents());
  }
  template <class T>
  void add_shape(const std::span<T>& ids) {
    add_shape(!ids.empty(), std::array{static_cast<Index>(ids.size())});
  }
  template <class T>
  void add_shape(T* const& number) {
    add_shape(number != nullptr, std::span<const Index>());
  }

  [[nodiscard]] ffi::Any call(const ffi::Function& function) const {
    ffi::Any out;
    function.CallPacked(arguments_.data(), static_cast<std::int32_t>(arguments_.size()), &out);
    return out;
  }

 private:
  struct Described {
    std::vector<std::int64_t> extents, strides;
    DLTensor tensor;
  };

  template <class T>
  void add_tensor(const T* data, std::span<const Index> extents, std::span<const Index> strides) {
    if (data == nullptr) {
      arguments_.emplace_back(nullptr);
      return;
    }
    Described& one = described_.emplace_back();
    one.extents.assign(extents.begin(), extents.end());
    one.strides.assign(strides.begin(), strides.end());
    one.tensor = {
        const_cast<T*>(data), where_, static_cast<int>(extents.size()), type_of<T>(), one.extents.data(),
        one.strides.data(),   0};
    arguments_.emplace_back(&one.tensor);
  }
  void add_shape(bool is_given, std::span<const Index> extents) {
    if (!is_given) {
      arguments_.emplace_back(nullptr);
      return;
    }
    arguments_.emplace_back(shapes_.emplace_back(extents.begin(), extents.end()));
  }

  DLDevice where_;
  std::deque<Described> described_;
  std::deque<ffi::Shape> shapes_;
  std::vector<ffi::AnyView> arguments_;
};

/// A loss behind the boundary, and the inputs of one batch on the device that is current.
template <vlp::Loss L>
class FfiCase {
 public:
  using Accumulator = typename L::Accumulator;

  explicit FfiCase(const Arrays& arrays, int id = 0)
      : given(arrays),
        id_(id),
        value_({not_a_result<Accumulator>()}),
        saved_(static_cast<std::size_t>(saved_bytes())) {}

  ffi::Function prepare(std::string_view pass) {
    Texts numbers, inputs, types, gradients;
    L::for_each_host_number(given.inputs,
                            [&](std::string_view name, auto&) { numbers.push_back(std::string(name)); });
    L::for_each_input(given.inputs, given.gradients,
                      [&]<class Input>(std::string_view name, Input& input, auto&... gradient) {
                        inputs.push_back(std::string(name));
                        types.push_back(ffi::DLDataTypeToString(type_of_elements(input)));
                        if (sizeof...(gradient) > 0) gradients.push_back(std::string(name));
                      });
    const Texts none, value{"loss"};
    const bool back = pass == "backward";
    return ffi::Function::FromExternC(nullptr, __tvm_ffi_prepare, nullptr)(
               ffi::String(std::string(L::name)), ffi::DLDataTypeToString(type_of<typename L::Scalar>()),
               none, ffi::String(std::string(pass)), numbers, inputs, types, none,
               pass == "forward" ? value : none, back ? gradients : none, false)
        .template cast<ffi::Function>();
  }

  void forward(DLDeviceType kind = kDLCUDA) { forward(prepare("forward"), kind); }
  void forward(const ffi::Function& pass, DLDeviceType kind = kDLCUDA) {
    CallArguments call = begin(kind);
    add_inputs(call);
    call.add(value_.data());
    add_saved(call);
    (void)call.call(pass);
  }
  void backward(const ffi::Function& pass) {
    CallArguments call(id_);
    call.add(0);
    add_numbers(call);
    call.add(upstream);
    add_inputs(call);
    add_saved(call);
    L::for_each_input(given.inputs, given.gradients,
                      [&](std::string_view, auto&, auto&... gradient) { (call.add(gradient), ...); });
    (void)call.call(pass);
  }
  void backward() { backward(prepare("backward")); }

  std::int64_t saved_bytes() {
    CallArguments call = begin(kDLCUDA);
    L::for_each_input(given.inputs, given.gradients,
                      [&](std::string_view, auto& input, auto&...) { call.add_shape(input); });
    return call.call(prepare("saved_bytes")).template cast<std::int64_t>();
  }

  [[nodiscard]] double value() {
    cudaDeviceSynchronize();
    value_.download();
    return to_double(value_.host()[0]);
  }

  LossCase<L> given;

 private:
  template <class T, std::size_t Rank>
  static DLDataType type_of_elements(const vlp::View<T, Rank>&) {
    return type_of<std::remove_const_t<T>>();
  }
  template <class T>
  static DLDataType type_of_elements(const std::span<T>&) {
    return type_of<std::remove_const_t<T>>();
  }
  template <class T>
  static DLDataType type_of_elements(T* const&) {
    return type_of<std::remove_const_t<T>>();
  }

  CallArguments begin(DLDeviceType kind) {
    CallArguments call(id_, kind);
    call.add(0);
    add_numbers(call);
    return call;
  }
  void add_numbers(CallArguments& call) {
    L::for_each_host_number(given.inputs, [&](std::string_view, Index& number) { call.add(number); });
  }
  void add_inputs(CallArguments& call) {
    L::for_each_input(given.inputs, given.gradients,
                      [&](std::string_view, auto& input, auto&...) { call.add(input); });
  }
  void add_saved(CallArguments& call) {
    const std::span<std::byte> memory = saved_.span();
    call.add(vlp::VectorView<std::byte>(memory.data(), {static_cast<Index>(memory.size())}));
  }

  int id_;
  DeviceArray<Accumulator> value_;
  SavedMemory saved_;
};

/// A stream that is the framework's current one for as long as it lives.
class CurrentStream {
 public:
  CurrentStream() {
    cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking);
    TVMFFIEnvSetStream(kDLCUDA, 0, stream_, &before_);
  }
  CurrentStream(const CurrentStream&) = delete;
  CurrentStream& operator=(const CurrentStream&) = delete;
  ~CurrentStream() {
    TVMFFIEnvSetStream(kDLCUDA, 0, before_, nullptr);
    cudaStreamDestroy(stream_);
  }
  [[nodiscard]] cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
  TVMFFIStreamHandle before_ = nullptr;
};

/// Value and gradients are those of the loss on the CPU.
template <vlp::Loss L>
void check_results(FfiCase<L>& got, const Arrays& arrays) {
  LossCase<ReferenceOf<L>> want(rounded<L>(arrays));
  constexpr double accuracy = accuracy_of_loss<L>();
  CHECK(relative_error(number(got.value()), number(want.run({}, 1, upstream)), 0.1) <= accuracy);
  CHECK(relative_error(got.given.gradient_values(), want.gradient_values(), 1e-3) <= accuracy);
}

template <class Action>
std::string message_by(Action&& action) {
  try {
    action();
  } catch (const ffi::Error& error) {
    return error.kind() + ": " + error.message();
  }
  return "no error";
}

template <class... List>
struct Joined;
template <class... A, class... B, class... C>
struct Joined<vlp::LossList<A...>, vlp::LossList<B...>, vlp::LossList<C...>> {
  using type = std::tuple<A..., B..., C...>;
};
using Losses = Joined<vlp::AllLosses<float, vlp::Cuda>, vlp::AllLosses<vlp::Half, vlp::Cuda>,
                      vlp::AllLosses<vlp::BFloat16, vlp::Cuda>>::type;
using InfoNce = vlp::InfoNce<float, vlp::Cuda>;

}  // namespace

TEMPLATE_LIST_TEST_CASE("tensors on a CUDA device pass through tvm-ffi to a loss and back", "", Losses) {
  using L = TestType;
  Random random(51);
  const Arrays arrays = inputs_of<L>(random, sizes);
  FfiCase<L> one(arrays);
  one.forward();
  one.backward();
  check_results(one, arrays);
}

TEST_CASE("a loss behind tvm-ffi runs on the device of its tensors, whichever is current") {
  Random random(52);
  const Arrays arrays = inputs_of<InfoNce>(random, sizes);
  REQUIRE(cudaSetDevice(1) == cudaSuccess);
  FfiCase<InfoNce> one(arrays, 1);
  REQUIRE(cudaSetDevice(0) == cudaSuccess);
  one.forward();
  one.backward();
  int current = -1;
  cudaGetDevice(&current);
  CHECK(current == 0);
  cudaSetDevice(1);
  check_results(one, arrays);
  cudaSetDevice(0);
}

TEST_CASE("a loss behind tvm-ffi is queued on the framework's stream, and may be captured") {
  Random random(53);
  const Arrays arrays = inputs_of<InfoNce>(random, sizes);
  FfiCase<InfoNce> one(arrays), other(arrays);
  const ffi::Function forward = one.prepare("forward"), backward = one.prepare("backward");
  const auto step = [&](FfiCase<InfoNce>& given) {
    given.forward(forward);
    given.backward(backward);
  };
  const CurrentStream stream;
  for (int steps = 0; steps < 2; ++steps) step(one);  // until buffers have their size
  const double value = one.value();
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  REQUIRE(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  step(other);
  REQUIRE(cudaStreamEndCapture(stream.get(), &graph) == cudaSuccess);
  CHECK(std::isnan(other.value()));  // all of it was queued there
  std::deque<CurrentStream> many;
  for (int streams = 0; streams < 20; ++streams) {  // which take the room of devices, but not of that one
    many.emplace_back();
    step(one);
  }
  REQUIRE(cudaGraphInstantiate(&executable, graph, 0) == cudaSuccess);
  REQUIRE(cudaGraphLaunch(executable, stream.get()) == cudaSuccess);
  CHECK(other.value() == value);
  CHECK(same_bits(other.given.gradient_values(), one.given.gradient_values()));
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
  while (!many.empty()) many.pop_back();  // the last first, so that each is followed by the one before it
}

TEST_CASE("a loss on CUDA devices behind tvm-ffi refuses other tensors") {
  Random random(54);
  FfiCase<InfoNce> one(inputs_of<InfoNce>(random, sizes));
  CHECK(message_by([&] { one.forward(kDLCPU); }) == "TypeError: info_nce: image is not on a CUDA device");
  CHECK(message_by([&] { one.prepare("sideways"); }) == "ValueError: info_nce: has no pass sideways");
}
