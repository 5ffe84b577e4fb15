/// \file
/// InfoNCE whose scores are products of cuBLAS, to be timed beside vlp::InfoNce, which computes them in
/// tiles.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/op.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/cuda/core/check.cuh>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/matmul.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/finish_contrast.cuh>
#include <vlp/cuda/losses/detail/gradient_products.cuh>
#include <vlp/cuda/losses/detail/pair_gradients.cuh>
#include <vlp/cuda/losses/detail/unit_rows.cuh>
#include <vlp/losses/detail/loss_shell.hpp>
#include <vlp/losses/info_nce.hpp>
#include <vlp/losses/loss.hpp>

#include <algorithm>
#include <string_view>
#include <type_traits>

namespace vlp::benchmarks {

/// A block of dot products of rows of images and of texts, as cuBLAS leaves it, and what turns it into scores
/// S = scale factor_row factor_column dot.
template <class Stored>
struct ScoreBlock {
  cuda::Rows<Stored> dots;  // [rows, columns], rows aligned to 16 bytes
  Index columns;
  Index first_row, first_column;            // of the batch
  const float *row_factor, *column_factor;  // [B]
  const float* log_scale;
};

/// Part of a block of scores that a block of eight warps takes: a warp 32 packs of 16 bytes side by side, in
/// 32 rows below each other; the warps lie below each other, too.
template <class Stored>
struct ScorePart {
  static constexpr int wide = cuda::pack_size<Stored>;  // columns of a lane
  static constexpr int columns = cuda::warp_size * wide, warp_rows = 32, rows = 8 * warp_rows;
  static constexpr int ahead = 8;  // rows whose dot products are on their way at once
  using Dots = cuda::Pack<Stored, wide>;

