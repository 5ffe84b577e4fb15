/// \file
/// Token alignment backward: from the gradients of cosines to those of words and regions.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/token_contrast.cuh>
#include <vlp/cuda/losses/detail/token_rows.cuh>
#include <vlp/cuda/losses/detail/unit_rows.cuh>
#include <vlp/cuda/losses/detail/word_counts.cuh>

#include <cmath>

namespace vlp::cuda::detail {

/// From d_unit_contexts, the gradients for o, to those for c = |c| o: dc = (do - o <o, do>) / |c|. Nothing
/// bounds |c| from below, so that dc leaves as an operand of length [1, 2) and the power of two that it
/// lacks, 0 if there is no gradient. Warp i of the grid takes word i.
template <class Operand, int Parts>
__global__ void __launch_bounds__(256)
    differentiate_contexts(TokenShape shape, BatchRows<const float> d_unit_contexts,
                           BatchRows<const Operand> unit_contexts, const float* inverse,
                           BatchRows<Operand> d_context, float* power) {
  const Index at = static_cast<Index>(blockIdx.x) * (256 / warp_size) + warp();
  const Index pair = at / shape.words, w = at % shape.words, features = shape.features;
  if (pair >= shape.pairs) return;
  const auto load = [&](Index d, float(&d_o)[4], float(&o)[4]) {
    load_four(d_unit_contexts(pair, w), d, features, d_o);
    load_parts<Parts>(unit_contexts(pair, w), shape.words * unit_contexts.stride, d, features, o);
  };
  float d_o[4], o[4], dot = 0;
  for_each_four(features, [&](Index d) {
    load(d, d_o, o);
#pragma unroll
    for (int e = 0; e < 4; ++e) dot = fmaf(o[e], d_o[e], dot);
  });
  dot = warp_sum(dot);
  const float of_row = inverse[at], along = of_row >= largest_inverse ? 0.0F : dot;
  double sum = 0;
  for_each_four(features, [&](Index d) {
    load(d, d_o, o);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const double v = of_row * fmaf(-along, o[e], d_o[e]);
      sum += v * v;
    }
  });
  const float length = static_cast<float>(sqrt(warp_sum(sum)));
  const bool is_something = length >= 0x1p-100F;
  const float own_power = is_something ? power_of_two(length) : 0.0F;
  // A gradient too short to normalise is stored as is, so zero stays zero and NaN stays NaN.
  const float scale = is_something ? of_row / own_power : of_row;
  for_each_four(features, [&](Index d) {
    load(d, d_o, o);
#pragma unroll
    for (int e = 0; e < 4; ++e) d_o[e] = scale * fmaf(-along, o[e], d_o[e]);
    store_four(d_context(pair, w), d, features, d_o);
  });
  if (lane() == 0) power[at] = own_power;
}

/// From d_products, products of d_context with the operands of regions, to the operands of what is left:
///   ds = a (da - <a, da>) / t_attention, times the factors of word and region, and
///   a, times the factor of the region,
/// both times range and, since gradients of regions are sums over the words, the word's power over the pair's
/// largest, which is kept. Warp i of the grid takes word i.
template <class Operand>
__global__ void __launch_bounds__(256)
    differentiate_token_attention(TokenAttention in, BatchRows<const float> d_products, const float* power,
                                  float range, BatchRows<Operand> attention, BatchRows<Operand> d_scores,
                                  float* pair_power) {
  const Index at = static_cast<Index>(blockIdx.x) * (256 / warp_size) + warp();
  const Index pair = at / in.shape.words, w = at % in.shape.words, regions = in.shape.regions;
  if (pair >= in.shape.pairs) return;
  const Index words = in.counts[pair];
  float largest = 0;
  for (Index k = lane(); k < words; k += warp_size)
    largest = fmaxf(largest, power[pair * in.shape.words + k]);
  largest = warp_max(largest);
  if (w == 0 && lane() == 0) pair_power[pair] = largest;
  if (w >= words) {
    clear_row(attention(pair, w), regions);
    clear_row(d_scores(pair, w), regions);
    return;
  }
  const Softmax of_word = in.sums[at];
  const float scale = in.scale(pair, w);
  float a[4], factor[4], d_a[4];
  const auto load = [&](Index r) {
    in.scores(pair, w, r, scale, a, factor);
    load_four(d_products(pair, w), r, regions, d_a);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      a[e] = of_word(a[e]);
      d_a[e] = rounded_product(d_a[e], factor[e]);
    }
  };
  float dot = 0;
  for_each_four(regions, [&](Index r) {
    load(r);
#pragma unroll
    for (int e = 0; e < 4; ++e) dot = fmaf(a[e], d_a[e], dot);
  });
  dot = warp_sum(dot);
  const float weight = largest > 0 ? range * (power[at] / largest) : range;
  for_each_four(regions, [&](Index r) {
    load(r);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      a[e] *= weight * factor[e];
      d_a[e] = a[e] * (d_a[e] - dot) * scale;
    }
    store_four(attention(pair, w), r, regions, a);
    store_four(d_scores(pair, w), r, regions, d_a);
  });
}

