/// \file
/// The multi-scale objective on the guarded device: the CPU's, on opened memory.
#pragma once

#include "support/guarded_device.hpp"

#include <vlp/core/scalar.hpp>
#include <vlp/losses/detail/saved_arrays.hpp>
#include <vlp/losses/multi_scale.hpp>

#include <cstddef>
#include <span>

namespace vlp::detail {

template <class Scalar>
class MultiScaleBackend<Scalar, test::Guarded> {
  using Interface = MultiScaleInterface<Scalar>;

 public:
  using State = std::span<std::byte>;

  explicit MultiScaleBackend(const MultiScaleOptions& options) : loss_(options) {}

  State lay_out(SavedArrays<test::GuardedMemory>& arrays, const typename Interface::Inputs& inputs) const {
    const std::size_t bytes = loss_.saved_bytes(inputs);
    return {arrays.take<std::byte>(static_cast<Index>(bytes)), bytes};
  }
  void forward(test::Guarded& device, const typename Interface::Inputs& inputs,
               const typename Interface::Outputs& outputs, const State& state) const {
    const test::GuardedPool::Open open;
    loss_.forward(device.cpu(), inputs, outputs, state);
  }
  void backward(test::Guarded& device, const typename Interface::Inputs& inputs, const State& state,
                typename Interface::Accumulator upstream,
                const typename Interface::Gradients& gradients) const {
    const test::GuardedPool::Open open;
    loss_.backward(device.cpu(), inputs, state, upstream, gradients);
  }

 private:
  MultiScale<Scalar> loss_;
};

}  // namespace vlp::detail
