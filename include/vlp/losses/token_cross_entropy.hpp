/// \file
/// Token cross-entropy: definition, inputs, outputs and options, common to all devices.
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
#include <span>
#include <string_view>

namespace vlp {

/// Options of TokenCrossEntropy.
struct TokenCrossEntropyOptions {
  /// Rows of this target (padding) are not read, get gradient 0 and do not count in the mean.
  std::int64_t ignore_index = -100;
  /// Share of each target that is spread over the whole vocabulary, in [0, 1).
  double label_smoothing = 0;
};

namespace detail {
/// Computes TokenCrossEntropy; see LossShell. losses/cpu/token_cross_entropy.hpp has it for the CPU,
/// cuda/losses/token_cross_entropy.cuh for CUDA devices.
template <class Scalar, class Device>
class TokenCrossEntropyBackend;
}  // namespace detail

/// Arguments of TokenCrossEntropy and their checks, the same types on every device.
template <class ScalarType>
struct TokenCrossEntropyInterface {
  using Scalar = ScalarType;
  using Accumulator = AccumulatorOf<Scalar>;
  using Options = TokenCrossEntropyOptions;
  static constexpr std::string_view name = "token_cross_entropy";

  struct Inputs {
    MatrixView<const Scalar> hidden;         ///< H [N, D]; rows may be strided
    MatrixView<const Scalar> weight;         ///< E [V, D]; rows may be strided
    VectorView<const Scalar> bias{};         ///< b [V], or empty: 0
    std::span<const std::int64_t> target{};  ///< y [N], in [0, V) or ignore_index
  };
  struct Outputs {
    Accumulator* loss = nullptr;
  };
  struct Gradients {
    MatrixView<Scalar> hidden;    ///< [N, D]
    MatrixView<Scalar> weight;    ///< [V, D]
    VectorView<Scalar> bias{};    ///< [V]
    Into into = Into::overwrite;  ///< replaces the gradients or is added to them
  };

  static constexpr std::string_view size_names = "rows x features x tokens";
  static std::array<Index, 3> sizes(const Inputs& inputs) {
    return {inputs.hidden.rows(), inputs.hidden.cols(), inputs.weight.rows()};
  }

  template <class InputsType, class GradientsType, class Visit>
  static void for_each_input(InputsType& inputs, GradientsType& gradients, Visit&& visit) {
    visit("hidden", inputs.hidden, gradients.hidden);
    visit("weight", inputs.weight, gradients.weight);
    visit("bias", inputs.bias, gradients.bias);
    visit("target", inputs.target);
  }

  /// Numbers of the inputs that the host holds: none.
  template <class InputsType, class Visit>
  static void for_each_host_number(InputsType&, Visit&&) {}

  /// Visits each output except the loss, by name: none.
  template <class OutputsType, class Visit>
  static void for_each_output(OutputsType&, Visit&&) {}

  template <class OptionsType, class Visit>
  static void for_each_option(OptionsType& options, Visit&& visit) {
    visit("ignore_index", options.ignore_index);
    visit("label_smoothing", options.label_smoothing);
  }

  static void check_options(const Options& options) {
    require(options.label_smoothing >= 0 && options.label_smoothing < 1, name,
            ": label_smoothing must be in [0, 1), but is ", options.label_smoothing);
  }

  static void check_inputs(const Inputs& inputs, const Options&) {
    detail::check_input(name, "hidden", inputs.hidden);
    detail::check_input(name, "weight", inputs.weight);
    require(inputs.weight.cols() == inputs.hidden.cols(), name, ": hidden is ",
            detail::extents_text(inputs.hidden), " but weight is ", detail::extents_text(inputs.weight));
    require(!inputs.bias.given() || inputs.bias.extent(0) == inputs.weight.rows(), name, ": bias has ",
            inputs.bias.extent(0), " elements but weight is ", detail::extents_text(inputs.weight));
    require(static_cast<Index>(inputs.target.size()) == inputs.hidden.rows(), name, ": target has ",
            inputs.target.size(), " tokens but hidden is ", detail::extents_text(inputs.hidden));
  }

  static void check_gradients(const Inputs& inputs, const Gradients& gradients) {
    detail::check_gradient(name, "hidden", gradients.hidden, inputs.hidden);
    detail::check_gradient(name, "weight", gradients.weight, inputs.weight);
    require(!gradients.bias.given() || gradients.bias.extent(0) == inputs.weight.rows(), name,
            ": the gradient of bias has ", gradients.bias.extent(0), " elements but weight is ",
            detail::extents_text(inputs.weight));
  }
};

/// Cross-entropy of the next token under a linear layer over the vocabulary:
///
///   Z = H E^T + b,   L = mean_n (log sum_v exp Z[n, v] - sum_v q[n, v] Z[n, v]),
///
/// over the N' rows whose target y is not ignore_index (0 when there is none), with the targets
/// q[n, v] = (1 - e) [v = y_n] + e / V for a label smoothing e.
///
/// Z exists a tile at a time: forward keeps O(N) numbers, backward computes each tile once more, together
/// 8 N' D V flop. Logits of any finite size are safe, and so is a bias of -inf, which bars a token (unless
/// labels are smoothed: the loss is then infinite).
template <class Scalar, class Device = Cpu>
class TokenCrossEntropy : public detail::LossShell<TokenCrossEntropyInterface<Scalar>, Device,
                                                   detail::TokenCrossEntropyBackend<Scalar, Device>> {
 public:
  using TokenCrossEntropy::LossShell::LossShell;
};

}  // namespace vlp

// Code compiled for CUDA is spared Eigen; where it needs the loss on the CPU too, it includes this header
// itself.
#ifndef __CUDACC__
#include <vlp/losses/cpu/token_cross_entropy.hpp>
#endif
