/// \file
/// The scores of all pairs of a block, as kernels see them: a tile at a time. What losses over them share.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/cuda/core/check.cuh>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/matmul.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/core/tile_product.cuh>
#include <vlp/cuda/losses/detail/pair_targets.cuh>
#include <vlp/cuda/losses/detail/tile_sums.cuh>
#include <vlp/cuda/losses/detail/unit_rows.cuh>
#include <vlp/losses/detail/argument_checks.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace vlp::cuda::detail {

/// The number of columns whose terms a lane has in registers at a time.
inline constexpr int column_terms = 8;

/// Kinds of kernels. What a kind has room for would take registers from a tile even unused.
enum class PairKind {
  plain,    ///< text i is image i's own of as many, all pairs differ, labels are not smoothed, and no scores
            ///< are kept or left out; targets then have no arrays
  general,  ///< all that there is, except limits
  limited   ///< scores above limits are left out
};

/// S = exp(s) X^ Y^T [b, n], with what is known of its pairs.
template <class Scalar>
struct PairTiles {
  UnitRows<Scalar> image, text;
  int images, texts;  // counted in 32 bits, which spares registers; offsets are not
  Index features;
  bool aligned;  // both operands' rows
  const float* log_scale;
  PairTargets targets;
  float* kept;  // [kept_rows, n] the first rows of S, which forward writes and backward reads
  Index kept_rows;
  // Scores above which a pair is probably a false negative: [b] of each row, and [n] of each column, NaN
  // where there is none. Null without a margin.
  float *image_limit, *text_limit;

  [[nodiscard]] PairKind kind() const {
    if (image_limit != nullptr) return PairKind::limited;
    return targets.group == nullptr ? PairKind::plain : PairKind::general;
  }

  /// Says whether no element of a tile lies beyond the block.
  template <class Tile>
  [[nodiscard]] __device__ bool is_inside(int row, int column) const {
    return row + Tile::size <= images && column + Tile::size <= texts;
  }

  /// Says whether a text is there and may be met.
  template <bool Plain>
  [[nodiscard]] __device__ bool is_text(int j) const {
    return j < texts && (Plain || targets.is_valid(j));
  }

  /// Says whether all texts of a tile are, and all images.
  template <bool Plain, class Tile>
  [[nodiscard]] __device__ bool all_are_there(int row, int column) const {
    return is_inside<Tile>(row, column) && (Plain || !targets.masks);
  }

  /// Calls visit(c, j) for `Count` of the lane's columns, from the first-th on, whose texts are members of
  /// image i, its own text among them: the lane's c-th column is text j.
  template <bool Plain, class Tile, int Count, class Visit>
  __device__ void for_each_member(int i, int row, int column, int first, Visit&& visit) const {
    if constexpr (Plain) {
      if (row >= column + Tile::size || column >= row + Tile::size) return;
    } else {
      if (i >= images || (!targets.grouped && !meets_own_texts<Tile>(row, column))) return;
    }
    const int own = Plain ? i : targets.group_of_image(i);
#pragma unroll
    for (int c = first; c < first + Count; ++c) {
      const int j = column + Tile::col(c);
      if (j < texts && (Plain ? j : targets.group_of(j)) == own) visit(c, j);
    }
  }

  template <class Tile>
  __device__ void keep(const Tile& tile, int row, int column) const {
    for_each_inside<Tile>(row, column,
                          [&](int r, int c, int i, int j) { kept[Index{i} * texts + j] = tile(r, c); });
  }
  template <class Tile>
  __device__ void read_kept(Tile& tile, int row, int column) const {
    for_each_inside<Tile>(row, column,
                          [&](int r, int c, int i, int j) { tile(r, c) = kept[Index{i} * texts + j]; });
  }

  /// An index of an image or a text within the block. Numbers computed for those beyond it are neither summed
  /// nor written.
  [[nodiscard]] __device__ int image_within(int i) const {
    return min(i, images - 1);
  }
  [[nodiscard]] __device__ int text_within(int j) const {
    return min(j, texts - 1);
  }

 private:
  /// Says whether a tile may have scores of images with their own texts.
  template <class Tile>
  [[nodiscard]] __device__ bool meets_own_texts(int row, int column) const {
    const Index first = targets.own_text + Index{row} * targets.own_text_step - column;
    return first < Tile::size && first + Index{Tile::size} * targets.own_text_step > 0;
  }

  template <class Tile, class Visit>
  __device__ void for_each_inside(int row, int column, Visit&& visit) const {
#pragma unroll
    for (int r = 0; r < Tile::row_count; ++r)
#pragma unroll
      for (int c = 0; c < Tile::col_count; ++c) {
        const int i = row + Tile::row(r), j = column + Tile::col(c);
        if (i < images && j < texts) visit(r, c, i, j);
      }
  }
};

