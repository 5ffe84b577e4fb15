/// \file
/// Context vectors on the device: what a word sees of an image.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/op.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/matmul.cuh>
#include <vlp/cuda/core/memory.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/core/tile_product.cuh>
#include <vlp/cuda/losses/detail/attention_tile.cuh>
#include <vlp/cuda/losses/detail/gradient_scales.cuh>

#include <cmath>
#include <type_traits>

namespace vlp::cuda::detail {

/// Largest |x| of each matrix of a batch, as bits: block (x, i) takes `each` of the `elements` of matrix i.
template <class Float>
__global__ void __launch_bounds__(256)
    bound_matrices(const Float* x, Index elements, Index each, unsigned* bounds) {
  auto& room = shared_memory<BlockRoom<float>>();
  const Float* const from = x + Index{blockIdx.y} * elements;
  const Index begin = Index{blockIdx.x} * each, end = min(begin + each, elements);
  float largest = 0;
  for (Index k = begin + threadIdx.x; k < end; k += 256) largest = fmaxf(largest, fabsf(from[k]));
  largest = block_max(largest, room);
  if (threadIdx.x == 0) atomicMax(bounds + blockIdx.y, __float_as_uint(largest));
}

/// Matrices x [images, padded, padded] as operands: rounded; for Half times a power of two, 1 over which is
/// image_factor [images]. Warp w of the grid takes row w of image y.
template <class Scalar>
__global__ void __launch_bounds__(256)
    round_matrices(const float* x, int padded, const unsigned* bounds, Scalar* to, float* image_factor) {
  const int row = static_cast<int>(blockIdx.x) * (256 / warp_size) + warp();
  if (row >= padded) return;
  const Index image = blockIdx.y, begin = (image * padded + row) * padded;
  const float power = bounds != nullptr ? half_scale(__uint_as_float(bounds[image])) : 1;
  for (int r = lane(); r < padded; r += warp_size) to[begin + r] = from_float<Scalar>(power * x[begin + r]);
  if (row == 0 && lane() == 0) image_factor[image] = 1 / power;
}

/// Rows of at most that many numbers of 16 bits, such as those of 49 regions, make products of one step and
/// of half a tile's columns.
inline constexpr int short_gram = 64;

/// The tile product of take_gram_norms.
template <class Scalar, bool Short>
using GramProduct =
    std::conditional_t<Short, TileProduct<Scalar, short_gram, 1, WarpProducts>, TileProduct<Scalar>>;

template <class Scalar, bool Short>
struct GramNormsShared {
  using Product = GramProduct<Scalar, Short>;
  typename Product::Shared product;
  float sum[4][Product::rows];  // of as many warps as stand beside each other
};
static_assert(sizeof(GramNormsShared<float, false>) <= 99 * 1024);

/// |c_w|^2 = a G a^T without storing a G: block (x, i) multiplies 128 rows of attention in image i by G_i, a
/// tile of columns at a time, and each tile by the attention again as it is finished.
template <class Scalar, bool Short>
__global__ void __launch_bounds__(GramProduct<Scalar, Short>::threads,
                                  GramProduct<Scalar, Short>::blocks_per_multiprocessor)
    take_gram_norms(AttentionTile<Scalar> tile, const Scalar* gram, const float* image_factor,
                    float* squared_norm, Index norm_stride) {
  using Product = GramProduct<Scalar, Short>;
  using Tile = typename Product::Tile;
  auto& shared = shared_memory<GramNormsShared<Scalar, Short>>();
  const Index image = blockIdx.y;
  const int first = static_cast<int>(blockIdx.x) * Product::rows, padded = tile.padded;
  const Rows<const Scalar> attention{tile.attention(image, 0), tile.rows, tile.attention.stride};
  const Rows<const Scalar> products{gram + image * padded * padded, padded, padded};
  float sum[Tile::row_count] = {};
  Product::for_each_tile(shared.product, attention, products, padded, true, first, 0,
                         (padded + Product::cols - 1) / Product::cols,
                         [&](const Tile& product, Index column) {
#pragma unroll
                           for (int r = 0; r < Tile::row_count; ++r) {
                             const int row = first + Tile::row(r);
                             if (row >= tile.rows) continue;
                             const Scalar* const a = attention[row] + column;
#pragma unroll
                             for (int c = 0; c < Tile::col_count; c += 2) {  // two neighbours at a time
                               if (column + Tile::col(c) >= padded) continue;
                               const auto both = *reinterpret_cast<const Pack<Scalar, 2>*>(a + Tile::col(c));
                               sum[r] = fmaf(product(r, c), to_float(both.value[0]), sum[r]);
                               sum[r] = fmaf(product(r, c + 1), to_float(both.value[1]), sum[r]);
                             }
                           }
                         });
#pragma unroll
  for (int r = 0; r < Tile::row_count; ++r) {
    sum[r] += __shfl_xor_sync(whole_warp, sum[r], 1);
    sum[r] += __shfl_xor_sync(whole_warp, sum[r], 2);
    if (lane() % 4 == 0) shared.sum[warp() % Product::warp_columns][Tile::row(r)] = sum[r];
  }
  __syncthreads();
  const int thread = static_cast<int>(threadIdx.x), row = first + thread;
  if (thread >= Product::rows || row < tile.begin() || row >= tile.end()) return;
  float all = shared.sum[0][thread];
  if constexpr (Product::warp_columns > 1) all += shared.sum[1][thread];
  if constexpr (Product::warp_columns > 2) all += shared.sum[2][thread] + shared.sum[3][thread];
  const float inverse = tile.inverse_sum[image * tile.rows + row];
  squared_norm[image * norm_stride + row] = (all < 0 ? 0 : all) * inverse * inverse * image_factor[image];
}

/// Results of measure_contexts; a null one is skipped.
template <class Scalar>
struct MeasuredContexts {
  float* squared_norm;  // [images, norm_stride] |c_w|^2 of this strip's words
  Index norm_stride;
  Rows<Scalar> rounded;  // [images rows, D]: times 1 over a power of two for Half
  float* factor;         // [images, rows] c_w = factor times what is in `rounded`
};

/// A warp a row of contexts [images, rows, D], made of undivided attention.
template <class Scalar>
__global__ void __launch_bounds__(256)
    measure_contexts(AttentionTile<Scalar> tile, Rows<const float> contexts, Index features,
                     MeasuredContexts<Scalar> out) {
  const Index at = static_cast<Index>(blockIdx.x) * (256 / warp_size) + warp();
  if (at >= contexts.count) return;
  const Index image = at / tile.rows;
  const int row = static_cast<int>(at % tile.rows);
  const float* const context = contexts[at];
  float sum = 0;
  for (Index d = lane(); d < features; d += warp_size) sum = fmaf(context[d], context[d], sum);
  sum = warp_sum(sum);
  const float inverse = tile.inverse_sum[at];
  if (out.squared_norm != nullptr && lane() == 0 && row >= tile.begin() && row < tile.end())
    out.squared_norm[image * out.norm_stride + row] = sum * inverse * inverse;
  if (out.factor == nullptr) return;
  const float power = std::is_same_v<Scalar, Half> ? half_scale(sqrtf(sum)) : 1.0F;
  if (lane() == 0) out.factor[at] = inverse / power;
  if (out.rounded.data == nullptr) return;
  for (Index d = lane(); d < features; d += warp_size)
    out.rounded[at][d] = from_float<Scalar>(power * context[d]);
}

/// The contexts c_w = sum_r A2[w, r] C[r] of a tile, in two forms that give the same numbers (see
/// vlp::detail::Contexts). The direct form makes c_w, as float, and for backward rounded. The Gram form never
/// does: |c_w|^2 = a G a^T and <c_w, C_r> = (a G)_r with G = C C^T. In both, attention is given by
/// deviations, and regions have one more, their sum over 2^k, to go with the base (see AttentionTile).
/// Products are over all of the padding of attention and regions, which is 0: for odd extents cuBLAS has none
/// but slow kernels.
///
/// For each strip of images: begin; for each tile: measure, or form and gather; finish.
template <class Scalar>
class AttentionContexts {
 public:
  /// The most that one tile has, and whether it is for backward.
  struct Extents {
    Index images, rows, padded, features;
    bool backward;
  };

