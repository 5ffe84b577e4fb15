/// \file
/// Cross-entropy over the rows and the columns of scores of pairs that exist in memory.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/last_block.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/memory.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/losses/detail/finish_contrast.cuh>
#include <vlp/cuda/losses/detail/pair_targets.cuh>
#include <vlp/losses/contrast.hpp>

#include <cmath>

namespace vlp::cuda::detail {

/// A block of scores S [images, texts], with the cross-entropies' weights and targets.
struct Similarity {
  const float* scores;
  int images, texts;
  PairTargets targets;
  float row_weight, column_weight;
  float margin;  // of scores, by which a false negative exceeds the own pair; infinite: none does

  [[nodiscard]] __device__ float score(int i, int j) const { return scores[Index{i} * texts + j]; }
  [[nodiscard]] __device__ bool is_member(int i, int j) const { return targets.is_member(i, j); }
  /// Says whether column j has a cross-entropy.
  [[nodiscard]] __device__ bool has_column(int j) const { return all_default() || targets.is_own_text(j); }

  /// Scores of row i, or of column j, above which a pair is a false negative. With a margin the block is the
  /// whole batch, which has the own pair of each.
  [[nodiscard]] __device__ float row_limit(int i) const {
    return margin == INFINITY ? INFINITY : score(i, targets.own_text_of(i)) + margin;
  }
  [[nodiscard]] __device__ float column_limit(int j) const {
    return margin == INFINITY || !has_column(j)
               ? INFINITY
               : score((j - targets.own_text) / targets.own_text_step, j) + margin;
  }

  /// Says whether a pair stays in the denominator of a row, or column, of that limit.
  [[nodiscard]] __device__ bool keeps(int i, int j, bool member, float limit) const {
    return member ? !targets.drops(i, j) : !(score(i, j) > limit);
  }

  /// The targets q[i, j] of row i and q'[i, j] of column j, for a pair that stays in the denominator; q' is 0
  /// in columns without a cross-entropy.
  [[nodiscard]] __device__ float row_target(int i, bool member) const {
    if (all_default()) return member ? 1 : 0;
    return (member ? targets.member_of_image(i) : 0) + (targets.smooths ? targets.smoothing_of_image(i) : 0);
  }
  [[nodiscard]] __device__ float column_target(int j, bool member) const {
    if (all_default()) return member ? 1 : 0;
    return (member ? targets.member_of(j) : 0) + (targets.smooths ? targets.smoothing_of(j) : 0);
  }

