/// \file
/// One loss on a CUDA device with several sets of inputs of its own. Written over the Loss concept.
#pragma once

#include "losses_cuda/support/device_allocations.hpp"
#include "losses_cuda/support/draw.hpp"
#include "support/bind.hpp"
#include "support/case.hpp"

#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/cuda/core/check.cuh>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/memory.cuh>
#include <vlp/losses/loss.hpp>

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <string_view>
#include <type_traits>
#include <vector>

namespace vlp::benchmarks {

/// Owns sets of inputs, drawn by name (those not named stay empty), with gradients for all that have one.
template <Loss L>
class DeviceRun {
 public:
  using Accumulator = typename L::Accumulator;

  /// Draws inputs until they take `least_bytes`, in at least one and at most `most_sets` sets, and takes some
  /// steps, so that kept_bytes() is known and scratch memory has grown.
  DeviceRun(Cuda& device, const Arrays& arrays, const typename L::Options& options, std::size_t least_bytes,
            std::size_t most_sets)
      : device_(device), value_(1) {
    do draw_set(arrays);
    while (sets_.size() < most_sets && input_bytes_ < least_bytes);
    device_.synchronize();
    loss_.emplace(options);
    for (int i = 0; i < 3; ++i) step(i);  // scratch memory has its size after the second
    measure_kept(options);
  }
  DeviceRun(const DeviceRun&) = delete;
  DeviceRun& operator=(const DeviceRun&) = delete;

  /// Queues forward and backward on one of the sets, in turn.
  void step(int i) { step(*loss_, i); }

  [[nodiscard]] int sets() const noexcept { return static_cast<int>(sets_.size()); }
  /// Bytes of scratch at most.
  [[nodiscard]] std::size_t scratch_bytes() const { return device_.scratch().high_water(); }
  /// Bytes that the loss itself keeps between calls.
  [[nodiscard]] std::int64_t kept_bytes() const noexcept { return kept_bytes_; }

  /// The loss of the last step, after waiting for it.
  [[nodiscard]] Accumulator value() const {
    Accumulator out = 0;
    cuda::check(cudaMemcpyAsync(&out, value_.data(), sizeof out, cudaMemcpyDeviceToHost, device_.stream()),
                "copying a loss");
    device_.synchronize();
    return out;
  }

 private:
  struct Set {
    typename L::Inputs inputs{};
    typename L::Gradients gradients{};
  };

  template <class T>
  T* room(const Array& array) {
    return reinterpret_cast<T*>(memory_.emplace_back(array.size() * static_cast<Index>(sizeof(T))).data());
  }

  void draw_set(const Arrays& arrays) {
    Set set;
    L::for_each_input(set.inputs, set.gradients, [&](std::string_view name, auto& input, auto&... gradient) {
      using T = ElementOf<std::remove_reference_t<decltype(input)>>;
      const auto found = arrays.find(name);
      if (found == arrays.end()) return;
      const Array& array = found->second;
      T* values = room<T>(array);
      draw(device_, array, stream_++, values);
      point(name, input, values, array.shape);
      (point(name, gradient, room<T>(array), array.shape), ...);
      input_bytes_ += static_cast<std::size_t>(array.size()) * sizeof(T);
    });
    if constexpr (requires { set.inputs.word_capacity; }) {  // a caller who counts words knows their number
      const auto counts = arrays.find("word_count");
      if (counts != arrays.end())
        set.inputs.word_capacity = static_cast<Index>(
            std::accumulate(counts->second.values.begin(), counts->second.values.end(), 0.0));
    }
    sets_.push_back(set);
  }

  void step(L& loss, int i) {
    const Set& set = sets_[static_cast<std::size_t>(i) % sets_.size()];
    typename L::Outputs outputs{};
    outputs.loss = value_.data();
    forward_backward(loss, device_, set.inputs, outputs, set.gradients);
  }

  /// Measures the memory that a loss gives back when it is destroyed after a step.
  void measure_kept(const typename L::Options& options) {
    std::optional<L> other(options);
    step(*other, 0);
    device_.synchronize();
    const std::int64_t before = live_device_bytes();
    other.reset();
    kept_bytes_ = before - live_device_bytes();
  }

  Cuda& device_;
  std::vector<cuda::Buffer<std::byte>> memory_;
  std::vector<Set> sets_;
  std::size_t input_bytes_ = 0;
  std::uint32_t stream_ = 0;
  cuda::Buffer<Accumulator> value_;
  std::optional<L> loss_;
  std::int64_t kept_bytes_ = 0;
};

}  // namespace vlp::benchmarks