/// Calls visit(tile, row, column, is_kept) for each tile of this block: of dot products, or with ReadKept of
/// the scores that were kept.
template <bool ReadKept, class Scalar, class Shared, class Visit>
__device__ void for_each_score_tile(Shared& shared, const PairTiles<Scalar>& pairs, const TileRuns& runs,
                                    Visit&& visit) {
  using Product = TileProduct<Scalar>;
  using Tile = typename Product::Tile;
  const int row = runs.first_row_of_block();
  const int column = runs.first_column_of_block();
  const bool is_kept = ReadKept && row < pairs.kept_rows;
  Product::for_each_tile(shared.product, pairs.image.operand, pairs.text.operand,
                         is_kept ? 0 : pairs.features, pairs.aligned, row, column, runs.tiles(),
                         [&](Tile& tile, Index at) {
                           const int tile_column = static_cast<int>(at);
                           if (is_kept) pairs.read_kept(tile, row, tile_column);
                           visit(tile, row, tile_column, is_kept);
                         });
}

/// Shared memory of a kernel of tiles alone.
template <class Scalar, class Products = NativeProducts>
struct TilesShared {
  typename TileProduct<Scalar, 128, 3, Products>::Shared product;
};

/// The bytes of Shared<Scalar, Products> in whatever code the device runs, of which the host does not know
/// for what it was compiled.
template <template <class, class> class Shared, class Scalar>
[[nodiscard]] std::size_t pair_shared_bytes(const Cuda& device) {
  constexpr std::size_t by_warps = sizeof(Shared<Scalar, WarpProducts>),
                        by_groups = sizeof(Shared<Scalar, GroupProducts>);
  return device.is_hopper() ? std::max(by_warps, by_groups) : by_warps;
}

/// One of three kernels, by the kind.
template <class Kernel>
[[nodiscard]] Kernel kernel_of(PairKind kind, Kernel plain, Kernel general, Kernel limited) {
  return kind == PairKind::plain ? plain : kind == PairKind::general ? general : limited;
}

/// The scores of images with their own texts plus `margin` cosines, to the limits of both. A block takes 128
/// images, and all tiles that have own texts of theirs: the same arithmetic as everywhere, so that a text
/// equal to an image's own is not further away than that by rounding.
template <class Scalar, class Scores>
__global__ void __launch_bounds__(TileProduct<Scalar>::threads,
                                  TileProduct<Scalar>::blocks_per_multiprocessor)
    take_limits(Scores scores, float margin) {
  using Product = TileProduct<Scalar>;
  using Tile = typename Product::Tile;
  auto& shared = shared_memory<TilesShared<Scalar>>();
  const typename Scores::Scale scale(scores, PairKind::limited);
  const int row = static_cast<int>(blockIdx.x) * Tile::size;
  const int first = scores.targets.own_text_of(row),
            last = scores.targets.own_text_of(min(row + Tile::size, scores.images) - 1);
  Product::for_each_tile(
      shared.product, scores.image.operand, scores.text.operand, scores.features, scores.aligned, row, first,
      (last - first) / Tile::size + 1, [&](Tile& tile, Index at) {
        const int column = static_cast<int>(at);
#pragma unroll
        for (int r = 0; r < Tile::row_count; ++r)
#pragma unroll
          for (int c = 0; c < Tile::col_count; ++c) {
            const int i = row + Tile::row(r), j = column + Tile::col(c);
            if (i >= scores.images || j != scores.targets.own_text_of(i)) continue;
            const float own =
                scores.score_of(tile(r, c), scores.image.factor[i], scores.text.factor[j], scale);
            scores.image_limit[i] = scores.text_limit[j] = fmaf(margin, scale.factor, own);
          }
      });
}

/// Arrays that a pass over pairs leaves for the next.
template <class Scalar>
struct PairState {
  UnitRowPairs<Scalar> unit_rows;
  PairTargets targets;
  float *kept, *image_limit, *text_limit;
  Index kept_rows;
};

/// The targets' share of a loss's inputs and options.
template <class Inputs, class Options>
[[nodiscard]] TargetInputs target_inputs(const Inputs& inputs, const Options& options) {
  const Index images = inputs.image.rows(), texts = inputs.text.rows();
  double label_smoothing = 0;
  if constexpr (requires { options.label_smoothing; }) label_smoothing = options.label_smoothing;
  return {inputs.block.of(images, texts), images,         texts, inputs.group, inputs.valid,
          options.duplicate_policy,       label_smoothing};
}