  [[nodiscard]] static dim3 grid(const ScoreBlock<Stored>& block) {
    dim3 out = cuda::blocks(block.columns, columns);
    out.y = cuda::blocks(block.dots.count, rows).x;
    return out;
  }
};

template <class Stored>
struct SumScoresShared {
  float column[8][ScorePart<Stored>::columns];
};

/// Sums of eight numbers over all lanes: lane l gets that of number l / 4. Nine shuffles instead of forty.
__device__ inline float sum_of_eight(float (&x)[8]) {
#pragma unroll
  for (int apart = 16; apart >= 4; apart /= 2) {
    const bool upper = (cuda::lane() & apart) != 0;
#pragma unroll
    for (int k = 0; k < apart / 4; ++k) {
      const float other = __shfl_xor_sync(cuda::whole_warp, upper ? x[k] : x[k + apart / 4], apart);
      x[k] = (upper ? x[k + apart / 4] : x[k]) + other;
    }
  }
  x[0] += __shfl_xor_sync(cuda::whole_warp, x[0], 2);
  return x[0] + __shfl_xor_sync(cuda::whole_warp, x[0], 1);
}

/// Sums of exp(S - scale) over the part of each row and column that a block of threads has, to row_sums
/// [column parts, rows] and column_sums [row parts, columns]; and S[i, i] to `own` [B]. The scale bounds all
/// scores, so no maximum is taken; exp(-2 scale) must be a float, which it is up to a scale of 40.
template <class Stored>
__global__ void __launch_bounds__(256)
    sum_score_block(ScoreBlock<Stored> block, float* row_sums, float* column_sums, float* own) {
  using Part = ScorePart<Stored>;
  auto& shared = cuda::shared_memory<SumScoresShared<Stored>>();
  const float scale = cuda::detail::scale_of(block.log_scale);
  const Index column = Index{blockIdx.x} * Part::columns + cuda::lane() * Part::wide;
  const Index first = Index{blockIdx.y} * Part::rows + cuda::warp() * Part::warp_rows;
  const Index end = min(first + Part::warp_rows, block.dots.count);
  float factor[Part::wide], column_sum[Part::wide] = {};
#pragma unroll
  for (int c = 0; c < Part::wide; ++c)
    factor[c] = column + c < block.columns ? scale * block.column_factor[block.first_column + column + c] : 0;
  for (Index row = first; row < end; row += Part::ahead) {
    typename Part::Dots dots[Part::ahead];
#pragma unroll
    for (int k = 0; k < Part::ahead; ++k)
      if (row + k < end && column < block.columns)
        dots[k] = *reinterpret_cast<const typename Part::Dots*>(block.dots[row + k] + column);
    float row_sum[Part::ahead] = {};
#pragma unroll
    for (int k = 0; k < Part::ahead; ++k) {
      if (row + k >= end) continue;
      const Index i = block.first_row + row + k;
      const float of_row = block.row_factor[i];
#pragma unroll
      for (int c = 0; c < Part::wide; ++c) {
        if (column + c >= block.columns) continue;
        const float dot = cuda::to_float(dots[k].value[c]) * of_row;
        if (block.first_column + column + c == i) own[i] = dot * factor[c];
        const float e = cuda::exp_below(fmaf(dot, factor[c], -scale));
        row_sum[k] += e;
        column_sum[c] += e;
      }
    }
    const float sum = sum_of_eight(row_sum);
    const Index r = row + cuda::lane() / 4;
    if (cuda::lane() % 4 == 0 && r < end) row_sums[Index{blockIdx.x} * block.dots.count + r] = sum;
  }
#pragma unroll
  for (int c = 0; c < Part::wide; ++c)
    shared.column[cuda::warp()][cuda::lane() * Part::wide + c] = column_sum[c];
  __syncthreads();
  const int thread = static_cast<int>(threadIdx.x);
  const Index own_column = Index{blockIdx.x} * Part::columns + thread;
  if (thread >= Part::columns || own_column >= block.columns) return;
  float sum = 0;
  for (int w = 0; w < 8; ++w) sum += shared.column[w][thread];
  column_sums[Index{blockIdx.y} * block.columns + own_column] = sum;
}

/// Adds the parts' sums [parts, count] to those of rows or columns, which begin with `first`.
inline __global__ void __launch_bounds__(256)
    merge_parts(const float* parts, int part_count, Index count, bool first, const float* log_scale,
                cuda::detail::SideSums out) {
  const Index i = static_cast<Index>(blockIdx.x) * 256 + threadIdx.x;
  if (i >= count) return;
  float sum = first ? 0 : out.sum[i];
  for (int part = 0; part < part_count; ++part) sum += parts[part * count + i];
  out.store(i, {cuda::detail::scale_of(log_scale), sum});
}

/// Sums the share of target scores in the loss, by one block.
inline __global__ void __launch_bounds__(1024)
    sum_own_scores(const float* own, Index batch, float weight, double* target_score) {
  const double sum = cuda::block_sum_of(own, batch, cuda::shared_memory<cuda::BlockRoom<double>>());
  if (threadIdx.x == 0) *target_score = static_cast<double>(weight) * sum;
}

/// From dot products to B dL/dS times the factors of row and column, written to `out`, which may be the same
/// memory. A thread takes a pack.
template <class Stored, class Scalar>
__global__ void __launch_bounds__(256)
    differentiate_score_block(ScoreBlock<Stored> block, cuda::detail::SideSums rows,
                              cuda::detail::SideSums columns, float row_weight, float column_weight,
                              cuda::Rows<Scalar> out) {
  using Part = ScorePart<Stored>;
  const Index column = (Index{blockIdx.x} * cuda::warp_size + cuda::lane()) * Part::wide;
  const Index first = Index{blockIdx.y} * Part::rows + cuda::warp() * Part::warp_rows;
  const Index end = min(first + Part::warp_rows, block.dots.count);
  const float scale = cuda::detail::scale_of(block.log_scale);
  if (column >= block.columns) return;
  float factor[Part::wide], of_column[Part::wide];
#pragma unroll
  for (int c = 0; c < Part::wide; ++c) {
    const Index j = min(block.first_column + column + c, block.first_column + block.columns - 1);
    factor[c] = block.column_factor[j];
    of_column[c] = __fdividef(column_weight, columns.sum[j]);
  }
#pragma unroll 4
  for (Index row = first; row < end; ++row) {
    const auto dots = *reinterpret_cast<const typename Part::Dots*>(block.dots[row] + column);
    const Index i = block.first_row + row;
    const float row_factor = block.row_factor[i], of_row = __fdividef(row_weight, rows.sum[i]);
    cuda::Pack<Scalar, Part::wide> gradient;
#pragma unroll
    for (int c = 0; c < Part::wide; ++c) {
      const float factors = row_factor * factor[c];
      const float e = cuda::exp_below(scale * fmaf(cuda::to_float(dots.value[c]), factors, -1.0F));
      const float own = block.first_column + column + c == i ? row_weight + column_weight : 0.0F;
      gradient.value[c] = cuda::from_float<Scalar>((e * (of_row + of_column[c]) - own) * factors);
    }
    *reinterpret_cast<cuda::Pack<Scalar, Part::wide>*>(out[row] + column) = gradient;
  }
}

/// Arguments of InfoNceByCublas and their checks: those of InfoNce, without what this form does not have.
template <class Scalar>
struct InfoNceByCublasInterface : InfoNceInterface<Scalar> {
  static constexpr std::string_view name = "info_nce_by_cublas";

