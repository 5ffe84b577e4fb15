/// \file
/// Token alignment on a CUDA device.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/op.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/matmul.cuh>
#include <vlp/cuda/core/memory.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/token_contrast.cuh>
#include <vlp/cuda/losses/detail/token_gradients.cuh>
#include <vlp/cuda/losses/detail/token_rows.cuh>
#include <vlp/cuda/losses/detail/token_tiles.cuh>
#include <vlp/losses/detail/argument_checks.hpp>
#include <vlp/losses/detail/saved_arrays.hpp>
#include <vlp/losses/loss.hpp>
#include <vlp/losses/token_alignment.hpp>

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace vlp {

namespace detail {

/// Token alignment of float, BFloat16 or Half words and regions. All pointers are in device memory,
/// `word_count` included: a count that is not in 1 to W makes the loss NaN, and no gradients of that report's
/// words.
///
/// Products are cuBLAS's over batches of pairs, of copies of words and regions that are zero in padding:
/// those of 16-bit numbers are of Half (see TokenOperand), those of float are not rounded. Between them stand
/// one pass a softmax and one a projection. Forward saves nothing; backward computes it again: 16 W R D + 8
/// W^2 D flop a pair in all, padding included, and 12 W R D + 6 W^2 D at once. Pairs are taken together as
/// far as they fit into eight times CudaOptions::score_block_bytes.
template <class ScalarType>
class TokenAlignmentBackend<ScalarType, Cuda> : TokenAlignmentInterface<ScalarType> {
  using Interface = TokenAlignmentInterface<ScalarType>;
  using Interface::name;
  using typename Interface::Accumulator, typename Interface::Gradients, typename Interface::Inputs,
      typename Interface::Options, typename Interface::Outputs, typename Interface::Scalar;

 public:
  using Device = Cuda;

  explicit TokenAlignmentBackend(const Options& options) : options_(options) {}

  struct State {};

  State lay_out(SavedArrays<Device::Memory>&, const Inputs&) const { return {}; }

  void forward(Device& device, const Inputs& inputs, const Outputs& outputs, const State&) const {
    const Index batch = inputs.regions.extent(0);
    auto scratch = device.scratch().scope();
    double* losses = scratch.template take<double>(batch);
    for_each_strip(device, inputs, false, [&](const Pairs& in, const Tiles& tiles, Index first) {
      form_contexts(device, in, tiles, outputs.attention.slice(first, in.shape.pairs));
      const bool is_last = first + in.shape.pairs == batch;
      contrast(device, in, tiles, {losses, first, batch, device.arrived(), is_last ? outputs.loss : nullptr},
               1, {});
    });
  }

  void backward(Device& device, const Inputs& inputs, const State&, Accumulator upstream,
                const Gradients& gradients) const {
    if (!gradients.regions.given() && !gradients.words.given()) return;
    go_back(device, inputs, nullptr, {}, upstream, gradients);
  }

  /// Backward computes all that forward does: the loss comes with it.
  void forward_backward(Device& device, const Inputs& inputs, Accumulator upstream, const Outputs& outputs,
                        const Gradients& gradients) const {
    auto scratch = device.scratch().scope();
    go_back(device, inputs, scratch.template take<double>(inputs.regions.extent(0)), outputs, upstream,
            gradients);
  }

 private:
  using Operand = cuda::detail::TokenOperand<Scalar>;
  using Pairs = cuda::detail::TokenPairs<Scalar>;
  using Tiles = cuda::detail::TokenTiles<Operand>;
  static constexpr int parts = cuda::detail::token_parts<Scalar>;
  static constexpr unsigned warps = 8, threads = warps * cuda::warp_size;

  /// Half has no room below 6e-8 nor above 65504. Gradients of cosines, at most 2, are multiplied by this.
  static constexpr float cosine_range = std::is_same_v<Operand, Half> ? 16384 : 1;
  /// The same for gradients of attention scores, which are at most 4 / t_attention, and attention itself.
  [[nodiscard]] float attention_range() const {
    if (!std::is_same_v<Operand, Half>) return 1;
    const double most = std::floor(std::log2(16384 * std::min(options_.attention_temperature, 1.0)));
    return static_cast<float>(std::exp2(std::max(most, -8.0)));
  }

  /// Writes the gradients and, to `losses` [B] unless it is null, what the loss is the mean of.
  void go_back(Device& device, const Inputs& inputs, double* losses, const Outputs& outputs,
               Accumulator upstream, const Gradients& gradients) const {
    const Index batch = inputs.regions.extent(0);
    const double weight =
        static_cast<double>(upstream) / (2 * options_.contrast_temperature * static_cast<double>(batch));
    for_each_strip(device, inputs, true, [&](const Pairs& in, const Tiles& tiles, Index first) {
      form_contexts(device, in, tiles, outputs.attention.slice(first, in.shape.pairs));
      const bool is_last = first + in.shape.pairs == batch;
      contrast(device, in, tiles, {losses, first, batch, device.arrived(), is_last ? outputs.loss : nullptr},
               cosine_range, cuda::batch_rows_of(tiles.d_cosines));
      differentiate(device, in, tiles);
      write_gradients(device, in, tiles, weight,
                      {gradients.regions.slice(first, in.shape.pairs),
                       gradients.words.slice(first, in.shape.pairs), gradients.into});
    });
  }

  /// Calls visit(pairs, tiles, first pair) for strips of pairs that fit into scratch, all but the last equal.
  template <class Visit>
  void for_each_strip(Device& device, const Inputs& inputs, bool backward, Visit&& visit) const {
    const auto& [batch, regions_of_image, features] = inputs.regions.extents();
    const Index most_words = inputs.words.extent(1);
    cuda::detail::TokenShape shape{1, regions_of_image, most_words, features};
    constexpr Index times = 8;
    const Index most = std::clamp(static_cast<Index>(device.options().score_block_bytes) * times /
                                      Tiles::bytes_of_pair(shape, parts, backward),
                                  Index{1}, batch);
    const Index strips = (batch + most - 1) / most;
    shape.pairs = (batch + strips - 1) / strips;
    auto scratch = device.scratch().scope();
    const Tiles tiles(scratch, shape, parts, backward);
    for (Index first = 0; first < batch; first += shape.pairs) {
      const Index pairs = std::min(shape.pairs, batch - first);
      const auto words = cuda::batch_rows_of(inputs.words.slice(first, pairs)),
                 regions = cuda::batch_rows_of(inputs.regions.slice(first, pairs));
      const auto* count = inputs.word_count.empty() ? nullptr : inputs.word_count.data() + first;
      visit(Pairs{{pairs, shape.regions, shape.words, shape.features},
                  words,
                  regions,
                  words.aligned(),
                  regions.aligned(),
                  {count, most_words}},
            tiles.first(pairs), first);
    }
  }

  /// From words and regions to what words see of the image.
  void form_contexts(Device& device, const Pairs& in, const Tiles& tiles,
                     const BatchView<Scalar>& attention) const {
    const auto& shape = in.shape;
    cuda::launch(cuda::detail::measure_tokens<Scalar, Operand>,
                 cuda::blocks(shape.pairs * (shape.words + shape.regions), warps), threads, 0,
                 device.stream(), in, tiles.unit_words(), tiles.unit_regions(), tiles.copies);
    cuda::matmul<Operand>(device, tiles.words, Op::none, tiles.regions, Op::transpose, tiles.scores);
    const auto out = cuda::batch_rows_of(attention);
    cuda::launch(cuda::detail::attend_regions<Operand, Scalar>, of_words(shape), threads, 0, device.stream(),
                 attention_of(in, tiles), cuda::batch_rows_of(tiles.attention), out, out.aligned());
    cuda::matmul<Operand>(device, tiles.attention, Op::none, tiles.regions, Op::none, tiles.of_words);
    cuda::launch(cuda::detail::take_contexts<Operand, parts>, of_words(shape), threads, 0, device.stream(),
                 shape, sums_of(tiles.of_words), cuda::batch_rows_of(tiles.unit_contexts),
                 tiles.context_inverse);
  }

  /// From what words see to the losses or, if `d_cosines` has data, to the gradients of cosines.
  void contrast(Device& device, const Pairs& in, const Tiles& tiles, const cuda::detail::TokenLosses& losses,
                float range, const cuda::BatchRows<Operand>& d_cosines) const {
    cuda::matmul<Operand>(device, tiles.words, Op::none, tiles.unit_contexts, Op::transpose, tiles.cosines);
    const cuda::detail::TokenScores<parts> scores{
        in.shape.words,    sums_of(tiles.cosines),
        tiles.word_factor, static_cast<float>(1 / options_.contrast_temperature),
        tiles.rows,        tiles.columns};
    cuda::launch(cuda::detail::contrast_tokens<Operand, parts>, cuda::blocks(in.shape.pairs),
                 cuda::detail::contrast_warps * cuda::warp_size, sizeof(cuda::detail::TokenContrastShared),
                 device.stream(), in.counts, scores, losses, range, d_cosines);
  }

  /// From the gradients of cosines to those of contexts and attention. See the CPU's for the equations.
  void differentiate(Device& device, const Pairs& in, const Tiles& tiles) const {
    cuda::matmul<Operand>(device, tiles.d_cosines, Op::transpose, tiles.words_twice, Op::none,
                          tiles.of_words);
    cuda::launch(cuda::detail::differentiate_contexts<Operand, parts>, of_words(in.shape), threads, 0,
                 device.stream(), in.shape, sums_of(tiles.of_words),
                 cuda::batch_rows_of(BatchView<const Operand>(tiles.unit_contexts)), tiles.context_inverse,
                 cuda::batch_rows_of(tiles.d_contexts), tiles.power);
    cuda::matmul<Operand>(device, tiles.d_contexts, Op::none, tiles.regions, Op::transpose,
                          tiles.d_attention);
    cuda::launch(cuda::detail::differentiate_token_attention<Operand>, of_words(in.shape), threads, 0,
                 device.stream(), attention_of(in, tiles), sums_of(tiles.d_attention), tiles.power,
                 attention_range(), cuda::batch_rows_of(tiles.attention), cuda::batch_rows_of(tiles.d_scores),
                 tiles.pair_power);
  }

  /// The products that remain, and the projections. Gradients of regions come in one product, of attention
  /// and its gradient below each other with those of contexts and words.
  void write_gradients(Device& device, const Pairs& in, const Tiles& tiles, double weight,
                       const Gradients& gradients) const {
    using cuda::detail::TokenGradients, cuda::detail::TokenSums;
    const auto finish = [&](Index rows, const cuda::detail::UnitTokens<Operand>& unit, const TokenSums& sums,
                            const BatchView<Scalar>& view, bool of_words) {
      const auto out = cuda::batch_rows_of(view);
      cuda::launch(cuda::detail::finish_token_gradients<Scalar, Operand>,
                   cuda::blocks(in.shape.pairs * rows, warps), threads, 0, device.stream(), in.shape, rows,
                   in.counts, unit, sums,
                   TokenGradients<Scalar>{out, out.aligned(), gradients.into, of_words});
    };
    constexpr float of_cosines = 1 / cosine_range;
    const float of_attention = of_cosines / attention_range();
    if (gradients.words.given()) {
      const auto add = [&](int d_part, int part, float beta) {
        cuda::matmul<Operand>(device, tiles.d_cosines_part[d_part], Op::none, tiles.unit_contexts_part[part],
                              Op::none, tiles.of_words, 1, beta);
      };
      add(0, 0, 0);
      if constexpr (parts == 2) {
        add(0, 1, 1);
        add(1, 0, 1);
      }
      cuda::matmul<Operand>(device, tiles.d_scores, Op::none, tiles.regions, Op::none, tiles.more_of_words);
      finish(in.shape.words, tiles.unit_words(),
             {sums_of(tiles.of_words), sums_of(tiles.more_of_words), of_cosines, of_attention,
              tiles.pair_power, weight},
             gradients.words, true);
    }
    if (!gradients.regions.given()) return;
    cuda::matmul<Operand>(device, tiles.both_attentions, Op::transpose, tiles.contexts_and_words, Op::none,
                          tiles.of_regions);
    finish(in.shape.regions, tiles.unit_regions(),
           {{}, sums_of(tiles.of_regions), 0, of_attention, tiles.pair_power, weight}, gradients.regions,
           false);
  }

  /// A grid with a warp for each word.
  [[nodiscard]] static dim3 of_words(const cuda::detail::TokenShape& shape) {
    return cuda::blocks(shape.pairs * shape.words, warps);
  }

  [[nodiscard]] static cuda::BatchRows<const float> sums_of(const BatchView<float>& view) {
    return cuda::batch_rows_of(BatchView<const float>(view));
  }

  [[nodiscard]] cuda::detail::TokenAttention attention_of(const Pairs& in, const Tiles& tiles) const {
    return {in.shape,
            in.counts,
            sums_of(tiles.scores),
            tiles.word_factor,
            tiles.region_factor,
            static_cast<float>(1 / options_.attention_temperature),
            tiles.attention_sums};
  }

  Options options_;
};

}  // namespace detail

static_assert(Loss<TokenAlignment<float, Cuda>>);

}  // namespace vlp
