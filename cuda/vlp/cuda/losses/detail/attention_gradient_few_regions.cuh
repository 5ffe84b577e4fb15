/// \file
/// The gradient of the two softmaxes of local alignment for images of few regions: four rows to a warp.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/attend_few_regions.cuh>
#include <vlp/cuda/losses/detail/attention_tile.cuh>
#include <vlp/cuda/losses/detail/word_gradient.cuh>

#include <cstddef>
#include <cstring>
#include <type_traits>

namespace vlp::cuda::detail {

/// Rows of a report that a thread has a part of, and the warps of a block at most.
/// Threads of a block, and blocks that share a multiprocessor: four, or three where lanes have more columns,
/// so that all stays in registers.
inline constexpr int few_gradient_threads = 192;
template <class Columns>
inline constexpr int few_gradient_blocks = Columns::count > 7 ? 3 : 4;

/// Shared memory of a block. Behind the struct lies what the first pass leaves of each word for the second.
struct DifferentiateFewShared {
  /// 95 KiB at most; and a warp has as many words as lanes.
  static constexpr Index most_words = 168;
  static_assert(most_words <= few_gradient_threads / warp_size * warp_size);
  float sum[few_gradient_threads / warp_size][64];

  /// Softmax weights and what belongs to them; see take_few_gradients. Each thread finds there what it left
  /// itself. An odd number of columns keeps the rows that a warp reads together in different banks.
  template <class Columns>
  struct Word {
    float2 kept[Columns::count | 1][QuarterWarp::lanes];
  };
  template <class Columns>
  [[nodiscard]] __device__ Word<Columns>& word(int w) {
    return reinterpret_cast<Word<Columns>*>(this + 1)[w];
  }
  template <class Columns>
  [[nodiscard]] static constexpr std::size_t bytes(Index words) {
    constexpr Index rows = QuarterWarp::rows;  // a warp keeps whole groups of rows
    return sizeof(DifferentiateFewShared) +
           static_cast<std::size_t>((words + rows - 1) / rows * rows) * sizeof(Word<Columns>);
  }
};

/// A lane's columns of what one row's gradient is made of. Columns that are no regions have 0.
template <class Scalar, class Columns>
struct GradientInputs {
  static constexpr int pairs = (Columns::count + 1) / 2;
  float score[Columns::count], context_dots[Columns::count];
  Two<Scalar> deviation[pairs];  // of attention

