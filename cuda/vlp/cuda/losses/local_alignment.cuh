/// \file
/// Local alignment on a CUDA device.
#pragma once

#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/losses/detail/alignment_pass.cuh>
#include <vlp/cuda/losses/detail/finish_contrast.cuh>
#include <vlp/cuda/losses/detail/packed_words.cuh>
#include <vlp/cuda/losses/detail/pair_targets.cuh>
#include <vlp/cuda/losses/detail/similarity_contrast.cuh>
#include <vlp/losses/contrast.hpp>
#include <vlp/losses/detail/saved_arrays.hpp>
#include <vlp/losses/local_alignment.hpp>
#include <vlp/losses/loss.hpp>

namespace vlp {

namespace detail {

/// Local alignment of float, BFloat16 or Half features. All pointers are in device memory, `word_count`
/// included, so the host cannot check it: where a count is not in 1 to W, or the words are more than
/// Inputs::word_capacity, the loss and all gradients are NaN. Without a capacity, products take N W rows,
/// whatever the counts; nothing else works on padding.
///
/// Words, packed, meet the regions of all images a tile at a time: plain products, on the matrix units for 16
/// bits, with one kernel between them forward and one more backward. 8 P D flop for P = B sum(W_j) R, the
/// contexts' up to 8 P D (direct) or 6 P R (Gram), 8 P exponentials. Saved are two floats for each image and
/// word, and S. Scratch is a tile, of CudaOptions::score_block_bytes as gradients and about ten times that in
/// all, and, for backward, sums in float of the size of the words.
template <class ScalarType>
class LocalAlignmentBackend<ScalarType, Cuda> : LocalAlignmentInterface<ScalarType> {
  using Interface = LocalAlignmentInterface<ScalarType>;
  using Interface::name;
  using typename Interface::Accumulator, typename Interface::Gradients, typename Interface::Inputs,
      typename Interface::Options, typename Interface::Outputs, typename Interface::Scalar;

 public:
  using Device = Cuda;

  explicit LocalAlignmentBackend(const Options& options) : options_(options) {}

  using State = cuda::detail::SavedAlignment;

  State lay_out(SavedArrays<Device::Memory>& arrays, const Inputs& inputs) const {
    const auto [images, reports] = Interface::block_extents(inputs);
    const Index rows =
        cuda::detail::PackedWords::rows_of_batch(name, reports, inputs.words.extent(1), inputs.word_capacity);
    State out;
    out.dot = arrays.template take_view<float>(images, rows);
    out.squared_norm = arrays.template take_view<float>(images, rows);
    out.similarity = arrays.template take_view<float>(images, reports);
    return out;
  }

  void accumulate(Device& device, const Inputs& inputs, const Outputs& outputs,
                  const ContrastSums<Accumulator>& sums, Into into, const State& state) const {
    auto scratch = device.scratch().scope();
    {
      auto of_pass = device.scratch().scope();
      cuda::detail::AlignmentPass<Scalar>(device, of_pass, options_, inputs, state).forward(outputs);
    }
    cuda::detail::sum_similarity(device, similarity(scratch, device, inputs, state), sums, into);
  }

  static void merge(Device& device, const ContrastSums<Accumulator>& from,
                    const ContrastSums<Accumulator>& to) {
    cuda::detail::merge_sums_of_blocks(device, from, to);
  }

  void finish(Device& device, const PairBlock& block, const ContrastSums<Accumulator>& sums,
              Accumulator* loss) const {
    cuda::detail::finish_share(device, block, sums, options_.image_to_text_weight,
                               options_.text_to_image_weight, loss);
  }

  void differentiate(Device& device, const Inputs& inputs, const ContrastSums<Accumulator>& sums,
                     const State& state, Accumulator upstream, const Gradients& gradients) const {
    if (!gradients.regions.given() && !gradients.words.given()) return;
    const auto [images, reports] = Interface::block_extents(inputs);
    const Index of_batch = inputs.block.of(images, reports).images;
    auto scratch = device.scratch().scope();
    cuda::detail::AlignmentPass<Scalar> pass(device, scratch, options_, inputs, state);
    auto* const d_similarity = scratch.template take<float>(images * reports);
    {
      auto of_targets = device.scratch().scope();
      cuda::detail::differentiate_similarity(device, similarity(of_targets, device, inputs, state), sums,
                                             upstream / static_cast<float>(of_batch), d_similarity);
    }
    pass.backward(d_similarity, gradients);
  }

 private:
  /// S of a block with its targets, which live in `scratch`.
  template <class Scope>
  [[nodiscard]] cuda::detail::Similarity similarity(Scope& scratch, Device& device, const Inputs& inputs,
                                                    const State& state) const {
    const auto [images, reports] = Interface::block_extents(inputs);
    const cuda::detail::TargetInputs in{
        inputs.block.of(images, reports), images, reports, inputs.group, {}, options_.duplicate_policy,
        options_.label_smoothing};
    const auto targets = cuda::detail::lay_out_targets(scratch, in);
    cuda::detail::write_targets(device, name, in, targets);
    return {state.similarity.data(),
            static_cast<int>(images),
            static_cast<int>(reports),
            targets,
            static_cast<float>(options_.image_to_text_weight),
            static_cast<float>(options_.text_to_image_weight),
            static_cast<float>(options_.false_negative_margin * options_.pair_temperature)};
  }

  Options options_;
};

}  // namespace detail

static_assert(Loss<LocalAlignment<float, Cuda>>);

}  // namespace vlp
