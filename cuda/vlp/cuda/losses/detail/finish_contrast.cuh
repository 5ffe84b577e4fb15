/// \file
/// Sums that contrastive losses are made of, on the device: how they are merged, and how they become a loss.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/last_block.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/losses/contrast.hpp>

#include <algorithm>

namespace vlp::cuda::detail {

/// The log-sum-exps of some rows, or columns, as kernels take them.
struct SideSums {
  float* max = nullptr;
  float* sum = nullptr;

  SideSums() = default;
  explicit SideSums(const LogSumExps<float>& side) : max(side.max.data()), sum(side.sum.data()) {}

  [[nodiscard]] __device__ LogSumExp operator[](Index i) const { return {max[i], sum[i]}; }
  __device__ void store(Index i, const LogSumExp& of) const {
    max[i] = of.max;
    sum[i] = of.sum;
  }
};

/// Sums of a block, as kernels take them. A side that is not given has count 0.
struct BlockSums {
  SideSums rows, columns;
  Index row_count = 0, column_count = 0;
  double* target_score = nullptr;

  explicit BlockSums(const ContrastSums<float>& sums)
      : rows(sums.rows),
        columns(sums.columns),
        row_count(sums.rows.sum.given() ? sums.rows.sum.extent(0) : 0),
        column_count(sums.columns.sum.given() ? sums.columns.sum.extent(0) : 0),
        target_score(sums.target_score) {}

  [[nodiscard]] Index most() const { return std::max({row_count, column_count, Index{1}}); }
};

/// Adds sums to others: a thread a row and a column.
template <int Threads>
__global__ void __launch_bounds__(Threads) merge_contrast_sums(BlockSums from, BlockSums to) {
  const Index i = static_cast<Index>(blockIdx.x) * Threads + threadIdx.x;
  const auto merge = [i](const SideSums& part, const SideSums& all) {
    LogSumExp sum = all[i];
    sum.add(part[i]);
    all.store(i, sum);
  };
  if (i < from.row_count) merge(from.rows, to.rows);
  if (i < from.column_count) merge(from.columns, to.columns);
  if (i == 0 && from.target_score != nullptr) *to.target_score += *from.target_score;
}

/// Adds the sums `from` to `to`; sides that are not given in `from` are left alone.
inline void merge_sums_of_blocks(Cuda& device, const ContrastSums<float>& from,
                                 const ContrastSums<float>& to) {
  const BlockSums given(from);
  launch(merge_contrast_sums<256>, blocks(given.most(), 256), 256, 0, device.stream(), given, BlockSums(to));
}

struct FinishContrastShared {
  BlockRoom<double> room, final_room;
  LastBlockRoom last;
};

/// Parts of a share of a contrastive loss: the sums of rows and columns that are complete, with the
/// place of the columns among the texts that are images' own.
struct ContrastShare {
  BlockSums sums;
  Index images;                               // of the batch
  Index first_text, own_text, own_text_step;  // see PairBlock
  float row_weight, column_weight;

  [[nodiscard]] __device__ bool is_own_text(Index column) const {
    const Index from = first_text + column - own_text;
    return from >= 0 && from % own_text_step == 0 && from / own_text_step < images;
  }
};

/// The loss from all sums, in one launch: blocks add up a piece each, the last to end adds up the pieces.
template <int Threads>
__global__ void __launch_bounds__(Threads)
    finish_contrast(ContrastShare in, double* pieces, unsigned* arrived, float* loss) {
  auto& shared = shared_memory<FinishContrastShared>();
  const Index i = static_cast<Index>(blockIdx.x) * Threads + threadIdx.x;
  double sum = 0;
  if (i < in.sums.row_count && in.row_weight > 0)
    sum += static_cast<double>(in.row_weight) * in.sums.rows[i].value();
  if (i < in.sums.column_count && in.column_weight > 0 && in.is_own_text(i))
    sum += static_cast<double>(in.column_weight) * in.sums.columns[i].value();
  if (i == 0 && in.sums.target_score != nullptr) sum -= *in.sums.target_score;
  sum = block_sum(sum, shared.room);
  if (threadIdx.x == 0) pieces[blockIdx.x] = sum;
  if (!last_block(arrived, shared.last)) return;
  sum = block_sum_of(pieces, static_cast<Index>(gridDim.x), shared.final_room);
  if (threadIdx.x == 0) *loss = static_cast<float>(sum / static_cast<double>(in.images));
}

/// Writes the share of the loss that the given sums have; `block` has its numbers filled in.
inline void finish_share(Cuda& device, const PairBlock& block, const ContrastSums<float>& sums,
                         double row_weight, double column_weight, float* loss) {
  const ContrastShare share{BlockSums(sums),
                            block.images,
                            block.first_text,
                            block.own_text,
                            block.own_text_step,
                            static_cast<float>(row_weight),
                            static_cast<float>(column_weight)};
  const dim3 grid = blocks(share.sums.most(), 256);
  auto scratch = device.scratch().scope();
  launch(finish_contrast<256>, grid, 256, sizeof(FinishContrastShared), device.stream(), share,
         scratch.template take<double>(grid.x), device.arrived(), loss);
}

}  // namespace vlp::cuda::detail
