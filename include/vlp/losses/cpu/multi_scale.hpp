/// \file
/// The multi-scale objective on the CPU.
#pragma once

#include <vlp/core/buffer.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/cpu/info_nce.hpp>
#include <vlp/losses/cpu/local_alignment.hpp>
#include <vlp/losses/cpu/perturbation_sensitivity.hpp>
#include <vlp/losses/detail/saved_arrays.hpp>
#include <vlp/losses/loss.hpp>
#include <vlp/losses/multi_scale.hpp>

#include <cstddef>
#include <span>

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
  /// Memory that each term saves in.
  struct State {
    std::span<std::byte> global, local, perturbation;
  };

  explicit MultiScaleBackend(const Options& options)
      : options_(options),
        global_(options.global),
        local_(options.local),
        perturbation_(options.perturbation) {}

  State lay_out(SavedArrays<HostMemory>& arrays, const Inputs& inputs) const {
    const auto take = [&](const auto& term, const auto& of_term) -> std::span<std::byte> {
      const std::size_t bytes = term.saved_bytes(of_term);
      return {arrays.take<std::byte>(static_cast<Index>(bytes)), bytes};
    };
    State out;
    out.global = take(global_, Interface::global_inputs(inputs, options_));
    if (options_.alpha > 0) out.local = take(local_, Interface::local_inputs(inputs));
    if (options_.beta > 0) out.perturbation = take(perturbation_, Interface::perturbation_inputs(inputs));
    return out;
  }

  void forward(Device& device, const Inputs& inputs, const Outputs& outputs, const State& state) const {
    Accumulator global = 0, local = 0, perturbation = 0;
    global_.forward(device, Interface::global_inputs(inputs, options_), {&global}, state.global);
    if (options_.beta > 0)
      perturbation_.forward(device, Interface::perturbation_inputs(inputs), {&perturbation},
                            state.perturbation);
    if (options_.alpha > 0) {
      local_.forward(device, Interface::local_inputs(inputs), {&local, outputs.similarity, outputs.attention},
                     state.local);
    } else {
      clear(outputs.similarity);
      clear(outputs.attention);
    }
    report(outputs.global, global);
    report(outputs.local, local);
    report(outputs.perturbation, perturbation);
    report(outputs.loss, static_cast<Accumulator>(static_cast<double>(global) +
                                                  options_.alpha * static_cast<double>(local) +
                                                  options_.beta * static_cast<double>(perturbation)));
  }

  void backward(Device& device, const Inputs& inputs, const State& state, Accumulator upstream,
                const Gradients& gradients) const {
    // Image and text will hold the perturbation term, or zeros: the global term is added to them.
    const auto global_gradients = Interface::global_gradients(gradients, Into::add, options_);
    if (options_.alpha > 0)
      local_.backward(device, Interface::local_inputs(inputs), state.local,
                      Interface::weighted(upstream, options_.alpha),
                      {gradients.regions, gradients.words, gradients.into});
    if (options_.beta > 0)
      perturbation_.backward(
          device, Interface::perturbation_inputs(inputs), state.perturbation,
          Interface::weighted(upstream, options_.beta),
          {gradients.image, gradients.text, gradients.perturbation_log_scale, gradients.into});
    if (gradients.into == Into::overwrite) clear_skipped(gradients);
    if (gradients.log_scale != nullptr && gradients.into == Into::overwrite) *gradients.log_scale = 0;
    global_.backward(device, Interface::global_inputs(inputs, options_), state.global, upstream,
                     global_gradients);
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
    if (options_.alpha == 0) {
      clear(gradients.regions);
      clear(gradients.words);
    }
    if (options_.beta == 0) {
      clear(gradients.image);
      clear(gradients.text);
      report(gradients.perturbation_log_scale, 0);
    }
  }

  Options options_;
  InfoNce<Scalar> global_;
  LocalAlignment<Scalar> local_;
  PerturbationSensitivity<Scalar> perturbation_;
};

}  // namespace detail

static_assert(Loss<MultiScale<float>> && Loss<MultiScale<double>>);

}  // namespace vlp
