/// \file
/// InfoNCE, global image-report matching: definition, inputs, outputs and options, common to all devices.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/detail/argument_checks.hpp>
#include <vlp/losses/detail/loss_shell.hpp>
#include <vlp/losses/loss.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace vlp {

/// Options of InfoNce.
struct InfoNceOptions {
  /// How pairs of one group count for each other; without group ids all pairs differ.
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
/// Computes InfoNce; see LossShell. losses/cpu/info_nce.hpp has it for the CPU, cuda/losses/info_nce.cuh for
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
    MatrixView<const Scalar> text;           ///< [B, D]; row i is the report of image i
    const Accumulator* log_scale = nullptr;  ///< s
    std::span<const std::int64_t> group{};   ///< [B] equal ids for equal reports, or empty
  };
  struct Outputs {
    Accumulator* loss = nullptr;
  };
  struct Gradients {
    MatrixView<Scalar> image, text;  ///< [B, D]
    Accumulator* log_scale = nullptr;
    Into into = Into::overwrite;  ///< replaces the gradients or is added to them
  };

  static constexpr std::string_view size_names = "pairs x features";
  static std::array<Index, 2> sizes(const Inputs& inputs) { return inputs.image.extents(); }

  template <class InputsType, class GradientsType, class Visit>
  static void for_each_input(InputsType& inputs, GradientsType& gradients, Visit&& visit) {
    visit("image", inputs.image, gradients.image);
    visit("text", inputs.text, gradients.text);
    visit("log_scale", inputs.log_scale, gradients.log_scale);
    visit("group", inputs.group);
  }

  template <class OptionsType, class Visit>
  static void for_each_option(OptionsType& options, Visit&& visit) {
    visit("duplicate_policy", options.duplicate_policy);
    visit("label_smoothing", options.label_smoothing);
    visit("image_to_text_weight", options.image_to_text_weight);
    visit("text_to_image_weight", options.text_to_image_weight);
    visit("kept_score_bytes", options.kept_score_bytes);
  }

  static void check_options(const Options& options) { detail::check_contrast_options(name, options); }

  static void check_inputs(const Inputs& inputs, const Options&) {
    detail::check_pairs(name, inputs.image, inputs.text, inputs.log_scale);
    detail::check_group(name, inputs.group, inputs.image.rows());
  }

  static void check_gradients(const Inputs& inputs, const Gradients& gradients) {
    detail::check_gradient(name, "image", gradients.image, inputs.image);
    detail::check_gradient(name, "text", gradients.text, inputs.text);
  }
};

/// InfoNCE over the pairs of a batch (van den Oord et al., 2018), with a learnable scale:
///
///   S = exp(s) X^ Y^T,   X^, Y^ = image, text with rows normalised by max(norm, 1e-12),
///   L = w_i2t mean_i CE(S[i, :], q[i, :]) + w_t2i mean_j CE(S[:, j], q[j, :]),
///
/// with targets q by InfoNceOptions. S exists a tile at a time: forward keeps O(B) numbers, backward computes
/// each tile once more; together 8 B^2 D flop. More memory spares work: see InfoNceOptions::kept_score_bytes.
template <class Scalar, class Device = Cpu>
class InfoNce
    : public detail::LossShell<InfoNceInterface<Scalar>, Device, detail::InfoNceBackend<Scalar, Device>> {
 public:
  using InfoNce::LossShell::LossShell;
};

}  // namespace vlp

// Code compiled for CUDA is spared Eigen; where it needs the loss on the CPU too, it includes this header
// itself.
#ifndef __CUDACC__
#include <vlp/losses/cpu/info_nce.hpp>
#endif
