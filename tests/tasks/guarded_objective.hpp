/// \file
/// The losses of tasks on the guarded device: the CPU's, on opened memory.
#pragma once

#include "support/guarded_device.hpp"

#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/losses/detail/saved_arrays.hpp>
#include <vlp/losses/distillation.hpp>
#include <vlp/losses/info_nce.hpp>
#include <vlp/losses/local_alignment.hpp>
#include <vlp/losses/multi_scale.hpp>
#include <vlp/losses/perturbation_sensitivity.hpp>
#include <vlp/losses/token_alignment.hpp>
#include <vlp/losses/token_cross_entropy.hpp>

#include <cstddef>
#include <span>

namespace vlp::detail {

/// The backend of a loss over a whole batch (see LossShell).
template <class Loss>
class GuardedBackend {
  using Inputs = typename Loss::Inputs;
  using Outputs = typename Loss::Outputs;
  using Gradients = typename Loss::Gradients;
  using Accumulator = typename Loss::Accumulator;

 public:
  using State = std::span<std::byte>;

  explicit GuardedBackend(const typename Loss::Options& options) : loss_(options) {}

  State lay_out(SavedArrays<test::GuardedMemory>& arrays, const Inputs& inputs) const {
    const std::size_t bytes = loss_.saved_bytes(inputs);
    return {arrays.take<std::byte>(static_cast<Index>(bytes)), bytes};
  }
  void forward(test::Guarded& device, const Inputs& inputs, const Outputs& outputs,
               const State& state) const {
    const test::GuardedPool::Open open;
    loss_.forward(device.cpu(), inputs, outputs, state);
  }
  void backward(test::Guarded& device, const Inputs& inputs, const State& state, Accumulator upstream,
                const Gradients& gradients) const {
    const test::GuardedPool::Open open;
    loss_.backward(device.cpu(), inputs, state, upstream, gradients);
  }
  void forward_backward(test::Guarded& device, const Inputs& inputs, Accumulator upstream,
                        const Outputs& outputs, const Gradients& gradients) const
      requires(requires(const Loss& loss) {
        loss.forward_backward(device.cpu(), inputs, upstream, outputs, gradients);
      }) {
    const test::GuardedPool::Open open;
    loss_.forward_backward(device.cpu(), inputs, upstream, outputs, gradients);
  }

 private:
  Loss loss_;
};

/// The backend of a loss whose scores may be cut into blocks (see BlockShell), for whole batches: the sums
/// are those of the CPU's own.
template <class Backend, class Interface>
class GuardedBlockBackend {
  using Inputs = typename Interface::Inputs;
  using Accumulator = typename Interface::Accumulator;

 public:
  using State = std::span<std::byte>;

  explicit GuardedBlockBackend(const typename Interface::Options& options) : backend_(options) {}

  State lay_out(SavedArrays<test::GuardedMemory>& arrays, const Inputs& inputs) const {
    SavedArrays<HostMemory> count;
    backend_.lay_out(count, inputs);
    return {arrays.take<std::byte>(static_cast<Index>(count.bytes())), count.bytes()};
  }
  void accumulate(test::Guarded& device, const Inputs& inputs, const typename Interface::Outputs& outputs,
                  const ContrastSums<Accumulator>& sums, Into into, const State& state) const {
    const test::GuardedPool::Open open;
    backend_.accumulate(device.cpu(), inputs, outputs, sums, into, of_cpu(inputs, state));
  }
  void finish(test::Guarded& device, const PairBlock& block, const ContrastSums<Accumulator>& sums,
              Accumulator* loss) const {
    const test::GuardedPool::Open open;
    backend_.finish(device.cpu(), block, sums, loss);
  }
  void differentiate(test::Guarded& device, const Inputs& inputs, const ContrastSums<Accumulator>& sums,
                     const State& state, Accumulator upstream,
                     const typename Interface::Gradients& gradients) const {
    const test::GuardedPool::Open open;
    backend_.differentiate(device.cpu(), inputs, sums, of_cpu(inputs, state), upstream, gradients);
  }
  static void merge(test::Guarded& device, const ContrastSums<Accumulator>& from,
                    const ContrastSums<Accumulator>& to) {
    const test::GuardedPool::Open open;
    Backend::merge(device.cpu(), from, to);
  }

 private:
  [[nodiscard]] auto of_cpu(const Inputs& inputs, const State& state) const {
    SavedArrays<HostMemory> arrays(Interface::name, state, state.size());
    return backend_.lay_out(arrays, inputs);
  }

  Backend backend_;
};

#define VLP_GUARDED_LOSS(name)                                                       \
  template <class Scalar>                                                            \
  class name##Backend<Scalar, test::Guarded> : public GuardedBackend<name<Scalar>> { \
   public:                                                                           \
    using GuardedBackend<name<Scalar>>::GuardedBackend;                              \
  };
#define VLP_GUARDED_BLOCK_LOSS(name)                                                                     \
  template <class Scalar>                                                                                \
  class name##Backend<Scalar, test::Guarded>                                                             \
      : public GuardedBlockBackend<name##Backend<Scalar, Cpu>, name##Interface<Scalar>> {                \
   public:                                                                                               \
    using GuardedBlockBackend<name##Backend<Scalar, Cpu>, name##Interface<Scalar>>::GuardedBlockBackend; \
  };

VLP_GUARDED_LOSS(MultiScale)
VLP_GUARDED_LOSS(TokenAlignment)
VLP_GUARDED_LOSS(PerturbationSensitivity)
VLP_GUARDED_LOSS(TokenCrossEntropy)
VLP_GUARDED_LOSS(Distillation)
VLP_GUARDED_BLOCK_LOSS(InfoNce)
VLP_GUARDED_BLOCK_LOSS(LocalAlignment)
#undef VLP_GUARDED_LOSS
#undef VLP_GUARDED_BLOCK_LOSS

}  // namespace vlp::detail
