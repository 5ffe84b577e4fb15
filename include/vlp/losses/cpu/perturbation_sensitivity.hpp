/// \file
/// Perturbation sensitivity on the CPU.
#pragma once

#include <Eigen/Core>

#include <vlp/core/cpu.hpp>
#include <vlp/core/detail/unit_length.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/cpu/detail/write_number.hpp>
#include <vlp/losses/detail/saved_arrays.hpp>
#include <vlp/losses/loss.hpp>
#include <vlp/losses/perturbation_sensitivity.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <type_traits>

namespace vlp {

namespace detail {

/// PerturbationSensitivity on the CPU.
template <class ScalarType>
class PerturbationSensitivityBackend<ScalarType, Cpu> : PerturbationSensitivityInterface<ScalarType> {
  using Interface = PerturbationSensitivityInterface<ScalarType>;
  using Interface::name;
  using typename Interface::Accumulator, typename Interface::Gradients, typename Interface::Inputs,
      typename Interface::Options, typename Interface::Outputs, typename Interface::Scalar;

 public:
  using Device = Cpu;
  /// Numbers that forward saves; those of candidates that are not valid are not written.
  struct State {
    VectorView<Scalar> image_inverse;  // 1 / norm, [B]
    MatrixView<Scalar> text_inverse;   // [B, 1 + K]
    MatrixView<Scalar> score;          // z [B, 1 + K]
    MatrixView<Scalar> d_score;        // B dL/dz [B, 1 + K]
  };

  explicit PerturbationSensitivityBackend(const Options&) {}

  /// The report of each row is valid.
  static void check_values(const Inputs& inputs) {
    if (!inputs.valid.given()) return;
    for (Index b = 0; b < inputs.valid.rows(); ++b)
      require(inputs.valid(b, 0) != 0, name, ": the report (k = 0) of row ", b, " is not valid");
  }

  static State lay_out(SavedArrays<HostMemory>& arrays, const Inputs& inputs) {
    const Index batch = inputs.text.extent(0), candidates = inputs.text.extent(1);
    State out;
    out.image_inverse = arrays.take_view<Scalar>(batch);
    for (auto* matrix : {&out.text_inverse, &out.score, &out.d_score})
      *matrix = arrays.take_view<Scalar>(batch, candidates);
    return out;
  }

  void forward(Device& device, const Inputs& inputs, const Outputs& outputs, const State& state) const {
    const Index batch = inputs.text.extent(0);
    auto scratch = device.scratch().scope();
    double* losses = scratch.template take<double>(batch);
    const double scale = std::exp(static_cast<double>(*inputs.log_scale));
    device.parallel_ranges(batch, grain, [&](Index begin, Index end) {
      for (Index b = begin; b < end; ++b) losses[b] = forward_row(inputs, scale, state, b);
    });
    if (outputs.loss != nullptr)
      *outputs.loss =
          static_cast<Accumulator>(std::accumulate(losses, losses + batch, 0.0) / static_cast<double>(batch));
  }

  void backward(Device& device, const Inputs& inputs, const State& state, Accumulator upstream,
                const Gradients& gradients) const {
    const Index batch = inputs.text.extent(0);
    auto scratch = device.scratch().scope();
    double* dots = scratch.template take<double>(batch);
    const double scale = std::exp(static_cast<double>(*inputs.log_scale));
    const double factor = static_cast<double>(upstream) / static_cast<double>(batch);
    device.parallel_ranges(batch, grain, [&](Index begin, Index end) {
      for (Index b = begin; b < end; ++b) dots[b] = backward_row(inputs, scale, state, factor, gradients, b);
    });
    write_number(std::accumulate(dots, dots + batch, 0.0), gradients.into, gradients.log_scale);
  }

 private:
  static constexpr Index grain = 8;  // rows a task

  [[nodiscard]] static bool valid(const Inputs& inputs, Index b, Index k) {
    return !inputs.valid.given() || inputs.valid(b, k) != 0;
  }

  template <class T>
  static auto as_vector(const VectorView<T>& view) {
    using Vector = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;
    return Eigen::Map<std::conditional_t<std::is_const_v<T>, const Vector, Vector>>(view.data(),
                                                                                    view.extent(0));
  }

  /// The loss of row b; saves its scores z and B times the gradients for them.
  static double forward_row(const Inputs& inputs, double scale, const State& state, Index b) {
    const Index candidates = inputs.text.extent(1);
    const auto x = inputs.image[b];
    const auto score = state.score[b], d_score = state.d_score[b], text_inverse = state.text_inverse[b];
    const Scalar image_inverse = state.image_inverse[b] = inverse_norm(x.data(), x.extent(0));
    const auto row_factor = static_cast<Scalar>(scale * static_cast<double>(image_inverse));
    for (Index k = 0; k < candidates; ++k) {
      if (!valid(inputs, b, k)) continue;
      const auto y = inputs.text[b][k];
      text_inverse[k] = inverse_norm(y.data(), y.extent(0));
      score[k] = row_factor * text_inverse[k] * as_vector(x).dot(as_vector(y));
    }

    double max = static_cast<double>(score[0]), sum = 0;
    for (Index k = 1; k < candidates; ++k)
      if (valid(inputs, b, k)) max = std::max(max, static_cast<double>(score[k]));
    for (Index k = 0; k < candidates; ++k)
      if (valid(inputs, b, k)) sum += std::exp(static_cast<double>(score[k]) - max);
    // p_0 - 1 is taken as minus the sum of the others, which does not cancel when the report is well told
    // apart.
    double others = 0;
    for (Index k = 1; k < candidates; ++k) {
      const double p = valid(inputs, b, k) ? std::exp(static_cast<double>(score[k]) - max) / sum : 0;
      d_score[k] = static_cast<Scalar>(p);
      others += p;
    }
    d_score[0] = static_cast<Scalar>(-others);
    return max + std::log(sum) - static_cast<double>(score[0]);
  }

  /// Writes row b's gradients; returns its share of the gradient of the log scale.
  static double backward_row(const Inputs& inputs, double scale, const State& state, double factor,
                             const Gradients& gradients, Index b) {
    const Index candidates = inputs.text.extent(1);
    const auto score = state.score[b], d_scores = state.d_score[b], text_inverse = state.text_inverse[b];
    const Scalar image_inverse = state.image_inverse[b];
    const auto x = as_vector(inputs.image[b]);
    if (gradients.into == Into::overwrite && gradients.image.given()) as_vector(gradients.image[b]).setZero();
    double dot = 0;
    for (Index k = 0; k < candidates; ++k) {
      if (gradients.into == Into::overwrite && gradients.text.given())
        as_vector(gradients.text[b][k]).setZero();
      if (!valid(inputs, b, k)) continue;
      const auto y = as_vector(inputs.text[b][k]);
      const double d_score = factor * static_cast<double>(d_scores[k]);
      const double product = d_score * static_cast<double>(score[k]);
      const auto weight = static_cast<Scalar>(d_score * scale * static_cast<double>(image_inverse) *
                                              static_cast<double>(text_inverse[k]));
      if (gradients.image.given()) as_vector(gradients.image[b]) += weight * y;
      if (gradients.text.given())
        as_vector(gradients.text[b][k]) += weight * x - projection(text_inverse[k], product) * y;
      dot += product;
    }
    if (gradients.image.given()) as_vector(gradients.image[b]) -= projection(image_inverse, dot) * x;
    return dot;
  }
};

}  // namespace detail

static_assert(Loss<PerturbationSensitivity<float>> && Loss<PerturbationSensitivity<double>>);

}  // namespace vlp
