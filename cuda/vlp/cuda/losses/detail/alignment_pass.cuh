/// \file
/// A pass of local alignment over a block of images and reports: between words, regions and the scores of
/// pairs.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/buffer.hpp>
#include <vlp/core/op.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/cuda/core/check.cuh>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/log_sum_exp.cuh>
#include <vlp/cuda/core/matmul.cuh>
#include <vlp/cuda/core/memory.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/aligned_words.cuh>
#include <vlp/cuda/losses/detail/alignment_plan.cuh>
#include <vlp/cuda/losses/detail/alignment_rows.cuh>
#include <vlp/cuda/losses/detail/attend.cuh>
#include <vlp/cuda/losses/detail/attention_contexts.cuh>
#include <vlp/cuda/losses/detail/attention_gradient.cuh>
#include <vlp/cuda/losses/detail/attention_tile.cuh>
#include <vlp/cuda/losses/detail/gradient_scales.cuh>
#include <vlp/cuda/losses/detail/packed_words.cuh>
#include <vlp/losses/local_alignment.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace vlp::cuda::detail {

/// Numbers that forward saves for backward.
struct SavedAlignment {
  MatrixView<float> dot, squared_norm;  // [images, rows] <T_w, c_w> and |c_w|^2
  MatrixView<float> similarity;         // [images, reports] S
};

/// Makes S and the attention, or the gradients for regions and words of those for S. Words, packed, and the
/// operands of products lie in the scratch memory that it is made with, and live as long as that.
template <class Scalar>
class AlignmentPass {
  using Interface = LocalAlignmentInterface<Scalar>;

 public:
  using Inputs = typename Interface::Inputs;
  using Outputs = typename Interface::Outputs;
  using Gradients = typename Interface::Gradients;
  using Options = typename Interface::Options;
  using Scope = BasicArena<DeviceMemory>::Scope;

  /// Packs words and regions. Throws std::invalid_argument for more words than can be counted.
  AlignmentPass(Cuda& device, Scope& scratch, const Options& options, const Inputs& inputs,
                const SavedAlignment& saved)
      : device_(device),
        scratch_(scratch),
        options_(options),
        inputs_(inputs),
        saved_(saved),
        words_(Interface::name, inputs.words.extent(0), inputs.words.extent(1), inputs.word_count,
               inputs.word_capacity),
        plan_(device, options.form, inputs.regions, words_) {
    words_.lay_out(scratch, device, plan_.strip_rows);
    word_norm_ = scratch.take<float>(words_.rows());
    gather_words();
    gather_regions();
  }

  /// Fills the arrays that are saved, and writes the outputs that are given except the loss.
  void forward(const Outputs& outputs) {
    const PairBlock block = inputs_.block.of(plan_.images, plan_.reports);
    const MatchedAttention<Scalar> matched{batch_rows_of(outputs.attention),
                                           block.text_of(block.first_image) - block.first_text,
                                           block.own_text_step};
    if (outputs.attention.given())
      launch_rows(clear_padding<Scalar>, plan_.images * plan_.most_words, words_.view(), plan_.most_words,
                  plan_.regions, matched);
    const TileMemory memory(scratch_, *this, false);
    Contexts contexts(scratch_, plan_.gram_forward, extents(false));
    for (Index image = 0; image < plan_.images; image += plan_.strip_images) {
      const Index images = std::min(plan_.strip_images, plan_.images - image);
      contexts.begin(device_, with_mean(memory, image, images));
      for (Index strip = 0; strip < words_.strips(); ++strip) {
        const Tile tile = attend(memory, {image, images, strip}, saved_.dot[image].data(), matched);
        contexts.measure(device_, tile, saved_.squared_norm[image].data() + tile.first_row, words_.rows());
      }
    }
    const dim3 grid = blocks(plan_.images * ((plan_.reports + 7) / 8));
    launch(score_pairs<Scalar>, grid, 256, 0, device_.stream(), words_.view(), aligned_words(nullptr),
           saved_.similarity.data(), rows_of(outputs.similarity));
  }

