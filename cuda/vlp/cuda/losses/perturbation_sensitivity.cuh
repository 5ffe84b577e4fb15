/// \file
/// Perturbation sensitivity on a CUDA device.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/detail/unit_length.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/last_block.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/memory.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/unit_rows.cuh>
#include <vlp/losses/detail/saved_arrays.hpp>
#include <vlp/losses/loss.hpp>
#include <vlp/losses/perturbation_sensitivity.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace vlp {

namespace cuda::detail {

/// Arguments that both kernels read.
template <class Scalar>
struct Perturbations {
  Rows<const Scalar> image;        // [B, D]
  BatchRows<const Scalar> text;    // [B, 1 + K, D]
  Rows<const std::uint8_t> valid;  // [B, 1 + K], or no data
  Index candidates, features;      // 1 + K and D
  const float* log_scale;

  [[nodiscard]] __device__ bool is_valid(Index b, Index k) const {
    return valid.data == nullptr || valid[b][k] != 0;
  }
  [[nodiscard]] __device__ double scale() const { return exp(static_cast<double>(*log_scale)); }
};

/// Numbers that forward keeps for backward. Scores reach 1e4 and more, embeddings of a report and its
/// perturbations are close, and what matters are the differences: hence double, as are the sums over
/// candidates.
struct KeptPerturbations {
  double *image_inverse, *text_inverse;  // 1 / max(norm, 1e-12), [B] and [B, 1 + K]
  double *score, *d_score;               // z and B dL/dz, [B, 1 + K]
  double *dot, *dot_sum;                 // <z, B dL/dz> of each image, [B], and their sum
};

/// Warps of a forward block: a report and nine perturbations have one each, and four blocks fit a
/// multiprocessor, so that 528 images are on their way at once on one of 132.
inline constexpr int most_scoring_warps = 10;

struct PerturbationShared {
  double score[warp_size];  // of the first candidates
  BlockRoom<double> losses, dots;
  LastBlockRoom last;
};

/// z = exp(s) <x^, y^> of one candidate by one warp, with all norms; x comes from the cache after the first.
/// Products of 16-bit numbers and of floats are exact in double.
template <class Scalar, int Width>
__device__ void take_score(const Perturbations<Scalar>& in, const KeptPerturbations& kept, Index b, Index k,
                           PerturbationShared& shared) {
  using Piece = Pack<Scalar, Width>;
  constexpr int ahead = 3;  // pieces of both rows that are on their way at once
  constexpr Index step = warp_size * Width;
  const Scalar *x = in.image[b], *y = in.text(b, k);
  double xx = 0, xy = 0, yy = 0;
#pragma unroll 1
  for (Index begin = Index{lane()} * Width; begin < in.features; begin += ahead * step) {
    // The last piece of a row stands in for those beyond it: loads under conditions wait for each other.
    Piece of_x[ahead], of_y[ahead];
#pragma unroll
    for (int j = 0; j < ahead; ++j) {
      const Index d = min(begin + j * step, in.features - Width);
      of_x[j] = *reinterpret_cast<const Piece*>(x + d);
      of_y[j] = *reinterpret_cast<const Piece*>(y + d);
    }
#pragma unroll
    for (int j = 0; j < ahead; ++j) {
      const bool inside = begin + j * step < in.features;
#pragma unroll
      for (int e = 0; e < Width; ++e) {
        const double u = inside ? to_float(of_x[j].value[e]) : 0.0F;
        const double v = inside ? to_float(of_y[j].value[e]) : 0.0F;
        xx += u * u;
        xy += u * v;
        yy += v * v;
      }
    }
  }
  xx = warp_sum(xx);
  xy = warp_sum(xy);
  yy = warp_sum(yy);
  if (lane() != 0) return;
  const double x_inverse = inverse_norm(xx), y_inverse = inverse_norm(yy);
  const double score = in.scale() * x_inverse * (xy * y_inverse);
  const Index at = b * in.candidates + k;
  kept.score[at] = score;
  if (k < warp_size) shared.score[k] = score;
  kept.text_inverse[at] = y_inverse;
  if (k == 0) kept.image_inverse[b] = x_inverse;
}

/// From the scores of image b to the gradients for them; returns its loss. By one warp: candidates are few.
template <class Scalar>
__device__ double take_softmax(const Perturbations<Scalar>& in, const KeptPerturbations& kept, Index b,
                               const PerturbationShared& shared) {
  const double* score = kept.score + b * in.candidates;
  double* d_score = kept.d_score + b * in.candidates;
  const auto score_of = [&](Index k) { return k < warp_size ? shared.score[k] : score[k]; };
  const double of_report = score_of(0);
  double max = -INFINITY;
#pragma unroll 1
  for (Index k = lane(); k < in.candidates; k += warp_size) max = fmax(max, score_of(k));
  max = warp_reduce(max, [](double x, double y) { return fmax(x, y); });
  // p_0 - 1 is taken as minus the sum of the others, which does not cancel when the report is well told
  // apart.
  double others = 0, dot = 0, own = 0;
#pragma unroll 1
  for (Index k = lane(); k < in.candidates; k += warp_size) {
    own = exp(score_of(k) - max);
    if (in.candidates > warp_size) d_score[k] = own;
    if (k == 0) continue;
    others += own;
    if (!(own == 0)) dot += own * (score_of(k) - of_report);
  }
  others = warp_sum(others);
  dot = warp_sum(dot);
  const double sum = others + exp(of_report - max);
#pragma unroll 1
  for (Index k = lane(); k < in.candidates; k += warp_size)
    d_score[k] = k == 0 ? -others / sum : (in.candidates > warp_size ? d_score[k] : own) / sum;
  if (lane() == 0) kept.dot[b] = dot / sum;
  return log(sum) + (max - of_report);
}

/// Forward: a block takes an image, its warps take turns at the candidates; the last block to end adds up.
template <class Scalar, int Width>
__global__ void __launch_bounds__(warp_size* most_scoring_warps, 4)
    score_perturbations(Perturbations<Scalar> in, KeptPerturbations kept, double* losses, unsigned* arrived,
                        float* loss) {
  auto& shared = shared_memory<PerturbationShared>();
  const Index b = static_cast<Index>(blockIdx.x);
#pragma unroll 1
  for (Index k = warp(); k < in.candidates; k += static_cast<Index>(blockDim.x) / warp_size) {
    if (in.is_valid(b, k)) {
      take_score<Scalar, Width>(in, kept, b, k, shared);
    } else if (lane() == 0) {
      const double score = k == 0 ? NAN : -INFINITY;
      kept.score[b * in.candidates + k] = score;
      if (k < warp_size) shared.score[k] = score;
      if (k == 0) kept.image_inverse[b] = NAN;
    }
  }
  __syncthreads();
  if (warp() == 0) {
    const double of_image = take_softmax(in, kept, b, shared);
    if (lane() == 0) losses[b] = of_image;
  }
  if (!last_block(arrived, shared.last)) return;
  double sum = 0, dot_sum = 0;
#pragma unroll 1
  for (Index i = static_cast<Index>(threadIdx.x); i < in.image.count; i += static_cast<Index>(blockDim.x)) {
    sum += losses[i];
    dot_sum += kept.dot[i];
  }
  sum = block_sum(sum, shared.losses);
  dot_sum = block_sum(dot_sum, shared.dots);
  if (threadIdx.x != 0) return;
  *kept.dot_sum = dot_sum;
  if (loss != nullptr) *loss = static_cast<float>(sum / static_cast<double>(in.image.count));
}

/// Where the gradients go; no data skips one.
template <class Scalar>
struct PerturbationGradients {
  Rows<Scalar> image;
  BatchRows<Scalar> text;
  float* log_scale;
  Into into;
};

/// Part of a gradient along x^ or y^ itself, which is subtracted because rows have unit length. It is 0 where
/// the norm was below the smallest, since x^ is linear in x there.
__device__ inline double along(double inverse, double dot) {
  constexpr double largest_inverse_norm = 1 / vlp::detail::smallest_norm;
  return inverse >= largest_inverse_norm ? 0 : dot;
}

/// With g the gradient for z, the gradient for x^ is of_image y, and the one for y is
/// inverse (weight x^ - along y^).
struct CandidateFactors {
  double of_image = 0;
  float inverse = 0, weight = 0, along = 0;
};
__device__ inline CandidateFactors candidate_factors(const KeptPerturbations& kept, Index at, double scale,
                                                     double factor) {
  const double inverse = kept.text_inverse[at], g = factor * kept.d_score[at];
  return {g * scale * inverse, static_cast<float>(inverse), static_cast<float>(g * scale),
          static_cast<float>(along(inverse, g * kept.score[at]))};
}

/// The factors of lane `from`. The whole warp calls this.
__device__ inline CandidateFactors of_lane(const CandidateFactors& own, int from) {
  return {__shfl_sync(whole_warp, own.of_image, from), __shfl_sync(whole_warp, own.inverse, from),
          __shfl_sync(whole_warp, own.weight, from), __shfl_sync(whole_warp, own.along, from)};
}

/// Writes, or adds, `value` as a piece of a gradient.
template <class Scalar, int Width>
__device__ void write_piece(Scalar* to, const float (&value)[Width], Into into) {
  auto& piece = *reinterpret_cast<Pack<Scalar, Width>*>(to);
  Pack<Scalar, Width> out;
  if (into == Into::add) out = piece;
#pragma unroll
  for (int e = 0; e < Width; ++e)
    out.value[e] = from_float<Scalar>(value[e] + (into == Into::add ? to_float(out.value[e]) : 0.0F));
  piece = out;
}

/// Backward: block (b, i) takes image b and the i-th run of features, a thread `Width` of these, over which
/// all candidates pass. Lanes work out the factors of 32 candidates at a time and hand them round.
template <class Scalar, int Width>
__global__ void __launch_bounds__(128, 4)
    differentiate_perturbations(Perturbations<Scalar> in, KeptPerturbations kept, double factor,
                                PerturbationGradients<Scalar> out) {
  using Piece = Pack<Scalar, Width>;
  constexpr int ahead = 5;  // candidates whose pieces are on their way while as many are worked on
  const Index b = static_cast<Index>(blockIdx.x);
  const Index d = (Index{blockIdx.y} * Index{blockDim.x} + Index{threadIdx.x}) * Width;
  const bool inside = d < in.features;
  // Threads beyond the row read its last piece, the report stands in for candidates that are not valid, and
  // the last candidate for those beyond it: loads under conditions wait for each other.
  const Index d_read = inside ? d : in.features - Width;
  const auto read = [&](Index first, Piece(&y)[ahead]) {
#pragma unroll
    for (int j = 0; j < ahead; ++j) {
      const Index k = min(first + j, in.candidates - 1);
      y[j] = *reinterpret_cast<const Piece*>(in.text(b, in.is_valid(b, k) ? k : 0) + d_read);
    }
  };
  Piece next[ahead];
  read(0, next);
  const Piece image = *reinterpret_cast<const Piece*>(in.image[b] + d_read);
  if (b == 0 && d == 0 && out.log_scale != nullptr)
    *out.log_scale =
        static_cast<float>(factor * *kept.dot_sum) + (out.into == Into::add ? *out.log_scale : 0.0F);
  if (out.image.data == nullptr && out.text.data == nullptr) return;

  const double inverse = kept.image_inverse[b], scale = in.scale();
  float x[Width] = {};
  double d_x[Width] = {};
#pragma unroll
  for (int e = 0; e < Width; ++e) x[e] = static_cast<float>(inverse) * to_float(image.value[e]);
  for (Index first = 0; first < in.candidates; first += warp_size) {
    const int count = static_cast<int>(min(in.candidates - first, Index{warp_size}));
    const bool is_valid = lane() < count && in.is_valid(b, first + lane());
    const unsigned valid = __ballot_sync(whole_warp, is_valid);
    CandidateFactors own;
    if (is_valid) own = candidate_factors(kept, b * in.candidates + first + lane(), scale, factor);
    for (int at = 0; at < count; at += ahead) {
      Piece y[ahead];
#pragma unroll
      for (int j = 0; j < ahead; ++j) y[j] = next[j];
      read(min(first + at + ahead, first + warp_size), next);
#pragma unroll
      for (int j = 0; j < ahead; ++j) {
        const CandidateFactors factors = of_lane(own, (at + j) % warp_size);
        if (!inside || at + j >= count) continue;
        const bool counts = (valid >> (at + j) & 1) != 0;
        float d_y[Width] = {};
#pragma unroll
        for (int e = 0; e < Width && counts; ++e) {
          const float v = to_float(y[j].value[e]);
          d_x[e] += factors.of_image * static_cast<double>(v);
          d_y[e] = factors.inverse * (factors.weight * x[e] - factors.along * (factors.inverse * v));
        }
        if (out.text.data != nullptr && (counts || out.into == Into::overwrite))
          write_piece<Scalar, Width>(out.text(b, first + at + j) + d, d_y, out.into);
      }
    }
  }
  if (!inside || out.image.data == nullptr) return;
  const double own_share = along(inverse, factor * kept.dot[b]);
  float value[Width];
#pragma unroll
  for (int e = 0; e < Width; ++e)
    value[e] = static_cast<float>(inverse * (d_x[e] - own_share * static_cast<double>(x[e])));
  write_piece<Scalar, Width>(out.image[b] + d, value, out.into);
}

}  // namespace cuda::detail

