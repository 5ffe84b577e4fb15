/// \file
/// Local alignment on a CUDA device.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/op.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
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
#include <vlp/cuda/losses/detail/pair_targets.cuh>
#include <vlp/cuda/losses/detail/similarity_contrast.cuh>
#include <vlp/losses/detail/argument_checks.hpp>
#include <vlp/losses/local_alignment.hpp>
#include <vlp/losses/loss.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace vlp {

namespace detail {

/// Local alignment of float, BFloat16 or Half features. All pointers are in device memory, `word_count`
/// included, so the host cannot check it: where a count is not in 1 to W, or the words are more than
/// Inputs::word_capacity, the loss and all gradients are NaN. Without a capacity, products take B W rows,
/// whatever the counts; nothing else works on padding.
///
/// Words, packed, meet the regions of all images a tile at a time: plain products, on the matrix units for 16
/// bits, with one kernel between them forward and one more backward. 8 P D flop for P = B sum(W_j) R, the
/// contexts' up to 8 P D (direct) or 6 P R (Gram), 8 P exponentials. Kept are two floats for each image and
/// word. Scratch is a tile, of CudaOptions::score_block_bytes as gradients and about ten times that in all,
/// and, for backward, sums in float of the size of the words.
template <class ScalarType>
class LocalAlignmentBackend<ScalarType, Cuda> : LocalAlignmentInterface<ScalarType> {
  using Interface = LocalAlignmentInterface<ScalarType>;
  using Interface::name;
  using typename Interface::Accumulator, typename Interface::Gradients, typename Interface::Inputs,
      typename Interface::Options, typename Interface::Outputs, typename Interface::Scalar;

 public:
  using Device = Cuda;

  explicit LocalAlignmentBackend(const Options& options) : options_(options) {}

  void forward(Device& device, const Inputs& inputs, const Outputs& outputs) {
    prepare(device, inputs);
    auto scratch = device.scratch().scope();
    const Operands operands = gather(scratch, device, inputs);
    if (outputs.attention.given())
      launch_rows(device, cuda::detail::clear_padding<Scalar>, plan_.batch * words_.most_words(),
                  words_.view(), words_.most_words(), plan_.regions, cuda::batch_rows_of(outputs.attention));
    const TileMemory memory(scratch, *this, false);
    Contexts contexts(scratch, plan_.gram_forward, extents(false));
    for (Index image = 0; image < plan_.batch; image += plan_.strip_images) {
      const Index images = std::min(plan_.strip_images, plan_.batch - image);
      contexts.begin(device, with_mean(device, memory, inputs, image, images));
      for (Index strip = 0; strip < words_.strips(); ++strip) {
        const Tile tile = attend(device, memory, operands, {image, images, strip},
                                 dot_.data() + image * words_.rows(), cuda::batch_rows_of(outputs.attention));
        contexts.measure(device, tile, squared_norm_.data() + image * words_.rows() + tile.first_row,
                         words_.rows());
      }
    }
    const dim3 grid = cuda::blocks(plan_.batch * ((plan_.batch + 7) / 8));
    cuda::launch(cuda::detail::score_pairs<Scalar>, grid, 256, 0, device.stream(), words_.view(),
                 aligned_words(nullptr), similarity_.data(), cuda::rows_of(outputs.similarity));
    contrast_.forward(device, similarity(), outputs.loss);
  }