  /// From d_similarity [images, reports], the gradients for S, to those that are given.
  void backward(const float* d_similarity, const Gradients& gradients) {
    const bool wants_regions = gradients.regions.given(), wants_words = gradients.words.given();
    const PairGradients of_pairs = differentiate_pairs(d_similarity);
    const TileMemory memory(scratch_, *this, true);
    Contexts contexts(scratch_, plan_.gram_backward, extents(true));
    MatrixView<float> d_regions, d_words;
    if (wants_regions)
      d_regions = take_matrix<float>(scratch_, plan_.strip_images * plan_.regions, plan_.features);
    if (wants_words) {  // strips of words overlap in the words of a report, and all images add to them
      d_words = take_matrix<float>(scratch_, words_.rows(), plan_.features);
      const auto bytes = static_cast<std::size_t>(d_words.rows() * d_words.stride(0)) * sizeof(float);
      check(cudaMemsetAsync(d_words.data(), 0, bytes, device_.stream()), "clearing sums");
    }
    for (Index image = 0; image < plan_.images; image += plan_.strip_images) {
      const Index images = std::min(plan_.strip_images, plan_.images - image);
      contexts.begin(device_, with_mean(memory, image, images));
      const auto regions = region_rows_.slice(image * plan_.regions, images * plan_.regions);
      for (Index strip = 0; strip < words_.strips(); ++strip) {
        const Tile tile = attend(memory, {image, images, strip}, nullptr, {});
        const auto d_scores = differentiate(memory, contexts, of_pairs, tile);
        if (wants_words)
          matmul<Scalar>(device_, d_scores, Op::none, regions, Op::none,
                         d_words.slice(tile.first_row, tile.rows), 1, 1);
        if (!wants_regions) continue;
        contexts.gather(device_, tile, weighted(memory, tile));
        matmul<Scalar>(device_, d_scores, Op::transpose, word_rows_.slice(tile.first_row, tile.rows),
                       Op::none, d_regions.slice(0, images * plan_.regions), 1, strip > 0 ? 1 : 0);
      }
      if (!wants_regions) continue;
      const auto gathered = contexts.finish(device_);
      launch_rows(
          finish_regions<Scalar>, images * plan_.regions,
          RegionGradientSums{rows_of(MatrixView<const float>(d_regions.slice(0, images * plan_.regions))),
                             gathered.rows, gathered.image_factor, of_pairs.scales, plan_.regions,
                             plan_.padded, plan_.features},
          batch_rows_of(gradients.regions.slice(image, images)), gradients.into);
    }
    if (wants_words)
      launch_rows(finish_words<Scalar>, plan_.reports * plan_.most_words,
                  WordGradientSums<Scalar>{words_.view(), plan_.most_words,
                                           rows_of(MatrixView<const float>(d_words)), rows_of(word_rows_),
                                           of_pairs.norm_factor, of_pairs.scales, plan_.features},
                  batch_rows_of(gradients.words), gradients.into);
  }

 private:
  using Tile = AttentionTile<Scalar>;
  using Contexts = AttentionContexts<Scalar>;

  /// A strip of words and the images that a tile is of.
  struct TilePlace {
    Index image, images, strip;
  };

  /// Room for one tile at a time.
  struct TileMemory {
    float* scores;                                    // log2(e) A [rows, images R], rows in whole packs
    Scalar* attention;                                // [rows, images, padded]
    float* inverse_sum;                               // [images, rows]
    WordSoftmax* softmax;                             // [reports, images R]
    Scalar* regions;                                  // [images, padded, D], rows in whole packs
    Scalar *d_scores = nullptr, *weighted = nullptr;  // of backward, like scores and attention

    TileMemory(Scope& scratch, const AlignmentPass& pass, bool backward) {
      const auto& plan = pass.plan_;
      const Index rows = plan.tile_rows(), images = plan.strip_images, columns = images * plan.regions;
      scores = scratch.take<float>(rows * whole_packs<float>(columns));
      attention = scratch.take<Scalar>(rows * images * plan.padded);
      inverse_sum = scratch.take<float>(images * rows);
      softmax = scratch.take<WordSoftmax>(plan.tile_reports(pass.words_.are_counted()) * columns);
      regions = scratch.take<Scalar>(images * plan.padded * whole_packs<Scalar>(plan.features));
      if (!backward) return;
      d_scores = scratch.take<Scalar>(rows * whole_packs<Scalar>(columns));
      weighted = scratch.take<Scalar>(rows * images * plan.padded);
    }
  };

