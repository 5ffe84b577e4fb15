/// \file
/// One loss with inputs of its own, run again and again. Written over the Loss concept.
#pragma once

#include "support/allocations.hpp"
#include "support/bind.hpp"
#include "support/case.hpp"

#include <vlp/core/buffer.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/loss.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>
#include <vector>

namespace vlp::benchmarks {

/// Owns inputs, drawn by name (those not named stay empty), and gradients for all that have one.
template <Loss L>
class LossRun {
 public:
  using Accumulator = typename L::Accumulator;

  /// Draws the inputs and takes a first step, so that kept_bytes() is known and scratch memory has grown.
  LossRun(const Arrays& arrays, const typename L::Options& options, int threads)
      : device_(threads), loss_(options) {
    std::uint32_t stream = 0;
    L::for_each_input(inputs_, gradients_, [&](std::string_view name, auto& input, auto&... gradient) {
      const auto found = arrays.find(name);
      if (found == arrays.end()) return;
      point(name, input, draw<ElementOf<std::remove_reference_t<decltype(input)>>>(found->second, stream++),
            found->second.shape);
      (point(name, gradient, room<ElementOf<std::remove_reference_t<decltype(gradient)>>>(found->second),
             found->second.shape),
       ...);
    });
    measure_kept(options);
  }
  LossRun(const LossRun&) = delete;
  LossRun& operator=(const LossRun&) = delete;

  /// Forward and backward.
  void step() { step(loss_); }

  /// Bytes of scratch at most.
  [[nodiscard]] std::int64_t scratch_bytes() {
    return static_cast<std::int64_t>(device_.scratch().high_water());
  }
  /// Bytes that the loss itself keeps between calls.
  [[nodiscard]] std::int64_t kept_bytes() const noexcept { return kept_bytes_; }

 private:
  template <class T>
  T* room(const Array& array) {
    return reinterpret_cast<T*>(memory_.emplace_back(array.size() * static_cast<Index>(sizeof(T))).data());
  }

  template <class T>
  T* draw(const Array& array, std::uint32_t stream) {
    T* values = room<T>(array);
    Random random(1, stream);
    std::generate_n(values, memory_.back().size() / static_cast<Index>(sizeof(T)),
                    [&, i = Index{0}]() mutable { return static_cast<T>(array.draw(random, i++)); });
    return values;
  }

  void step(L& loss) {
    typename L::Outputs outputs{};
    outputs.loss = &value_;
    forward_backward(loss, device_, inputs_, outputs, gradients_);
  }

  /// Measures the memory that a loss gives back when it is destroyed after a step.
  void measure_kept(const typename L::Options& options) {
    std::optional<L> first(options);
    step(*first);
    const std::int64_t before = live_bytes();
    first.reset();
    kept_bytes_ = before - live_bytes();
  }

  std::vector<Buffer<std::byte>> memory_;
  typename L::Inputs inputs_{};
  typename L::Gradients gradients_{};
  Accumulator value_ = 0;
  Cpu device_;
  L loss_;
  std::int64_t kept_bytes_ = 0;
};

}  // namespace vlp::benchmarks
