/// \file
/// Token alignment: definition, inputs, outputs and options, common to all devices.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/detail/argument_checks.hpp>
#include <vlp/losses/detail/loss_shell.hpp>
#include <vlp/losses/loss.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace vlp {

/// Options of TokenAlignment.
struct TokenAlignmentOptions {
  double attention_temperature = 0.1;  ///< > 0; of a word's attention over the regions: lower is sharper
  double contrast_temperature = 0.1;   ///< > 0; divides the cosines in the cross-entropies
};

namespace detail {
/// Computes TokenAlignment; see LossShell. losses/cpu/token_alignment.hpp has it for the CPU,
/// cuda/losses/token_alignment.cuh for CUDA devices.
template <class Scalar, class Device>
class TokenAlignmentBackend;
}  // namespace detail

/// Arguments of TokenAlignment and their checks, the same types on every device.
template <class ScalarType>
struct TokenAlignmentInterface {
  using Scalar = ScalarType;
  using Accumulator = AccumulatorOf<Scalar>;
  using Options = TokenAlignmentOptions;
  static constexpr std::string_view name = "token_alignment";

  struct Inputs {
    BatchView<const Scalar> regions;             ///< C [B, R, D]
    BatchView<const Scalar> words;               ///< T [B, W, D]
    std::span<const std::int64_t> word_count{};  ///< [B] in 1 to W; empty: all W. Padding is never read.
  };
  struct Outputs {
    Accumulator* loss = nullptr;
    BatchView<Scalar> attention{};  ///< a [B, W, R] of each word over its own image; 0 in padding
  };
  struct Gradients {
    BatchView<Scalar> regions{};  ///< [B, R, D]
    BatchView<Scalar> words{};    ///< [B, W, D]; 0 in padding
    Into into = Into::overwrite;  ///< replaces the gradients or is added to them
  };

  static constexpr std::string_view size_names = "pairs x regions x features x words";
  static std::array<Index, 4> sizes(const Inputs& inputs) {
    const auto& [pairs, regions, features] = inputs.regions.extents();
    return {pairs, regions, features, inputs.words.extent(1)};
  }

  /// Visits each input with its gradient, if it has one, by name.
  template <class InputsType, class GradientsType, class Visit>
  static void for_each_input(InputsType& inputs, GradientsType& gradients, Visit&& visit) {
    visit("regions", inputs.regions, gradients.regions);
    visit("words", inputs.words, gradients.words);
    visit("word_count", inputs.word_count);
  }

  /// Numbers of the inputs that the host holds: none.
  template <class InputsType, class Visit>
  static void for_each_host_number(InputsType&, Visit&&) {}

  /// Visits each output except the loss, by name.
  template <class OutputsType, class Visit>
  static void for_each_output(OutputsType& outputs, Visit&& visit) {
    visit("attention", outputs.attention);
  }

  template <class OptionsType, class Visit>
  static void for_each_option(OptionsType& options, Visit&& visit) {
    visit("attention_temperature", options.attention_temperature);
    visit("contrast_temperature", options.contrast_temperature);
  }

  static void check_options(const Options& options) {
    detail::check_above_zero(name, "attention_temperature", options.attention_temperature);
    detail::check_above_zero(name, "contrast_temperature", options.contrast_temperature);
  }

  static void check_inputs(const Inputs& inputs, const Options&) {
    detail::check_regions_and_words(name, inputs.regions, inputs.words);
    require(inputs.regions.extent(0) == inputs.words.extent(0), name, ": regions is ",
            detail::extents_text(inputs.regions), " but words is ", detail::extents_text(inputs.words),
            "; there must be as many images as reports");
    detail::check_word_count(name, inputs.word_count, inputs.words.extent(0));
  }

  /// For inputs that have been checked.
  static void check_outputs(const Inputs& inputs, const Outputs& outputs) {
    detail::check_output(name, "attention", outputs.attention,
                         {inputs.words.extent(0), inputs.words.extent(1), inputs.regions.extent(1)});
  }

  static void check_gradients(const Inputs& inputs, const Gradients& gradients) {
    detail::check_gradient(name, "regions", gradients.regions, inputs.regions);
    detail::check_gradient(name, "words", gradients.words, inputs.words);
  }
};

/// Words against what they see of their own image. For each pair with unit words x_w = T_w / max(|T_w|,
/// 1e-12) and unit regions p_r = C_r / max(|C_r|, 1e-12):
///
///   a_w = softmax over r of <x_w, p_r> / t_attention,  c_w = sum_r a_w[r] p_r,  o_w = c_w / max(|c_w|,
///   1e-12), z = x o^T / t_contrast,  L = mean over pairs of 1/2 (CE(rows of z) + CE(columns of z)),
///
/// where each cross-entropy is a mean over the pair's W_b words, whose target is the word itself. The
/// token-level term of hybrid pretraining (HybridMED, arXiv 2410.00448), in the form of the token-wise
/// alignment of Wang et al., "Multi-granularity cross-modal alignment for generalized medical
/// visual representation learning", NeurIPS 2022, in the direction of the words, without its projections and
/// token weights.
template <class Scalar, class Device = Cpu>
class TokenAlignment : public detail::LossShell<TokenAlignmentInterface<Scalar>, Device,
                                                detail::TokenAlignmentBackend<Scalar, Device>> {
 public:
  using TokenAlignment::LossShell::LossShell;
};

}  // namespace vlp

// Code compiled for CUDA is spared Eigen; where it needs the loss on the CPU too, it includes this header
// itself.
#ifndef __CUDACC__
#include <vlp/losses/cpu/token_alignment.hpp>
#endif