  /// Gradients of pairs that all tiles of a backward pass read.
  struct PairGradients {
    const float *d_similarity, *norm_factor;
    const GradientScales* scales;
  };

  [[nodiscard]] typename Contexts::Extents extents(bool backward) const {
    return {plan_.strip_images, plan_.tile_rows(), plan_.padded, plan_.features, backward};
  }

  /// A warp to each of `rows`.
  template <class... Parameters, class... Arguments>
  void launch_rows(void (*kernel)(Parameters...), Index rows, Arguments&&... arguments) {
    launch(kernel, blocks(rows, 256 / warp_size), 256, 0, device_.stream(),
           std::forward<Arguments>(arguments)...);
  }

  /// Makes one matrix of all words, packed, and measures them.
  void gather_words() {
    MatrixView<Scalar> copy;
    if (words_.is_packed(inputs_.words)) {
      word_rows_ = flatten_rows(inputs_.words);
    } else {
      copy = take_matrix<Scalar>(scratch_, words_.rows(), plan_.features);
      word_rows_ = copy;
    }
    words_.pack(device_, inputs_.words, copy, word_norm_);
  }

  /// Makes one matrix of the regions of all images.
  void gather_regions() {
    const auto& regions = inputs_.regions;
    if (are_rows(regions)) {
      region_rows_ = flatten_rows(regions);
      return;
    }
    const auto rows = take_matrix<Scalar>(scratch_, plan_.images * plan_.regions, plan_.features);
    launch_rows(copy_rows<Scalar>, rows.rows(), batch_rows_of(regions), plan_.regions, plan_.features,
                rows_of(rows));
    region_rows_ = rows;
  }

  /// Regions of some images, after those of each their sum over 2^k, and then 0.
  BatchView<const Scalar> with_mean(const TileMemory& memory, Index image, Index images) const {
    const Index stride = whole_packs<Scalar>(plan_.features), rows = plan_.padded;
    const auto from = batch_rows_of(inputs_.regions.slice(image, images));
    const auto queue = [&]<int Wide>(std::integral_constant<int, Wide>) {
      using Shared = MeanRegionShared<Wide>;
      dim3 grid = blocks(plan_.features, Shared::columns);
      grid.y = static_cast<unsigned>(images);
      launch(add_mean_region<Scalar, Wide>, grid, 256, sizeof(Shared), device_.stream(), from, plan_.regions,
             rows, plan_.features, 1 / plan_.mean_scale(),
             Rows<Scalar>{memory.regions, images * rows, stride});
    };
    constexpr int wide = pack_size<Scalar>;
    if (from.aligned() && plan_.features % wide == 0)
      queue(std::integral_constant<int, wide>{});
    else
      queue(std::integral_constant<int, 1>{});
    return {memory.regions, {images, rows, plan_.features}, {rows * stride, stride, 1}};
  }

  [[nodiscard]] AlignedWords aligned_words(const float* d_similarity) const {
    return {saved_.dot.data(),
            saved_.squared_norm.data(),
            word_norm_,
            words_.rows(),
            saved_.similarity.data(),
            d_similarity,
            static_cast<int>(plan_.images),
            static_cast<int>(plan_.reports),
            static_cast<float>(options_.word_temperature),
            static_cast<float>(options_.pair_temperature)};
  }

  /// Scores of a tile, and the attention that they make.
  Tile attend(const TileMemory& memory, const TilePlace& place, float* dot,
              const MatchedAttention<Scalar>& matched) const {
    const auto& [image, images, strip] = place;
    const Index first = strip * words_.strip_rows();
    const Index rows = std::min(plan_.tile_rows(), words_.rows() - first);
    const Index columns = images * plan_.regions;
    const MatrixView<float> scores(memory.scores, {rows, columns}, {whole_packs<float>(columns), 1});
    matmul<Scalar>(device_, word_rows_.slice(first, rows), Op::none,
                   region_rows_.slice(image * plan_.regions, columns), Op::transpose, scores, log2_e);
    const Tile tile{words_.view(),
                    static_cast<int>(strip),
                    static_cast<int>(first),
                    static_cast<int>(rows),
                    static_cast<int>(image),
                    static_cast<int>(images),
                    static_cast<int>(plan_.regions),
                    static_cast<int>(plan_.padded),
                    plan_.mean_scale(),
                    static_cast<float>(options_.attention_temperature),
                    rows_of(MatrixView<const float>(scores)),
                    {memory.attention, images, plan_.padded, images * plan_.padded},
                    memory.inverse_sum,
                    memory.softmax};
    const auto chosen = attend_kernel(tile, dot != nullptr);
    launch(chosen.kernel, grid_of(tile), chosen.threads, chosen.shared_bytes, device_.stream(), tile,
           dot == nullptr ? nullptr : dot + first, words_.rows(), matched);
    return tile;
  }

