/// \file
/// The multi-scale objective on a CUDA device.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/cuda/core/check.cuh>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/memory.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/info_nce.cuh>
#include <vlp/cuda/losses/local_alignment.cuh>
#include <vlp/cuda/losses/perturbation_sensitivity.cuh>
#include <vlp/losses/detail/saved_arrays.hpp>
#include <vlp/losses/loss.hpp>
#include <vlp/losses/multi_scale.hpp>

#include <cstddef>
#include <span>

namespace vlp {

namespace cuda::detail {

/// The terms of the objective, or where they are to go; null: left out.
template <class T>
struct Terms {
  T *global, *local, *perturbation;
};

/// Reports each term and their weighted sum, by one thread. A term left out is 0.
template <class Accumulator>
__global__ void __launch_bounds__(32) weigh_terms(Terms<const Accumulator> terms, double alpha, double beta,
                                                  Terms<Accumulator> out, Accumulator* loss) {
  if (threadIdx.x != 0) return;
  const Accumulator global = *terms.global, local = terms.local == nullptr ? Accumulator(0) : *terms.local,
                    perturbation = terms.perturbation == nullptr ? Accumulator(0) : *terms.perturbation;
  if (out.global != nullptr) *out.global = global;
  if (out.local != nullptr) *out.local = local;
  if (out.perturbation != nullptr) *out.perturbation = perturbation;
  if (loss != nullptr)
    *loss = static_cast<Accumulator>(static_cast<double>(global) + alpha * static_cast<double>(local) +
                                     beta * static_cast<double>(perturbation));
}

/// Zeroes rows [batch, rows, features]; warp w of the grid takes the w-th.
template <class Scalar>
__global__ void __launch_bounds__(256) clear_rows(BatchRows<Scalar> out, Index rows, Index features) {
  const Index row = static_cast<Index>(blockIdx.x) * (256 / warp_size) + warp();
  if (row >= out.count * rows) return;
  Scalar* const to = out(row / rows, row % rows);
  for (Index d = lane(); d < features; d += warp_size) to[d] = from_float<Scalar>(0);
}

}  // namespace cuda::detail

namespace detail {

/// MultiScale of float, BFloat16 or Half inputs. All pointers are in device memory, the terms too: nothing
/// waits for them. The three losses run one after the other on the device's stream.
template <class ScalarType>
class MultiScaleBackend<ScalarType, Cuda> : MultiScaleInterface<ScalarType> {
  using Interface = MultiScaleInterface<ScalarType>;
  using Interface::name;
  using typename Interface::Accumulator, typename Interface::Gradients, typename Interface::Inputs,
      typename Interface::Options, typename Interface::Outputs, typename Interface::Scalar;

 public:
  using Device = Cuda;

  explicit MultiScaleBackend(const Options& options)
      : options_(options),
        global_(options.global),
        local_(options.local),
        perturbation_(options.perturbation) {}

  /// Memory that each term saves to; empty for those of weight 0.
  struct State {
    std::span<std::byte> global, local, perturbation;
  };

  State lay_out(SavedArrays<Device::Memory>& arrays, const Inputs& inputs) const {
    const auto take = [&](const auto& term, const auto& of_term) -> std::span<std::byte> {
      const std::size_t bytes = term.saved_bytes(of_term);
      return {arrays.template take<std::byte>(static_cast<Index>(bytes)), bytes};
    };
    State out;
    out.global = take(global_, Interface::global_inputs(inputs, options_));
    if (options_.alpha > 0) out.local = take(local_, Interface::local_inputs(inputs));
    if (options_.beta > 0) out.perturbation = take(perturbation_, Interface::perturbation_inputs(inputs));
    return out;
  }