  void backward(Device& device, const Inputs& inputs, Accumulator upstream, const Gradients& gradients) {
    const bool wants_regions = gradients.regions.given(), wants_words = gradients.words.given();
    if (!wants_regions && !wants_words) return;
    auto scratch = device.scratch().scope();
    const Operands operands = gather(scratch, device, inputs);
    const PairGradients of_pairs = differentiate_pairs(scratch, device, operands, upstream);
    const TileMemory memory(scratch, *this, true);
    Contexts contexts(scratch, plan_.gram_backward, extents(true));
    MatrixView<float> d_regions, d_words;
    if (wants_regions)
      d_regions = cuda::take_matrix<float>(scratch, plan_.strip_images * plan_.regions, plan_.features);
    if (wants_words) {  // strips of words overlap in the words of a report, and all images add to them
      d_words = cuda::take_matrix<float>(scratch, words_.rows(), plan_.features);
      const auto bytes = static_cast<std::size_t>(d_words.rows() * d_words.stride(0)) * sizeof(float);
      cuda::check(cudaMemsetAsync(d_words.data(), 0, bytes, device.stream()), "clearing sums");
    }
    for (Index image = 0; image < plan_.batch; image += plan_.strip_images) {
      const Index images = std::min(plan_.strip_images, plan_.batch - image);
      contexts.begin(device, with_mean(device, memory, inputs, image, images));
      const auto regions = operands.regions.slice(image * plan_.regions, images * plan_.regions);
      for (Index strip = 0; strip < words_.strips(); ++strip) {
        const Tile tile = attend(device, memory, operands, {image, images, strip}, nullptr, {});
        const auto d_scores = differentiate(device, memory, contexts, of_pairs, tile);
        if (wants_words)
          cuda::matmul<Scalar>(device, d_scores, Op::none, regions, Op::none,
                               d_words.slice(tile.first_row, tile.rows), 1, 1);
        if (!wants_regions) continue;
        contexts.gather(device, tile, weighted(memory, tile));
        cuda::matmul<Scalar>(device, d_scores, Op::transpose, operands.words.slice(tile.first_row, tile.rows),
                             Op::none, d_regions.slice(0, images * plan_.regions), 1, strip > 0 ? 1 : 0);
      }
      if (!wants_regions) continue;
      const auto gathered = contexts.finish(device);
      launch_rows(device, cuda::detail::finish_regions<Scalar>, images * plan_.regions,
                  cuda::detail::RegionGradientSums{
                      cuda::rows_of(MatrixView<const float>(d_regions.slice(0, images * plan_.regions))),
                      gathered.rows, gathered.image_factor, of_pairs.scales, plan_.regions, plan_.padded,
                      plan_.features},
                  cuda::batch_rows_of(gradients.regions.slice(image, images)), gradients.into);
    }
    if (wants_words)
      launch_rows(device, cuda::detail::finish_words<Scalar>, plan_.batch * words_.most_words(),
                  cuda::detail::WordGradientSums<Scalar>{
                      words_.view(), words_.most_words(), cuda::rows_of(MatrixView<const float>(d_words)),
                      cuda::rows_of(operands.words), of_pairs.norm_factor, of_pairs.scales, plan_.features},
                  cuda::batch_rows_of(gradients.words), gradients.into);
  }

 private:
  using Tile = cuda::detail::AttentionTile<Scalar>;
  using Contexts = cuda::detail::AttentionContexts<Scalar>;
  using Plan = cuda::detail::AlignmentPlan<Scalar>;
  using Scope = BasicArena<cuda::DeviceMemory>::Scope;

  /// All words, packed, and all regions of the batch as matrices.
  struct Operands {
    MatrixView<const Scalar> words;    // [rows, D]
    MatrixView<const Scalar> regions;  // [B R, D]
  };

  /// A strip of words and the images that a tile is of.
  struct TilePlace {
    Index image, images, strip;
  };

  /// Room for one tile at a time.
  struct TileMemory {
    float* scores;                                    // log2(e) A [rows, images R], rows in whole packs
    Scalar* attention;                                // [rows, images, padded]
    float* inverse_sum;                               // [images, rows]
    cuda::detail::WordSoftmax* softmax;               // [reports, images R]
    Scalar* regions;                                  // [images, padded, D], rows in whole packs
    Scalar *d_scores = nullptr, *weighted = nullptr;  // of backward, like scores and attention

    TileMemory(Scope& scratch, const LocalAlignmentBackend& loss, bool backward) {
      const Index rows = loss.plan_.tile_rows(), images = loss.plan_.strip_images,
                  columns = images * loss.plan_.regions;
      scores = scratch.take<float>(rows * cuda::whole_packs<float>(columns));
      attention = scratch.take<Scalar>(rows * images * loss.plan_.padded);
      inverse_sum = scratch.take<float>(images * rows);
      softmax = scratch.take<cuda::detail::WordSoftmax>(loss.plan_.tile_reports(loss.words_.are_counted()) *
                                                        columns);
      regions =
          scratch.take<Scalar>(images * loss.plan_.padded * cuda::whole_packs<Scalar>(loss.plan_.features));
      if (!backward) return;
      d_scores = scratch.take<Scalar>(rows * cuda::whole_packs<Scalar>(columns));
      weighted = scratch.take<Scalar>(rows * images * loss.plan_.padded);
    }
  };

  /// Gradients of pairs that all tiles of a backward pass read.
  struct PairGradients {
    const float *d_similarity, *norm_factor;
    const cuda::detail::GradientScales* scales;
  };

  [[nodiscard]] typename Contexts::Extents extents(bool backward) const {
    return {plan_.strip_images, plan_.tile_rows(), plan_.padded, plan_.features, backward};
  }

  /// A warp to each of `rows`.
  template <class... Parameters, class... Arguments>
  static void launch_rows(Cuda& device, void (*kernel)(Parameters...), Index rows, Arguments&&... arguments) {
    cuda::launch(kernel, cuda::blocks(rows, 256 / cuda::warp_size), 256, 0, device.stream(),
                 std::forward<Arguments>(arguments)...);
  }

