/// \file
/// InfoNCE, global image-report matching: definition, inputs, outputs and options, common to all devices.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/contrast.hpp>
#include <vlp/losses/detail/argument_checks.hpp>
#include <vlp/losses/detail/block_shell.hpp>
#include <vlp/losses/loss.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

namespace vlp {

/// Options of InfoNce.
struct InfoNceOptions {
  /// How texts of one group count for each other; without group ids all pairs differ.
  DuplicatePolicy duplicate_policy = DuplicatePolicy::negatives;
  /// Share of each target that is spread over all kept columns, in [0, 1).
  double label_smoothing = 0;
  /// Weight of picking the report for each image (cross-entropy of rows). Not negative.
  double image_to_text_weight = 0.5;
  /// Weight of picking the image for each report (cross-entropy of columns). Not negative; one must be above
  /// 0.
  double text_to_image_weight = 0.5;
  /// Bytes that forward may keep of S for backward. Rows of S that fit, in whole runs, are not computed
  /// again; with room for all, B * B * sizeof(Accumulator), a step takes 6 B^2 D flop instead of 8 B^2 D.
  std::size_t kept_score_bytes = 0;
  /// Leaves probable false negatives out of the denominators: a text whose cosine with an image exceeds that
  /// of the image's own text by more than this, from the image's; an image whose cosine with a text exceeds
  /// that of the text's own image by more, from the text's. The choice is not differentiated. Infinite: none
  /// is left out. Needs the whole batch in one call and labels that are not smoothed.
  double false_negative_margin = std::numeric_limits<double>::infinity();

  /// Both directions alike: Radford et al., "Learning transferable visual models from natural language
  /// supervision", ICML 2021.
  [[nodiscard]] static InfoNceOptions clip() { return {}; }

  /// lambda of image to text, 1 - lambda of text to image; lambda in [0, 1]: Zhang et al., "Contrastive
  /// learning of medical visual representations from paired images and text" (ConVIRT), MLHC 2022,
  /// equation 4.
  [[nodiscard]] static InfoNceOptions convirt(double lambda = 0.75) {
    return {.image_to_text_weight = lambda, .text_to_image_weight = 1 - lambda};
  }
};

namespace detail {
/// Computes InfoNce; see BlockShell. losses/cpu/info_nce.hpp has it for the CPU, cuda/losses/info_nce.cuh for
/// CUDA devices.
template <class Scalar, class Device>
class InfoNceBackend;
}  // namespace detail

/// Arguments of InfoNce and their checks, the same types on every device.
template <class ScalarType>
struct InfoNceInterface {
  using Scalar = ScalarType;
  using Accumulator = AccumulatorOf<Scalar>;
  using Options = InfoNceOptions;
  static constexpr std::string_view name = "info_nce";

  struct Inputs {
    MatrixView<const Scalar> image;          ///< [B, D]; rows may be strided
    MatrixView<const Scalar> text;           ///< [N, D], N >= B; rows may be strided
    const Accumulator* log_scale = nullptr;  ///< s
    /// Equal ids for equal texts of the batch: [N], or [B] of the images' own texts, when other texts are in
    /// no group; or empty
    std::span<const std::int64_t> group{};
    VectorView<const std::uint8_t> valid{};  ///< [N], 0 leaves an extra text out; or empty: all are valid
    PairBlock block{};  ///< which text is an image's own, and which part of a batch this is
  };
  struct Outputs {
    Accumulator* loss = nullptr;
  };
  struct Gradients {
    MatrixView<Scalar> image;  ///< [B, D]
    MatrixView<Scalar> text;   ///< [N, D]; 0 for texts that are not valid
    Accumulator* log_scale = nullptr;
    Into into = Into::overwrite;  ///< replaces the gradients or is added to them
  };

  static constexpr std::string_view size_names = "images x texts x features";
  static std::array<Index, 3> sizes(const Inputs& inputs) {
    return {inputs.image.rows(), inputs.text.rows(), inputs.image.cols()};
  }
  /// Images and texts given.
  static std::array<Index, 2> block_extents(const Inputs& inputs) {
    return {inputs.image.rows(), inputs.text.rows()};
  }

  template <class InputsType, class GradientsType, class Visit>
  static void for_each_input(InputsType& inputs, GradientsType& gradients, Visit&& visit) {
    visit("image", inputs.image, gradients.image);
    visit("text", inputs.text, gradients.text);
    visit("log_scale", inputs.log_scale, gradients.log_scale);
    visit("group", inputs.group);
    visit("valid", inputs.valid);
  }

  /// Numbers of the inputs that the host holds.
  template <class InputsType, class Visit>
  static void for_each_host_number(InputsType& inputs, Visit&& visit) {
    detail::for_each_number(inputs.block, visit);
  }

  /// Visits each output except the loss, by name: none.
  template <class OutputsType, class Visit>
  static void for_each_output(OutputsType&, Visit&&) {}

  template <class OptionsType, class Visit>
  static void for_each_option(OptionsType& options, Visit&& visit) {
    visit("duplicate_policy", options.duplicate_policy);
    visit("label_smoothing", options.label_smoothing);
    visit("image_to_text_weight", options.image_to_text_weight);
    visit("text_to_image_weight", options.text_to_image_weight);
    visit("kept_score_bytes", options.kept_score_bytes);
    visit("false_negative_margin", options.false_negative_margin);
  }

  static void check_options(const Options& options) { detail::check_contrast_options(name, options); }

  /// Options that a part of a batch can have.
  static void check_block_options(const Options& options) { detail::check_block_options(name, options); }

  static void check_inputs(const Inputs& inputs, const Options&) {
    detail::check_pairs(name, inputs.image, inputs.text, inputs.log_scale);
    detail::check_pair_block(name, inputs);
  }

  static void check_gradients(const Inputs& inputs, const Gradients& gradients) {
    detail::check_gradient(name, "image", gradients.image, inputs.image);
    detail::check_gradient(name, "text", gradients.text, inputs.text);
  }
};

/// InfoNCE over the pairs of a batch (van den Oord et al., 2018), with a learnable scale:
///
///   S = exp(s) X^ Y^T [B, N],   X^, Y^ = image, text with rows normalised by max(norm, 1e-12),
///   L = w_i2t mean_i CE(S[i, :], q[i, :]) + w_t2i mean_i CE(S[:, t_i], q[:, t_i]),
///
/// with t_i image i's own text (i, unless Inputs::block says otherwise) and targets q by InfoNceOptions.
/// Texts that are no image's own are negatives of every image and have no cross-entropy of their own: with
/// the perturbed reports of the batch as such texts this is NegCLIP (Yuksekgonul et al., "When and why
/// vision-language models behave like bags-of-words, and what to do about it?", ICLR 2023).
///
/// S exists a tile at a time: forward saves O(B + N) numbers, backward computes each tile once more; together
/// 8 B N D flop. More memory spares work: see InfoNceOptions::kept_score_bytes. S may also be cut into blocks
/// of rows and columns: see BlockShell.
template <class Scalar, class Device = Cpu>
class InfoNce
    : public detail::BlockShell<InfoNceInterface<Scalar>, Device, detail::InfoNceBackend<Scalar, Device>> {
 public:
  using InfoNce::BlockShell::BlockShell;
};

}  // namespace vlp

// Code compiled for CUDA is spared Eigen; where it needs the loss on the CPU too, it includes this header
// itself.
#ifndef __CUDACC__
#include <vlp/losses/cpu/info_nce.hpp>
#endif