  template <class Scope>
  AttentionContexts(Scope& scratch, bool gram, const Extents& most) : gram_(gram) {
    if (gram) {
      products_ = scratch.template take<float>(most.images * most.padded * most.padded);
      operand_ = scratch.template take<Scalar>(most.images * most.padded * most.padded);
      image_factor_ = scratch.template take<float>(most.images);
      if constexpr (std::is_same_v<Scalar, Half>) bounds_ = scratch.template take<unsigned>(most.images);
    } else {
      contexts_ = scratch.template take<float>(most.images * most.rows * whole_packs<float>(most.features));
    }
    if (!most.backward) return;
    dots_ = scratch.template take<float>(most.images * most.rows * most.padded);
    gathered_ = scratch.template take<float>(most.images * most.padded * whole_packs<float>(most.features));
    if (gram) return;
    factor_ = scratch.template take<float>(most.images * most.rows);
    if constexpr (is_16_bit<Scalar>)
      rounded_ = scratch.template take<Scalar>(most.images * most.rows * whole_packs<Scalar>(most.features));
  }

  /// Starts with some images, regions [images, padded, D]: after the R of each their sum over 2^k, and then
  /// 0.
  void begin(Cuda& device, const BatchView<const Scalar>& regions) {
    regions_ = regions;
    has_gathered_ = false;
    if (gram_) {
      matmul<Scalar>(device, regions, Op::none, regions, Op::transpose, products());
      round_products(device);
    }
  }