  [[nodiscard]] BatchRows<Scalar> weighted(const TileMemory& memory, const Tile& tile) const {
    return {memory.weighted, tile.images, plan_.padded, tile.images * plan_.padded};
  }

  /// The gradients for the scores of a tile.
  MatrixView<const Scalar> differentiate(const TileMemory& memory, Contexts& contexts,
                                         const PairGradients& of_pairs, const Tile& tile) const {
    const auto dots = contexts.form(device_, tile);
    const Index columns = Index{tile.images} * plan_.regions;
    const MatrixView<Scalar> d_scores(memory.d_scores, {tile.rows, columns},
                                      {whole_packs<Scalar>(columns), 1});
    const AttentionGradient<Scalar> given{aligned_words(of_pairs.d_similarity),
                                          dots.products,
                                          dots.row_factor,
                                          dots.image_factor,
                                          rows_of(d_scores),
                                          weighted(memory, tile),
                                          of_pairs.scales};
    start_differentiate(tile, given, words_.most_words(), grid_of(tile), device_.stream());
    return d_scores;
  }

  /// From the gradients for S to the words' through their norms, and the range of those in between.
  PairGradients differentiate_pairs(const float* d_similarity) const {
    auto* const scales = scratch_.take<GradientScales>(1);
    float* const norm_factor = scratch_.take<float>(words_.rows());
    BoundTerms terms{nullptr, static_cast<float>(options_.attention_temperature), 0};
    if constexpr (std::is_same_v<Scalar, Half>) {
      terms.bounds = scratch_.take<GradientBounds>(1);
      check(cudaMemsetAsync(terms.bounds, 0, sizeof *terms.bounds, device_.stream()), "clearing bounds");
      // The factor of the Gram form is 1 over a sum of attention, of which the largest is 1, or all are
      // exp(-temperature) at least.
      if (plan_.gram_backward) {
        const bool is_safe = terms.temperature <= safe_temperature;
        terms.largest_context_factor =
            is_safe ? std::exp(terms.temperature) / static_cast<float>(plan_.regions) : 1;
      }
      launch(bound_region_norms<Scalar>, blocks(region_rows_.rows(), 256 / warp_size), 256,
             sizeof(MaximumShared), device_.stream(), rows_of(region_rows_), plan_.features, terms.bounds);
    }
    launch(sum_norm_gradients<float>, blocks(words_.rows(), warp_size), 256, sizeof(SumNormGradientsShared),
           device_.stream(), words_.view(), aligned_words(d_similarity), terms, norm_factor);
    launch(choose_scales<GradientScales>, 1, 1, 0, device_.stream(), words_.view(), terms.bounds, scales);
    return {d_similarity, norm_factor, scales};
  }

  /// A block for each image and about each report of a strip.
  [[nodiscard]] dim3 grid_of(const Tile& tile) const {
    const Index reports = (words_.strip_rows() * plan_.reports + words_.rows() - 1) / words_.rows() + 1;
    return {static_cast<unsigned>(std::min(reports, plan_.reports)), static_cast<unsigned>(tile.images), 1};
  }

  Cuda& device_;
  Scope& scratch_;
  const Options& options_;
  const Inputs& inputs_;
  SavedAlignment saved_;
  PackedWords words_;
  AlignmentPlan<Scalar> plan_;
  float* word_norm_ = nullptr;            // [rows] |T_w|
  MatrixView<const Scalar> word_rows_;    // [rows, D]
  MatrixView<const Scalar> region_rows_;  // [images R, D]
};

}  // namespace vlp::cuda::detail
