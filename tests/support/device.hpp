/// \file
/// The device that tests of losses run on: the CPU or, with VLP_TEST_CUDA, a CUDA device. The same tests run
/// on either.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/scalar.hpp>
#ifdef VLP_TEST_CUDA
#include <cuda_runtime.h>

#include <vlp/cuda/core/check.cuh>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/memory.cuh>
#include <vlp/cuda/core/scalar.cuh>
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace vlp::test {

#ifdef VLP_TEST_CUDA
using Device = Cuda;
#ifdef VLP_TEST_SCALAR  // only one, where others would test again what was tested
#define VLP_TEST_SCALARS VLP_TEST_SCALAR
#else
#define VLP_TEST_SCALARS float, vlp::BFloat16, vlp::Half
#endif
#else
using Device = Cpu;
#define VLP_TEST_SCALARS float, double
#endif

/// Elsewhere shapes are smaller: an emulated device is slow.
inline constexpr bool on_cpu = std::is_same_v<Device, Cpu>;

/// A device that comes to the same results in another way: a CPU of that many threads, an emulated CUDA
/// device that runs its threads in another order.
template <class AnyDevice = Device>
AnyDevice make_device([[maybe_unused]] int variation = 1) {
  if constexpr (std::is_same_v<AnyDevice, Cpu>) {
    return Cpu(variation);
  } else {
#ifdef VLP_CUDA_EMULATION
    cuda_emulation::set_order(static_cast<std::uint64_t>(variation - 1));
#endif
    return AnyDevice();
  }
}

/// Until all that was given to the device is done.
template <class AnyDevice>
void wait_for([[maybe_unused]] AnyDevice& device) {
  if constexpr (requires { device.synchronize(); }) device.synchronize();
}

/// Values on the host and where the device finds them. On the CPU that is one memory.
template <class T, class AnyDevice = Device>
class DeviceArray {
  static_assert(std::is_same_v<AnyDevice, Cpu>);

 public:
  DeviceArray() = default;
  explicit DeviceArray(std::vector<T> values) : host_(std::move(values)) {}
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  [[nodiscard]] T* data() noexcept { return host_.data(); }
  [[nodiscard]] std::span<T> span() noexcept { return {data(), host_.size()}; }
  [[nodiscard]] std::vector<T>& host() noexcept { return host_; }
  void upload() {}
  void download() {}

 private:
  std::vector<T> host_;
};

#ifdef VLP_TEST_CUDA
/// data() is there from the first upload on, and stays while there are as many values.
template <class T>
class DeviceArray<T, Cuda> {
 public:
  DeviceArray() = default;
  explicit DeviceArray(std::vector<T> values) : host_(std::move(values)) { upload(); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  [[nodiscard]] T* data() noexcept { return memory_.data(); }
  [[nodiscard]] std::span<T> span() noexcept { return {data(), host_.size()}; }
  [[nodiscard]] std::vector<T>& host() noexcept { return host_; }

  void upload() {
    memory_.resize(static_cast<Index>(host_.size()));
    copy(memory_.data(), host_.data(), cudaMemcpyHostToDevice);
  }
  void download() { copy(host_.data(), memory_.data(), cudaMemcpyDeviceToHost); }

 private:
  void copy(T* to, const T* from, cudaMemcpyKind kind) const {
    if (!host_.empty())
      cuda::check(cudaMemcpy(to, from, host_.size() * sizeof(T), kind), "copying a test's array");
  }

  std::vector<T> host_;
  cuda::Buffer<T> memory_;
};
#endif

template <class T>
double to_double(T x) {
  if constexpr (std::is_arithmetic_v<T>)
    return static_cast<double>(x);
  else
    return static_cast<double>(static_cast<float>(x));
}

/// Rounds to nearest; integers are cut off.
template <class T>
T from_double(double x) {
#ifdef VLP_TEST_CUDA
  if constexpr (!std::is_arithmetic_v<T>) return cuda::from_float<T>(static_cast<float>(x));
#endif
  return static_cast<T>(x);
}

/// What no result can be: NaN, or the largest integer.
template <class T>
T not_a_result() {
  if constexpr (std::is_integral_v<T>)
    return std::numeric_limits<T>::max();
  else
    return from_double<T>(std::numeric_limits<double>::quiet_NaN());
}

/// How far two ways to compute the same may be apart, relative to the largest result.
template <class Scalar>
constexpr double tolerance_of();
template <>
constexpr double tolerance_of<double>() {
  return 1e-12;
}
template <>
constexpr double tolerance_of<float>() {
  return 1e-5;
}

/// The same for what is compared with exact results.
template <class Scalar>
constexpr double accuracy_of();
template <>
constexpr double accuracy_of<double>() {
  return 1e-10;
}
template <>
constexpr double accuracy_of<float>() {
  return 2e-5;
}

#ifdef VLP_TEST_CUDA
template <>
constexpr double tolerance_of<Half>() {
  return 2e-3;
}
template <>
constexpr double tolerance_of<BFloat16>() {
  return 1.6e-2;
}
template <>
constexpr double accuracy_of<Half>() {
  return 1e-3;
}
template <>
constexpr double accuracy_of<BFloat16>() {
  return 8e-3;
}
#endif

/// The same for a loss. Where attention, contexts and their gradients are rounded to 16 bits between
/// products, three times as much: about twice what the loss written plainly in that type errs by, and two
/// units in the last place.
template <class L>
constexpr double accuracy_of_loss() {
  using Scalar = typename L::Scalar;
  constexpr bool rounds_between = L::name == "local_alignment" || L::name == "multi_scale";
  return accuracy_of<Scalar>() * (!std::is_arithmetic_v<Scalar> && rounds_between ? 3 : 1);
}

}  // namespace vlp::test
