/// \file
/// The end of a contrastive loss: from log-sum-exps of rows and columns of scores to one number.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/last_block.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/reduce.cuh>

namespace vlp::cuda::detail {

struct FinishContrastShared {
  BlockRoom<double> room, final_room;
  LastBlockRoom last;
};

/// Sums that a contrastive loss over B pairs is made of.
template <class Sum>
struct ContrastSums {
  const Sum *rows, *columns;  // [B] of the scores of each row and column; not read without a weight
  Index batch;                // B
  float row_weight, column_weight;
  const double* target_scores;  // [target_count] parts of the weighted sum of target scores
  Index target_count;
};

/// The loss from all sums, in one launch: blocks add up a piece each, the last to end adds up the pieces.
template <class Sum>
__global__ void __launch_bounds__(256)
    finish_contrast(ContrastSums<Sum> in, double* pieces, unsigned* arrived, float* loss) {
  auto& shared = shared_memory<FinishContrastShared>();
  const Index i = static_cast<Index>(blockIdx.x) * 256 + threadIdx.x;
  double sum = 0;
  if (i < in.batch && in.row_weight > 0) sum += static_cast<double>(in.row_weight) * in.rows[i].value();
  if (i < in.batch && in.column_weight > 0)
    sum += static_cast<double>(in.column_weight) * in.columns[i].value();
  for (Index k = i; k < in.target_count; k += static_cast<Index>(gridDim.x) * 256) sum -= in.target_scores[k];
  sum = block_sum(sum, shared.room);
  if (threadIdx.x == 0) pieces[blockIdx.x] = sum;
  if (!last_block(arrived, shared.last)) return;
  sum = block_sum_of(pieces, static_cast<Index>(gridDim.x), shared.final_room);
  if (threadIdx.x == 0) *loss = static_cast<float>(sum / static_cast<double>(in.batch));
}

}  // namespace vlp::cuda::detail
