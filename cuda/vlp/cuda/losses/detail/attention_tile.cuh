/// \file
/// The two softmaxes of local alignment, for some words and the regions of some images.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/packed_words.cuh>

namespace vlp::cuda::detail {

/// Temperatures of attention up to this one take no maximum: exp(+-safe_temperature) is far inside the range
/// of every type.
inline constexpr float safe_temperature = 10;

/// log2 sum_k 2^x_k = max + log2(sum): of the scores of a report's words for one region. A NaN or +inf makes
/// the sum NaN; -inf adds nothing.
struct WordSum {
  float max = -3.402823466e38F;
  float sum = 0;

  template <int Count>
  __device__ void add(const float (&x)[Count]) {
    float all = max;
#pragma unroll
    for (int k = 0; k < Count; ++k) all = fmaxf(all, x[k]);
    sum *= exp2_below(max - all);
#pragma unroll
    for (int k = 0; k < Count; ++k) sum += exp2_below(x[k] - all);
    max = all;
  }
  __device__ void add(const WordSum& other) {
    const float all = fmaxf(max, other.max);
    sum = sum * exp2_below(max - all) + other.sum * exp2_below(other.max - all);
    max = all;
  }
};

/// The softmax over the words of a report for one region: from a word's score to its weight.
struct WordSoftmax {
  float max, inverse_sum;

  [[nodiscard]] __device__ float operator()(float score) const {
    return exp2_below(score - max) * inverse_sum;
  }
};

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
  Rows<const float> scores;  // log2(e) A [rows, images R]
  // (image, row): A2 [images, rows, padded] by deviations, see above; 0 in padding
  BatchRows<Scalar> attention;
  float* inverse_sum;    // [images, rows] what attention is to be multiplied by
  WordSoftmax* softmax;  // [reports of the strip, images R]

  [[nodiscard]] __device__ int first_report() const { return words.first_report[strip]; }
  [[nodiscard]] __device__ int last_report() const { return words.first_report[strip + 1]; }
  [[nodiscard]] __device__ int row_of(int report) const { return words.begin[report] - first_row; }
  /// The rows of this strip's words.
  [[nodiscard]] __device__ int begin() const { return min(max(row_of(first_report()), 0), rows); }
  [[nodiscard]] __device__ int end() const { return min(max(row_of(last_report()), 0), rows); }

  [[nodiscard]] __device__ const float* scores_of(int image, int row) const {
    return scores[row] + image * regions;
  }
  [[nodiscard]] __device__ WordSoftmax* softmax_of(int image, int report) const {
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

/// The softmaxes over the words for those columns of a chunk that are the lane's, with weights multiplied by
/// `factor`. Columns of no region have `none`.
template <int Columns>
struct LaneSoftmax {
  WordSoftmax column[Columns];

  template <class Chunk>
  __device__ void load(const WordSoftmax* from, const Chunk& chunk, float factor = 1,
                       WordSoftmax none = {0, 0}) {
#pragma unroll
    for (int c = 0; c < Columns; ++c) {
      column[c] = none;
      if (!chunk.has(c)) continue;
      const WordSoftmax softmax = from[chunk.column(c)];
      column[c] = {softmax.max, factor * softmax.inverse_sum};
    }
  }
};

/// From the logits of one row to its attention. A logit is log2(e) times the temperature times the weight
/// that the softmax over the words gives. IsSafe: the temperature is safe_temperature at most.
template <class Scalar, bool IsSafe>
struct RegionSoftmax {
  float top;       // what logits are taken relative to
  float base = 1;  // attention less its deviation
  Scalar mean;     // base 2^k

  /// `uniform` is the logit that all have if all words are alike. Unless IsSafe, `largest` is the largest.
  __device__ RegionSoftmax(float uniform, float largest, float mean_scale)
      : top(IsSafe ? uniform : largest), mean(from_float<Scalar>(mean_scale)) {
    if constexpr (!IsSafe) {
      mean = from_float<Scalar>(exp2_below(fminf(uniform - largest, 0)) * mean_scale);
      base = to_float(mean) / mean_scale;
    }
  }
  [[nodiscard]] __device__ float deviation(float logit) const {
    return IsSafe ? exp2_minus_one(logit - top) : exp2_below(logit - top) - base;
  }
};

/// Sums over some regions of a row, of what was rounded: that is what later products are made of.
struct AttentionSums {
  float deviation = 0;  // of attention
  float product = 0;    // of attention with scores

  __device__ void add(float base, float deviation_of_region, float score) {
    deviation += deviation_of_region;
    product = fmaf(base + deviation_of_region, score, product);
  }
};

/// The factor that divides a row's attention by its sum, from the sum of its deviations over all regions.
/// With it, dot_of gives <t_w, c_w>.
__device__ inline float inverse_of_sum(float base, int regions, float deviation) {
  return __fdividef(1, fmaf(base, static_cast<float>(regions), deviation));
}
__device__ inline float dot_of(float inverse, float product) {
  return inverse * (ln_2 * product);
}

/// Where the attention of each image over the words of its own report goes, and which report that is.
template <class Scalar>
struct MatchedAttention {
  BatchRows<Scalar> out{};  // [images, W, R], or no data
  Index own_report = 0, own_report_step = 1;

  /// The own report of image i; one that is not given is below 0 or beyond the last.
  [[nodiscard]] __device__ Index report_of(Index i) const { return own_report + i * own_report_step; }
};

/// Writes the divided attention of a report in its own image to `matched`, unless this has no data or the
/// image is another's; by a block, after all rows of the report.
template <class Scalar>
__device__ void write_matched(const AttentionTile<Scalar>& tile, int image, int report,
                              const MatchedAttention<Scalar>& matched) {
  const Index i = tile.first_image + image;
  if (matched.out.data == nullptr || matched.report_of(i) != report) return;
  __syncthreads();
  const int begin = tile.row_of(report), count = tile.words.count(report);
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  for (int w = warp(); w < count; w += warps) {
    const Scalar* const attention = tile.attention(image, begin + w);
    const float base = to_float(attention[tile.regions]) / tile.mean_scale;
    const float inverse = tile.inverse_sum[Index{image} * tile.rows + begin + w];
    for (int r = lane(); r < tile.regions; r += warp_size)
      matched.out(i, w)[r] = from_float<Scalar>(inverse * (base + to_float(attention[r])));
  }
}

/// Writes 0 to the rows of no word of this strip, in one image.
template <class Scalar>
__device__ void clear_other_rows(const AttentionTile<Scalar>& tile, int image) {
  tile.for_each_other_row([&](int row) {
    for (int r = lane(); r < tile.padded; r += warp_size)
      tile.attention(image, row)[r] = from_float<Scalar>(0);
    if (lane() == 0) tile.inverse_sum[Index{image} * tile.rows + row] = 0;
  });
}

}  // namespace vlp::cuda::detail
