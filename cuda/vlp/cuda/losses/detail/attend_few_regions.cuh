/// \file
/// The two softmaxes of local alignment for images of few regions: four rows to a warp.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/attention_tile.cuh>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace vlp::cuda::detail {

/// Two numbers that lie side by side in memory; those of 16 bits in one register.
template <class Scalar>
using Two = std::conditional_t<is_16_bit<Scalar>, std::uint32_t, float2>;

/// Rounds to nearest, by one instruction, two floats that are at most 65504 or NaN.
template <class Scalar>
__device__ Two<Scalar> round_two(float x, float y) {
  Two<Scalar> out;
  if constexpr (std::is_same_v<Scalar, Half>) {
    const __half2 two = __floats2half2_rn(x, y);
    std::memcpy(&out, &two, sizeof(out));
  } else if constexpr (std::is_same_v<Scalar, BFloat16>) {
    const __nv_bfloat162 two = __floats2bfloat162_rn(x, y);
    std::memcpy(&out, &two, sizeof(out));
  } else {
    out = make_float2(x, y);
  }
  return out;
}

template <class Scalar>
__device__ Pack<Scalar, 2> pack_of(const Two<Scalar>& two) {
  Pack<Scalar, 2> out;
  std::memcpy(&out, &two, sizeof(out));
  return out;
}

template <class Scalar>
__device__ float2 to_floats(const Two<Scalar>& two) {
  if constexpr (std::is_same_v<Scalar, Half>) {
    __half2 halves;
    std::memcpy(&halves, &two, sizeof(two));
    return __half22float2(halves);
  } else if constexpr (std::is_same_v<Scalar, BFloat16>) {
    return make_float2(__uint_as_float(two << 16),
                       __uint_as_float(two & 0xffff0000U));  // upper halves of floats
  } else {
    return two;
  }
}

/// How four rows lie in a warp: 8 lanes have a row.
struct QuarterWarp {
  static constexpr int lanes = 8, rows = warp_size / lanes;

  [[nodiscard]] static __device__ int row() { return cuda::lane() / lanes; }
  [[nodiscard]] static __device__ int lane() { return cuda::lane() % lanes; }
  /// combine(x of all lanes of the row) in each of them; see warp_reduce.
  template <class Combine>
  [[nodiscard]] static __device__ float reduce(float x, Combine combine) {
#pragma unroll
    for (int apart = lanes / 2; apart > 0; apart /= 2) x = combine(x, __shfl_xor_sync(whole_warp, x, apart));
    return x;
  }
  [[nodiscard]] static __device__ float sum(float x) {
    return reduce(x, [](float a, float b) { return a + b; });
  }
  [[nodiscard]] static __device__ float max(float x) {
    return reduce(x, [](float a, float b) { return fmaxf(a, b); });
  }
};

/// The columns of a row of at most 8 Columns regions that are a lane's: pairs of neighbours, from lane to
/// lane, and one more where Columns is odd. R is at least 8 Full, so that the first Full are regions for
/// certain.
template <int Columns, int Full>
struct FewColumns {
  static constexpr int count = Columns;
  int regions;

  /// Says whether rows of that many regions are.
  [[nodiscard]] static constexpr bool hold(int regions) {
    return regions >= QuarterWarp::lanes * Full && regions <= QuarterWarp::lanes * Columns;
  }
  [[nodiscard]] static __device__ constexpr bool is_pair(int c) { return c / 2 * 2 + 1 < Columns; }
  /// Where a lane begins in a row, and from there its column c: mostly at distances that are known
  /// beforehand.
  template <class T>
  [[nodiscard]] static __device__ T* begin(T* row) {
    return row + 2 * QuarterWarp::lane();
  }
  template <class T>
  [[nodiscard]] static __device__ T* at(T* begin, int c) {
    constexpr int lanes = QuarterWarp::lanes;
    return is_pair(c) ? begin + (c / 2 * 2 * lanes + c % 2) : begin - QuarterWarp::lane() + c * lanes;
  }
  [[nodiscard]] static __device__ int column(int c) {
    const int first = is_pair(c) ? 2 * QuarterWarp::lane() + c % 2 : QuarterWarp::lane();
    return first + (is_pair(c) ? c / 2 * 2 : c) * QuarterWarp::lanes;
  }
  [[nodiscard]] __device__ bool has(int c) const { return c < Full || column(c) < regions; }
};

