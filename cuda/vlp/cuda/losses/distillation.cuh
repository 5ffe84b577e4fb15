/// \file
/// Distillation on a CUDA device.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/errors.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/last_block.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/memory.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/losses/detail/saved_arrays.hpp>
#include <vlp/losses/distillation.hpp>
#include <vlp/losses/loss.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace vlp {

namespace cuda::detail {

/// Arguments that both kernels read.
template <class Scalar>
struct TwoLogits {
  Rows<const Scalar> student, teacher;  // [N, V]
  const std::uint8_t* valid;            // [N], or null
  Index columns;                        // V
  bool by_packs;                        // rows n of both begin equally far from a multiple of 16 bytes
  float inverse_temperature;

  [[nodiscard]] __device__ bool is_valid(Index n) const { return valid == nullptr || valid[n] != 0; }
};

/// Deals the columns of row n out to the threads of a block: calls visit(student, teacher, v) with what
/// stands from column v on, a Pack of 16 bytes each, or of one logit each at both ends.
template <class Scalar, class Visit>
__device__ void for_each_column(const TwoLogits<Scalar>& in, Index n, Visit&& visit) {
  using Whole = Pack<Scalar, pack_size<Scalar>>;
  using Single = Pack<Scalar, 1>;
  constexpr Index width = pack_size<Scalar>;
  const Scalar *student = in.student[n], *teacher = in.teacher[n];
  const Index thread = static_cast<Index>(threadIdx.x), threads = static_cast<Index>(blockDim.x);
  Index head = 0, packs = 0;
  if (in.by_packs) {
    const auto beyond = reinterpret_cast<std::uintptr_t>(student) % 16 / sizeof(Scalar);
    head = min((width - static_cast<Index>(beyond)) % width, in.columns);
    packs = (in.columns - head) / width;
  }
  for (Index i = thread; i < packs; i += threads) {
    const Index v = head + i * width;
    const Whole s = *reinterpret_cast<const Whole*>(student + v);
    const Whole t = *reinterpret_cast<const Whole*>(teacher + v);
    visit(s, t, v);
  }
  for (Index i = thread; i < in.columns - packs * width; i += threads) {
    const Index v = i < head ? i : i + packs * width;
    visit(Single{student[v]}, Single{teacher[v]}, v);
  }
}

/// Numbers that forward keeps of a row: the largest logits, 1 / sum_v exp((student - largest) / t), and the
/// ratio of that sum to the teacher's.
struct DistillationRow {
  float student_max, teacher_max;
  float student_inverse_sum, ratio;
};

struct DistillationShared {
  BlockRoom<float> student_max, teacher_max;
  BlockRoom<double> student_sum, teacher_sum, dot;
  LastBlockRoom last;
};

/// KL of row n, by the whole block. With a, b = (teacher, student - their maxima) / t and p = exp(a) / sum
/// exp(a): KL = sum p (a - b) - log sum exp(a) + log sum exp(b), where a p that underflows meets a finite a -
/// b. Both exponentials and both sums go the same way: equal rows have equal sums.
template <class Scalar>
__device__ double take_row(const TwoLogits<Scalar>& in, Index n, DistillationRow& out,
                           DistillationShared& shared) {
  const auto larger = [](float x, float y) { return fmaxf(x, y); };
  float s_max = -INFINITY, t_max = -INFINITY;
  for_each_column(in, n, [&]<int Count>(const Pack<Scalar, Count>& s, const Pack<Scalar, Count>& t, Index) {
#pragma unroll
    for (int e = 0; e < Count; ++e) {
      s_max = fmaxf(s_max, to_float(s.value[e]));
      t_max = fmaxf(t_max, to_float(t.value[e]));
    }
  });
  s_max = block_reduce(s_max, -INFINITY, shared.student_max, larger);
  t_max = block_reduce(t_max, -INFINITY, shared.teacher_max, larger);

  double s_sum = 0, t_sum = 0, dot = 0;
  for_each_column(in, n, [&]<int Count>(const Pack<Scalar, Count>& s, const Pack<Scalar, Count>& t, Index) {
    float s_part = 0, t_part = 0, dot_part = 0;
#pragma unroll
    for (int e = 0; e < Count; ++e) {
      const float s_below = to_float(s.value[e]) - s_max, t_below = to_float(t.value[e]) - t_max;
      const float t_exp = exp_below(t_below * in.inverse_temperature);
      s_part += exp_below(s_below * in.inverse_temperature);
      t_part += t_exp;
      dot_part = fmaf(t_exp, t_below - s_below, dot_part);
    }
    s_sum += static_cast<double>(s_part);
    t_sum += static_cast<double>(t_part);
    dot += static_cast<double>(dot_part);
  });
  s_sum = block_sum(s_sum, shared.student_sum);
  t_sum = block_sum(t_sum, shared.teacher_sum);
  dot = block_sum(dot, shared.dot);
  out = {s_max, t_max, static_cast<float>(1 / s_sum), static_cast<float>(s_sum / t_sum)};
  return dot * static_cast<double>(in.inverse_temperature) / t_sum + (log(s_sum) - log(t_sum));
}

/// Forward: a block takes a row; the last block to end adds up, and counts the rows that are valid.
template <class Scalar>
__global__ void __launch_bounds__(512)
    compare_rows(TwoLogits<Scalar> in, double square, DistillationRow* rows, double* losses,
                 unsigned* arrived, double* kept, float* loss) {
  auto& shared = shared_memory<DistillationShared>();
  const Index n = static_cast<Index>(blockIdx.x), count = in.student.count;
  double of_row = 0;
  if (in.is_valid(n)) {
    DistillationRow row;
    of_row = take_row(in, n, row, shared);
    if (threadIdx.x == 0) rows[n] = row;
  }
  if (threadIdx.x == 0) losses[n] = of_row;
  if (!last_block(arrived, shared.last)) return;
  const double sum = block_sum_of(losses, count, shared.dot);
  double valid = 0;
  for (Index i = static_cast<Index>(threadIdx.x); i < count; i += static_cast<Index>(blockDim.x))
    valid += in.is_valid(i) ? 1 : 0;
  valid = fmax(block_sum(valid, shared.student_sum), 1.0);
  if (threadIdx.x != 0) return;
  *kept = valid;
  if (loss != nullptr) *loss = static_cast<float>(square * sum / valid);
}

/// Backward: d_student (+)= factor / rows kept (softmax(student / t) - softmax(teacher / t)), a block a row.
template <class Scalar>
__global__ void __launch_bounds__(512)
    differentiate_rows(TwoLogits<Scalar> in, double factor, const DistillationRow* rows, const double* kept,
                       Rows<Scalar> d_student, Into into) {
  const Index n = static_cast<Index>(blockIdx.x);
  if (!in.is_valid(n)) {
    for (Index v = static_cast<Index>(threadIdx.x); v < in.columns && into == Into::overwrite;
         v += Index{blockDim.x})
      d_student[n][v] = from_float<Scalar>(0);
    return;
  }
  const DistillationRow row = rows[n];
  const float weight = static_cast<float>(factor / *kept) * row.student_inverse_sum;
  for_each_column(in, n, [&]<int Count>(const Pack<Scalar, Count>& s, const Pack<Scalar, Count>& t, Index v) {
    auto& to = *reinterpret_cast<Pack<Scalar, Count>*>(d_student[n] + v);
    Pack<Scalar, Count> out;
    if (into == Into::add) out = to;
#pragma unroll
    for (int e = 0; e < Count; ++e) {
      const float q = exp_below((to_float(s.value[e]) - row.student_max) * in.inverse_temperature);
      const float p = exp_below((to_float(t.value[e]) - row.teacher_max) * in.inverse_temperature);
      // One rounding, so that equal rows, whose ratio is 1, come out at 0.
      const float difference = weight * fmaf(-row.ratio, p, q);
      out.value[e] = from_float<Scalar>(difference + (into == Into::add ? to_float(out.value[e]) : 0.0F));
    }
    to = out;
  });
}

}  // namespace cuda::detail

