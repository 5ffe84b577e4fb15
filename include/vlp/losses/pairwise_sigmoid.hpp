/// \file
/// The pairwise sigmoid loss: definition, inputs, outputs and options, common to all devices.
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
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace vlp {

/// Options of PairwiseSigmoid.
struct PairwiseSigmoidOptions {
  /// How pairs of one group count for each other: as negatives, as positives, or not at all, except the pair
  /// itself. Without group ids all pairs differ.
  DuplicatePolicy duplicate_policy = DuplicatePolicy::negatives;
  /// Bytes that forward may keep of the scores for backward; see InfoNceOptions::kept_score_bytes.
  std::size_t kept_score_bytes = 0;
};

namespace detail {
/// Computes PairwiseSigmoid; see LossShell. losses/cpu/pairwise_sigmoid.hpp has it for the CPU.
template <class Scalar, class Device>
class PairwiseSigmoidBackend;
}  // namespace detail

/// Arguments of PairwiseSigmoid and their checks, the same types on every device.
template <class ScalarType>
struct PairwiseSigmoidInterface {
  using Scalar = ScalarType;
  using Accumulator = AccumulatorOf<Scalar>;
  using Options = PairwiseSigmoidOptions;
  static constexpr std::string_view name = "pairwise_sigmoid";

  struct Inputs {
    MatrixView<const Scalar> image;          ///< [B, D]; rows may be strided
    MatrixView<const Scalar> text;           ///< [B, D]; row i is the report of image i
    const Accumulator* log_scale = nullptr;  ///< s
    const Accumulator* bias = nullptr;       ///< b
    std::span<const std::int64_t> group{};   ///< [B] equal ids for equal reports, or empty
  };
  struct Outputs {
    Accumulator* loss = nullptr;
  };
  struct Gradients {
    MatrixView<Scalar> image, text;  ///< [B, D]
    Accumulator* log_scale = nullptr;
    Accumulator* bias = nullptr;
    Into into = Into::overwrite;  ///< replaces the gradients or is added to them
  };

  static constexpr std::string_view size_names = "pairs x features";
  static std::array<Index, 2> sizes(const Inputs& inputs) { return inputs.image.extents(); }

  template <class InputsType, class GradientsType, class Visit>
  static void for_each_input(InputsType& inputs, GradientsType& gradients, Visit&& visit) {
    visit("image", inputs.image, gradients.image);
    visit("text", inputs.text, gradients.text);
    visit("log_scale", inputs.log_scale, gradients.log_scale);
    visit("bias", inputs.bias, gradients.bias);
    visit("group", inputs.group);
  }

  template <class OptionsType, class Visit>
  static void for_each_option(OptionsType& options, Visit&& visit) {
    visit("duplicate_policy", options.duplicate_policy);
    visit("kept_score_bytes", options.kept_score_bytes);
  }

  /// Any will do.
  static void check_options(const Options&) {}

  static void check_inputs(const Inputs& inputs, const Options&) {
    detail::check_pairs(name, inputs.image, inputs.text, inputs.log_scale);
    require(inputs.bias != nullptr, name, ": bias is not given");
    detail::check_group(name, inputs.group, inputs.image.rows());
  }

  static void check_gradients(const Inputs& inputs, const Gradients& gradients) {
    detail::check_gradient(name, "image", gradients.image, inputs.image);
    detail::check_gradient(name, "text", gradients.text, inputs.text);
  }
};

/// Zhai et al., "Sigmoid loss for language image pre-training" (SigLIP), ICCV 2023:
///
///   L = -1/B sum_ij log sigmoid(z_ij (exp(s) <x^_i, y^_j> + b)),
///
/// with x^, y^ = image, text with rows normalised by max(norm, 1e-12), z_ij = 1 for matching pairs and -1
/// for others, and a learnable scale and bias (published start: s = ln 10, b = -10). Scores exist a tile at a
/// time, as in InfoNce: 8 B^2 D flop, O(B) numbers kept.
template <class Scalar, class Device = Cpu>
class PairwiseSigmoid : public detail::LossShell<PairwiseSigmoidInterface<Scalar>, Device,
                                                 detail::PairwiseSigmoidBackend<Scalar, Device>> {
 public:
  using PairwiseSigmoid::LossShell::LossShell;
};

}  // namespace vlp

// Code compiled for CUDA is spared Eigen; where it needs the loss on the CPU too, it includes this header
// itself.
#ifndef __CUDACC__
#include <vlp/losses/cpu/pairwise_sigmoid.hpp>
#endif
