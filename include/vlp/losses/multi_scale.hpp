/// \file
/// The multi-scale objective: global matching, local alignment and perturbation sensitivity together.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/detail/checks.hpp>
#include <vlp/losses/info_nce.hpp>
#include <vlp/losses/local_alignment.hpp>
#include <vlp/losses/perturbation_sensitivity.hpp>
#include <vlp/losses/types.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
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

/// L = L_global + alpha L_local + beta L_perturbation: InfoNce of images and reports, LocalAlignment of
/// regions and words, PerturbationSensitivity of images and perturbed reports.
///
/// A term of weight 0 costs nothing: its inputs are not looked at and may be missing, it is reported as 0,
/// and so are the gradients, similarity and attention that only it would write.
template <class ScalarType, class DeviceType = Cpu>
class MultiScale {
 public:
  using Scalar = ScalarType;
  using Device = DeviceType;
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
    bool accumulate = false;  ///< add to what is there instead of overwriting it
  };

  /// Throws std::invalid_argument when an option is out of range.
  explicit MultiScale(const MultiScaleOptions& options = {})
      : alpha_(options.alpha),
        beta_(options.beta),
        global_(options.global),
        local_(options.local),
        perturbation_(options.perturbation) {
    require(alpha_ >= 0 && std::isfinite(alpha_), name, ": alpha must be finite and not negative, but is ",
            alpha_);
    require(beta_ >= 0 && std::isfinite(beta_), name, ": beta must be finite and not negative, but is ",
            beta_);
  }

  /// Computes the loss and its terms and keeps what backward needs. Throws std::invalid_argument for inputs
  /// that do not fit together.
  void forward(Device& device, const Inputs& inputs, const Outputs& outputs) {
    check(inputs);
    Accumulator global = 0, local = 0, perturbation = 0;
    global_.forward(device, global_inputs(inputs), {&global});
    if (beta_ > 0) perturbation_.forward(device, perturbation_inputs(inputs), {&perturbation});
    if (alpha_ > 0) {
      local_.forward(device, local_inputs(inputs), {&local, outputs.similarity, outputs.attention});
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

  /// Writes upstream * dL/dinput for the inputs given to the last forward.
  void backward(Device& device, const Inputs& inputs, Accumulator upstream, const Gradients& gradients) {
    check(inputs);
    detail::check_gradient(name, "image", gradients.image, inputs.image);
    detail::check_gradient(name, "text", gradients.text, inputs.text);
    if (alpha_ > 0)
      local_.backward(device, local_inputs(inputs), weighted(upstream, alpha_),
                      {gradients.regions, gradients.words, gradients.accumulate});
    if (beta_ > 0)
      perturbation_.backward(
          device, perturbation_inputs(inputs), weighted(upstream, beta_),
          {gradients.image, gradients.text, gradients.perturbation_log_scale, gradients.accumulate});
    if (!gradients.accumulate) clear_skipped(gradients);

    // Image and text now hold the perturbation term, or zeros: the global term is added to them.
    const MatrixView<Scalar> report =
        gradients.text.empty() ? MatrixView<Scalar>() : first_report(gradients.text);
    if (gradients.log_scale != nullptr && !gradients.accumulate) *gradients.log_scale = 0;
    global_.backward(device, global_inputs(inputs), upstream,
                     {gradients.image, report, gradients.log_scale, true});
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
    InfoNce<Scalar, Device>::for_each_option(options.global, of("global."));
    LocalAlignment<Scalar, Device>::for_each_option(options.local, of("local."));
    PerturbationSensitivity<Scalar, Device>::for_each_option(options.perturbation, of("perturbation."));
  }

 private:
  void check(const Inputs& inputs) const {
    detail::check_input(name, "text", inputs.text);
    require(beta_ == 0 || inputs.text.extent(1) >= 2, name, ": text is ", detail::extents_text(inputs.text),
            ", without perturbations, but beta is ", beta_);
    require(alpha_ == 0 || inputs.regions.empty() || inputs.regions.extent(0) == inputs.image.rows(), name,
            ": regions is ", detail::extents_text(inputs.regions), " but image is ",
            detail::extents_text(inputs.image));
  }

  /// Slot 0 of each pair's texts, as a strided view [B, D].
  template <class T>
  static MatrixView<T> first_report(const BatchView<T>& text) {
    return MatrixView<T>(text.data(), {text.extent(0), text.extent(2)}, {text.stride(0), 1});
  }

  static typename InfoNce<Scalar, Device>::Inputs global_inputs(const Inputs& in) {
    return {in.image, first_report(in.text), in.log_scale, in.group};
  }
  static typename LocalAlignment<Scalar, Device>::Inputs local_inputs(const Inputs& in) {
    return {in.regions, in.words, in.word_count, in.group};
  }
  static typename PerturbationSensitivity<Scalar, Device>::Inputs perturbation_inputs(const Inputs& in) {
    return {in.image, in.text, in.perturbation_log_scale, in.valid};
  }

  static Accumulator weighted(Accumulator upstream, double weight) {
    return static_cast<Accumulator>(static_cast<double>(upstream) * weight);
  }

  static void report(Accumulator* out, Accumulator value) {
    if (out != nullptr) *out = value;
  }

  template <std::size_t Rank>
  static void clear(const View<Scalar, Rank>& view) {
    if (view.empty()) return;
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
  InfoNce<Scalar, Device> global_;
  LocalAlignment<Scalar, Device> local_;
  PerturbationSensitivity<Scalar, Device> perturbation_;
};

static_assert(Loss<MultiScale<float>> && Loss<MultiScale<double>>);

}  // namespace vlp