namespace detail {

/// Perturbation sensitivity of float, BFloat16 or Half embeddings. All pointers are in device memory, `valid`
/// included, so the host cannot check it: where a report (k = 0) is not valid, the loss
/// and the gradient of the log scale are NaN.
///
/// One launch each way, which reads every embedding once. Scores, norms and softmaxes are in double.
template <class ScalarType>
class PerturbationSensitivityBackend<ScalarType, Cuda> : PerturbationSensitivityInterface<ScalarType> {
  using Interface = PerturbationSensitivityInterface<ScalarType>;
  using Interface::name;
  using typename Interface::Accumulator, typename Interface::Gradients, typename Interface::Inputs,
      typename Interface::Options, typename Interface::Outputs, typename Interface::Scalar;

 public:
  using Device = Cuda;

  explicit PerturbationSensitivityBackend(const Options&) {}

  using State = cuda::detail::KeptPerturbations;

  State lay_out(SavedArrays<Device::Memory>& arrays, const Inputs& inputs) const {
    const Index batch = inputs.text.extent(0), candidates = inputs.text.extent(1);
    State out;
    out.image_inverse = arrays.template take<double>(batch);
    for (double** of_candidates : {&out.text_inverse, &out.score, &out.d_score})
      *of_candidates = arrays.template take_view<double>(batch, candidates).data();
    out.dot = arrays.template take<double>(batch);
    out.dot_sum = arrays.template take<double>(1);
    return out;
  }