  /// Reads from where the lane begins in each of the three rows. The rows of `context_dots` and of attention
  /// begin at multiples of 16 bytes.
  __device__ void load(const Columns& columns, const float* scores, const float* context_dot_row,
                       const Scalar* attention) {
#pragma unroll
    for (int c = 0; c < Columns::count; c += 2) {
      const bool has = columns.has(c);
      score[c] = has ? *Columns::at(scores, c) : 0;
      Pack<Scalar, 2> deviations{};
      if (Columns::is_pair(c)) {
        Pack<float, 2> both{};
        if (has) {
          both = *reinterpret_cast<const Pack<float, 2>*>(Columns::at(context_dot_row, c));
          deviations = *reinterpret_cast<const Pack<Scalar, 2>*>(Columns::at(attention, c));
        }
        score[c + 1] = columns.has(c + 1) ? *Columns::at(scores, c + 1) : 0;
        context_dots[c] = both.value[0];
        context_dots[c + 1] = columns.has(c + 1) ? both.value[1] : 0;
      } else {
        context_dots[c] = has ? *Columns::at(context_dot_row, c) : 0;
        if (has) deviations.value[0] = *Columns::at(attention, c);
      }
      std::memcpy(&deviation[c / 2], &deviations, sizeof(deviations));
    }
  }
};

/// Rounds to nearest two floats of any size; see from_float.
template <class Scalar>
__device__ Two<Scalar> round_two_of_any_size(float x, float y) {
  if constexpr (std::is_same_v<Scalar, Half>) {
    const auto clip = [](float v) {
      constexpr float largest = 65504, largest_float = 3.402823466e38F;
      return fabsf(v) <= largest_float ? fminf(fmaxf(v, -largest), largest) : v;
    };
    x = clip(x);
    y = clip(y);
  }
  return round_two<Scalar>(x, y);
}

/// Writes columns c and c + 1 of a lane, which begins at `to`, together if it has both; `to` lies at a
/// multiple of two elements.
template <class Scalar, class Columns>
__device__ void write_pair(Scalar* to, int c, const Two<Scalar>& two, bool has_first, bool has_second) {
  const Pack<Scalar, 2> pack = pack_of<Scalar>(two);
  Scalar* const at = Columns::at(to, c);
  if (Columns::is_pair(c) && has_second)
    *reinterpret_cast<Pack<Scalar, 2>*>(at) = pack;
  else if (has_first)
    *at = pack.value[0];
}

/// Rounds a lane's columns of a row and writes them from `to` on, where the lane begins, if `is_word`; called
/// by the whole warp. The row begins at a multiple of two elements unless IsShifted: then it begins in the
/// middle of a pair and has an odd number of columns, and pairs of 16 bits are made of what neighbouring
/// lanes have.
template <bool IsShifted, class Scalar, class Columns>
__device__ void write_few_gradients(const Columns& columns, const float (&x)[Columns::count], bool is_word,
                                    Scalar* to) {
  constexpr int pairs = (Columns::count + 1) / 2;
  Two<Scalar> two[pairs];
#pragma unroll
  for (int c = 0; c < Columns::count; c += 2)
    two[c / 2] = round_two_of_any_size<Scalar>(x[c], Columns::is_pair(c) ? x[c + 1] : 0);
  if constexpr (!IsShifted) {
#pragma unroll
    for (int c = 0; c < Columns::count; c += 2)
      write_pair<Scalar, Columns>(to, c, two[c / 2], is_word && columns.has(c),
                                  is_word && Columns::is_pair(c) && columns.has(c + 1));
  } else if constexpr (!is_16_bit<Scalar>) {
#pragma unroll
    for (int c = 0; c < Columns::count; ++c)
      if (is_word && columns.has(c)) *Columns::at(to, c) = x[c];
  } else {
    const int lane = QuarterWarp::lane();
    const int next = cuda::lane() - lane + (lane + 1) % QuarterWarp::lanes;
    if (is_word && lane == 0) *to = pack_of<Scalar>(two[0]).value[0];
#pragma unroll
    for (int c = 0; c < Columns::count; c += 2) {
      if (Columns::is_pair(c)) {
        // The lane's second, and the first of the next lane; after the last lane come the next columns.
        const Two<Scalar> after = c + 2 < Columns::count ? two[(c + 2) / 2] : 0;
        const Two<Scalar> given = __shfl_sync(whole_warp, lane == 0 ? after : two[c / 2], next);
        const Pack<Scalar, 2> pack = pack_of<Scalar>(two[c / 2] >> 16 | given << 16);
        if (is_word && columns.has(c + 1)) *reinterpret_cast<Pack<Scalar, 2>*>(Columns::at(to, c + 1)) = pack;
      } else if (is_word && lane > 0 && columns.has(c)) {
        *Columns::at(to, c) = pack_of<Scalar>(two[c / 2]).value[0];
      }
    }
  }
}

/// Replaces each thread's share of the sums over a block's rows by the sums, in the lane's columns; called by
/// the whole block.
template <class Columns>
__device__ void sum_few_means(float (&mean)[Columns::count], DifferentiateFewShared& shared) {
#pragma unroll
  for (int c = 0; c < Columns::count; ++c) {
#pragma unroll
    for (int apart = QuarterWarp::lanes; apart < warp_size; apart *= 2)
      mean[c] += __shfl_xor_sync(whole_warp, mean[c], apart);
    if (QuarterWarp::row() == 0) *Columns::at(Columns::begin(shared.sum[warp()]), c) = mean[c];
  }
  __syncthreads();
#pragma unroll
  for (int c = 0; c < Columns::count; ++c) mean[c] = *Columns::at(Columns::begin(shared.sum[0]), c);
#pragma unroll
  for (int w = 1; w < few_gradient_threads / warp_size; ++w) {
#pragma unroll
    for (int c = 0; c < Columns::count; ++c) mean[c] += *Columns::at(Columns::begin(shared.sum[w]), c);
  }
  __syncthreads();  // sums may be used anew
}

/// The first pass over a row: adds its share to `mean`; keeps x, the softmax weight, and y in `word`, so that
/// the gradient is y - mean x once the mean is known; and writes the row of `weighted`, where the lane begins
/// in it, if `is_word`.
template <class Scalar, class Columns>
__device__ void take_few_gradients(const Columns& columns, const GradientInputs<Scalar, Columns>& in,
                                   const LaneSoftmax<Columns::count>& softmax, const WordGradient& gradient,
                                   bool is_word, int padded, float (&mean)[Columns::count],
                                   DifferentiateFewShared::Word<Columns>& word, Scalar* weighted) {
  float a[Columns::count];
#pragma unroll
  for (int c = 0; c < Columns::count; ++c) {
    const float2 two = to_floats<Scalar>(in.deviation[c / 2]);
    a[c] = columns.has(c) ? gradient.base + (c % 2 == 0 ? two.x : two.y) : 0;
    const float d_weight = a[c] * fmaf(gradient.of_score, in.score[c],
                                       fmaf(gradient.of_context_dot, in.context_dots[c], -gradient.mean));
    const float weight = softmax.column[c](in.score[c]), of_weight = weight * d_weight;
    mean[c] += of_weight;
    word.kept[c][QuarterWarp::lane()] = make_float2(weight, fmaf(gradient.of_attention, a[c], of_weight));
  }
  const Columns with_padding{padded};
#pragma unroll
  for (int c = 0; c < Columns::count; c += 2) {
    const bool is_pair = Columns::is_pair(c), is_present = is_word && with_padding.has(c);
    const Two<Scalar> two =
        round_two_of_any_size<Scalar>(gradient.weight * a[c], is_pair ? gradient.weight * a[c + 1] : 0);
    write_pair<Scalar, Columns>(weighted, c, two, is_present, is_present);
  }
  constexpr int last = QuarterWarp::lanes * Columns::count;
  if (is_word && last + QuarterWarp::lane() < padded)
    weighted[last - QuarterWarp::lane()] = from_float<Scalar>(0);
}

/// The same as `differentiate_attention` for R that Columns hold, and reports of as many words as the launch
/// gives bytes for. A row's loads are on their way while the one before is worked on. Each lane works out the
/// WordGradient of one of the warp's words, and hands it round.
template <class Scalar, class Columns>
__global__ void __launch_bounds__(few_gradient_threads, few_gradient_blocks<Columns>)
    differentiate_few(AttentionTile<Scalar> tile, AttentionGradient<Scalar> given) {
  constexpr int rows = QuarterWarp::rows, step = few_gradient_threads / QuarterWarp::lanes;
  using Word = DifferentiateFewShared::Word<Columns>;
  auto& shared = shared_memory<DifferentiateFewShared>();
  const int image = static_cast<int>(blockIdx.y), last_report = tile.last_report();
  const int warp_first = rows * __shfl_sync(whole_warp, warp(), 0);  // the same for all lanes, as can be seen
  const bool is_shifted = tile.regions % 2 * image % 2 == 1;
  const float power = given.scales->score, inverse_power = 1 / power;  // powers of two
  const auto stride = static_cast<unsigned>(tile.attention.stride),
             score_stride = static_cast<unsigned>(tile.scores.stride);
  const Columns columns{tile.regions};
  for (int report = tile.first_report() + static_cast<int>(blockIdx.x); report < last_report;
       report += static_cast<int>(gridDim.x)) {
    const int begin = tile.row_of(report), count = tile.words.count(report);
    const float* const scores = Columns::begin(tile.scores_of(image, begin));
    const float* const context_dots = Columns::begin(given.context_dots(image, begin));
    const Scalar* const attention = Columns::begin(tile.attention(image, begin));
    GradientInputs<Scalar, Columns> in;
    const auto load = [&](int w) {  // lanes beyond the last word take that one
      const auto row = static_cast<unsigned>(min(w, count - 1));
      in.load(columns, scores + row * score_stride, context_dots + row * stride, attention + row * stride);
    };
    const int own_first = warp_first + QuarterWarp::row();
    load(own_first);
    LaneSoftmax<Columns::count> softmax;
    softmax.load(tile.softmax_of(image, report), columns, power);
    float mean[Columns::count] = {};
    const int of_this_lane = warp_first + lane() / rows * step + lane() % rows;
    WordGradient own{};
    if (of_this_lane < count) own = word_gradient(tile, given, image, report, begin + of_this_lane);
    own.of_attention *= power;
    int from = QuarterWarp::row();  // the lane that knows of the row
    Word* word = &shared.word<Columns>(own_first);
    Scalar* weighted = Columns::begin(given.weighted(image, begin + own_first));
#pragma unroll 1
    for (int first = 0; warp_first + first < count; first += step, from += rows) {
      const GradientInputs<Scalar, Columns> now = in;
      load(own_first + first + step);
      take_few_gradients(columns, now, softmax, of_lane(own, from), own_first + first < count, tile.padded,
                         mean, *word, weighted);
      word += step;
      weighted += step * given.weighted.stride;
    }
    sum_few_means<Columns>(mean, shared);
#pragma unroll
    for (int c = 0; c < Columns::count; ++c) mean[c] *= inverse_power;
    word = &shared.word<Columns>(own_first);
    Scalar* d_scores = Columns::begin(given.d_scores[begin + own_first] + image * tile.regions);
#pragma unroll 1
    for (int first = 0; warp_first + first < count; first += step) {
      float x[Columns::count];
#pragma unroll
      for (int c = 0; c < Columns::count; ++c) {
        const float2 kept = word->kept[c][QuarterWarp::lane()];
        x[c] = fmaf(-mean[c], kept.x, kept.y);
      }
      const bool is_word = own_first + first < count;
      if (is_shifted)
        write_few_gradients<true>(columns, x, is_word, d_scores);
      else
        write_few_gradients<false>(columns, x, is_word, d_scores);
      word += step;
      d_scores += step * given.d_scores.stride;
    }
  }
  clear_other_gradients(tile, given, image);
}

}  // namespace vlp::cuda::detail