using GridColumns = FewColumns<7, 6>;  // the 7 x 7 regions of many encoders
using AnyFewColumns = FewColumns<8, 0>;

/// Threads of a block: few, since what each warp has to find out before it begins counts as much as the rows
/// of short reports.
inline constexpr int attend_few_threads = 128;

struct AttendFewShared {
  static constexpr int most_regions = 64, groups = 8;
  WordSum sum[groups][most_regions];
  WordSoftmax softmax[most_regions];
};

/// The softmax over the words of one report for all regions of one image, to shared.softmax and to out [R];
/// by the whole block. A thread has two regions; groups of threads, as many as there is room for, take rows
/// in turn.
template <class Scalar>
__device__ void take_few_softmaxes(const AttentionTile<Scalar>& tile, int image, int row, int count,
                                   AttendFewShared& shared, WordSoftmax* out) {
  constexpr int ahead = 4;  // rows whose scores are on their way at once
  const auto thread = threadIdx.x, pairs = static_cast<unsigned>(tile.regions + 1) / 2;
  const int groups = min(AttendFewShared::groups, static_cast<int>(attend_few_threads / pairs));
  const int group = static_cast<int>(thread / pairs), region = 2 * static_cast<int>(thread % pairs);
  if (group < groups) {
    const bool has_second = region + 1 < tile.regions;
    const Index stride = groups * tile.scores.stride;
    const float* scores = tile.scores_of(image, row + group) + region;
    WordSum first, second;
    int w = group;
    for (; w + (ahead - 1) * groups < count; w += ahead * groups) {
      float x[ahead], y[ahead];
#pragma unroll
      for (int a = 0; a < ahead; ++a, scores += stride) {
        x[a] = scores[0];
        y[a] = has_second ? scores[1] : 0;
      }
      first.add(x);
      second.add(y);
    }
    float x[ahead - 1], y[ahead - 1];  // of the last rows
#pragma unroll
    for (int a = 0; a < ahead - 1; ++a, scores += stride) {
      const bool is_word = w + a * groups < count;
      x[a] = is_word ? scores[0] : -INFINITY;
      y[a] = is_word && has_second ? scores[1] : -INFINITY;
    }
    first.add(x);
    second.add(y);
    shared.sum[group][region] = first;
    shared.sum[group][region + 1] = second;
  }
  __syncthreads();
  if (static_cast<int>(thread) < tile.regions) {
    WordSum all = shared.sum[0][thread];
#pragma unroll 1
    for (int g = 1; g < groups; ++g) all.add(shared.sum[g][thread]);
    shared.softmax[thread] = out[thread] = {all.max, 1 / all.sum};
  }
  __syncthreads();
}

/// Rounds the deviations of the columns that are the lane's, writes them to `attention` if the row is a
/// word's, and takes sums over them.
template <class Scalar, class Columns>
__device__ AttentionSums write_few(const Columns& columns, const float (&score)[Columns::count],
                                   const float (&deviation)[Columns::count], float base, bool is_word,
                                   Scalar* attention) {
  AttentionSums sums;
#pragma unroll
  for (int c = 0; c < Columns::count; c += 2) {
    const bool is_pair = Columns::is_pair(c);
    const Two<Scalar> two = round_two<Scalar>(deviation[c], is_pair ? deviation[c + 1] : 0);
    const Pack<Scalar, 2> pack = pack_of<Scalar>(two);
    Scalar* const to = Columns::at(attention, c);
    if (is_word && columns.has(c)) {
      if (is_pair)
        *reinterpret_cast<Pack<Scalar, 2>*>(to) = pack;
      else
        *to = pack.value[0];
    }
    const float2 rounded = to_floats<Scalar>(two);
    sums.add(base, rounded.x, score[c]);
    if (is_pair) sums.add(base, rounded.y, score[c + 1]);
  }
  return sums;
}