  void forward(Device& device, const Inputs& inputs, const Outputs& outputs, const State& state) const {
    const double alpha = options_.alpha, beta = options_.beta;
    auto scratch = device.scratch().scope();
    auto* const terms = scratch.template take<Accumulator>(3);  // global, local, perturbation
    global_.forward(device, Interface::global_inputs(inputs, options_), {terms}, state.global);
    if (beta > 0)
      perturbation_.forward(device, Interface::perturbation_inputs(inputs), {terms + 2}, state.perturbation);
    if (alpha > 0) {
      local_.forward(device, Interface::local_inputs(inputs),
                     {terms + 1, outputs.similarity, outputs.attention}, state.local);
    } else {
      clear(device, as_batch(outputs.similarity));
      clear(device, outputs.attention);
    }
    cuda::launch(cuda::detail::weigh_terms<Accumulator>, 1, cuda::warp_size, 0, device.stream(),
                 cuda::detail::Terms<const Accumulator>{terms, alpha > 0 ? terms + 1 : nullptr,
                                                        beta > 0 ? terms + 2 : nullptr},
                 alpha, beta,
                 cuda::detail::Terms<Accumulator>{outputs.global, outputs.local, outputs.perturbation},
                 outputs.loss);
  }

  void backward(Device& device, const Inputs& inputs, const State& state, Accumulator upstream,
                const Gradients& gradients) const {
    const double alpha = options_.alpha, beta = options_.beta;
    // Image and texts hold the perturbation term first, if there is one: the global term is added to it.
    const Into into = beta > 0 ? Into::add : gradients.into;
    const auto of_global = Interface::global_gradients(gradients, into, options_);  // which may refuse them
    if (alpha > 0)
      local_.backward(device, Interface::local_inputs(inputs), state.local,
                      Interface::weighted(upstream, alpha),
                      {gradients.regions, gradients.words, gradients.into});
    if (beta > 0)
      perturbation_.backward(
          device, Interface::perturbation_inputs(inputs), state.perturbation,
          Interface::weighted(upstream, beta),
          {gradients.image, gradients.text, gradients.perturbation_log_scale, gradients.into});
    if (gradients.into == Into::overwrite) clear_skipped(device, gradients);
    if (into != gradients.into) clear(device, gradients.log_scale);
    global_.backward(device, Interface::global_inputs(inputs, options_), state.global, upstream, of_global);
  }

 private:
  static BatchView<Scalar> as_batch(const MatrixView<Scalar>& matrix) {
    return {matrix.data(), {1, matrix.rows(), matrix.cols()}, {0, matrix.stride(0), 1}};
  }

  static void clear(Device& device, const BatchView<Scalar>& view) {
    if (!view.given()) return;
    constexpr Index rows_of_a_block = 256 / cuda::warp_size;
    cuda::launch(cuda::detail::clear_rows<Scalar>,
                 cuda::blocks(view.extent(0) * view.extent(1), rows_of_a_block), 256, 0, device.stream(),
                 cuda::batch_rows_of(view), view.extent(1), view.extent(2));
  }

  static void clear(Device& device, Accumulator* value) {
    if (value != nullptr)
      cuda::check(cudaMemsetAsync(value, 0, sizeof(Accumulator), device.stream()), "clearing a number");
  }

  /// Zeroes the gradients that a skipped term would have written, except those that the global term writes.
  void clear_skipped(Device& device, const Gradients& gradients) const {
    if (options_.alpha == 0) {
      clear(device, gradients.regions);
      clear(device, gradients.words);
    }
    if (options_.beta == 0) {
      if (!options_.perturbed_as_negatives) clear(device, perturbed(gradients.text));
      clear(device, gradients.perturbation_log_scale);
    }
  }

  /// All texts but the first of each pair.
  static BatchView<Scalar> perturbed(const BatchView<Scalar>& text) {
    if (!text.given() || text.extent(1) == 1) return {};
    return {text.data() + text.stride(1),
            {text.extent(0), text.extent(1) - 1, text.extent(2)},
            {text.stride(0), text.stride(1), 1}};
  }

  Options options_;
  InfoNce<Scalar, Cuda> global_;
  LocalAlignment<Scalar, Cuda> local_;
  PerturbationSensitivity<Scalar, Cuda> perturbation_;
};

}  // namespace detail

static_assert(Loss<MultiScale<float, Cuda>>);

}  // namespace vlp
