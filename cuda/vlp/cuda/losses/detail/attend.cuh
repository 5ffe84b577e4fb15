/// \file
/// The two softmaxes of local alignment: from scores to attention.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/attend_few_regions.cuh>
#include <vlp/cuda/losses/detail/attention_tile.cuh>

#include <cmath>
#include <cstddef>

namespace vlp::cuda::detail {

/// Columns that a lane has of a chunk of regions.
inline constexpr int attend_columns = 8;

struct AttendShared {
  WordSum sum[8][ColumnChunk<attend_columns>::size];
};

/// The softmax over the words of one report for all regions of one image, to out [R]; by the whole block.
template <class Scalar>
__device__ void take_word_softmax(const AttentionTile<Scalar>& tile, int image, int row, int count,
                                  AttendShared& shared, WordSoftmax* out) {
  constexpr int columns = attend_columns;
  using Chunk = ColumnChunk<columns>;
  constexpr int ahead = 4;  // rows whose scores are on their way at once
  for (int first = 0; first < tile.regions; first += Chunk::size) {
    const Chunk chunk{first, tile.regions};
    const Index stride = 8 * tile.scores.stride;
    const float* scores = tile.scores_of(image, row + warp()) + chunk.column(0);
    WordSum sum[columns];
    for (int w = warp(); w < count; w += 8 * ahead) {
      float x[columns][ahead];
#pragma unroll
      for (int a = 0; a < ahead; ++a) {
        const bool is_word = w + 8 * a < count;
#pragma unroll
        for (int c = 0; c < columns; ++c)
          x[c][a] = is_word && chunk.has(c) ? scores[c * warp_size] : -INFINITY;
        scores += stride;
      }
#pragma unroll
      for (int c = 0; c < columns; ++c) sum[c].add(x[c]);
    }
#pragma unroll
    for (int c = 0; c < columns; ++c) shared.sum[warp()][c * warp_size + lane()] = sum[c];
    __syncthreads();
    const int thread = static_cast<int>(threadIdx.x);
    if (thread < Chunk::size && first + thread < tile.regions) {
      WordSum all = shared.sum[0][thread];
#pragma unroll
      for (int w = 1; w < 8; ++w) all.add(shared.sum[w][thread]);
      out[first + thread] = {all.max, 1 / all.sum};
    }
    __syncthreads();
  }
}

/// Forward, and again in backward: from scores to attention, for any R. Block (x, i) takes every gridDim.x-th
/// report of the strip in image i: first the softmax over the words for each region, then, a warp a word, the
/// one over the regions, for which the scores come from L1.
///
/// Writes, unless null, dot [images, dot_stride] = <t_w, c_w>, and the divided attention of matched pairs.
/// IsSafe: see RegionSoftmax. OneChunk: R is 32 attend_columns at most.
template <class Scalar, bool IsSafe, bool OneChunk>
__global__ void __launch_bounds__(256, 4)
    attend(AttentionTile<Scalar> tile, float* dot, Index dot_stride, MatchedAttention<Scalar> matched) {
  constexpr int columns = attend_columns;
  using Chunk = ColumnChunk<columns>;
  auto& shared = shared_memory<AttendShared>();
  const int image = static_cast<int>(blockIdx.y);
  const int last_report = tile.last_report();
  const float factor = log2_e * tile.temperature;
  for (int report = tile.first_report() + static_cast<int>(blockIdx.x); report < last_report;
       report += static_cast<int>(gridDim.x)) {
    const int begin = tile.row_of(report), count = tile.words.count(report);
    WordSoftmax* const softmax = tile.softmax_of(image, report);
    take_word_softmax(tile, image, begin, count, shared, softmax);

    LaneSoftmax<columns> of_lane;  // read again only where a row has more than one chunk
    if (OneChunk) of_lane.load(softmax, Chunk{0, tile.regions}, factor);
    // Calls visit(column, score, logit) for all columns of a row that are the lane's; score and logit of what
    // is no region are 0.
    const auto for_each_column = [&](const float* row_scores, auto&& visit) {
      for (int first = 0; OneChunk ? first == 0 : first < tile.regions; first += Chunk::size) {
        const Chunk chunk{first, tile.regions};
        if (!OneChunk) of_lane.load(softmax, chunk, factor);
        float score[columns];
#pragma unroll
        for (int c = 0; c < columns; ++c) score[c] = chunk.has(c) ? row_scores[chunk.column(c)] : 0;
#pragma unroll
        for (int c = 0; c < columns; ++c) visit(chunk.column(c), score[c], of_lane.column[c](score[c]));
      }
    };
    const float* scores = tile.scores_of(image, begin + warp());
    Scalar* attention = tile.attention(image, begin + warp());
    const float uniform = __fdividef(factor, static_cast<float>(count));
    for (int row = begin + warp(); row < begin + count;
         row += 8, scores += 8 * tile.scores.stride, attention += 8 * tile.attention.stride) {
      float largest = 0;
      if (!IsSafe) {
        for_each_column(scores, [&](int, float, float logit) { largest = fmaxf(largest, logit); });
        largest = warp_max(largest);
      }
      const RegionSoftmax<Scalar, IsSafe> of_row(uniform, largest, tile.mean_scale);
      AttentionSums sums;
      for_each_column(scores, [&](int column, float score, float logit) {
        const auto a = from_float<Scalar>(of_row.deviation(logit));
        if (column >= tile.regions) return;
        attention[column] = a;
        sums.add(of_row.base, to_float(a), score);
      });
      const int beyond = tile.regions + lane();
      if (beyond < tile.padded) attention[beyond] = lane() == 0 ? of_row.mean : from_float<Scalar>(0);
      const float inverse = inverse_of_sum(of_row.base, tile.regions, warp_sum(sums.deviation));
      const float product = warp_sum(sums.product);
      if (lane() == 0) {
        tile.inverse_sum[Index{image} * tile.rows + row] = inverse;
        if (dot != nullptr) dot[image * dot_stride + row] = dot_of(inverse, product);
      }
    }
    write_matched(tile, image, report, matched);
  }
  clear_other_rows(tile, image);
}

/// A kernel that makes attention of scores, and what a block of it takes.
template <class Scalar>
struct AttendKernel {
  void (*kernel)(AttentionTile<Scalar>, float*, Index, MatchedAttention<Scalar>);
  unsigned threads;
  std::size_t shared_bytes;
};

template <class Scalar, class Columns, bool IsSafe>
[[nodiscard]] AttendKernel<Scalar> attend_few_kernel(bool wants_dot) {
  return {wants_dot ? attend_few<Scalar, Columns, IsSafe, true> : attend_few<Scalar, Columns, IsSafe, false>,
          attend_few_threads, sizeof(AttendFewShared)};
}

template <class Scalar, bool IsSafe>
[[nodiscard]] AttendKernel<Scalar> attend_kernel(int regions, bool wants_dot) {
  if (GridColumns::hold(regions)) return attend_few_kernel<Scalar, GridColumns, IsSafe>(wants_dot);
  if (AnyFewColumns::hold(regions)) return attend_few_kernel<Scalar, AnyFewColumns, IsSafe>(wants_dot);
  const bool is_one_chunk = regions <= ColumnChunk<attend_columns>::size;
  return {is_one_chunk ? attend<Scalar, IsSafe, true> : attend<Scalar, IsSafe, false>, 256,
          sizeof(AttendShared)};
}

/// The kernel for a tile.
template <class Scalar>
[[nodiscard]] AttendKernel<Scalar> attend_kernel(const AttentionTile<Scalar>& tile, bool wants_dot) {
  return tile.temperature <= safe_temperature ? attend_kernel<Scalar, true>(tile.regions, wants_dot)
                                              : attend_kernel<Scalar, false>(tile.regions, wants_dot);
}

}  // namespace vlp::cuda::detail
