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

/// The loss from all sums, in one launch: blocks add up a piece each, the last to end adds up the pieces.
template <class Sum>
__global__ void __launch_bounds__(256)
    finish_contrast(const Sum* rows, const Sum* columns, Index batch, float row_weight, float column_weight,
                    const double* target_scores, Index target_count, double* pieces, unsigned* arrived,
                    float* loss) {
  auto& shared = shared_memory<FinishContrastShared>();
  const Index i = static_cast<Index>(blockIdx.x) * 256 + threadIdx.x;
  double sum = 0;
  if (i < batch && row_weight > 0) sum += static_cast<double>(row_weight) * rows[i].value();
  if (i < batch && column_weight > 0) sum += static_cast<double>(column_weight) * columns[i].value();
  for (Index k = i; k < target_count; k += static_cast<Index>(gridDim.x) * 256) sum -= target_scores[k];
  sum = block_sum(sum, shared.room);
  if (threadIdx.x == 0) pieces[blockIdx.x] = sum;
  if (!last_block(arrived, shared.last)) return;
  sum = block_sum_of(pieces, static_cast<Index>(gridDim.x), shared.final_room);
  if (threadIdx.x == 0) *loss = static_cast<float>(sum / static_cast<double>(batch));
}

}  // namespace vlp::cuda::detail
