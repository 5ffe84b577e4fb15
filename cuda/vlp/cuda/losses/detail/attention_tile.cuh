/// \file
/// The two softmaxes of local alignment, for some words and the regions of some images.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/packed_words.cuh>

#include <cmath>

namespace vlp::cuda::detail {

/// Temperatures of attention up to this one take no maximum: exp(+-tame) is far inside the range of every
/// type.
inline constexpr float tame_temperature = 10;

/// Rows are the words of a strip (see WordRows), and after them those that belong to its last report. Columns
/// are the regions of some images side by side. In memory there is one tile at a time.
///
/// Attention is often near uniform, since many words share each region, and 16 bits would round away what it
/// tells. So what is stored of a row a is not a_r but its deviation, a_r - base, and in one column more, R,
/// base 2^k: as if there were a region more, the sum of all over 2^k. Rows are not divided by their sum yet;
/// base is 1, or at high temperatures what belongs to a largest a_r of 1.
///
/// Rows that are no words of this strip take part in products, so kernels leave 0 there.
template <class Scalar>
struct AttentionTile {
  WordRows words;
  int strip, first_row, rows;
  int first_image, images;
  int regions, padded;       // R, and R + 1 in whole packs of 16 bytes
  float mean_scale;          // 2^k
  float temperature;         // of attention
  Rows<const float> scores;  // A [rows, images R]
  // (image, row): A2 [images, rows, padded] by deviations, see above; 0 in padding
  BatchRows<Scalar> attention;
  float* inverse_sum;  // [images, rows] what attention is to be multiplied by
  Softmax* softmax;    // [reports of the strip, images R]

  [[nodiscard]] __device__ int first_report() const { return words.first_report[strip]; }
  [[nodiscard]] __device__ int last_report() const { return words.first_report[strip + 1]; }
  [[nodiscard]] __device__ int row_of(int report) const { return words.begin[report] - first_row; }
  /// The rows of this strip's words.
  [[nodiscard]] __device__ int begin() const { return min(max(row_of(first_report()), 0), rows); }
  [[nodiscard]] __device__ int end() const { return min(max(row_of(last_report()), 0), rows); }

  [[nodiscard]] __device__ const float* scores_of(int image, int row) const {
    return scores[row] + image * regions;
  }
  [[nodiscard]] __device__ Softmax* softmax_of(int image, int report) const {
    return softmax + (Index{report - first_report()} * images + image) * regions;
  }

  /// Calls visit(row), a warp a row, for the rows of no word of this strip: their shares of the grid's
  /// blocks.
  template <class Visit>
  __device__ void for_each_other_row(Visit&& visit) const {
    const int first = begin(), last = end(), others = first + rows - last, warps = blockDim.x / warp_size;
    for (int k = static_cast<int>(blockIdx.x) * warps + warp(); k < others; k += gridDim.x * warps)
      visit(k < first ? k : k - first + last);
  }
};

/// Columns [first, first + 32 Columns) of an image's regions: lane l has first + l, first + l + 32, ...
template <int Columns>
struct ColumnChunk {
  static constexpr int size = Columns * warp_size;
  int first, regions;

  [[nodiscard]] __device__ int column(int c) const { return first + c * warp_size + lane(); }
  [[nodiscard]] __device__ bool has(int c) const { return column(c) < regions; }
};

template <int Columns>
struct AttendShared {
  LogSumExp sum[8][ColumnChunk<Columns>::size];
};

/// The softmax over the words of one report for all regions of one image, to out [R]; by the whole block.
template <int Columns, class Scalar>
__device__ void take_word_softmax(const AttentionTile<Scalar>& tile, int image, int row, int count,
                                  AttendShared<Columns>& shared, Softmax* out) {
  using Chunk = ColumnChunk<Columns>;
  constexpr int ahead = 4;  // rows whose scores are on their way at once
  for (int first = 0; first < tile.regions; first += Chunk::size) {
    const Chunk chunk{first, tile.regions};
    const Index stride = 8 * tile.scores.stride;
    const float* scores = tile.scores_of(image, row + warp()) + chunk.column(0);
    LogSumExp sum[Columns];
    for (int w = warp(); w < count; w += 8 * ahead) {
      float x[Columns][ahead];
#pragma unroll
      for (int a = 0; a < ahead; ++a) {
        const bool is_word = w + 8 * a < count;
#pragma unroll
        for (int c = 0; c < Columns; ++c)
          x[c][a] = is_word && chunk.has(c) ? scores[c * warp_size] : -INFINITY;
        scores += stride;
      }
#pragma unroll
      for (int c = 0; c < Columns; ++c) {
        float max = sum[c].max;
#pragma unroll
        for (int a = 0; a < ahead; ++a) max = fmaxf(max, x[c][a]);
        sum[c].sum *= exp_below(sum[c].max - max);
#pragma unroll
        for (int a = 0; a < ahead; ++a) sum[c].sum += exp_below(x[c][a] - max);
        sum[c].max = max;
      }
    }
#pragma unroll
    for (int c = 0; c < Columns; ++c) shared.sum[warp()][c * warp_size + lane()] = sum[c];
    __syncthreads();
    const int thread = static_cast<int>(threadIdx.x);
    if (thread < Chunk::size && first + thread < tile.regions) {
      LogSumExp all = shared.sum[0][thread];
#pragma unroll
      for (int w = 1; w < 8; ++w) all.add(shared.sum[w][thread]);
      out[first + thread] = {all.max, 1 / all.sum};
    }
    __syncthreads();
  }
}

/// A warp's chunk of a Softmax, read again only where a row has more than one chunk.
template <int Columns>
struct LaneSoftmax {
  Softmax column[Columns];

