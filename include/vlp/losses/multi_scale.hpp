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
  /// Makes the perturbed reports of the batch further texts of the global term: negatives of every image,
  /// those of an equal report too. They take the room of K further batches of reports there.
  bool perturbed_as_negatives = false;

  /// The global term alone, with perturbed reports as negatives: Yuksekgonul et al., "When and why
  /// vision-language models behave like bags-of-words, and what to do about it?" (NegCLIP), ICLR 2023.
  [[nodiscard]] static MultiScaleOptions neg_clip() {
    return {.alpha = 0, .beta = 0, .perturbed_as_negatives = true};
  }
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
    MatrixView<const Scalar> image;  ///< [B, D]
    /// [B, 1 + K, D], the report first; K >= 1 where perturbed reports are used. With
    /// MultiScaleOptions::perturbed_as_negatives all rows, and those of the gradient, must lie evenly:
    /// stride(0) = (1 + K) stride(1).
    BatchView<const Scalar> text;
    const Accumulator* log_scale = nullptr;               ///< of the global term
    const Accumulator* perturbation_log_scale = nullptr;  ///< of the perturbation term
    /// [B, 1 + K], see PerturbationSensitivity; contiguous with MultiScaleOptions::perturbed_as_negatives
    MatrixView<const std::uint8_t> valid{};
    BatchView<const Scalar> regions{};           ///< [B, R, E]
    BatchView<const Scalar> words{};             ///< [B, W, E]
    std::span<const std::int64_t> word_count{};  ///< [B], see LocalAlignment
    std::span<const std::int64_t> group{};       ///< [B] equal ids for equal reports, or empty;
                                                 ///< perturbed reports are in no group
    Index word_capacity = 0;                     ///< see LocalAlignment
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

  static constexpr std::string_view size_names =
      "pairs x texts x features x regions x words x local features";
  static std::array<Index, 6> sizes(const Inputs& inputs) {
    const auto& [pairs, texts, features] = inputs.text.extents();
    return {
        pairs, texts, features, inputs.regions.extent(1), inputs.words.extent(1), inputs.regions.extent(2)};
  }

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

  /// Numbers of the inputs that the host holds.
  template <class InputsType, class Visit>
  static void for_each_host_number(InputsType& inputs, Visit&& visit) {
    visit("word_capacity", inputs.word_capacity);
  }

  /// Visits each output except the loss, by name.
  template <class OutputsType, class Visit>
  static void for_each_output(OutputsType& outputs, Visit&& visit) {
    visit("global", outputs.global);
    visit("local", outputs.local);
    visit("perturbation", outputs.perturbation);
    visit("similarity", outputs.similarity);
    visit("attention", outputs.attention);
  }

  /// The objective's own options, and those of the terms as global.*, local.*, perturbation.*
  template <class OptionsType, class Visit>
  static void for_each_option(OptionsType& options, Visit&& visit) {
    visit("alpha", options.alpha);
    visit("beta", options.beta);
    visit("perturbed_as_negatives", options.perturbed_as_negatives);
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

  /// Checks across the terms, and those of each. Inputs of a term of weight 0 are not looked at.
  static void check_inputs(const Inputs& inputs, const Options& options) {
    const double alpha = options.alpha, beta = options.beta;
    detail::check_input(name, "text", inputs.text);
    require(beta == 0 || inputs.text.extent(1) >= 2, name, ": text is ", detail::extents_text(inputs.text),
            ", without perturbations, but beta is ", beta);
    require(inputs.text.extent(0) == inputs.image.rows(), name, ": image is ",
            detail::extents_text(inputs.image), " but text is ", detail::extents_text(inputs.text));
    if (options.perturbed_as_negatives) check_negatives(inputs, options);
    require(alpha == 0 || !inputs.regions.given() || inputs.regions.extent(0) == inputs.image.rows(), name,
            ": regions is ", detail::extents_text(inputs.regions), " but image is ",
            detail::extents_text(inputs.image));
    require(alpha == 0 || !inputs.words.given() || inputs.words.extent(0) == inputs.image.rows(), name,
            ": words is ", detail::extents_text(inputs.words), " but image is ",
            detail::extents_text(inputs.image));
    InfoNceInterface<Scalar>::check_inputs(global_inputs(inputs, options), options.global);
    if (alpha > 0) LocalAlignmentInterface<Scalar>::check_inputs(local_inputs(inputs), options.local);
    if (beta > 0)
      PerturbationSensitivityInterface<Scalar>::check_inputs(perturbation_inputs(inputs),
                                                             options.perturbation);
  }

  static void check_gradients(const Inputs& inputs, const Gradients& gradients) {
    detail::check_gradient(name, "image", gradients.image, inputs.image);
    detail::check_gradient(name, "text", gradients.text, inputs.text);
  }

  /// The upstream of a term of that weight.
  static Accumulator weighted(Accumulator upstream, double weight) {
    return static_cast<Accumulator>(static_cast<double>(upstream) * weight);
  }

  /// Texts of the global term, or the gradients for them, as rows of a matrix: the report of each pair [B,
  /// D], or all texts of one pair after the other [B (1 + K), D]. Throws std::invalid_argument, calling them
  /// `of` text, where the rows would not lie evenly.
  template <class T>
  static MatrixView<T> global_texts(std::string_view of, const BatchView<T>& text, const Options& options) {
    const auto& [pairs, texts, features] = text.extents();
    if (!options.perturbed_as_negatives) return {text.data(), {pairs, features}, {text.stride(0), 1}};
    require(pairs <= 1 || text.stride(0) == texts * text.stride(1), name, ": ", of, "text is ",
            detail::extents_text(text), " with strides of ", detail::extents_text(text.strides()),
            ", but with perturbed_as_negatives its rows must lie evenly");
    return {text.data(), {pairs * texts, features}, {text.stride(1), 1}};
  }

  /// Inputs of each term.
  static typename InfoNceInterface<Scalar>::Inputs global_inputs(const Inputs& in, const Options& options) {
    typename InfoNceInterface<Scalar>::Inputs out{in.image, global_texts("", in.text, options), in.log_scale,
                                                  in.group};
    if (!options.perturbed_as_negatives) return out;
    out.valid = {in.valid.data(), {in.valid.size()}};
    out.block.own_text_step = in.text.extent(1);
    return out;
  }
  static typename LocalAlignmentInterface<Scalar>::Inputs local_inputs(const Inputs& in) {
    return {in.regions, in.words, in.word_count, in.group, in.word_capacity};
  }
  static typename PerturbationSensitivityInterface<Scalar>::Inputs perturbation_inputs(const Inputs& in) {
    return {in.image, in.text, in.perturbation_log_scale, in.valid};
  }

  /// Gradients of the global term.
  static typename InfoNceInterface<Scalar>::Gradients global_gradients(const Gradients& to, Into into,
                                                                       const Options& options) {
    return {to.image, global_texts("the gradient of ", to.text, options), to.log_scale, into};
  }

 private:
  /// Checks what only perturbed reports as negatives of every image need.
  static void check_negatives(const Inputs& inputs, const Options& options) {
    require(inputs.text.extent(1) >= 2, name, ": text is ", detail::extents_text(inputs.text),
            ", without perturbations, but perturbed_as_negatives is set");
    (void)global_texts("", inputs.text, options);
    if (!inputs.valid.given()) return;
    require(inputs.valid.rows() == inputs.text.extent(0) && inputs.valid.cols() == inputs.text.extent(1),
            name, ": valid is ", detail::extents_text(inputs.valid), " but text is ",
            detail::extents_text(inputs.text));
    require(inputs.valid.contiguous(), name, ": valid is ", detail::extents_text(inputs.valid),
            " with strides of ", detail::extents_text(inputs.valid.strides()),
            ", but with perturbed_as_negatives it must be contiguous");
  }
};

/// L = L_global + alpha L_local + beta L_perturbation: InfoNce of images and reports, LocalAlignment of
/// regions and words, PerturbationSensitivity of images and perturbed reports. The perturbed reports may also
/// be negatives of the global term; see MultiScaleOptions::perturbed_as_negatives.
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