  static void check_options(const InfoNceOptions& options) {
    InfoNceInterface<Scalar>::check_options(options);
    require(options.label_smoothing == 0 && options.kept_score_bytes == 0, name,
            ": has neither smoothed labels nor kept scores");
    require(!vlp::detail::has_margin(options), name, ": has no false_negative_margin");
  }

  static void check_inputs(const typename InfoNceInterface<Scalar>::Inputs& inputs,
                           const InfoNceOptions& options) {
    InfoNceInterface<Scalar>::check_inputs(inputs, options);
    const PairBlock block = inputs.block.of(inputs.image.rows(), inputs.text.rows());
    require(inputs.group.empty() && !inputs.valid.given(), name, ": has neither groups nor valid texts");
    require(block.images == block.texts && block.first_image == 0 && block.first_text == 0, name,
            ": takes square batches only");
  }
};

/// Computes InfoNceByCublas; see vlp::detail::LossShell.
template <class ScalarType, class Stored>
class InfoNceByCublasBackend : InfoNceByCublasInterface<ScalarType> {
  using Interface = InfoNceByCublasInterface<ScalarType>;
  using typename Interface::Accumulator, typename Interface::Gradients, typename Interface::Inputs,
      typename Interface::Options, typename Interface::Outputs, typename Interface::Scalar;
  static_assert(std::is_same_v<Scalar, BFloat16>, "factors of norms are beyond the range of Half");

 public:
  using Device = Cuda;

  struct State {
    cuda::detail::UnitRowPairs<Scalar> unit_rows;
    ContrastSums<Accumulator> sums;
  };

  explicit InfoNceByCublasBackend(const Options& options) : options_(options) {}

  State lay_out(vlp::detail::SavedArrays<Cuda::Memory>& arrays, const Inputs& inputs) const {
    const Index batch = inputs.image.rows();
    State out;
    out.unit_rows = {arrays, batch, batch, inputs.image.cols()};
    for (auto* side : {&out.sums.rows, &out.sums.columns})
      *side = {arrays.template take_view<Accumulator>(batch), arrays.template take_view<Accumulator>(batch)};
    out.sums.target_score = arrays.template take<double>(1);
    return out;
  }

  void forward(Device& device, const Inputs& inputs, const Outputs& outputs, const State& state) const {
    const Index batch = inputs.image.rows();
    state.unit_rows.measure(device, inputs.image, inputs.text);
    auto scratch = device.scratch().scope();
    float* own = scratch.take<float>(batch);
    const cuda::detail::BlockExtents extents(device, batch, batch, sizeof(Stored));
    Stored* dots = scratch.take<Stored>(extents.rows * extents.columns);
    using Part = ScorePart<Stored>;
    const auto parts = [](Index count, Index each) { return (count + each - 1) / each; };
    float* row_sums = scratch.take<float>(parts(extents.columns, Part::columns) * extents.rows);
    float* column_sums = scratch.take<float>(parts(extents.rows, Part::rows) * extents.columns);
    for (Index row = 0; row < batch; row += extents.rows)
      for (Index column = 0; column < batch; column += extents.columns) {
        const ScoreBlock<Stored> block = multiply(
            device, inputs, state,
            {row, std::min(extents.rows, batch - row), column, std::min(extents.columns, batch - column)},
            {dots, 0, extents.columns});
        const dim3 grid = Part::grid(block);
        cuda::launch(sum_score_block<Stored>, grid, 256, sizeof(SumScoresShared<Stored>), device.stream(),
                     block, row_sums, column_sums, own);
        merge(device, row_sums, grid.x, column == 0, inputs, state.sums.rows, row, block.dots.count);
        merge(device, column_sums, grid.y, row == 0, inputs, state.sums.columns, column, block.columns);
      }
    if (outputs.loss == nullptr) return;
    cuda::launch(sum_own_scores, 1, 1024, sizeof(cuda::BlockRoom<double>), device.stream(), own, batch,
                 weight(0) + weight(1), state.sums.target_score);
    cuda::detail::finish_share(device, inputs.block.of(batch, batch), state.sums,
                               options_.image_to_text_weight, options_.text_to_image_weight, outputs.loss);
  }

