/// \file
/// Distillation on the CPU.
#pragma once

#include <Eigen/Core>

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/detail/saved_arrays.hpp>
#include <vlp/losses/distillation.hpp>
#include <vlp/losses/loss.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <type_traits>

namespace vlp {

namespace detail {

/// Distillation on the CPU.
template <class ScalarType>
class DistillationBackend<ScalarType, Cpu> : DistillationInterface<ScalarType> {
  using Interface = DistillationInterface<ScalarType>;
  using Interface::name;
  using typename Interface::Accumulator, typename Interface::Gradients, typename Interface::Inputs,
      typename Interface::Options, typename Interface::Outputs, typename Interface::Scalar;

  /// Numbers saved of a row: the largest logits, and log sum_v exp((logit - largest) / t).
  struct RowSum {
    Scalar student_max, teacher_max;
    Scalar student_log_sum, teacher_log_sum;
  };

 public:
  using Device = Cpu;
  using State = VectorView<RowSum>;  // [N]; rows that are not valid are not written

  explicit DistillationBackend(const Options& options) : options_(options) {}

  static State lay_out(SavedArrays<HostMemory>& arrays, const Inputs& inputs) {
    return arrays.take_view<RowSum>(inputs.student.rows());
  }

  void forward(Device& device, const Inputs& inputs, const Outputs& outputs, const State& state) const {
    const Index rows = inputs.student.rows();
    auto scratch = device.scratch().scope();
    double* losses = scratch.template take<double>(rows);
    device.parallel_ranges(rows, grain(inputs), [&](Index begin, Index end) {
      for (Index n = begin; n < end; ++n)
        losses[n] = valid(inputs, n) ? forward_row(inputs.student[n], inputs.teacher[n], state[n]) : 0;
    });
    const double square = options_.temperature * options_.temperature;
    if (outputs.loss != nullptr)
      *outputs.loss =
          static_cast<Accumulator>(square * std::accumulate(losses, losses + rows, 0.0) / divisor(inputs));
  }

  void backward(Device& device, const Inputs& inputs, const State& state, Accumulator upstream,
                const Gradients& gradients) const {
    const Index rows = inputs.student.rows();
    if (!gradients.student.given()) return;

    const double factor = static_cast<double>(upstream) * options_.temperature / divisor(inputs);
    device.parallel_ranges(rows, grain(inputs), [&](Index begin, Index end) {
      for (Index n = begin; n < end; ++n) {
        if (valid(inputs, n))
          backward_row(inputs.student[n], inputs.teacher[n], state[n], factor, gradients.student[n],
                       gradients.into);
        else if (gradients.into == Into::overwrite)
          as_row(gradients.student[n]).setZero();
      }
    });
  }

 private:
  /// Columns of both that are worked on together, so that their exponentials stay in the first-level cache.
  static constexpr Index chunk = 512;
  using Chunk = Eigen::Array<Scalar, 1, Eigen::Dynamic, Eigen::RowMajor, 1, static_cast<int>(chunk)>;

  [[nodiscard]] static bool valid(const Inputs& inputs, Index n) {
    return !inputs.valid.given() || inputs.valid[n] != 0;
  }

  /// Number of rows that the mean is over, or 1 where there is none.
  [[nodiscard]] static double divisor(const Inputs& inputs) {
    Index count = 0;
    for (Index n = 0; n < inputs.student.rows(); ++n) count += valid(inputs, n) ? 1 : 0;
    return static_cast<double>(std::max<Index>(count, 1));
  }

  /// Rows a task.
  [[nodiscard]] static Index grain(const Inputs& inputs) {
    return std::max<Index>(1, 16384 / inputs.student.cols());
  }

  template <class T>
  static auto as_row(const VectorView<T>& view) {
    using Row = Eigen::Array<Scalar, 1, Eigen::Dynamic, Eigen::RowMajor>;
    return Eigen::Map<std::conditional_t<std::is_const_v<T>, const Row, Row>>(view.data(), view.extent(0));
  }

  [[nodiscard]] Scalar inverse_temperature() const { return static_cast<Scalar>(1 / options_.temperature); }

  /// KL of one row. With a, b = (teacher, student - their maxima) / t and p = exp(a) / sum exp(a):
  /// KL = sum p (a - b) - log sum exp(a) + log sum exp(b), where a p that underflows meets a finite a - b.
  double forward_row(const VectorView<const Scalar>& student, const VectorView<const Scalar>& teacher,
                     RowSum& out) const {
    const auto s = as_row(student), t = as_row(teacher);
    const Scalar s_max = s.maxCoeff(), t_max = t.maxCoeff(), inverse = inverse_temperature();
    double s_sum = 0, t_sum = 0, dot = 0;
    // Both exponentials take the same way, so that equal rows have equal sums.
    Chunk s_exp, t_exp;
    for (Index c = 0; c < s.size(); c += chunk) {
      const Index width = std::min(chunk, s.size() - c);
      const auto t_below = t.segment(c, width) - t_max, s_below = s.segment(c, width) - s_max;
      t_exp = (t_below * inverse).exp();
      s_exp = (s_below * inverse).exp();
      t_sum += static_cast<double>(t_exp.sum());
      s_sum += static_cast<double>(s_exp.sum());
      dot += static_cast<double>((t_exp * (t_below - s_below)).sum());
    }
    const double s_log_sum = std::log(s_sum), t_log_sum = std::log(t_sum);
    out = {s_max, t_max, static_cast<Scalar>(s_log_sum), static_cast<Scalar>(t_log_sum)};
    return dot * static_cast<double>(inverse) / t_sum + (s_log_sum - t_log_sum);
  }

  /// d_student (+)= factor (softmax(student / t) - softmax(teacher / t)).
  void backward_row(const VectorView<const Scalar>& student, const VectorView<const Scalar>& teacher,
                    const RowSum& row, double factor, const VectorView<Scalar>& d_student, Into into) const {
    const auto s = as_row(student), t = as_row(teacher);
    auto out = as_row(d_student);
    const Scalar inverse = inverse_temperature();
    // In memory of our own: Eigen takes exponentials one by one where the caller's is not aligned, and those
    // differ in the last bit.
    Chunk q, p;
    for (Index c = 0; c < s.size(); c += chunk) {
      const Index width = std::min(chunk, s.size() - c);
      q = ((s.segment(c, width) - row.student_max) * inverse - row.student_log_sum).exp();
      p = ((t.segment(c, width) - row.teacher_max) * inverse - row.teacher_log_sum).exp();
      q = static_cast<Scalar>(factor) * (q - p);
      if (into == Into::add)
        out.segment(c, width) += q;
      else
        out.segment(c, width) = q;
    }
  }

  Options options_;
};

}  // namespace detail

static_assert(Loss<Distillation<float>> && Loss<Distillation<double>>);

}  // namespace vlp
