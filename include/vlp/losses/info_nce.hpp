/// \file
/// InfoNCE: global image-report matching.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/detail/checks.hpp>
#include <vlp/losses/detail/contrast.hpp>
#include <vlp/losses/detail/pair_tiles.hpp>
#include <vlp/losses/types.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string_view>

namespace vlp {

/// Options of InfoNce.
struct InfoNceOptions {
  /// What pairs of one group are to each other; without group ids all pairs differ.
  DuplicatePolicy duplicate_policy = DuplicatePolicy::negatives;
  /// Share of each target that is spread over all kept columns, in [0, 1).
  double label_smoothing = 0;
  /// Weight of picking the report for each image (cross-entropy of rows). Not negative.
  double image_to_text_weight = 0.5;
  /// Weight of picking the image for each report (cross-entropy of columns). Not negative; one must be above
  /// 0.
  double text_to_image_weight = 0.5;
  /// Bytes that forward may keep of S for backward. Rows of S that fit, in runs of 256, are not computed
  /// again; with room for all, B * B * sizeof(Scalar), a step takes 6 B^2 D flop instead of 8 B^2 D.
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

/// InfoNCE over the pairs of a batch (van den Oord et al., 2018), with a learnable scale:
///
///   S = exp(s) X^ Y^T,   X^, Y^ = image, text with rows normalised by max(norm, 1e-12),
///   L = w_i2t mean_i CE(S[i, :], q[i, :]) + w_t2i mean_j CE(S[:, j], q[j, :]),
///
/// with targets q by InfoNceOptions. S exists a tile at a time: forward keeps O(B) numbers, backward computes
/// each tile once more; together 8 B^2 D flop, and one strip of S (256 x B) as scratch. More memory spares
/// work: see InfoNceOptions::kept_score_bytes.
template <class ScalarType, class DeviceType = Cpu>
class InfoNce {
 public:
  using Scalar = ScalarType;
  using Device = DeviceType;
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
    bool accumulate = false;  ///< add to what is there instead of overwriting it
  };

  /// Throws std::invalid_argument for options out of range.
  explicit InfoNce(InfoNceOptions options = {}) : options_(options) {
    detail::check_contrast_options(name, options_);
  }

  [[nodiscard]] const Options& options() const noexcept { return options_; }

  /// Computes the loss and keeps what backward needs. Throws std::invalid_argument for inputs that do not fit
  /// together.
  void forward(Device& device, const Inputs& inputs, const Outputs& outputs) {
    detail::check_pairs(name, inputs.image, inputs.text, inputs.log_scale);
    const Index batch = inputs.image.rows();
    contrast_.begin(name, batch, inputs.group, options_);
    tiles_.prepare(device, inputs.image, inputs.text, std::exp(static_cast<double>(*inputs.log_scale)),
                   options_.kept_score_bytes);

    const Index tiles = tiles_.tiles(batch);
    auto scratch = device.scratch().scope();
    const auto row_max = scratch.template take_view<Scalar>(tiles, tiles_.tile_rows);
    const auto row_sum = scratch.template take_view<Scalar>(tiles, tiles_.tile_rows);
    double* target_score = scratch.template take<double>(tiles);
    std::fill_n(target_score, tiles, 0.0);
    tiles_.forward(
        device, inputs.image, inputs.text,
        [&](MatrixView<Scalar> scores, Index row, Index column, Index tile) {
          target_score[tile] +=
              contrast_.take(scores, row, column, row_max[tile].data(), row_sum[tile].data());
        },
        [&](Index row, Index rows) {
          for (Index tile = 0; tile < tiles; ++tile)
            contrast_.merge_rows(row, rows, row_max[tile].data(), row_sum[tile].data());
        });
    if (outputs.loss != nullptr)
      *outputs.loss = contrast_.finish(std::accumulate(target_score, target_score + tiles, 0.0));
  }

  /// Writes upstream * dL/dinput for the inputs given to the last forward.
  void backward(Device& device, const Inputs& inputs, Accumulator upstream, const Gradients& gradients) {
    detail::check_pairs(name, inputs.image, inputs.text, inputs.log_scale);
    require(contrast_.batch() == inputs.image.rows(), name, ": backward is given ", inputs.image.rows(),
            " pairs but forward had ", contrast_.batch());
    detail::check_gradient(name, "image", gradients.image, inputs.image);
    detail::check_gradient(name, "text", gradients.text, inputs.text);
    const double d_log_scale = tiles_.backward(
        device, inputs.image, inputs.text, gradients.image, gradients.text, gradients.accumulate,
        [&](MatrixView<const Scalar> scores, Index row, Index column, Index, MatrixView<Scalar> gradient) {
          contrast_.differentiate(scores, row, column, upstream, gradient);
        });
    if (gradients.log_scale != nullptr)
      *gradients.log_scale = static_cast<Accumulator>(d_log_scale) +
                             (gradients.accumulate ? *gradients.log_scale : Accumulator(0));
  }

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

 private:
  Options options_;
  detail::PairTiles<Scalar> tiles_;
  detail::Contrast<Scalar> contrast_;
};

static_assert(Loss<InfoNce<float>> && Loss<InfoNce<double>>);

}  // namespace vlp
