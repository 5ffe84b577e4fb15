/// \file
/// Local alignment of words and regions: definition, inputs, outputs and options, common to all devices.
#pragma once

#include <vlp/core/cpu.hpp>
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

/// How local alignment handles the context vectors; results agree up to rounding.
enum class LocalAlignmentForm {
  automatic,  ///< the cheaper one for the shape
  gram,       ///< through the Gram matrix of the regions: fewer operations when R is small against D
  direct      ///< explicitly
};

/// Options of LocalAlignment.
struct LocalAlignmentOptions {
  double attention_temperature = 4;  ///< > 0; sharpens the attention of a word over the regions
  double word_temperature = 5;       ///< > 0; weight of the best aligned words in a pair's score
  double pair_temperature = 10;      ///< > 0; scale of the pairs' scores in the cross-entropies
  DuplicatePolicy duplicate_policy = DuplicatePolicy::negatives;
  double label_smoothing = 0;         ///< in [0, 1)
  double image_to_text_weight = 0.5;  ///< >= 0; of the cross-entropy over each image's row of scores
  double text_to_image_weight = 0.5;  ///< >= 0; of that over each report's column
  LocalAlignmentForm form = LocalAlignmentForm::automatic;

  /// Both directions in full: Huang et al., "GLoRIA: a multimodal global-local representation learning
  /// framework for label-efficient medical image recognition", ICCV 2021, equation 9.
  [[nodiscard]] static LocalAlignmentOptions gloria() {
    return {.image_to_text_weight = 1, .text_to_image_weight = 1};
  }

  /// Image to text in full, text to image by half.
  [[nodiscard]] static LocalAlignmentOptions published() {
    return {.image_to_text_weight = 1, .text_to_image_weight = 0.5};
  }
};

namespace detail {
/// Computes LocalAlignment; see LossShell. losses/cpu/local_alignment.hpp has it for the CPU,
/// cuda/losses/local_alignment.cuh for CUDA devices.
template <class Scalar, class Device>
class LocalAlignmentBackend;
}  // namespace detail

/// Arguments of LocalAlignment and their checks, the same types on every device.
template <class ScalarType>
struct LocalAlignmentInterface {
  using Scalar = ScalarType;
  using Accumulator = AccumulatorOf<Scalar>;
  using Options = LocalAlignmentOptions;
  static constexpr std::string_view name = "local_alignment";

  struct Inputs {
    BatchView<const Scalar> regions;             ///< [B, R, D]
    BatchView<const Scalar> words;               ///< [B, W, D]
    std::span<const std::int64_t> word_count{};  ///< [B] in 1 to W; empty: all W. Padding is never read.
    std::span<const std::int64_t> group{};       ///< [B] ids of equal reports; empty: all differ
    /// Upper bound that the host knows for the sum of word_count; 0 stands for B W. Where word_count is in
    /// device memory, products take that many rows: pass the sum itself if it is known.
    Index word_capacity = 0;
  };
  struct Outputs {
    Accumulator* loss = nullptr;
    MatrixView<Scalar> similarity{};  ///< S [B (images), B (reports)]
    BatchView<Scalar> attention{};    ///< A2 [B, W, R] of the matched pairs; 0 in padding
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
  template <class OwnInputs, class OwnGradients, class Visitor>
  static void for_each_input(OwnInputs& inputs, OwnGradients& gradients, Visitor&& visit) {
    visit("regions", inputs.regions, gradients.regions);
    visit("words", inputs.words, gradients.words);
    visit("word_count", inputs.word_count);
    visit("group", inputs.group);
  }

  /// All options that change the result.
  template <class OwnOptions, class Visitor>
  static void for_each_option(OwnOptions& options, Visitor&& visit) {
    visit("attention_temperature", options.attention_temperature);
    visit("word_temperature", options.word_temperature);
    visit("pair_temperature", options.pair_temperature);
    visit("duplicate_policy", options.duplicate_policy);
    visit("label_smoothing", options.label_smoothing);
    visit("image_to_text_weight", options.image_to_text_weight);
    visit("text_to_image_weight", options.text_to_image_weight);
  }

  static void check_options(const Options& options) {
    detail::check_contrast_options(name, options);
    detail::check_above_zero(name, "attention_temperature", options.attention_temperature);
    detail::check_above_zero(name, "word_temperature", options.word_temperature);
    detail::check_above_zero(name, "pair_temperature", options.pair_temperature);
  }

  static void check_inputs(const Inputs& inputs, const Options&) {
    detail::check_regions_and_words(name, inputs.regions, inputs.words);
    detail::check_word_count(name, inputs.word_count, inputs.words.extent(0));
    detail::check_group(name, inputs.group, inputs.words.extent(0));
    detail::check_word_capacity(name, inputs.word_capacity, inputs.words.extent(0));
  }

  /// For inputs that have been checked.
  static void check_outputs(const Inputs& inputs, const Outputs& outputs) {
    const Index batch = inputs.regions.extent(0);
    detail::check_output(name, "similarity", outputs.similarity, {batch, batch});
    detail::check_output(name, "attention", outputs.attention,
                         {batch, inputs.words.extent(1), inputs.regions.extent(1)});
  }

  static void check_gradients(const Inputs& inputs, const Gradients& gradients) {
    detail::check_gradient(name, "regions", gradients.regions, inputs.regions);
    detail::check_gradient(name, "words", gradients.words, inputs.words);
  }
};

/// Attention-weighted alignment of words and regions (GLoRIA: Huang et al., ICCV 2021, equations 3 to 9). For
/// image i with regions C [R, D] and report j with words T [W_j, D]:
///
///   A = T C^T,  A1 = softmax of A over the words,  A2 = softmax of t_attention A1 over the regions,
///   c_w = sum_r A2[w, r] C[r],  cos_w = <T_w, c_w> / max(|T_w| |c_w|, 1e-8),
///   S[i, j] = t_pair log sum_w exp(t_word cos_w),  L = w_i2t CE(rows of S) + w_t2i CE(columns of S).
///
/// Forward keeps three numbers for each image and word of the batch, and S [B, B]; backward computes A again.
template <class Scalar, class Device = Cpu>
class LocalAlignment : public detail::LossShell<LocalAlignmentInterface<Scalar>, Device,
                                                detail::LocalAlignmentBackend<Scalar, Device>> {
 public:
  using LocalAlignment::LossShell::LossShell;
};

}  // namespace vlp

// Code compiled for CUDA is spared Eigen; where it needs the loss on the CPU too, it includes this header
// itself.
#ifndef __CUDACC__
#include <vlp/losses/cpu/local_alignment.hpp>
#endif
