/// \file
/// The multi-scale objective on the guarded device: the CPU's, on opened memory.
#pragma once

#include "support/guarded_device.hpp"

#include <vlp/losses/multi_scale.hpp>

namespace vlp::detail {

template <class Scalar>
class MultiScaleBackend<Scalar, test::Guarded> {
  using Interface = MultiScaleInterface<Scalar>;

 public:
  explicit MultiScaleBackend(const MultiScaleOptions& options) : backend_(options) {}

  void forward(test::Guarded& device, const typename Interface::Inputs& inputs,
               const typename Interface::Outputs& outputs) {
    const test::GuardedPool::Open open;
    backend_.forward(device.cpu(), inputs, outputs);
  }
  void backward(test::Guarded& device, const typename Interface::Inputs& inputs,
                typename Interface::Accumulator upstream, const typename Interface::Gradients& gradients) {
    const test::GuardedPool::Open open;
    backend_.backward(device.cpu(), inputs, upstream, gradients);
  }

 private:
  MultiScaleBackend<Scalar, Cpu> backend_;
};

}  // namespace vlp::detail