/// Takes what is kept for backward; see vlp::detail::SavedArrays. Rows of S that fit in
/// options.kept_score_bytes are, in whole tiles.
template <class Scalar, class Arrays, class Inputs, class Options>
[[nodiscard]] PairState<Scalar> lay_out_pairs(Arrays& arrays, const Inputs& inputs, const Options& options) {
  const Index images = inputs.image.rows(), texts = inputs.text.rows();
  constexpr Index tile_size = TileProduct<Scalar>::Tile::size;
  PairState<Scalar> out{};
  const auto fitting =
      static_cast<Index>(options.kept_score_bytes / sizeof(float)) / std::max<Index>(texts, 1);
  out.kept_rows = fitting < images ? fitting / tile_size * tile_size : images;
  const bool has_limits = vlp::detail::has_margin(options);
  out.unit_rows = UnitRowPairs<Scalar>(arrays, images, texts, inputs.image.cols());
  out.targets = lay_out_targets(arrays, target_inputs(inputs, options), out.kept_rows > 0 || has_limits);
  if (has_limits) {
    out.image_limit = arrays.template take<float>(images);
    out.text_limit = arrays.template take<float>(texts);
  }
  if (out.kept_rows > 0) out.kept = arrays.template take<float>(out.kept_rows * texts);
  return out;
}

/// The bytes that say which of the given texts are valid, or null.
template <class Inputs>
[[nodiscard]] const std::uint8_t* valid_texts(const Inputs& inputs) {
  return inputs.valid.given() ? inputs.valid.data() + inputs.block.first_text : nullptr;
}

/// Writes the targets and the lengths of rows.
template <class Scalar, class Inputs, class Options>
void prepare_pairs(Cuda& device, std::string_view loss, const Inputs& inputs, const Options& options,
                   const PairState<Scalar>& state) {
  write_targets(device, loss, target_inputs(inputs, options), state.targets);
  state.unit_rows.measure(device, inputs.image, inputs.text, valid_texts(inputs));
}

/// Writes the limits that a margin sets, if there is one.
template <class Scalar, class Scores>
void write_limits(Cuda& device, const Scores& scores, double margin) {
  if (scores.image_limit == nullptr) return;
  check(cudaMemsetAsync(scores.text_limit, 0xff, static_cast<std::size_t>(scores.texts) * sizeof(float),
                        device.stream()),
        "clearing limits");  // to NaN
  launch(take_limits<Scalar, Scores>, blocks(scores.images, TileProduct<Scalar>::Tile::size),
         TileProduct<Scalar>::threads, pair_shared_bytes<TilesShared, Scalar>(device), device.stream(),
         scores, static_cast<float>(margin));
}

/// The pairs of the inputs that a state is of, for kernels.
template <class Scalar, class Inputs>
[[nodiscard]] PairTiles<Scalar> pair_tiles(const Inputs& inputs, const PairState<Scalar>& state) {
  const auto image = state.unit_rows.first(inputs.image),
             text = state.unit_rows.second(inputs.text, inputs.image.rows());
  return {image,
          text,
          static_cast<int>(inputs.image.rows()),
          static_cast<int>(inputs.text.rows()),
          inputs.image.cols(),
          image.operand.aligned() && text.operand.aligned(),
          inputs.log_scale,
          state.targets,
          state.kept,
          state.kept_rows,
          state.image_limit,
          state.text_limit};
}

/// The same for products with the gradients of scores: texts that are not valid have zeros in scratch, since
/// whatever stands in their place would be multiplied by 0.
template <class Scalar, class Scope, class Inputs>
[[nodiscard]] PairTiles<Scalar> pair_tiles_with_zeros(Scope& scratch, Cuda& device, const Inputs& inputs,
                                                      const PairState<Scalar>& state) {
  PairTiles<Scalar> out = pair_tiles(inputs, state);
  const std::uint8_t* const valid = valid_texts(inputs);
  if (valid == nullptr) return out;
  const auto copy = rows_of(take_matrix<Scalar>(scratch, inputs.text.rows(), inputs.text.cols()));
  launch(copy_valid_rows<Scalar>, blocks(copy.count, 256 / warp_size), 256, 0, device.stream(),
         rows_of(inputs.text), valid, inputs.text.cols(), copy);
  out.text.x = {copy.data, copy.count, copy.stride};
  if constexpr (!std::is_same_v<Scalar, Half>) out.text.operand = out.text.x;
  out.aligned = out.image.operand.aligned() && out.text.operand.aligned();
  return out;
}

}  // namespace vlp::cuda::detail
