/// \file
/// The multi-scale objective: definition, inputs, outputs and options, common to all devices.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/detail/argument_checks.hpp>
#include <vlp/losses/detail/loss_shell.hpp>
#include <vlp/losses/info_nce.hpp>
#include <vlp/losses/local_alignment.hpp>
#include <vlp/losses/loss.hpp>
#include <vlp/losses/perturbation_sensitivity.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace vlp {

/// Options of MultiScale.
struct MultiScaleOptions {
  InfoNceOptions global{};
  LocalAlignmentOptions local{};
  PerturbationSensitivityOptions perturbation{};
  double alpha = 0.1;  ///< weight of local alignment, >= 0; 0 skips its work
  double beta = 0.1;   ///< weight of perturbation sensitivity, >= 0; 0 skips its work
};

namespace detail {
/// Computes MultiScale; see LossShell. losses/cpu/multi_scale.hpp has it for the CPU,
/// cuda/losses/multi_scale.cuh for CUDA devices.
template <class Scalar, class Device>
class MultiScaleBackend;
}  // namespace detail

/// Arguments of MultiScale and their checks, the same types on every device.
template <class ScalarType>
struct MultiScaleInterface {
  using Scalar = ScalarType;
  using Accumulator = AccumulatorOf<Scalar>;
  using Options = MultiScaleOptions;
  static constexpr std::string_view name = "multi_scale";

  struct Inputs {
    MatrixView<const Scalar> image;          ///< [B, D]
    BatchView<const Scalar> text;            ///< [B, 1 + K, D], the report first; K >= 1 unless beta = 0
    const Accumulator* log_scale = nullptr;  ///< of the global term
    const Accumulator* perturbation_log_scale = nullptr;  ///< of the perturbation term
    MatrixView<const std::uint8_t> valid{};               ///< [B, 1 + K], see PerturbationSensitivity
    BatchView<const Scalar> regions{};                    ///< [B, R, E]
    BatchView<const Scalar> words{};                      ///< [B, W, E]
    std::span<const std::int64_t> word_count{};           ///< [B], see LocalAlignment
    std::span<const std::int64_t> group{};                ///< [B] equal ids for equal reports, or empty
    Index word_capacity = 0;                              ///< see LocalAlignment
  };
  struct Outputs {
    Accumulator* loss = nullptr;
    Accumulator* global = nullptr;  ///< each term before its weight
    Accumulator* local = nullptr;
    Accumulator* perturbation = nullptr;
    MatrixView<Scalar> similarity{};  ///< [B, B], see LocalAlignment
    BatchView<Scalar> attention{};    ///< [B, W, R], see LocalAlignment
  };
  struct Gradients {
    MatrixView<Scalar> image{};
    BatchView<Scalar> text{};
    Accumulator* log_scale = nullptr;
    Accumulator* perturbation_log_scale = nullptr;  ///< another number than log_scale's, even if s is shared
    BatchView<Scalar> regions{};
    BatchView<Scalar> words{};
    Into into = Into::overwrite;  ///< replaces the gradients or is added to them
  };

  static constexpr std::string_view size_names = "pairs x texts x features";
  static std::array<Index, 3> sizes(const Inputs& inputs) { return inputs.text.extents(); }

  template <class InputsType, class GradientsType, class Visit>
  static void for_each_input(InputsType& inputs, GradientsType& gradients, Visit&& visit) {
    visit("image", inputs.image, gradients.image);
    visit("text", inputs.text, gradients.text);
    visit("log_scale", inputs.log_scale, gradients.log_scale);
    visit("perturbation_log_scale", inputs.perturbation_log_scale, gradients.perturbation_log_scale);
    visit("valid", inputs.valid);
    visit("regions", inputs.regions, gradients.regions);
    visit("words", inputs.words, gradients.words);
    visit("word_count", inputs.word_count);
    visit("group", inputs.group);
  }

