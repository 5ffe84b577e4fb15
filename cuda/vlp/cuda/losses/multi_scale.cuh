/// \file
/// The multi-scale objective on a CUDA device.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/buffer.hpp>
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
#include <vlp/losses/loss.hpp>
#include <vlp/losses/multi_scale.hpp>

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
      : alpha_(options.alpha),
        beta_(options.beta),
        global_(options.global),
        local_(options.local),
        perturbation_(options.perturbation) {}

  void forward(Device& device, const Inputs& inputs, const Outputs& outputs) {
    Accumulator* const terms = terms_.resize(3);
    global_.forward(device, Interface::global_inputs(inputs), {terms});
    if (beta_ > 0) perturbation_.forward(device, Interface::perturbation_inputs(inputs), {terms + 2});
    if (alpha_ > 0) {
      local_.forward(device, Interface::local_inputs(inputs),
                     {terms + 1, outputs.similarity, outputs.attention});
    } else {
      clear(device, as_batch(outputs.similarity));
      clear(device, outputs.attention);
    }
    cuda::launch(cuda::detail::weigh_terms<Accumulator>, 1, cuda::warp_size, 0, device.stream(),
                 cuda::detail::Terms<const Accumulator>{terms, alpha_ > 0 ? terms + 1 : nullptr,
                                                        beta_ > 0 ? terms + 2 : nullptr},
                 alpha_, beta_,
                 cuda::detail::Terms<Accumulator>{outputs.global, outputs.local, outputs.perturbation},
                 outputs.loss);
  }

  void backward(Device& device, const Inputs& inputs, Accumulator upstream, const Gradients& gradients) {
    if (alpha_ > 0)
      local_.backward(device, Interface::local_inputs(inputs), Interface::weighted(upstream, alpha_),
                      {gradients.regions, gradients.words, gradients.into});
    if (beta_ > 0)
      perturbation_.backward(
          device, Interface::perturbation_inputs(inputs), Interface::weighted(upstream, beta_),
          {gradients.image, gradients.text, gradients.perturbation_log_scale, gradients.into});
    if (gradients.into == Into::overwrite) clear_skipped(device, gradients);

    // Image and reports now hold the perturbation term, if there is one: the global term is added to it.
    const Into into = beta_ > 0 ? Into::add : gradients.into;
    if (into != gradients.into) clear(device, gradients.log_scale);
    const MatrixView<Scalar> report =
        gradients.text.given() ? Interface::first_report(gradients.text) : MatrixView<Scalar>();
    global_.backward(device, Interface::global_inputs(inputs), upstream,
                     {gradients.image, report, gradients.log_scale, into});
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
    if (alpha_ == 0) {
      clear(device, gradients.regions);
      clear(device, gradients.words);
    }
    if (beta_ == 0) {
      clear(device, perturbed(gradients.text));
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

  double alpha_, beta_;
  InfoNce<Scalar, Cuda> global_;
  LocalAlignment<Scalar, Cuda> local_;
  PerturbationSensitivity<Scalar, Cuda> perturbation_;
  cuda::Buffer<Accumulator> terms_;  // global, local, perturbation
};

}  // namespace detail

static_assert(Loss<MultiScale<float, Cuda>>);

}  // namespace vlp