/// The same as `attend` for R that Columns hold: a warp takes four words at once. Without WantsDot `dot` is
/// not looked at.
template <class Scalar, class Columns, bool IsSafe, bool WantsDot>
__global__ void __launch_bounds__(attend_few_threads, 8)
    attend_few(AttentionTile<Scalar> tile, float* dot, Index dot_stride, MatchedAttention<Scalar> matched) {
  constexpr int rows = QuarterWarp::rows, block_rows = attend_few_threads / QuarterWarp::lanes;
  auto& shared = shared_memory<AttendFewShared>();
  const int image = static_cast<int>(blockIdx.y), last_report = tile.last_report();
  const float factor = log2_e * tile.temperature;
  const Columns columns{tile.regions};
  for (int report = tile.first_report() + static_cast<int>(blockIdx.x); report < last_report;
       report += static_cast<int>(gridDim.x)) {
    const int begin = tile.row_of(report), count = tile.words.count(report);
    take_few_softmaxes(tile, image, begin, count, shared, tile.softmax_of(image, report));
    const float uniform = __fdividef(factor, static_cast<float>(count));
    // Unless the largest is looked for, what is no region has no deviation.
    LaneSoftmax<Columns::count> of_lane;
    of_lane.load(shared.softmax, columns, factor, {0, IsSafe ? uniform : 0});

    int w = rows * warp() + QuarterWarp::row();
    const float* scores = Columns::begin(tile.scores_of(image, begin + w));
    Scalar* attention = Columns::begin(tile.attention(image, begin + w));
    float* inverse_sum = tile.inverse_sum + (Index{image} * tile.rows + begin + w);
    float* dot_of_word = WantsDot ? dot + (image * dot_stride + begin + w) : nullptr;
    for (int first = rows * warp(); first < count; first += block_rows) {
      const bool is_word = w < count;
      float score[Columns::count], a[Columns::count];  // logits, then deviations
#pragma unroll
      for (int c = 0; c < Columns::count; ++c)
        score[c] = is_word && columns.has(c) ? *Columns::at(scores, c) : 0;
#pragma unroll
      for (int c = 0; c < Columns::count; ++c) a[c] = of_lane.column[c](score[c]);
      float largest = 0;
      if (!IsSafe) {
#pragma unroll
        for (int c = 0; c < Columns::count; ++c) largest = fmaxf(largest, a[c]);
        largest = QuarterWarp::max(largest);
      }
      const RegionSoftmax<Scalar, IsSafe> of_row(uniform, largest, tile.mean_scale);
#pragma unroll
      for (int c = 0; c < Columns::count; ++c) a[c] = IsSafe || columns.has(c) ? of_row.deviation(a[c]) : 0;
      const AttentionSums sums = write_few(columns, score, a, of_row.base, is_word, attention);
      __syncwarp();  // the mean goes where a neighbour of the last region may have been written
      if (is_word && tile.regions + QuarterWarp::lane() < tile.padded)
        attention[tile.regions - QuarterWarp::lane()] =
            QuarterWarp::lane() == 0 ? of_row.mean : from_float<Scalar>(0);
      const float inverse = inverse_of_sum(of_row.base, tile.regions, QuarterWarp::sum(sums.deviation));
      const float product = WantsDot ? QuarterWarp::sum(sums.product) : 0;
      if (is_word && QuarterWarp::lane() == 0) {
        *inverse_sum = inverse;
        if (WantsDot) *dot_of_word = dot_of(inverse, product);
      }
      w += block_rows;
      scores += block_rows * tile.scores.stride;
      attention += block_rows * tile.attention.stride;
      inverse_sum += block_rows;
      if (WantsDot) dot_of_word += block_rows;
    }
    write_matched(tile, image, report, matched);
  }
  clear_other_rows(tile, image);
}

}  // namespace vlp::cuda::detail
