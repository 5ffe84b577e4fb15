/// \file
/// Cross-entropy over the rows and the columns of scores of all pairs that exist in memory.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/memory.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/losses/detail/finish_contrast.cuh>
#include <vlp/cuda/losses/detail/pair_targets.cuh>

#include <cmath>

namespace vlp::cuda::detail {

/// S [B, B], with the cross-entropies' weights and targets.
struct Similarity {
  const float* score;
  int batch;
  PairTargets targets;
  float row_weight, column_weight;

  /// S[i, j], or -inf where that pair is in no denominator.
  [[nodiscard]] __device__ float kept(int i, int j) const {
    return is_member(i, j) && targets.drops(i, j) ? -INFINITY : score[Index{i} * batch + j];
  }

  /// w_r q[i, j] + w_c q[j, i].
  [[nodiscard]] __device__ float target(int i, int j) const {
    const bool member = is_member(i, j);
    if (member && targets.drops(i, j)) return 0;
    float out = 0;
    if (targets.smooths) out = row_weight * targets.smoothing_of(i) + column_weight * targets.smoothing_of(j);
    if (!member) return out;
    return out + (row_weight + column_weight) * (targets.is_identity() ? 1.0F : targets.member_of(i));
  }

 private:
  [[nodiscard]] __device__ bool is_member(int i, int j) const {
    return targets.grouped ? targets.group_of(i) == targets.group_of(j) : i == j;
  }
};

/// The log-sum-exp of each row, and its share of the weighted sum of target scores: a warp a row.
template <class Sum>
__global__ void __launch_bounds__(256)
    sum_similarity_rows(Similarity similarity, Sum* rows, double* target_scores) {
  const Index row = static_cast<Index>(blockIdx.x) * (256 / warp_size) + warp();
  if (row >= similarity.batch) return;
  const int i = static_cast<int>(row);
  Sum sum;
  double target_score = 0;
  for (int j = lane(); j < similarity.batch; j += warp_size) {
    const float score = similarity.kept(i, j), target = similarity.target(i, j);
    sum.add({score, 1});
    if (target != 0) target_score += static_cast<double>(target) * static_cast<double>(score);
  }
  sum = warp_sum(sum);
  target_score = warp_sum(target_score);
  if (lane() != 0) return;
  rows[i] = sum;
  target_scores[i] = target_score;
}

/// Room for eight sums of each of 32 columns.
template <class Sum>
struct SimilarityColumnsShared {
  Sum sum[8][warp_size];
};

/// The log-sum-exp of each column: a lane a column, the warps of a block take every eighth row.
template <class Sum>
__global__ void __launch_bounds__(256) sum_similarity_columns(Similarity similarity, Sum* columns) {
  auto& shared = shared_memory<SimilarityColumnsShared<Sum>>();
  const Index column = static_cast<Index>(blockIdx.x) * warp_size + lane();
  const int j = static_cast<int>(column);
  Sum sum;
  if (column < similarity.batch)
    for (int i = warp(); i < similarity.batch; i += 8) sum.add({similarity.kept(i, j), 1});
  shared.sum[warp()][lane()] = sum;
  __syncthreads();
  if (warp() > 0 || column >= similarity.batch) return;
  for (int w = 1; w < 8; ++w) sum.add(shared.sum[w][lane()]);
  columns[j] = sum;
}

/// out = factor dL/dS [B, B]; L is a mean over rows, or columns, whose count `factor` has in it.
template <class Sum>
__global__ void __launch_bounds__(256)
    differentiate_similarity(Similarity similarity, const Sum* rows, const Sum* columns, float factor,
                             float* out) {
  const Index at = static_cast<Index>(blockIdx.x) * 256 + threadIdx.x;
  if (at >= Index{similarity.batch} * similarity.batch) return;
  const int i = static_cast<int>(at / similarity.batch), j = static_cast<int>(at % similarity.batch);
  const float score = similarity.kept(i, j);
  float d = -similarity.target(i, j);
  if (similarity.row_weight > 0) d += similarity.row_weight * rows[i].softmax(score);
  if (similarity.column_weight > 0) d += similarity.column_weight * columns[j].softmax(score);
  out[at] = factor * d;
}

/// L = w_r mean_i CE(S[i, :], q[i, :]) + w_c mean_j CE(S[:, j], q[j, :]) of S [B, B]. Keeps the log-sum-exps
/// of rows and columns.
class SimilarityContrast {
 public:
  /// Writes the loss unless it is null.
  void forward(Cuda& device, const Similarity& similarity, float* loss) {
    const Index batch = similarity.batch;
    auto scratch = device.scratch().scope();
    double* target_scores = scratch.take<double>(batch);
    launch(sum_similarity_rows<LogSumExp>, blocks(batch, 256 / warp_size), 256, 0, device.stream(),
           similarity, rows_.resize(batch), target_scores);
    launch(sum_similarity_columns<LogSumExp>, blocks(batch, warp_size), 256,
           sizeof(SimilarityColumnsShared<LogSumExp>), device.stream(), similarity, columns_.resize(batch));
    if (loss == nullptr) return;
    const dim3 grid = blocks(batch, 256);
    launch(finish_contrast<LogSumExp>, grid, 256, sizeof(FinishContrastShared), device.stream(),
           ContrastSums<LogSumExp>{rows_.data(), columns_.data(), batch, similarity.row_weight,
                                   similarity.column_weight, target_scores, batch},
           scratch.take<double>(grid.x), device.arrived(), loss);
  }

  /// Writes upstream dL/dS to `out` [B, B].
  void backward(Cuda& device, const Similarity& similarity, float upstream, float* out) const {
    const Index batch = similarity.batch;
    launch(differentiate_similarity<LogSumExp>, blocks(batch * batch, 256), 256, 0, device.stream(),
           similarity, rows_.data(), columns_.data(), upstream / static_cast<float>(batch), out);
  }

 private:
  Buffer<LogSumExp> rows_, columns_;  // [B]
};

}  // namespace vlp::cuda::detail
