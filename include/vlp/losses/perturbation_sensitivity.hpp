/// \file
/// Perturbation sensitivity: definition, inputs, outputs and options, common to all devices.
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
#include <string_view>

namespace vlp {

/// PerturbationSensitivity has no options.
struct PerturbationSensitivityOptions {};

namespace detail {
/// Computes PerturbationSensitivity; see LossShell. losses/cpu/perturbation_sensitivity.hpp has it for the
/// CPU, cuda/losses/perturbation_sensitivity.cuh for CUDA devices.
template <class Scalar, class Device>
class PerturbationSensitivityBackend;
}  // namespace detail

/// Arguments of PerturbationSensitivity and their checks, the same types on every device.
template <class ScalarType>
struct PerturbationSensitivityInterface {
  using Scalar = ScalarType;
  using Accumulator = AccumulatorOf<Scalar>;
  using Options = PerturbationSensitivityOptions;
  static constexpr std::string_view name = "perturbation_sensitivity";

  struct Inputs {
    MatrixView<const Scalar> image;          ///< [B, D]
    BatchView<const Scalar> text;            ///< [B, 1 + K, D], the report first
    const Accumulator* log_scale = nullptr;  ///< s
    MatrixView<const std::uint8_t> valid{};  ///< [B, 1 + K], 0 drops a candidate; or empty: all are valid
  };
  struct Outputs {
    Accumulator* loss = nullptr;
  };
  struct Gradients {
    MatrixView<Scalar> image;  ///< [B, D]
    BatchView<Scalar> text;    ///< [B, 1 + K, D]
    Accumulator* log_scale = nullptr;
    Into into = Into::overwrite;  ///< replaces the gradients or is added to them
  };

  static constexpr std::string_view size_names = "pairs x candidates x features";
  static std::array<Index, 3> sizes(const Inputs& inputs) { return inputs.text.extents(); }

  template <class InputsType, class GradientsType, class Visit>
  static void for_each_input(InputsType& inputs, GradientsType& gradients, Visit&& visit) {
    visit("image", inputs.image, gradients.image);
    visit("text", inputs.text, gradients.text);
    visit("log_scale", inputs.log_scale, gradients.log_scale);
    visit("valid", inputs.valid);
  }

  /// Numbers of the inputs that the host holds: none.
  template <class InputsType, class Visit>
  static void for_each_host_number(InputsType&, Visit&&) {}

  /// Visits each output except the loss, by name: none.
  template <class OutputsType, class Visit>
  static void for_each_output(OutputsType&, Visit&&) {}

  template <class OptionsType, class Visit>
  static void for_each_option(OptionsType&, Visit&&) {}

  static void check_options(const Options&) {}

  static void check_inputs(const Inputs& inputs, const Options&) {
    detail::check_input(name, "image", inputs.image);
    detail::check_input(name, "text", inputs.text);
    require(inputs.image.rows() == inputs.text.extent(0) && inputs.image.cols() == inputs.text.extent(2),
            name, ": image is ", detail::extents_text(inputs.image), " but text is ",
            detail::extents_text(inputs.text));
    require(inputs.log_scale != nullptr, name, ": log_scale is not given");
    require(!inputs.valid.given() || (inputs.valid.rows() == inputs.text.extent(0) &&
                                      inputs.valid.cols() == inputs.text.extent(1)),
            name, ": valid is ", detail::extents_text(inputs.valid), " but text is ",
            detail::extents_text(inputs.text));
  }

  static void check_gradients(const Inputs& inputs, const Gradients& gradients) {
    detail::check_gradient(name, "image", gradients.image, inputs.image);
    detail::check_gradient(name, "text", gradients.text, inputs.text);
  }
};

/// Each image against its own report (k = 0) and K perturbations of that report:
///
///   z_bk = exp(s) <x^_b, y^_bk>,   L = mean_b (log sum_k exp z_bk - z_b0),
///
/// with x^, y^ = image, text normalised by max(norm, 1e-12) and a learnable scale s (start ln(1 / 0.07)).
/// Candidates that are not valid (a perturbation that came out equal to the report) leave the sum and are
/// never read; a row without any negative has loss 0 and gradient 0, and counts in the mean. Keeps O(B (1 +
/// K)) numbers.
template <class Scalar, class Device = Cpu>
class PerturbationSensitivity
    : public detail::LossShell<PerturbationSensitivityInterface<Scalar>, Device,
                               detail::PerturbationSensitivityBackend<Scalar, Device>> {
 public:
  using PerturbationSensitivity::LossShell::LossShell;
};

}  // namespace vlp

// Code compiled for CUDA is spared Eigen; where it needs the loss on the CPU too, it includes this header
// itself.
#ifndef __CUDACC__
#include <vlp/losses/cpu/perturbation_sensitivity.hpp>
#endif
