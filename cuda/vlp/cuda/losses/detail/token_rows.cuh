/// \file
/// Words and regions as operands of products.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/detail/unit_length.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/unit_rows.cuh>
#include <vlp/cuda/losses/detail/word_counts.cuh>

#include <cmath>
#include <type_traits>

namespace vlp::cuda::detail {

/// The type that products multiply. It is Half for all numbers of 16 bits, since all operands are near unit
/// length, where Half rounds to 11 bits and BFloat16 to 8: cosines are divided by temperatures below 1, and
/// so are errors.
template <class Scalar>
using TokenOperand = std::conditional_t<is_16_bit<Scalar>, Half, float>;

/// How many operands hold what words see and the gradients of their scores, the second what the first rounds
/// away: gradients of Half are as exact as their operands and can spare nothing.
template <class Scalar>
inline constexpr int token_parts = std::is_same_v<Scalar, Half> ? 2 : 1;

/// Sizes of the pairs that are computed together.
struct TokenShape {
  Index pairs, regions, words, features;  // n, R, W, D
};

/// Calls visit(d) for each column d, every fourth of a row, from which the lane takes four.
template <class Visit>
__device__ void for_each_four(Index columns, Visit&& visit) {
#pragma unroll 2
  for (Index d = Index{lane()} * 4; d < columns; d += warp_size * 4) visit(d);
}

/// Elements [d, d + 4) of a row, 0 beyond its end; at once if it is `packed`, that is, begins at a multiple
/// of 16 bytes, as all rows in scratch do.
template <class T>
__device__ void load_four(const T* row, Index d, Index columns, float (&out)[4], bool packed = true) {
  if (packed && d + 4 <= columns) {
    const auto pack = *reinterpret_cast<const Pack<T, 4>*>(row + d);
#pragma unroll
    for (int e = 0; e < 4; ++e) out[e] = to_float(pack.value[e]);
    return;
  }
#pragma unroll
  for (int e = 0; e < 4; ++e) out[e] = d + e < columns ? to_float(row[d + e]) : 0.0F;
}

/// Writes, or adds, elements [d, d + 4) of a row.
template <class T>
__device__ void store_four(T* row, Index d, Index columns, const float (&value)[4], bool packed = true,
                           Into into = Into::overwrite) {
  float sum[4] = {};
  if (into == Into::add) load_four(row, d, columns, sum, packed);
#pragma unroll
  for (int e = 0; e < 4; ++e) sum[e] = into == Into::add ? sum[e] + value[e] : value[e];
  if (packed && d + 4 <= columns) {
    Pack<T, 4> pack;
#pragma unroll
    for (int e = 0; e < 4; ++e) pack.value[e] = from_float<T>(sum[e]);
    *reinterpret_cast<Pack<T, 4>*>(row + d) = pack;
    return;
  }
#pragma unroll
  for (int e = 0; e < 4; ++e)
    if (d + e < columns) row[d + e] = from_float<T>(sum[e]);
}

/// Makes a row 0.
template <class T>
__device__ void clear_row(T* row, Index columns, bool packed = true) {
  for_each_four(columns, [&](Index d) { store_four(row, d, columns, {0, 0, 0, 0}, packed); });
}

/// A row as `Parts` operands, `apart` elements from each other, whose sum it is.
template <int Parts, class Operand>
__device__ void store_parts(Operand* row, Index apart, Index d, Index columns, float (&value)[4]) {
  store_four(row, d, columns, value);
  if constexpr (Parts == 2) {
#pragma unroll
    for (int e = 0; e < 4; ++e) value[e] -= to_float(from_float<Operand>(value[e]));
    store_four(row + apart, d, columns, value);
  }
}
template <int Parts, class Operand>
__device__ void load_parts(const Operand* row, Index apart, Index d, Index columns, float (&out)[4]) {
  load_four(row, d, columns, out);
  if constexpr (Parts == 2) {
    float rest[4];
    load_four(row + apart, d, columns, rest);
#pragma unroll
    for (int e = 0; e < 4; ++e) out[e] += rest[e];
  }
}

/// 2^k for x in [2^k, 2^(k + 1)): its exponent alone.
__device__ inline float power_of_two(float x) {
  return __uint_as_float(__float_as_uint(x) & 0x7f800000U);
}

/// Tokens x [n, N, D], words or regions, as operands: copies scaled by powers of two to lengths in [1, 2),
/// which rounds nothing but what is 2^-14 of a row's length or less, and is one layout for whatever rows
/// there are. Rows shorter than 1e-12 are scaled as if they had that length. Unit rows are x^ = factor *
/// operand.
template <class Operand>
struct UnitTokens {
  BatchRows<Operand> operand;
  float* inverse;  // [n, N] 1 / max(|x|, 1e-12)
  float* factor;   // [n, N] in (1/2, 1]
};

/// Inputs of some pairs.
template <class Scalar>
struct TokenPairs {
  TokenShape shape;
  BatchRows<const Scalar> words, regions;
  bool packed_words, packed_regions;  // rows begin at multiples of 16 bytes
  WordCounts counts;                  // [n]
};

/// Row i of the tokens of a pair, of which there are `count`.
template <class Scalar>
struct TokenRow {
  const Scalar* x;  // [features]; null for padding
  Index features;
  bool packed;  // begins at a multiple of 16 bytes
  Index pair, i, count;
};

/// Writes `copies` of a row, at distances of `apart`; zeros for padding.
template <class Scalar, class Operand>
__device__ void measure_token(const TokenRow<Scalar>& row, const UnitTokens<Operand>& out, int copies,
                              Index apart) {
  const Scalar* const x = row.x;
  const Index features = row.features;
  double sum = 0;
  if (x != nullptr)
    for_each_four(features, [&](Index d) {
      float value[4];
      load_four(x, d, features, value, row.packed);
#pragma unroll
      for (int e = 0; e < 4; ++e) sum += static_cast<double>(value[e]) * static_cast<double>(value[e]);
    });
  sum = warp_sum(sum);
  // The length of a row of BFloat16 or float may be more than a float holds.
  constexpr double largest = 3.402823466e38;
  const auto length = static_cast<float>(fmin(fmax(sqrt(sum), vlp::detail::smallest_norm), largest));
  const float power = power_of_two(length);
  const auto inverse = static_cast<float>(inverse_norm(sum));
  for_each_four(features, [&](Index d) {
    float value[4] = {};
    if (x != nullptr) load_four(x, d, features, value, row.packed);
#pragma unroll
    for (int e = 0; e < 4; ++e) value[e] *= 1 / power;
    for (int k = 0; k < copies; ++k) store_four(out.operand(row.pair, row.i) + k * apart, d, features, value);
  });
  if (lane() != 0) return;
  out.inverse[row.pair * row.count + row.i] = inverse;
  out.factor[row.pair * row.count + row.i] =
      static_cast<float>(inverse_norm(sum) * static_cast<double>(power));
}

/// Warp i of the grid takes a row: in each pair first the words, of which it makes `copies`, then the
/// regions.
template <class Scalar, class Operand>
__global__ void __launch_bounds__(256) measure_tokens(TokenPairs<Scalar> in, UnitTokens<Operand> words,
                                                      UnitTokens<Operand> regions, int copies) {
  const Index rows = in.shape.words + in.shape.regions;
  const Index at = static_cast<Index>(blockIdx.x) * (256 / warp_size) + warp();
  const Index pair = at / rows, i = at % rows, r = i - in.shape.words;
  if (pair >= in.shape.pairs) return;
  if (r < 0)
    measure_token<Scalar>({i < in.counts[pair] ? in.words(pair, i) : nullptr, in.shape.features,
                           in.packed_words, pair, i, in.shape.words},
                          words, copies, in.shape.words * words.operand.stride);
  else
    measure_token<Scalar>(
        {in.regions(pair, r), in.shape.features, in.packed_regions, pair, r, in.shape.regions}, regions, 1,
        0);
}

}  // namespace vlp::cuda::detail