/// Gradients of words or of regions, and where they go.
template <class Scalar>
struct TokenGradients {
  BatchRows<Scalar> out;  // [n, N, D]
  bool packed;            // rows begin at multiples of 16 bytes
  Into into;
  bool of_words;  // those beyond the count are padding
};

/// Terms of the gradient for a unit row, except the factor of the row:
///   first_weight first + pair_power second_weight second, and all of that times weight / words of the pair.
struct TokenSums {
  BatchRows<const float> first, second;  // [n, N, D]; the first may have no data
  float first_weight, second_weight;
  const float* pair_power;  // [n]
  double weight;
};

/// With x^ = factor operand and g the gradient for x^, the gradient for x is inverse (g - x^ <x^, g>). Warp i
/// of the grid takes row i.
template <class Scalar, class Operand>
__global__ void __launch_bounds__(256)
    finish_token_gradients(TokenShape shape, Index rows, WordCounts counts, UnitTokens<Operand> unit,
                           TokenSums sums, TokenGradients<Scalar> gradients) {
  const Index at = static_cast<Index>(blockIdx.x) * (256 / warp_size) + warp();
  const Index pair = at / rows, i = at % rows, features = shape.features;
  if (pair >= shape.pairs) return;
  const Index words = counts[pair];
  Scalar* const out = gradients.out(pair, i);
  if (gradients.of_words && i >= words) {
    if (gradients.into == Into::overwrite) clear_row(out, features, gradients.packed);
    return;
  }
  const float second_weight = sums.second_weight * sums.pair_power[pair];
  float g[4], x[4];
  const auto load = [&](Index d) {
    load_four(sums.second(pair, i), d, features, g);
    load_four(unit.operand(pair, i), d, features, x);
#pragma unroll
    for (int e = 0; e < 4; ++e) g[e] *= second_weight;
    if (sums.first.data == nullptr) return;
    float first[4];
    load_four(sums.first(pair, i), d, features, first);
#pragma unroll
    for (int e = 0; e < 4; ++e) g[e] = fmaf(sums.first_weight, first[e], g[e]);
  };
  float dot = 0;
  for_each_four(features, [&](Index d) {
    load(d);
#pragma unroll
    for (int e = 0; e < 4; ++e) dot = fmaf(x[e], g[e], dot);
  });
  dot = warp_sum(dot);
  const float inverse = unit.inverse[at], factor = unit.factor[at];
  const float weight = static_cast<float>(sums.weight / static_cast<double>(words)) * inverse;
  const float of_sum = weight / factor, of_row = inverse >= largest_inverse ? 0.0F : -weight * factor * dot;
  for_each_four(features, [&](Index d) {
    load(d);
#pragma unroll
    for (int e = 0; e < 4; ++e) g[e] = fmaf(of_sum, g[e], of_row * x[e]);
    store_four(out, d, features, g, gradients.packed, gradients.into);
  });
}

}  // namespace vlp::cuda::detail