namespace detail {

/// Distillation of float, BFloat16 or Half logits. All pointers are in device memory, `valid` included.
///
/// One launch each way, a block a row. Logits are read 16 bytes at a time wherever rows begin, as long as
/// rows of student and teacher (and of the gradient) begin equally far from a multiple of 16 bytes: arrays of
/// one shape do.
template <class ScalarType>
class DistillationBackend<ScalarType, Cuda> : DistillationInterface<ScalarType> {
  using Interface = DistillationInterface<ScalarType>;
  using Interface::name;
  using typename Interface::Accumulator, typename Interface::Gradients, typename Interface::Inputs,
      typename Interface::Options, typename Interface::Outputs, typename Interface::Scalar;

 public:
  using Device = Cuda;

  explicit DistillationBackend(const Options& options) : options_(options) {}

  /// Numbers that forward keeps for backward.
  struct State {
    cuda::detail::DistillationRow* rows;  // [N], written for rows that are valid
    double* kept;                         // rows that are valid, or 1
  };

  State lay_out(SavedArrays<Device::Memory>& arrays, const Inputs& inputs) const {
    auto* const rows = arrays.template take<cuda::detail::DistillationRow>(inputs.student.rows());
    return {rows, arrays.template take<double>(1)};
  }

  void forward(Device& device, const Inputs& inputs, const Outputs& outputs, const State& state) const {
    const Index rows = inputs.student.rows();
    auto scratch = device.scratch().scope();
    cuda::launch(cuda::detail::compare_rows<Scalar>, cuda::blocks(rows), threads(inputs.student.cols()),
                 sizeof(cuda::detail::DistillationShared), device.stream(), logits(inputs),
                 options_.temperature * options_.temperature, state.rows, scratch.template take<double>(rows),
                 device.arrived(), state.kept, outputs.loss);
  }

