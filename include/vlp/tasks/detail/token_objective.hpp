/// \file
/// The objective of a decoder: cross-entropy of the tokens, and distillation from another decoder.
#pragma once

#include <vlp/core/device.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/op.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/distillation.hpp>
#include <vlp/losses/token_cross_entropy.hpp>
#include <vlp/models/report_decoder.hpp>
#include <vlp/nn/ops/operations.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <type_traits>

namespace vlp::tasks::detail {

/// Weights of a TokenObjective. A weight of 0 skips its term's work.
struct TokenObjectiveOptions {
  double cross_entropy = 1;
  double distillation = 0;
  double temperature = 2;  ///< of the distillation
  /// Logits in a tile of the distillation, which takes three of them, each of at least 16 rows: by default 4
  /// MB of float each.
  Index tile_logits = Index(1) << 20;
};

/// L = w_ce TokenCrossEntropy + w_d Distillation, both means over all tokens of a batch, which may come in
/// parts: begin() with the tokens of all, then each part.
///
/// Logits exist a tile of rows at a time.
template <class Scalar, class Device>
class TokenObjective {
 public:
  using Decoder = models::ReportDecoder<Scalar, Device>;
  /// A decoder and the features that it gave to T tokens.
  struct Features {
    Decoder* decoder = nullptr;
    MatrixView<const Scalar> hidden = {};  ///< [T, width]
  };
  struct Values {
    double cross_entropy = 0, distillation = 0;
  };

  explicit TokenObjective(const TokenObjectiveOptions& options)
      : options_(options), distillation_({.temperature = options.temperature}) {}

  /// Tells whether a teacher is needed.
  [[nodiscard]] bool distils() const { return options_.distillation > 0; }

  /// Begins a batch of so many tokens.
  void begin(Device& device, Index tokens) {
    tokens_ = tokens;
    fill(device, sums_.resize(2), 2, Accumulator(0));
    values_.resize(1);
  }

  /// Adds the values of a part with the given targets [T] in device memory. A teacher is given where it
  /// distils.
  void forward(Device& device, const Features& student, std::span<const std::int64_t> targets,
               const Features& teacher = {}) {
    pass(device, student, targets, teacher, nullptr, false);
  }

  /// Does the same, and writes the gradient by the student's features to `d_hidden` [T, width]; those by its
  /// output matrix and bias are added to their gradients unless `with_output` is false.
  void forward_backward(Device& device, const Features& student, std::span<const std::int64_t> targets,
                        const Features& teacher, MatrixView<Scalar> d_hidden, bool with_output = true) {
    // Both losses are added to zeros, since what they have in common, the output matrix, is added to.
    fill(device, d_hidden.data(), d_hidden.size(), Scalar(0));
    pass(device, student, targets, teacher, &d_hidden, with_output);
  }

  /// The values, without their weights, of all parts since begin().
  [[nodiscard]] Values values(Device& device) const {
    std::array<Accumulator, 2> host{};
    download(device, static_cast<const Accumulator*>(sums_.data()), std::span(host));
    return {static_cast<double>(host[0]), static_cast<double>(host[1])};
  }

 private:
  using CrossEntropy = TokenCrossEntropy<Scalar, Device>;
  using Accumulator = typename CrossEntropy::Accumulator;
  static_assert(std::is_same_v<Accumulator, Scalar>, "values are added up as matrices of scalars");

  void pass(Device& device, const Features& student, std::span<const std::int64_t> targets,
            const Features& teacher, const MatrixView<Scalar>* d_hidden, bool with_output) {
    const Index rows = student.hidden.rows();
    require(rows == 0 || tokens_ >= rows, "TokenObjective: ", rows, " tokens of a batch of ", tokens_);
    if (rows == 0) return;
    if (options_.cross_entropy > 0) cross_entropy(device, student, targets, d_hidden, with_output);
    if (!distils()) return;
    require(teacher.decoder != nullptr && teacher.hidden.rows() == rows,
            "TokenObjective: ", teacher.hidden.rows(), " tokens of the teacher for ", rows);
    const Index most = std::clamp<Index>(options_.tile_logits / student.decoder->options().vocabulary, 16,
                                         std::max<Index>(rows, 16));
    for (Index first = 0; first < rows; first += most)
      distil(device, student, teacher, first, std::min(most, rows - first), d_hidden, with_output);
  }