  void backward(Device& device, const Inputs& inputs, const State& state, Accumulator upstream,
                const Gradients& gradients) const {
    const Index batch = inputs.image.rows();
    const auto image = state.unit_rows.first(inputs.image), text = state.unit_rows.second(inputs.text, batch);
    const float factor = upstream / static_cast<float>(batch);
    auto scratch = device.scratch().scope();
    float* dots = scratch.take<float>(batch);
    const auto extents = cuda::detail::gradient_blocks<Scalar>(device, batch, batch, inputs.image.cols());
    Stored* stored = nullptr;  // scores of the gradients' type are overwritten by them
    if constexpr (!std::is_same_v<Stored, Scalar>)
      stored = scratch.take<Stored>(extents.rows * extents.columns);
    cuda::detail::gradient_products<Scalar>(
        device, {image.operand, text.operand, inputs.image.cols()},
        [&](const cuda::detail::BlockPlace& place, cuda::Rows<Scalar> out) {
          cuda::Rows<Stored> to{stored, 0, out.stride};
          if constexpr (std::is_same_v<Stored, Scalar>) to = out;
          const ScoreBlock<Stored> block = multiply(device, inputs, state, place, to);
          cuda::launch(differentiate_score_block<Stored, Scalar>, ScorePart<Stored>::grid(block), 256, 0,
                       device.stream(), block, cuda::detail::SideSums(state.sums.rows),
                       cuda::detail::SideSums(state.sums.columns), weight(0), weight(1), out);
        },
        cuda::detail::GradientSide{
            cuda::detail::FinishUnitRows<Scalar>{image, inputs.log_scale, factor},
            cuda::detail::GradientRows<Scalar>{cuda::rows_of(gradients.image), gradients.into, dots}},
        cuda::detail::GradientSide{
            cuda::detail::FinishUnitRows<Scalar>{text, inputs.log_scale, factor},
            cuda::detail::GradientRows<Scalar>{cuda::rows_of(gradients.text), gradients.into, nullptr}});
    if (gradients.log_scale != nullptr)
      cuda::detail::write_sum(device, dots, batch, 1, gradients.into, gradients.log_scale);
  }

 private:
  [[nodiscard]] float weight(int side) const {
    return static_cast<float>(side == 0 ? options_.image_to_text_weight : options_.text_to_image_weight);
  }

  /// Dot products of the images and texts of a block, queued to be written to `to`.
  static ScoreBlock<Stored> multiply(Device& device, const Inputs& inputs, const State& state,
                                     const cuda::detail::BlockPlace& place, cuda::Rows<Stored> to) {
    const auto image = state.unit_rows.first(inputs.image),
               text = state.unit_rows.second(inputs.text, inputs.image.rows());
    const float one = 1, zero = 0;
    const auto type = cuda::data_type<Scalar>;
    cuda::check(
        cublasGemmEx_64(device.cublas(), CUBLAS_OP_T, CUBLAS_OP_N, place.columns, place.rows,
                        inputs.image.cols(), &one, text.operand[place.column], type, text.operand.stride,
                        image.operand[place.row], type, image.operand.stride, &zero, to.data,
                        cuda::data_type<Stored>, to.stride, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
        "product of embeddings");
    return {{to.data, place.rows, to.stride},
            place.columns,
            place.row,
            place.column,
            image.factor,
            text.factor,
            inputs.log_scale};
  }

  static void merge(Device& device, const float* parts, unsigned part_count, bool first, const Inputs& inputs,
                    const LogSumExps<Accumulator>& side, Index begin, Index count) {
    cuda::launch(merge_parts, cuda::blocks(count, 256), 256, 0, device.stream(), parts,
                 static_cast<int>(part_count), count, first, inputs.log_scale,
                 cuda::detail::SideSums({side.max.slice(begin, count), side.sum.slice(begin, count)}));
  }

  Options options_;
};

/// InfoNCE without groups, smoothing or kept scores. Scores leave cuBLAS as `Stored`: float, or `Scalar`,
/// which rounds them as PyTorch's autocast does but takes half the memory traffic.
template <class Scalar, class Stored>
class InfoNceByCublas : public vlp::detail::LossShell<InfoNceByCublasInterface<Scalar>, Cuda,
                                                      InfoNceByCublasBackend<Scalar, Stored>> {
 public:
  using InfoNceByCublas::LossShell::LossShell;
};

}  // namespace vlp::benchmarks