 private:
  /// Says whether the targets have no arrays, since text i is image i's own and nothing else is special.
  [[nodiscard]] __device__ bool all_default() const { return targets.group == nullptr; }
};

/// Writes the sum of a row or column, or adds it to the one that is there.
__device__ inline void store_sum(const SideSums& to, Index i, LogSumExp sum, Into into) {
  if (into == Into::add) sum.add(to[i]);
  to.store(i, sum);
}

struct SimilarityRowsShared {
  BlockRoom<double> room;
  LastBlockRoom last;
};

/// The log-sum-exp of each row, a warp a row, and the sum of all target scores times their weights, to which
/// each row adds its share in target_scores [images]; the last block to end adds up.
template <int Threads>
__global__ void __launch_bounds__(Threads)
    sum_similarity_rows(Similarity similarity, BlockSums out, Into into, double* target_scores,
                        unsigned* arrived) {
  auto& shared = shared_memory<SimilarityRowsShared>();
  const Index row = static_cast<Index>(blockIdx.x) * (Threads / warp_size) + warp();
  if (row < similarity.images) {
    const int i = static_cast<int>(row);
    const float limit = similarity.row_limit(i);
    LogSumExp sum;
    double target_score = 0;
    for (int j = lane(); j < similarity.texts; j += warp_size) {
      const float score = similarity.score(i, j);
      const bool member = similarity.is_member(i, j);
      const bool keeps = similarity.keeps(i, j, member, limit);
      sum.add({keeps ? score : -INFINITY, 1});
      float target = keeps ? similarity.row_weight * similarity.row_target(i, member) : 0;
      if (similarity.keeps(i, j, member, similarity.column_limit(j)))
        target += similarity.column_weight * similarity.column_target(j, member);
      if (target != 0) target_score += static_cast<double>(target) * static_cast<double>(score);
    }
    sum = warp_sum(sum);
    target_score = warp_sum(target_score);
    if (lane() == 0) {
      store_sum(out.rows, i, sum, into);
      target_scores[i] = target_score;
    }
  }
  if (!last_block(arrived, shared.last)) return;
  const double all = block_sum_of(target_scores, similarity.images, shared.room);
  if (threadIdx.x == 0) *out.target_score = all + (into == Into::add ? *out.target_score : 0);
}

/// Room for eight sums of each of 32 columns.
template <class Sum>
struct SimilarityColumnsShared {
  Sum sum[8][warp_size];
};

/// The log-sum-exp of each column: a lane a column, the warps of a block take every eighth row.
template <class Sum>
__global__ void __launch_bounds__(256)
    sum_similarity_columns(Similarity similarity, SideSums columns, Into into) {
  auto& shared = shared_memory<SimilarityColumnsShared<Sum>>();
  const Index column = static_cast<Index>(blockIdx.x) * warp_size + lane();
  const int j = static_cast<int>(column);
  Sum sum;
  if (column < similarity.texts) {
    const float limit = similarity.column_limit(j);
    for (int i = warp(); i < similarity.images; i += 8) {
      const bool keeps = similarity.keeps(i, j, similarity.is_member(i, j), limit);
      sum.add({keeps ? similarity.score(i, j) : -INFINITY, 1});
    }
  }
  shared.sum[warp()][lane()] = sum;
  __syncthreads();
  if (warp() > 0 || column >= similarity.texts) return;
  for (int w = 1; w < 8; ++w) sum.add(shared.sum[w][lane()]);
  store_sum(columns, j, sum, into);
}

/// out = factor dL/dS [images, texts], from sums over the whole batch; L is a mean over the images, whose
/// count `factor` has in it.
template <int Threads>
__global__ void __launch_bounds__(Threads)
    differentiate_similarity(Similarity similarity, SideSums rows, SideSums columns, float factor,
                             float* out) {
  const Index at = static_cast<Index>(blockIdx.x) * Threads + threadIdx.x;
  if (at >= Index{similarity.images} * similarity.texts) return;
  const int i = static_cast<int>(at / similarity.texts), j = static_cast<int>(at % similarity.texts);
  const float score = similarity.score(i, j);
  const bool member = similarity.is_member(i, j);
  float d = 0;
  if (similarity.row_weight > 0 && similarity.keeps(i, j, member, similarity.row_limit(i)))
    d += similarity.row_weight * (rows[i].softmax(score) - similarity.row_target(i, member));
  if (similarity.column_weight > 0 && similarity.has_column(j) &&
      similarity.keeps(i, j, member, similarity.column_limit(j)))
    d += similarity.column_weight * (columns[j].softmax(score) - similarity.column_target(j, member));
  out[at] = factor * d;
}

/// Writes the sums of a block of scores, or adds them to `out`.
inline void sum_similarity(Cuda& device, const Similarity& similarity, const ContrastSums<float>& out,
                           Into into) {
  auto scratch = device.scratch().scope();
  const BlockSums sums(out);
  launch(sum_similarity_rows<256>, blocks(similarity.images, 256 / warp_size), 256,
         sizeof(SimilarityRowsShared), device.stream(), similarity, sums, into,
         scratch.template take<double>(similarity.images), device.arrived());
  launch(sum_similarity_columns<LogSumExp>, blocks(similarity.texts, warp_size), 256,
         sizeof(SimilarityColumnsShared<LogSumExp>), device.stream(), similarity, sums.columns, into);
}

/// Writes `factor` dL/dS to `out` [images, texts], from the sums of its rows and columns over the whole
/// batch.
inline void differentiate_similarity(Cuda& device, const Similarity& similarity,
                                     const ContrastSums<float>& sums, float factor, float* out) {
  launch(differentiate_similarity<256>, blocks(Index{similarity.images} * similarity.texts, 256), 256, 0,
         device.stream(), similarity, SideSums(sums.rows), SideSums(sums.columns), factor, out);
}

}  // namespace vlp::cuda::detail