  void cross_entropy(Device& device, const Features& student, std::span<const std::int64_t> targets,
                     const MatrixView<Scalar>* d_hidden, bool with_output) {
    auto& weight = student.decoder->output_weight();
    auto& bias = student.decoder->output_bias();
    const typename CrossEntropy::Inputs in{
        .hidden = student.hidden, .weight = weight.matrix(), .bias = bias.value(), .target = targets};
    const typename CrossEntropy::Outputs out{values_.data()};
    if (d_hidden == nullptr) {
      cross_entropy_.forward(device, in, out);
    } else {
      typename CrossEntropy::Gradients gradients{.hidden = *d_hidden, .weight = {}, .into = Into::add};
      if (with_output) {
        gradients.weight = weight.gradient_matrix();
        gradients.bias = bias.gradient();
      }
      const Accumulator upstream = part(options_.cross_entropy, student.hidden.rows());
      if constexpr (requires { cross_entropy_.forward_backward(device, in, upstream, out, gradients); }) {
        cross_entropy_.forward_backward(device, in, upstream, out, gradients);
      } else {
        cross_entropy_.forward(device, in, out);
        cross_entropy_.backward(device, in, upstream, gradients);
      }
    }
    add_value(device, 0, student.hidden.rows());
  }

  void distil(Device& device, const Features& student, const Features& teacher, Index first, Index rows,
              const MatrixView<Scalar>* d_hidden, bool with_output) {
    auto scope = device.scratch().scope();
    const Index vocabulary = student.decoder->options().vocabulary;
    const auto logits = scope.template take_view<Scalar>(rows, vocabulary),
               wanted = scope.template take_view<Scalar>(rows, vocabulary);
    const auto hidden = student.hidden.slice(first, rows);
    student.decoder->logits(device, hidden, logits);
    teacher.decoder->logits(device, teacher.hidden.slice(first, rows), wanted);
    const typename Distillation<Scalar, Device>::Inputs in{.student = logits, .teacher = wanted};
    distillation_.forward(device, in, {values_.data()});
    add_value(device, 1, rows);
    if (d_hidden == nullptr) return;
    const auto d_logits = scope.template take_view<Scalar>(rows, vocabulary);
    distillation_.backward(device, in, part(options_.distillation, rows), {.student = d_logits});
    auto& weight = student.decoder->output_weight();
    matmul<Scalar>(device, d_logits, Op::none, weight.matrix(), Op::none, d_hidden->slice(first, rows),
                   Scalar(1), Scalar(1));
    if (!with_output) return;
    matmul<Scalar>(device, d_logits, Op::transpose, hidden, Op::none, weight.gradient_matrix(), Scalar(1),
                   Scalar(1));
    add_column_sums<Scalar>(device, d_logits, student.decoder->output_bias().gradient().data());
  }

  /// The share of so many rows in a mean over all tokens, times a weight.
  [[nodiscard]] Accumulator part(double weight, Index rows) const {
    return static_cast<Accumulator>(weight * static_cast<double>(rows) / static_cast<double>(tokens_));
  }

  void add_value(Device& device, Index term, Index rows) {
    add_scaled<Scalar>(device, part(1, rows), MatrixView<const Scalar>(values_.data(), {1, 1}),
                       MatrixView<Scalar>(sums_.data() + term, {1, 1}));
  }

  TokenObjectiveOptions options_;
  CrossEntropy cross_entropy_;
  Distillation<Scalar, Device> distillation_;
  Index tokens_ = 0;
  typename Device::template Buffer<Accumulator> sums_, values_;  // of all parts, and of the one at work
};

}  // namespace vlp::tasks::detail
