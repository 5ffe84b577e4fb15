/// \file
/// Local alignment of words and regions: definition, inputs, outputs and options, common to all devices.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/enum_names.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/contrast.hpp>
#include <vlp/losses/detail/argument_checks.hpp>
#include <vlp/losses/detail/block_shell.hpp>
#include <vlp/losses/loss.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

namespace vlp {

/// How local alignment handles the context vectors; results agree up to rounding.
enum class LocalAlignmentForm {
  automatic,  ///< the cheaper one for the shape
  gram,       ///< through the Gram matrix of the regions: fewer operations when R is small against D
  direct      ///< explicitly
};

template <>
inline constexpr std::array<std::string_view, 3> enum_names<LocalAlignmentForm>{"automatic", "gram",
                                                                                "direct"};

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
  /// Leaves probable false negatives out of the denominators: a report whose S / pair_temperature with an
  /// image exceeds that of the image's own report by more than this, from the image's, and the same for each
  /// report's images. The choice is not differentiated. Infinite: none is left out. Needs the whole batch in
  /// one call and labels that are not smoothed.
  double false_negative_margin = std::numeric_limits<double>::infinity();

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
/// Computes LocalAlignment; see BlockShell. losses/cpu/local_alignment.hpp has it for the CPU,
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
    BatchView<const Scalar> words;               ///< [N, W, D], N >= B
    std::span<const std::int64_t> word_count{};  ///< [N] in 1 to W; empty: all W. Padding is never read.
    std::span<const std::int64_t> group{};       ///< ids of equal reports of the batch; see InfoNce
    /// Upper bound that the host knows for the sum of word_count; 0 stands for N W. Where word_count is in
    /// device memory, products take that many rows: pass the sum itself if it is known.
    Index word_capacity = 0;
    PairBlock block{};  ///< which report is an image's own, and which part of a batch this is
  };
  struct Outputs {
    Accumulator* loss = nullptr;
    MatrixView<Scalar> similarity{};  ///< S [B (images), N (reports)]
    /// A2 [B, W, R] of each image and its own report; 0 in padding, and where a block lacks that report
    BatchView<Scalar> attention{};
  };
  struct Gradients {
    BatchView<Scalar> regions{};  ///< [B, R, D]
    BatchView<Scalar> words{};    ///< [N, W, D]; 0 in padding
    Into into = Into::overwrite;  ///< replaces the gradients or is added to them
  };

  static constexpr std::string_view size_names = "images x regions x features x reports x words";
  static std::array<Index, 5> sizes(const Inputs& inputs) {
    const auto& [images, regions, features] = inputs.regions.extents();
    return {images, regions, features, inputs.words.extent(0), inputs.words.extent(1)};
  }
  /// Images and reports given.
  static std::array<Index, 2> block_extents(const Inputs& inputs) {
    return {inputs.regions.extent(0), inputs.words.extent(0)};
  }

  /// Visits each input with its gradient, if it has one, by name.
  template <class OwnInputs, class OwnGradients, class Visitor>
  static void for_each_input(OwnInputs& inputs, OwnGradients& gradients, Visitor&& visit) {
    visit("regions", inputs.regions, gradients.regions);
    visit("words", inputs.words, gradients.words);
    visit("word_count", inputs.word_count);
    visit("group", inputs.group);
  }

  /// Numbers of the inputs that the host holds.
  template <class InputsType, class Visit>
  static void for_each_host_number(InputsType& inputs, Visit&& visit) {
    visit("word_capacity", inputs.word_capacity);
    detail::for_each_number(inputs.block, visit);
  }

  /// Visits each output except the loss, by name.
  template <class OutputsType, class Visit>
  static void for_each_output(OutputsType& outputs, Visit&& visit) {
    visit("similarity", outputs.similarity);
    visit("attention", outputs.attention);
  }

  template <class OwnOptions, class Visitor>
  static void for_each_option(OwnOptions& options, Visitor&& visit) {
    visit("attention_temperature", options.attention_temperature);
    visit("word_temperature", options.word_temperature);
    visit("pair_temperature", options.pair_temperature);
    visit("duplicate_policy", options.duplicate_policy);
    visit("label_smoothing", options.label_smoothing);
    visit("image_to_text_weight", options.image_to_text_weight);
    visit("text_to_image_weight", options.text_to_image_weight);
    visit("form", options.form);
    visit("false_negative_margin", options.false_negative_margin);
  }

  static void check_options(const Options& options) {
    detail::check_contrast_options(name, options);
    detail::check_above_zero(name, "attention_temperature", options.attention_temperature);
    detail::check_above_zero(name, "word_temperature", options.word_temperature);
    detail::check_above_zero(name, "pair_temperature", options.pair_temperature);
  }

  /// Options that a part of a batch can have.
  static void check_block_options(const Options& options) { detail::check_block_options(name, options); }

  /// The loss of a batch of that many pairs, all different, whose scores are all equal: what there is to
  /// lose, (w_i2t + w_t2i) log B.
  [[nodiscard]] static double chance_level(const Options& options, Index pairs) {
    return (options.image_to_text_weight + options.text_to_image_weight) *
           std::log(static_cast<double>(pairs));
  }

  static void check_inputs(const Inputs& inputs, const Options&) {
    detail::check_regions_and_words(name, inputs.regions, inputs.words);
    detail::check_word_count(name, inputs.word_count, inputs.words.extent(0));
    const auto [images, reports] = block_extents(inputs);
    detail::check_block(name, inputs.block, images, reports);
    detail::check_group(name, inputs.group, inputs.block.of(images, reports));
    detail::check_word_capacity(name, inputs.word_capacity, inputs.words.extent(0));
  }

  /// For inputs that have been checked.
  static void check_outputs(const Inputs& inputs, const Outputs& outputs) {
    const auto [images, reports] = block_extents(inputs);
    detail::check_output(name, "similarity", outputs.similarity, {images, reports});
    detail::check_output(name, "attention", outputs.attention,
                         {images, inputs.words.extent(1), inputs.regions.extent(1)});
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
///   S[i, j] = t_pair log sum_w exp(t_word cos_w),  L = w_i2t CE(rows of S) + w_t2i CE(columns of S),
///
/// the latter over the columns of the images' own reports; other reports are negatives of every image.
/// Forward saves three numbers for each image and word of the batch, and S [B, N]; backward computes A again.
/// S may also be cut into blocks of rows and columns: see BlockShell.
template <class Scalar, class Device = Cpu>
class LocalAlignment : public detail::BlockShell<LocalAlignmentInterface<Scalar>, Device,
                                                 detail::LocalAlignmentBackend<Scalar, Device>> {
 public:
  using LocalAlignment::BlockShell::BlockShell;
};

}  // namespace vlp

// Code compiled for CUDA is spared Eigen; where it needs the loss on the CPU too, it includes this header
// itself.
#ifndef __CUDACC__
#include <vlp/losses/cpu/local_alignment.hpp>
#endif