  /// Forward: |c_w|^2 to squared_norm [images, norm_stride].
  void measure(Cuda& device, const AttentionTile<Scalar>& tile, float* squared_norm, Index norm_stride) {
    if (gram_) {
      dim3 grid = blocks(tile.rows, TileProduct<Scalar>::Tile::size);
      grid.y = static_cast<unsigned>(images());
      const auto launch_norms = [&](auto is_short) {
        constexpr bool short_rows = decltype(is_short)::value;
        launch(take_gram_norms<Scalar, short_rows>, grid, GramProduct<Scalar, short_rows>::threads,
               sizeof(GramNormsShared<Scalar, short_rows>), device.stream(), tile, operand_, image_factor_,
               squared_norm, norm_stride);
      };
      if constexpr (is_16_bit<Scalar>) {
        if (tile.padded <= short_gram) return launch_norms(std::true_type{});
      }
      launch_norms(std::false_type{});
    } else {
      make_contexts(device, tile, {squared_norm, norm_stride, {}, nullptr});
    }
  }

  /// Backward: what the attention's rows see of each region, <c_w, C_r> up to the two factors, (image, row)
  /// -> [padded].
  struct ContextDots {
    BatchRows<const float> products;
    const float* row_factor;    // [images, rows]
    const float* image_factor;  // [images]; null: 1
  };
  ContextDots form(Cuda& device, const AttentionTile<Scalar>& tile) {
    const Index stride = images() * padded();
    const BatchView<float> dots(dots_, {images(), tile.rows, padded()}, {padded(), stride, 1});
    const BatchRows<const float> products{dots_, images(), padded(), stride};
    if (gram_) {
      matmul<Scalar>(device, attention(tile), Op::none, operand(), Op::none, dots);
      return {products, tile.inverse_sum, image_factor_};
    }
    Rows<Scalar> rounded;
    if constexpr (is_16_bit<Scalar>)
      rounded = {rounded_, images() * tile.rows, whole_packs<Scalar>(features())};
    make_contexts(device, tile, {nullptr, 0, rounded, factor_});
    matmul<Scalar>(device, context_operand(tile), Op::none, regions_, Op::transpose, dots);
    return {products, factor_, image_factor_};
  }

  /// Adds what reaches the regions through |c_w|^2: sum_w weighted[w, r] times the row that the factor of
  /// form belongs to, for the tile that form was given last.
  void gather(Cuda& device, const AttentionTile<Scalar>& tile, const BatchRows<Scalar>& weighted) {
    const float beta = has_gathered_ ? 1 : 0;
    const BatchView<const Scalar> left(weighted.data, {images(), tile.rows, padded()},
                                       {weighted.batch_stride, weighted.stride, 1});
    if (gram_)
      matmul<Scalar>(device, left, Op::transpose, attention(tile), Op::none, products(), 1, beta);
    else
      matmul<Scalar>(device, left, Op::transpose, context_operand(tile), Op::none, gathered(), 1, beta);
    has_gathered_ = true;
  }

