/// \file
/// Distillation: definition, inputs, outputs and options, common to all devices.
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

/// Options of Distillation.
struct DistillationOptions {
  /// Divides the logits of both: above 1, what the teacher holds unlikely counts for more. Above 0.
  double temperature = 1;
};

namespace detail {
/// Computes Distillation; see LossShell. losses/cpu/distillation.hpp has it for the CPU,
/// cuda/losses/distillation.cuh for CUDA devices.
template <class Scalar, class Device>
class DistillationBackend;
}  // namespace detail

/// Arguments of Distillation and their checks, the same types on every device.
template <class ScalarType>
struct DistillationInterface {
  using Scalar = ScalarType;
  using Accumulator = AccumulatorOf<Scalar>;
  using Options = DistillationOptions;
  static constexpr std::string_view name = "distillation";

  struct Inputs {
    MatrixView<const Scalar> student;        ///< S [N, V]; rows may be strided
    MatrixView<const Scalar> teacher;        ///< T [N, V]; rows may be strided
    VectorView<const std::uint8_t> valid{};  ///< [N], 0 leaves a row out; or empty: all are valid
  };
  struct Outputs {
    Accumulator* loss = nullptr;
  };
  struct Gradients {
    MatrixView<Scalar> student;   ///< [N, V]
    Into into = Into::overwrite;  ///< replaces the gradients or is added to them
  };

  static constexpr std::string_view size_names = "rows x tokens";
  static std::array<Index, 2> sizes(const Inputs& inputs) { return inputs.student.extents(); }

  template <class InputsType, class GradientsType, class Visit>
  static void for_each_input(InputsType& inputs, GradientsType& gradients, Visit&& visit) {
    visit("student", inputs.student, gradients.student);
    visit("teacher", inputs.teacher);
    visit("valid", inputs.valid);
  }

  /// Numbers of the inputs that the host holds: none.
  template <class InputsType, class Visit>
  static void for_each_host_number(InputsType&, Visit&&) {}

  /// Visits each output except the loss, by name: none.
  template <class OutputsType, class Visit>
  static void for_each_output(OutputsType&, Visit&&) {}

  template <class OptionsType, class Visit>
  static void for_each_option(OptionsType& options, Visit&& visit) {
    visit("temperature", options.temperature);
  }

  static void check_options(const Options& options) {
    detail::check_above_zero(name, "temperature", options.temperature);
  }

  static void check_inputs(const Inputs& inputs, const Options&) {
    detail::check_input(name, "student", inputs.student);
    detail::check_input(name, "teacher", inputs.teacher);
    require(inputs.student.extents() == inputs.teacher.extents(), name, ": student is ",
            detail::extents_text(inputs.student), " but teacher is ", detail::extents_text(inputs.teacher));
    require(!inputs.valid.given() || inputs.valid.extent(0) == inputs.student.rows(), name, ": valid has ",
            inputs.valid.extent(0), " elements but student is ", detail::extents_text(inputs.student));
  }

  static void check_gradients(const Inputs& inputs, const Gradients& gradients) {
    detail::check_gradient(name, "student", gradients.student, inputs.student);
  }
};

/// Hinton et al., "Distilling the knowledge in a neural network", 2015:
///
///   L = t^2 mean_n KL(softmax(T[n, :] / t) || softmax(S[n, :] / t)),
///
/// with logits T of the teacher, who gets no gradient, and S of the student, over the rows that are valid (0
/// when none is). The factor t^2 keeps gradients of one size at any temperature. Rows that are not valid are
/// never read and get gradient 0. Finite logits of any size are safe; equal rows have loss 0 and gradient 0,
/// exactly. Keeps O(N) numbers; forward reads the logits twice, backward once.
template <class Scalar, class Device = Cpu>
class Distillation : public detail::LossShell<DistillationInterface<Scalar>, Device,
                                              detail::DistillationBackend<Scalar, Device>> {
 public:
  using Distillation::LossShell::LossShell;
};

}  // namespace vlp

// Code compiled for CUDA is spared Eigen; where it needs the loss on the CPU too, it includes this header
// itself.
#ifndef __CUDACC__
#include <vlp/losses/cpu/distillation.hpp>
#endif
