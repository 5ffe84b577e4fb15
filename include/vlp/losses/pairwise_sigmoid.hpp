/// \file
/// The pairwise sigmoid loss: definition, inputs, outputs and options, common to all devices.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/enum_names.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/contrast.hpp>
#include <vlp/losses/detail/argument_checks.hpp>
#include <vlp/losses/detail/loss_shell.hpp>
#include <vlp/losses/loss.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

namespace vlp {

/// The weight of an image's matching pairs in PairwiseSigmoid.
enum class PositiveWeight {
  one,            ///< each counts like any other pair
  one_over_count  ///< together they count like one pair: 1 / k each, where an image has k
};

template <>
inline constexpr std::array<std::string_view, 2> enum_names<PositiveWeight>{"one", "one_over_count"};

/// Options of PairwiseSigmoid.
struct PairwiseSigmoidOptions {
  /// How texts of one group count for each other: as negatives, as positives, or not at all, except the pair
  /// itself. Without group ids all pairs differ.
  DuplicatePolicy duplicate_policy = DuplicatePolicy::negatives;
  /// Bytes that forward may keep of the scores for backward; see InfoNceOptions::kept_score_bytes.
  std::size_t kept_score_bytes = 0;
  /// Weight of the positives of an image that has several, under DuplicatePolicy::positives.
  PositiveWeight positive_weight = PositiveWeight::one;
  /// Leaves probable false negatives out: pairs whose cosine exceeds both that of the image with its own text
  /// and that of the text with its own image, if it has one, by more than this. The choice is not
  /// differentiated. Infinite: none is left out. Needs the whole batch in one call.
  double false_negative_margin = std::numeric_limits<double>::infinity();
};

namespace detail {
/// Computes PairwiseSigmoid; see LossShell. losses/cpu/pairwise_sigmoid.hpp has it for the CPU,
/// cuda/losses/pairwise_sigmoid.cuh for CUDA devices.
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
    MatrixView<const Scalar> image;          ///< [b, D]; rows may be strided
    MatrixView<const Scalar> text;           ///< [n, D]; rows may be strided
    const Accumulator* log_scale = nullptr;  ///< s
    const Accumulator* bias = nullptr;       ///< b
    std::span<const std::int64_t> group{};   ///< ids of equal texts of the batch; see InfoNce
    VectorView<const std::uint8_t> valid{};  ///< [N], 0 leaves an extra text out; or empty: all are valid
    PairBlock block{};  ///< which text is an image's own, and which part of a batch this is
  };
  struct Outputs {
    Accumulator* loss = nullptr;
  };
  struct Gradients {
    MatrixView<Scalar> image;  ///< [b, D]
    MatrixView<Scalar> text;   ///< [n, D]; 0 for texts that are not valid
    Accumulator* log_scale = nullptr;
    Accumulator* bias = nullptr;
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
    visit("bias", inputs.bias, gradients.bias);
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
    visit("kept_score_bytes", options.kept_score_bytes);
    visit("positive_weight", options.positive_weight);
    visit("false_negative_margin", options.false_negative_margin);
  }

  static void check_options(const Options& options) { detail::check_margin(name, options); }

  static void check_inputs(const Inputs& inputs, const Options& options) {
    detail::check_pairs(name, inputs.image, inputs.text, inputs.log_scale);
    require(inputs.bias != nullptr, name, ": bias is not given");
    detail::check_pair_block(name, inputs);
    const PairBlock block = inputs.block.of(inputs.image.rows(), inputs.text.rows());
    if (block.images != inputs.image.rows() || block.texts != inputs.text.rows())
      detail::check_block_options(name, options);
  }

  static void check_gradients(const Inputs& inputs, const Gradients& gradients) {
    detail::check_gradient(name, "image", gradients.image, inputs.image);
    detail::check_gradient(name, "text", gradients.text, inputs.text);
  }
};

/// Zhai et al., "Sigmoid loss for language image pre-training" (SigLIP), ICCV 2023:
///
///   L = -1/B sum_ij w_ij log sigmoid(z_ij (exp(s) <x^_i, y^_j> + b)),
///
/// over B images and N texts of a batch, with x^, y^ = image, text with rows normalised by max(norm, 1e-12),
/// z_ij = 1 for matching pairs and -1 for others, w_ij = 1 unless PairwiseSigmoidOptions::positive_weight
/// says otherwise, and a learnable scale and bias (published start: s = ln 10, b = -10). Texts that are no
/// image's own are negatives of every image.
///
/// Scores exist a tile at a time, as in InfoNce: 8 B N D flop, or 6 B N D by forward_backward; nothing is
/// saved but scores that may be kept. The loss has no normaliser, so given a block of the batch
/// (Inputs::block), each pass computes that block's share of the loss and of the gradients.
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
