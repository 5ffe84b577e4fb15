/// \file
/// Scratch memory of token alignment.
#pragma once

#include <vlp/core/buffer.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/memory.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/token_contrast.cuh>
#include <vlp/cuda/losses/detail/token_rows.cuh>

#include <algorithm>

namespace vlp::cuda::detail {

/// Room for n pairs. Rows begin at multiples of 16 bytes; what one product takes together lies below each
/// other, and what is over makes room for what comes.
template <class Operand>
class TokenTiles {
 public:
  using Scope = BasicArena<DeviceMemory>::Scope;

  BatchView<Operand> words, regions;                         // x [n, W, D] and p [n, R, D]
  BatchView<Operand> unit_contexts;                          // o [n, parts W, D]
  BatchView<Operand> attention;                              // a [n, W, R]
  BatchView<float> scores;                                   // x p^T [n, W, R]
  BatchView<float> cosines;                                  // x o^T [n, W, parts W]
  BatchView<float> of_words;                                 // sums [n, W, D]: c, do, du o
  int copies = 1;                                            // of words that are wanted below each other
  float *word_inverse = nullptr, *region_inverse = nullptr;  // of lengths, [n, W] and [n, R]
  float *word_factor = nullptr, *region_factor = nullptr;
  float* context_inverse = nullptr;                 // [n, W]
  Softmax* attention_sums = nullptr;                // [n, W]
  ContrastSum *rows = nullptr, *columns = nullptr;  // [n, W]

  // for backward
  BatchView<Operand> words_twice;                               // [n, parts W, D]
  BatchView<Operand> d_cosines;                                 // du [n, parts W, W]
  BatchView<Operand> d_cosines_part[2], unit_contexts_part[2];  // each [n, W, .]; one or two of them
  BatchView<Operand> d_contexts;                                // dc [n, W, D]
  BatchView<Operand> d_scores;                                  // ds [n, W, R]
  BatchView<Operand> both_attentions;                           // a and ds [n, 2 W, R]
  BatchView<Operand> contexts_and_words;                        // dc and x [n, 2 W, D]
  BatchView<float> d_attention;                                 // dc p^T [n, W, R]
  BatchView<float> more_of_words;                               // ds p [n, W, D]
  BatchView<float> of_regions;                                  // a^T dc + ds^T x [n, R, D], over of_words
  float *power = nullptr, *pair_power = nullptr;                // [n, W] and [n]

  TokenTiles(Scope& scratch, const TokenShape& shape, int parts, bool backward) {
    const Index n = shape.pairs, regions_n = shape.regions, words_n = shape.words, features = shape.features;
    const auto numbers = [&](Index each) { return scratch.template take<float>(n * each); };
    copies = backward ? parts : 1;
    const Index over = backward ? words_n : 0;

    contexts_and_words = take<Operand>(scratch, n, over + copies * words_n, features);
    words = rows_from(contexts_and_words, over, words_n);
    words_twice = rows_from(contexts_and_words, over, copies * words_n);
    regions = take<Operand>(scratch, n, regions_n, features);
    unit_contexts = take<Operand>(scratch, n, parts * words_n, features);
    both_attentions = take<Operand>(scratch, n, over + words_n, regions_n);
    attention = rows_from(both_attentions, 0, words_n);
    scores = take<float>(scratch, n, words_n, regions_n);
    cosines = take<float>(scratch, n, words_n, parts * words_n);
    of_regions = take<float>(scratch, n, sum_rows(shape, backward), features);
    of_words = rows_from(of_regions, 0, words_n);
    word_inverse = numbers(words_n);
    word_factor = numbers(words_n);
    region_inverse = numbers(regions_n);
    region_factor = numbers(regions_n);
    context_inverse = numbers(words_n);
    attention_sums = scratch.template take<Softmax>(n * words_n);
    rows = scratch.template take<ContrastSum>(n * words_n);
    columns = scratch.template take<ContrastSum>(n * words_n);
    if (!backward) return;

    d_cosines = take<Operand>(scratch, n, parts * words_n, words_n);
    for (Index k = 0; k < parts; ++k) {
      d_cosines_part[k] = rows_from(d_cosines, k * words_n, words_n);
      unit_contexts_part[k] = rows_from(unit_contexts, k * words_n, words_n);
    }
    d_contexts = rows_from(contexts_and_words, 0, words_n);
    contexts_and_words = rows_from(contexts_and_words, 0, 2 * words_n);
    d_scores = rows_from(both_attentions, words_n, words_n);
    d_attention = take<float>(scratch, n, words_n, regions_n);
    more_of_words = rows_from(of_regions, words_n, words_n);
    of_regions = rows_from(of_regions, 0, regions_n);
    power = numbers(words_n);
    pair_power = numbers(1);
  }

  /// Bytes of scratch that a pair takes, except O(W + R) numbers.
  static Index bytes_of_pair(const TokenShape& shape, Index parts, bool backward) {
    const Index to_features = padded(shape.features), to_regions = padded(shape.regions);
    const Index copies = backward ? 1 + 2 * parts : 1 + parts, attentions = backward ? 2 : 1;
    const Index operands = (copies * shape.words + shape.regions) * to_features +
                           attentions * shape.words * to_regions +
                           (backward ? parts : 0) * shape.words * padded(shape.words);
    const Index sums = sum_rows(shape, backward) * to_features + attentions * shape.words * to_regions +
                       shape.words * padded(parts * shape.words);
    return operands * static_cast<Index>(sizeof(Operand)) + sums * static_cast<Index>(sizeof(float));
  }

  /// The same memory, cut to the first pairs.
  [[nodiscard]] TokenTiles first(Index pairs) const {
    TokenTiles out = *this;
    for (auto* view : {&out.words, &out.regions, &out.unit_contexts, &out.attention, &out.words_twice,
                       &out.d_cosines, &out.d_cosines_part[0], &out.d_cosines_part[1],
                       &out.unit_contexts_part[0], &out.unit_contexts_part[1], &out.d_contexts, &out.d_scores,
                       &out.both_attentions, &out.contexts_and_words})
      *view = view->slice(0, pairs);
    for (auto* view :
         {&out.scores, &out.cosines, &out.of_words, &out.d_attention, &out.more_of_words, &out.of_regions})
      *view = view->slice(0, pairs);
    return out;
  }

  [[nodiscard]] UnitTokens<Operand> unit_words() const {
    return {batch_rows_of(words), word_inverse, word_factor};
  }
  [[nodiscard]] UnitTokens<Operand> unit_regions() const {
    return {batch_rows_of(regions), region_inverse, region_factor};
  }

 private:
  /// Rows of the sums [n, ., D] of a pair: two for words at a time, or one for regions.
  static Index sum_rows(const TokenShape& shape, bool backward) {
    return backward ? std::max(2 * shape.words, shape.regions) : shape.words;
  }

  static Index padded(Index columns) { return whole_packs<Half>(columns); }

  template <class T>
  static BatchView<T> take(Scope& scratch, Index n, Index rows, Index columns) {
    const Index stride = padded(columns);
    return BatchView<T>(scratch.template take<T>(n * rows * stride), {n, rows, columns},
                        {rows * stride, stride, 1});
  }

  template <class T>
  static BatchView<T> rows_from(const BatchView<T>& view, Index first, Index rows) {
    return BatchView<T>(view.data() + first * view.stride(1), {view.extent(0), rows, view.extent(2)},
                        view.strides());
  }
};

}  // namespace vlp::cuda::detail