  void prepare(Cuda& device, const Inputs& inputs) {
    const auto& [batch, regions, features] = inputs.regions.extents();
    plan_ = {};  // until all is well
    groups_.find(device, name, batch, inputs.group, options_.duplicate_policy, options_.label_smoothing);
    words_.prepare(name, batch, inputs.words.extent(1), inputs.word_count, inputs.word_capacity);
    plan_ = Plan(device, options_.form, batch, regions, features, words_.rows(), words_.most_words());
    words_.lay_out(device, plan_.strip_rows);
    dot_.resize(batch * words_.rows());
    squared_norm_.resize(batch * words_.rows());
    word_norm_.resize(words_.rows());
    similarity_.resize(batch * batch);
  }

  Operands gather(Scope& scratch, Cuda& device, const Inputs& inputs) {
    Operands out;
    MatrixView<Scalar> copy;
    if (words_.is_packed(inputs.words)) {
      out.words = flatten_rows(inputs.words);
    } else {
      copy = cuda::take_matrix<Scalar>(scratch, words_.rows(), plan_.features);
      out.words = copy;
    }
    words_.pack(device, inputs.words, copy, word_norm_.data());
    const auto& regions = inputs.regions;
    if (cuda::detail::are_rows(regions)) {
      out.regions = flatten_rows(regions);
    } else {
      const auto rows = cuda::take_matrix<Scalar>(scratch, plan_.batch * plan_.regions, plan_.features);
      launch_rows(device, cuda::detail::copy_rows<Scalar>, rows.rows(), cuda::batch_rows_of(regions),
                  plan_.regions, plan_.features, cuda::rows_of(rows));
      out.regions = rows;
    }
    return out;
  }

  /// Regions of some images, after those of each their sum over 2^k, and then 0.
  BatchView<const Scalar> with_mean(Cuda& device, const TileMemory& memory, const Inputs& inputs, Index image,
                                    Index images) const {
    const Index stride = cuda::whole_packs<Scalar>(plan_.features), rows = plan_.padded;
    const auto from = cuda::batch_rows_of(inputs.regions.slice(image, images));
    const auto queue = [&]<int Wide>(std::integral_constant<int, Wide>) {
      using Shared = cuda::detail::MeanRegionShared<Wide>;
      dim3 grid = cuda::blocks(plan_.features, Shared::columns);
      grid.y = static_cast<unsigned>(images);
      cuda::launch(cuda::detail::add_mean_region<Scalar, Wide>, grid, 256, sizeof(Shared), device.stream(),
                   from, plan_.regions, rows, plan_.features, 1 / plan_.mean_scale(),
                   cuda::Rows<Scalar>{memory.regions, images * rows, stride});
    };
    constexpr int wide = cuda::pack_size<Scalar>;
    if (from.aligned() && plan_.features % wide == 0)
      queue(std::integral_constant<int, wide>{});
    else
      queue(std::integral_constant<int, 1>{});
    return {memory.regions, {images, rows, plan_.features}, {rows * stride, stride, 1}};
  }

  [[nodiscard]] cuda::detail::AlignedWords aligned_words(const float* d_similarity) const {
    return {dot_.data(),
            squared_norm_.data(),
            word_norm_.data(),
            words_.rows(),
            similarity_.data(),
            d_similarity,
            static_cast<int>(plan_.batch),
            static_cast<float>(options_.word_temperature),
            static_cast<float>(options_.pair_temperature)};
  }

  [[nodiscard]] cuda::detail::Similarity similarity() const {
    return {similarity_.data(), static_cast<int>(plan_.batch), groups_.targets(),
            static_cast<float>(options_.image_to_text_weight),
            static_cast<float>(options_.text_to_image_weight)};
  }

  /// Scores of a tile, and the attention that they make.
  Tile attend(Cuda& device, const TileMemory& memory, const Operands& operands, const TilePlace& place,
              float* dot, const cuda::BatchRows<Scalar>& matched) const {
    const auto& [image, images, strip] = place;
    const Index first = strip * words_.strip_rows();
    const Index rows = std::min(plan_.tile_rows(), words_.rows() - first);
    const Index columns = images * plan_.regions;
    const MatrixView<float> scores(memory.scores, {rows, columns}, {cuda::whole_packs<float>(columns), 1});
    cuda::matmul<Scalar>(device, operands.words.slice(first, rows), Op::none,
                         operands.regions.slice(image * plan_.regions, columns), Op::transpose, scores,
                         cuda::log2_e);
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
                    cuda::rows_of(MatrixView<const float>(scores)),
                    {memory.attention, images, plan_.padded, images * plan_.padded},
                    memory.inverse_sum,
                    memory.softmax};
    const auto chosen = cuda::detail::attend_kernel(tile, dot != nullptr);
    cuda::launch(chosen.kernel, grid_of(tile), chosen.threads, chosen.shared_bytes, device.stream(), tile,
                 dot == nullptr ? nullptr : dot + first, words_.rows(), matched);
    return tile;
  }