  void forward(Device& device, const Inputs& inputs, const Outputs& outputs, const State& state) const {
    const Index batch = inputs.text.extent(0), candidates = inputs.text.extent(1);
    const Perturbations in = perturbations(inputs);
    const auto kernel = aligned(in) ? cuda::detail::score_perturbations<Scalar, cuda::pack_size<Scalar>>
                                    : cuda::detail::score_perturbations<Scalar, 1>;
    const auto warps = static_cast<unsigned>(std::min<Index>(candidates, cuda::detail::most_scoring_warps));
    auto scratch = device.scratch().scope();
    cuda::launch(kernel, cuda::blocks(batch), warps * cuda::warp_size,
                 sizeof(cuda::detail::PerturbationShared), device.stream(), in, state,
                 scratch.template take<double>(batch), device.arrived(), outputs.loss);
  }

  void backward(Device& device, const Inputs& inputs, const State& state, Accumulator upstream,
                const Gradients& gradients) const {
    const Perturbations in = perturbations(inputs);
    const cuda::detail::PerturbationGradients<Scalar> out{cuda::rows_of(gradients.image),
                                                          cuda::batch_rows_of(gradients.text),
                                                          gradients.log_scale, gradients.into};
    const bool by_packs = aligned(in) && out.image.aligned() && out.text.aligned();
    const Index pieces = by_packs ? in.features / cuda::pack_size<Scalar> : in.features;
    const auto kernel = by_packs ? cuda::detail::differentiate_perturbations<Scalar, cuda::pack_size<Scalar>>
                                 : cuda::detail::differentiate_perturbations<Scalar, 1>;
    const Index batch = inputs.image.rows();
    dim3 grid = cuda::blocks(batch);
    grid.y = cuda::blocks(pieces, most_pieces).x;
    const Index warps = cuda::blocks(pieces, Index{grid.y} * cuda::warp_size).x;
    cuda::launch(kernel, grid, static_cast<unsigned>(warps * cuda::warp_size), 0, device.stream(), in, state,
                 static_cast<double>(upstream) / static_cast<double>(batch), out);
  }

 private:
  using Perturbations = cuda::detail::Perturbations<Scalar>;
  static constexpr Index most_pieces = 128;  // of a backward block, a thread each

  [[nodiscard]] static Perturbations perturbations(const Inputs& inputs) {
    return {cuda::rows_of(inputs.image), cuda::batch_rows_of(inputs.text),
            cuda::rows_of(inputs.valid), inputs.text.extent(1),
            inputs.text.extent(2),       inputs.log_scale};
  }

  /// Says whether rows are whole packs of 16 bytes.
  [[nodiscard]] static bool aligned(const Perturbations& in) {
    return in.image.aligned() && in.text.aligned() && in.features % cuda::pack_size<Scalar> == 0;
  }
};

}  // namespace detail

static_assert(Loss<PerturbationSensitivity<float, Cuda>>);

}  // namespace vlp