  /// alpha, beta, and the options of the terms as global.*, local.*, perturbation.*
  template <class OptionsType, class Visit>
  static void for_each_option(OptionsType& options, Visit&& visit) {
    visit("alpha", options.alpha);
    visit("beta", options.beta);
    const auto of = [&](std::string_view term) {
      return [&visit, term](std::string_view option, auto& value) {
        visit(std::string_view(std::string(term).append(option)), value);
      };
    };
    InfoNceInterface<Scalar>::for_each_option(options.global, of("global."));
    LocalAlignmentInterface<Scalar>::for_each_option(options.local, of("local."));
    PerturbationSensitivityInterface<Scalar>::for_each_option(options.perturbation, of("perturbation."));
  }

  /// The weights alone: each term checks its own options.
  static void check_options(const Options& options) {
    require(options.alpha >= 0 && std::isfinite(options.alpha), name,
            ": alpha must be finite and not negative, but is ", options.alpha);
    require(options.beta >= 0 && std::isfinite(options.beta), name,
            ": beta must be finite and not negative, but is ", options.beta);
  }

  /// Checks across the terms; each term checks its own inputs. Inputs of a term of weight 0 are not read.
  static void check_inputs(const Inputs& inputs, const Options& options) {
    const double alpha = options.alpha, beta = options.beta;
    detail::check_input(name, "text", inputs.text);
    require(beta == 0 || inputs.text.extent(1) >= 2, name, ": text is ", detail::extents_text(inputs.text),
            ", without perturbations, but beta is ", beta);
    require(alpha == 0 || !inputs.regions.given() || inputs.regions.extent(0) == inputs.image.rows(), name,
            ": regions is ", detail::extents_text(inputs.regions), " but image is ",
            detail::extents_text(inputs.image));
  }

  static void check_gradients(const Inputs& inputs, const Gradients& gradients) {
    detail::check_gradient(name, "image", gradients.image, inputs.image);
    detail::check_gradient(name, "text", gradients.text, inputs.text);
  }

  /// The upstream of a term of that weight.
  static Accumulator weighted(Accumulator upstream, double weight) {
    return static_cast<Accumulator>(static_cast<double>(upstream) * weight);
  }

  /// Slot 0 of each pair's texts, as a strided view [B, D].
  template <class T>
  static MatrixView<T> first_report(const BatchView<T>& text) {
    return MatrixView<T>(text.data(), {text.extent(0), text.extent(2)}, {text.stride(0), 1});
  }

  /// Inputs of each term.
  static typename InfoNceInterface<Scalar>::Inputs global_inputs(const Inputs& in) {
    return {in.image, first_report(in.text), in.log_scale, in.group};
  }
  static typename LocalAlignmentInterface<Scalar>::Inputs local_inputs(const Inputs& in) {
    return {in.regions, in.words, in.word_count, in.group, in.word_capacity};
  }
  static typename PerturbationSensitivityInterface<Scalar>::Inputs perturbation_inputs(const Inputs& in) {
    return {in.image, in.text, in.perturbation_log_scale, in.valid};
  }
};

/// L = L_global + alpha L_local + beta L_perturbation: InfoNce of images and reports, LocalAlignment of
/// regions and words, PerturbationSensitivity of images and perturbed reports.
///
/// A term of weight 0 costs nothing: its inputs are not looked at and may be missing, it is reported as 0,
/// and so are the gradients, similarity and attention that only it would write.
template <class Scalar, class Device = Cpu>
class MultiScale : public detail::LossShell<MultiScaleInterface<Scalar>, Device,
                                            detail::MultiScaleBackend<Scalar, Device>> {
 public:
  using MultiScale::LossShell::LossShell;
};

}  // namespace vlp

// Code compiled for CUDA is spared Eigen; where it needs the loss on the CPU too, it includes this header
// itself.
#ifndef __CUDACC__
#include <vlp/losses/cpu/multi_scale.hpp>
#endif