  [[nodiscard]] cuda::BatchRows<Scalar> weighted(const TileMemory& memory, const Tile& tile) const {
    return {memory.weighted, tile.images, plan_.padded, tile.images * plan_.padded};
  }

  /// The gradients for the scores of a tile.
  MatrixView<const Scalar> differentiate(Cuda& device, const TileMemory& memory, Contexts& contexts,
                                         const PairGradients& of_pairs, const Tile& tile) const {
    const auto dots = contexts.form(device, tile);
    const Index columns = Index{tile.images} * plan_.regions;
    const MatrixView<Scalar> d_scores(memory.d_scores, {tile.rows, columns},
                                      {cuda::whole_packs<Scalar>(columns), 1});
    const cuda::detail::AttentionGradient<Scalar> given{aligned_words(of_pairs.d_similarity),
                                                        dots.products,
                                                        dots.row_factor,
                                                        dots.image_factor,
                                                        cuda::rows_of(d_scores),
                                                        weighted(memory, tile),
                                                        of_pairs.scales};
    cuda::detail::start_differentiate(tile, given, words_.most_words(), grid_of(tile), device.stream());
    return d_scores;
  }

  /// From upstream to the gradients for S, and the words' through their norms.
  PairGradients differentiate_pairs(Scope& scratch, Cuda& device, const Operands& operands,
                                    Accumulator upstream) const {
    float* const d_similarity = scratch.take<float>(plan_.batch * plan_.batch);
    contrast_.backward(device, similarity(), upstream, d_similarity);
    auto* const scales = scratch.take<cuda::detail::GradientScales>(1);
    float* const norm_factor = scratch.take<float>(words_.rows());
    cuda::detail::BoundTerms terms{nullptr, static_cast<float>(options_.attention_temperature), 0};
    if constexpr (std::is_same_v<Scalar, Half>) {
      terms.bounds = scratch.take<cuda::detail::GradientBounds>(1);
      cuda::check(cudaMemsetAsync(terms.bounds, 0, sizeof *terms.bounds, device.stream()), "clearing bounds");
      // The factor of the Gram form is 1 over a sum of attention, of which the largest is 1, or all are
      // exp(-temperature) at least.
      if (plan_.gram_backward) {
        const bool is_safe = terms.temperature <= cuda::detail::safe_temperature;
        terms.largest_context_factor =
            is_safe ? std::exp(terms.temperature) / static_cast<float>(plan_.regions) : 1;
      }
      cuda::launch(cuda::detail::bound_region_norms<Scalar>,
                   cuda::blocks(operands.regions.rows(), 256 / cuda::warp_size), 256,
                   sizeof(cuda::detail::MaximumShared), device.stream(), cuda::rows_of(operands.regions),
                   plan_.features, terms.bounds);
    }
    cuda::launch(cuda::detail::sum_norm_gradients<float>, cuda::blocks(words_.rows(), cuda::warp_size), 256,
                 sizeof(cuda::detail::SumNormGradientsShared), device.stream(), words_.view(),
                 aligned_words(d_similarity), terms, norm_factor);
    cuda::launch(cuda::detail::choose_scales<cuda::detail::GradientScales>, 1, 1, 0, device.stream(),
                 words_.view(), terms.bounds, scales);
    return {d_similarity, norm_factor, scales};
  }

  /// A block for each image and about each report of a strip.
  [[nodiscard]] dim3 grid_of(const Tile& tile) const {
    const Index reports = (words_.strip_rows() * plan_.batch + words_.rows() - 1) / words_.rows() + 1;
    return {static_cast<unsigned>(std::min(reports, plan_.batch)), static_cast<unsigned>(tile.images), 1};
  }

  Options options_;
  Plan plan_;
  cuda::detail::PackedWords words_;
  cuda::detail::Groups groups_;
  cuda::detail::SimilarityContrast contrast_;
  Cuda::Buffer<float> dot_, squared_norm_;  // [B, rows]
  Cuda::Buffer<float> word_norm_;           // [rows]
  Cuda::Buffer<float> similarity_;          // [B, B]
};

}  // namespace detail

static_assert(Loss<LocalAlignment<float, Cuda>>);

}  // namespace vlp