  /// Gradients for the regions [images padded, D], from all tiles that were gathered. They are to be
  /// multiplied by the image's factor, and are 0 in the rows after the first R of each image.
  struct Gathered {
    Rows<const float> rows;
    const float* image_factor;  // [images]; null: 1
  };
  Gathered finish(Cuda& device) {
    if (gram_) {
      round_products(device);
      matmul<Scalar>(device, operand(), Op::none, regions_, Op::none, gathered());
    }
    return {{gathered_, images() * padded(), sum_stride()}, image_factor_};
  }

 private:
  [[nodiscard]] Index images() const { return regions_.extent(0); }
  [[nodiscard]] Index padded() const { return regions_.extent(1); }
  [[nodiscard]] Index features() const { return regions_.extent(2); }
  /// Distance between rows of contexts_ and of gathered_, in elements. cuBLAS reads and writes them, so each
  /// row begins at a multiple of 16 bytes.
  [[nodiscard]] Index sum_stride() const { return whole_packs<float>(features()); }
  [[nodiscard]] BatchView<float> products() const { return {products_, {images(), padded(), padded()}}; }
  [[nodiscard]] BatchView<const Scalar> operand() const { return {operand_, {images(), padded(), padded()}}; }
  [[nodiscard]] BatchView<float> sums(float* data, Index rows) const {
    return {data, {images(), rows, features()}, {rows * sum_stride(), sum_stride(), 1}};
  }
  [[nodiscard]] BatchView<float> gathered() const { return sums(gathered_, padded()); }
  [[nodiscard]] BatchView<const Scalar> attention(const AttentionTile<Scalar>& tile) const {
    return {tile.attention.data,
            {images(), tile.rows, padded()},
            {tile.attention.batch_stride, tile.attention.stride, 1}};
  }
  [[nodiscard]] BatchView<const Scalar> context_operand(const AttentionTile<Scalar>& tile) const {
    if constexpr (is_16_bit<Scalar>)
      return {rounded_,
              {images(), tile.rows, features()},
              {tile.rows * whole_packs<Scalar>(features()), whole_packs<Scalar>(features()), 1}};
    else
      return sums(contexts_, tile.rows);
  }

  void make_contexts(Cuda& device, const AttentionTile<Scalar>& tile, const MeasuredContexts<Scalar>& out) {
    matmul<Scalar>(device, attention(tile), Op::none, regions_, Op::none, sums(contexts_, tile.rows));
    const Index rows = images() * tile.rows;
    launch(measure_contexts<Scalar>, blocks(rows, 256 / warp_size), 256, 0, device.stream(), tile,
           Rows<const float>{contexts_, rows, sum_stride()}, features(), out);
  }

  /// Makes operands of the products.
  void round_products(Cuda& device) {
    const auto count = static_cast<int>(padded());
    const auto image_count = static_cast<unsigned>(images());
    if constexpr (std::is_same_v<Scalar, Half>) {
      check(cudaMemsetAsync(bounds_, 0, image_count * sizeof(unsigned), device.stream()), "clearing bounds");
      constexpr Index each = 4096;
      const Index elements = padded() * padded();
      dim3 grid = blocks(elements, each);
      grid.y = image_count;
      launch(bound_matrices<float>, grid, 256, sizeof(BlockRoom<float>), device.stream(), products_, elements,
             each, bounds_);
    }
    dim3 grid = blocks(count, 256 / warp_size);
    grid.y = image_count;
    launch(round_matrices<Scalar>, grid, 256, 0, device.stream(), products_, count, bounds_, operand_,
           image_factor_);
  }

  bool gram_;
  bool has_gathered_ = false;
  BatchView<const Scalar> regions_;
  float* dots_ = nullptr;      // [rows, images, padded]
  float* gathered_ = nullptr;  // [images, padded, D], rows in whole packs
  // Gram form
  // C C^T [images, padded, padded] until it is rounded, then what is gathered for it
  float* products_ = nullptr;
  Scalar* operand_ = nullptr;      // [images, padded, padded] the same, rounded
  float* image_factor_ = nullptr;  // [images]
  unsigned* bounds_ = nullptr;     // [images], of Half
  // direct form
  float* contexts_ = nullptr;  // [images, rows, D], rows in whole packs
  Scalar* rounded_ = nullptr;  // the same of 16 bits
  float* factor_ = nullptr;    // [images, rows]
};

}  // namespace vlp::cuda::detail