  __device__ void load(const Softmax* from, const ColumnChunk<Columns>& chunk) {
#pragma unroll
    for (int c = 0; c < Columns; ++c) column[c] = chunk.has(c) ? from[chunk.column(c)] : Softmax{0, 0};
  }
};

/// Forward, and again in backward: from scores to attention. Block (x, i) takes every gridDim.x-th report of
/// the strip in image i: first the softmax over the words for each region, then, a warp a word, the one over
/// the regions, for which the scores come from L1.
///
/// Writes, unless null, dot [images, dot_stride] = <t_w, c_w>, and the divided attention of matched pairs.
/// OneChunk: R is 32 Columns at most.
template <class Scalar, int Columns, bool OneChunk>
__global__ void __launch_bounds__(256, 4)
    attend(AttentionTile<Scalar> tile, float* dot, Index dot_stride, BatchRows<Scalar> matched) {
  using Chunk = ColumnChunk<Columns>;
  auto& shared = shared_memory<AttendShared<Columns>>();
  const int image = static_cast<int>(blockIdx.y);
  const int last_report = tile.last_report();
  for (int report = tile.first_report() + static_cast<int>(blockIdx.x); report < last_report;
       report += static_cast<int>(gridDim.x)) {
    const int begin = tile.row_of(report), count = tile.words.count(report);
    Softmax* const softmax = tile.softmax_of(image, report);
    take_word_softmax<Columns>(tile, image, begin, count, shared, softmax);

    LaneSoftmax<Columns> of_lane;
    if (OneChunk) of_lane.load(softmax, {0, tile.regions});
    // Calls visit(column, score, weight) for all columns of a row that are the lane's; score and weight of
    // what is no region are 0.
    const auto for_each_column = [&](const float* row_scores, auto&& visit) {
      for (int first = 0; OneChunk ? first == 0 : first < tile.regions; first += Chunk::size) {
        const Chunk chunk{first, tile.regions};
        if (!OneChunk) of_lane.load(softmax, chunk);
        float score[Columns];
#pragma unroll
        for (int c = 0; c < Columns; ++c) score[c] = chunk.has(c) ? row_scores[chunk.column(c)] : 0;
#pragma unroll
        for (int c = 0; c < Columns; ++c) visit(chunk.column(c), score[c], of_lane.column[c](score[c]));
      }
    };
    const float* scores = tile.scores_of(image, begin + warp());
    Scalar* attention = tile.attention(image, begin + warp());
    const bool is_tame = tile.temperature <= tame_temperature;
    const float mean_weight = 1 / static_cast<float>(count);  // of a word, if all are alike
    for (int row = begin + warp(); row < begin + count;
         row += 8, scores += 8 * tile.scores.stride, attention += 8 * tile.attention.stride) {
      float top = mean_weight, base = 1;
      auto mean = from_float<Scalar>(tile.mean_scale);
      if (!is_tame) {
        top = 0;
        for_each_column(scores, [&](int, float, float weight) { top = fmaxf(top, weight); });
        top = warp_max(top);
        base = exp_below(tile.temperature * fminf(mean_weight - top, 0));
        mean = from_float<Scalar>(base * tile.mean_scale);
        base = to_float(mean) / tile.mean_scale;
      }
      float sum = 0, sum_of_scores = 0;
      for_each_column(scores, [&](int column, float score, float weight) {
        // What later products are made of is what is summed: rounded.
        const float logit = tile.temperature * (weight - top);
        const auto a = from_float<Scalar>(is_tame ? exp_minus_one(logit) : exp_below(logit) - base);
        if (column >= tile.regions) return;
        attention[column] = a;
        sum += to_float(a);
        sum_of_scores = fmaf(base + to_float(a), score, sum_of_scores);
      });
      const int beyond = tile.regions + lane();
      if (beyond < tile.padded) attention[beyond] = lane() == 0 ? mean : from_float<Scalar>(0);
      const float inverse = 1 / fmaf(base, static_cast<float>(tile.regions), warp_sum(sum));
      sum_of_scores = warp_sum(sum_of_scores);
      if (lane() == 0) {
        tile.inverse_sum[Index{image} * tile.rows + row] = inverse;
        if (dot != nullptr) dot[image * dot_stride + row] = inverse * sum_of_scores;
      }
      if (matched.data == nullptr || tile.first_image + image != report) continue;
      Scalar* const out = matched(report, row - begin);
      for (int r = lane(); r < tile.regions; r += warp_size)  // each lane those it has written itself
        out[r] = from_float<Scalar>(inverse * (base + to_float(attention[r])));
    }
  }
  tile.for_each_other_row([&](int row) {
    for (int r = lane(); r < tile.padded; r += warp_size)
      tile.attention(image, row)[r] = from_float<Scalar>(0);
    if (lane() == 0) tile.inverse_sum[Index{image} * tile.rows + row] = 0;
  });
}

}  // namespace vlp::cuda::detail
