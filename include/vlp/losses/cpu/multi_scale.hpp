/// \file
/// The multi-scale objective on the CPU.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/cpu/info_nce.hpp>
#include <vlp/losses/cpu/local_alignment.hpp>
#include <vlp/losses/cpu/perturbation_sensitivity.hpp>
#include <vlp/losses/loss.hpp>
#include <vlp/losses/multi_scale.hpp>

#include <cstddef>

namespace vlp {

namespace detail {

/// MultiScale on the CPU.
template <class ScalarType>
class MultiScaleBackend<ScalarType, Cpu> : MultiScaleInterface<ScalarType> {
  using Interface = MultiScaleInterface<ScalarType>;
  using Interface::name;
  using typename Interface::Accumulator, typename Interface::Gradients, typename Interface::Inputs,
      typename Interface::Options, typename Interface::Outputs, typename Interface::Scalar;

 public:
  using Device = Cpu;

  explicit MultiScaleBackend(const Options& options)
      : alpha_(options.alpha),
        beta_(options.beta),
        global_(options.global),
        local_(options.local),
        perturbation_(options.perturbation) {}

  void forward(Device& device, const Inputs& inputs, const Outputs& outputs) {
    Accumulator global = 0, local = 0, perturbation = 0;
    global_.forward(device, Interface::global_inputs(inputs), {&global});
    if (beta_ > 0) perturbation_.forward(device, Interface::perturbation_inputs(inputs), {&perturbation});
    if (alpha_ > 0) {
      local_.forward(device, Interface::local_inputs(inputs),
                     {&local, outputs.similarity, outputs.attention});
    } else {
      clear(outputs.similarity);
      clear(outputs.attention);
    }
    report(outputs.global, global);
    report(outputs.local, local);
    report(outputs.perturbation, perturbation);
    report(outputs.loss,
           static_cast<Accumulator>(static_cast<double>(global) + alpha_ * static_cast<double>(local) +
                                    beta_ * static_cast<double>(perturbation)));
  }

  void backward(Device& device, const Inputs& inputs, Accumulator upstream, const Gradients& gradients) {
    if (alpha_ > 0)
      local_.backward(device, Interface::local_inputs(inputs), Interface::weighted(upstream, alpha_),
                      {gradients.regions, gradients.words, gradients.into});
    if (beta_ > 0)
      perturbation_.backward(
          device, Interface::perturbation_inputs(inputs), Interface::weighted(upstream, beta_),
          {gradients.image, gradients.text, gradients.perturbation_log_scale, gradients.into});
    if (gradients.into == Into::overwrite) clear_skipped(gradients);

    // Image and text now hold the perturbation term, or zeros: the global term is added to them.
    const MatrixView<Scalar> report =
        gradients.text.given() ? Interface::first_report(gradients.text) : MatrixView<Scalar>();
    if (gradients.log_scale != nullptr && gradients.into == Into::overwrite) *gradients.log_scale = 0;
    global_.backward(device, Interface::global_inputs(inputs), upstream,
                     {gradients.image, report, gradients.log_scale, Into::add});
  }

 private:
  static void report(Accumulator* out, Accumulator value) {
    if (out != nullptr) *out = value;
  }

  template <std::size_t Rank>
  static void clear(const View<Scalar, Rank>& view) {
    if (!view.given()) return;
    for (Index i = 0; i < view.extent(0); ++i) {
      if constexpr (Rank == 1)
        view[i] = 0;
      else
        clear(view[i]);
    }
  }

  /// Zeroes the gradients that a skipped term would have written.
  void clear_skipped(const Gradients& gradients) const {
    if (alpha_ == 0) {
      clear(gradients.regions);
      clear(gradients.words);
    }
    if (beta_ == 0) {
      clear(gradients.image);
      clear(gradients.text);
      report(gradients.perturbation_log_scale, 0);
    }
  }

  double alpha_, beta_;
  InfoNce<Scalar> global_;
  LocalAlignment<Scalar> local_;
  PerturbationSensitivity<Scalar> perturbation_;
};

}  // namespace detail

static_assert(Loss<MultiScale<float>> && Loss<MultiScale<double>>);

}  // namespace vlp
