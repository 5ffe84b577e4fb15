/// \file
/// From the gradients of scores of all pairs, a block at a time, to those of embeddings and the scale.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/gradient_products.cuh>
#include <vlp/cuda/losses/detail/pair_tiles.cuh>
#include <vlp/cuda/losses/detail/unit_rows.cuh>

#include <type_traits>

namespace vlp::cuda::detail {

/// From sums of products to the gradients of rows that were brought to unit length and scaled by exp(s).
template <class Scalar>
struct FinishUnitRows {
  static constexpr bool projects = true;
  UnitRows<Scalar> rows;
  const float* log_scale;
  float factor;

  struct OfRow {
    const Scalar* x;
    float factor, inverse;

    [[nodiscard]] __device__ float value(float sum) const { return factor * sum; }
    [[nodiscard]] __device__ float along(float dot) const { return projection(inverse, dot); }
  };
  [[nodiscard]] __device__ OfRow of_row(Index row) const {
    const float inverse = rows.inverse[row];
    return {rows.x[row], factor * scale_of(log_scale) * (inverse / rows.factor[row]), inverse};
  }
};

/// out (+)= factor times the sum of count numbers, in double, by one block.
template <class Number>
__global__ void __launch_bounds__(1024)
    sum_numbers(const Number* x, Index count, double factor, Into into, float* out) {
  auto& room = shared_memory<BlockRoom<double>>();
  const double sum = block_sum_of(x, count, room);
  if (threadIdx.x == 0) *out = static_cast<float>(factor * sum) + (into == Into::add ? *out : 0.0F);
}

/// Queues that; `factor` is known to the host.
template <class Number>
void write_sum(Cuda& device, const Number* x, Index count, double factor, Into into, float* out) {
  launch(sum_numbers<Number>, 1, 1024, sizeof(BlockRoom<double>), device.stream(), x, count, factor, into,
         out);
}

/// Where the gradients of pairs go.
template <class Scalar>
struct PairGradients {
  Rows<Scalar> image, text;  // no data: not asked for
  float* log_scale;          // or null
  Into into;
};

/// Writes the gradients by those of scores, which fill(place, block) writes to a block at a time, as numbers
/// of `range` B dL/dS times the factors of rows and columns, for a loss that is a mean over `batch` images.
template <class Scalar, class Fill>
void differentiate_pairs(Cuda& device, const PairTiles<Scalar>& pairs, float upstream, float range,
                         Index batch, const PairGradients<Scalar>& to, Fill&& fill,
                         bool fill_anyway = false) {
  const float factor = upstream / (range * static_cast<float>(batch));
  auto scratch = device.scratch().scope();
  // Either side gives d(log scale) = <x, dx>, before the projection; d_text only if it is alone.
  const bool by_text = to.image.data == nullptr && to.text.data != nullptr;
  const Index count = by_text ? pairs.texts : pairs.images;
  float* dots = to.log_scale != nullptr ? scratch.template take<float>(count) : nullptr;
  gradient_products<Scalar>(device, {pairs.image.operand, pairs.text.operand, pairs.features}, fill,
                            GradientSide{FinishUnitRows<Scalar>{pairs.image, pairs.log_scale, factor},
                                         GradientRows<Scalar>{to.image, to.into, by_text ? nullptr : dots}},
                            GradientSide{FinishUnitRows<Scalar>{pairs.text, pairs.log_scale, factor},
                                         GradientRows<Scalar>{to.text, to.into, by_text ? dots : nullptr}},
                            fill_anyway);
  if (to.log_scale != nullptr) write_sum(device, dots, count, 1, to.into, to.log_scale);
}

/// Half has no room below 6e-8, so gradients of scores, at most `most` times the batch, whose factors of rows
/// are at most 1, are brought near its largest number.
template <class Scalar>
[[nodiscard]] float gradient_range(float most) {
  return std::is_same_v<Scalar, Half> ? 16384 / most : 1.0F;
}

}  // namespace vlp::cuda::detail