  void backward(Device& device, const Inputs& inputs, const State& state, Accumulator upstream,
                const Gradients& gradients) const {
    const Index rows = inputs.student.rows();
    if (!gradients.student.given()) return;

    cuda::detail::TwoLogits<Scalar> in = logits(inputs);
    const cuda::Rows<Scalar> d_student = cuda::rows_of(gradients.student);
    in.by_packs = in.by_packs && begin_alike(in.student, d_student);
    cuda::launch(cuda::detail::differentiate_rows<Scalar>, cuda::blocks(rows), threads(in.columns), 0,
                 device.stream(), in, static_cast<double>(upstream) * options_.temperature, state.rows,
                 state.kept, d_student, gradients.into);
  }

 private:
  /// Threads of a block: about four packs for each, so that short rows take one warp and keep it busy.
  [[nodiscard]] static unsigned threads(Index columns) {
    constexpr Index of_warp = cuda::warp_size * cuda::pack_size<Scalar> * 4;
    return static_cast<unsigned>(std::min<Index>((columns + of_warp - 1) / of_warp, 16) * cuda::warp_size);
  }

  /// Says whether rows of both begin equally far from a multiple of 16 bytes.
  template <class T>
  [[nodiscard]] static bool begin_alike(const cuda::Rows<const Scalar>& a, const cuda::Rows<T>& b) {
    const auto bytes_alike = [](std::uintptr_t x, std::uintptr_t y) { return x % 16 == y % 16; };
    return bytes_alike(reinterpret_cast<std::uintptr_t>(a.data), reinterpret_cast<std::uintptr_t>(b.data)) &&
           (a.count == 1 || bytes_alike(static_cast<std::uintptr_t>(a.stride) * sizeof(Scalar),
                                        static_cast<std::uintptr_t>(b.stride) * sizeof(Scalar)));
  }

  [[nodiscard]] cuda::detail::TwoLogits<Scalar> logits(const Inputs& inputs) const {
    const auto student = cuda::rows_of(inputs.student), teacher = cuda::rows_of(inputs.teacher);
    return {student,
            teacher,
            inputs.valid.data(),
            inputs.student.cols(),
            begin_alike(student, teacher),
            static_cast<float>(1 / options_.temperature)};
  }

  Options options_;
};

}  // namespace detail

static_assert(Loss<Distillation<float, Cuda>>);

}  // namespace vlp
