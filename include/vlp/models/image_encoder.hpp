/// \file
/// The image encoder: a convolutional stem and transformer blocks.
#pragma once

#include <vlp/core/buffer.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/checks.hpp>
#include <vlp/nn/convolution_stem.hpp>
#include <vlp/nn/initialise.hpp>
#include <vlp/nn/layer_norm.hpp>
#include <vlp/nn/ops/operations.hpp>
#include <vlp/nn/sequences.hpp>
#include <vlp/nn/transformer_block.hpp>
#include <vlp/nn/types.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace vlp::models {

struct ImageEncoderOptions {
  Index image_size = 64;                     ///< pixels along an edge; a multiple of the patch stride
  Index channels = 1;                        ///< of the images
  std::vector<Index> stem_channels{32, 64};  ///< of the hidden stages; patch stride = 2^(1 + how many)
  Index width = 128;
  Index depth = 2;  ///< transformer blocks
  Index heads = 4;
  Index hidden = 0;  ///< of the feed-forward layers; 0 = 4 width
  /// Blocks before the region features are taken; -1: all. With 0 a region knows its surroundings alone,
  /// which keeps attention maps where things are: after self-attention, blocks store what concerns the whole
  /// image in regions of the background (Darcet et al., "Vision transformers need registers", ICLR 2024).
  Index region_depth = -1;
  nn::GeluForm gelu = nn::GeluForm::tanh;  ///< of the blocks; the stem's is the tanh form
};

/// Images [B, S, S, C] to region features [B, R, width] and a global feature [B, width], R = (S / patch
/// stride)^2 in row-major order of the patches: ConvolutionStem, learned positions, pre-norm transformer
/// blocks, a final layer normalisation. The global feature is the mean over the regions after all blocks;
/// region features are those after all blocks too, or earlier ones with a layer normalisation of their own
/// (region_depth).
template <class Scalar, class Device = Cpu>
class ImageEncoder {
 public:
  explicit ImageEncoder(const ImageEncoderOptions& options, Random random)
      : options_(checked(options)),
        stem_(options.channels, options.stem_channels, options.width, random),
        positions_({regions(), options.width}),
        states_(static_cast<std::size_t>(options.depth) + 1),
        norm_(options.width),
        region_norm_(options.width) {
    nn::initialise_truncated_normal(positions_, 0.02f, random);
    blocks_.reserve(static_cast<std::size_t>(options.depth));
    for (Index i = 0; i < options.depth; ++i)
      blocks_.emplace_back(
          nn::TransformerBlockOptions{
              .width = options.width, .heads = options.heads, .hidden = options.hidden, .gelu = options.gelu},
          random);
  }

  [[nodiscard]] const ImageEncoderOptions& options() const { return options_; }
  [[nodiscard]] Index width() const { return options_.width; }
  /// Patches along an edge of an image.
  [[nodiscard]] Index grid() const {
    return options_.image_size / (Index(2) << options_.stem_channels.size());
  }
  /// Patches of an image.
  [[nodiscard]] Index regions() const { return grid() * grid(); }

  /// Either result is skipped when its view is not given.
  void forward(Device& device, ImageView<const Scalar> images, BatchView<Scalar> region_features,
               MatrixView<Scalar> global) {
    check_images(images);
    check_regions("region features", region_features, images.extent(0));
    if (global.given()) nn::detail::check_matrix("ImageEncoder", "global", global, images.extent(0), width());
    const Index tokens = images.extent(0) * regions();
    // The regions of each image are a sequence.
    if (images.extent(0) != sequences_.count()) sequences_.assign_equal(device, images.extent(0), regions());
    for (auto& state : states_) state.resize(tokens * width());
    stem_.forward(device, images, {states_[0].data(), {images.extent(0), grid(), grid(), width()}});
    add_positions<Scalar>(device, positions_.matrix(), sequences_.view(), state(0));
    const std::size_t top = blocks_needed(global.given());
    for (std::size_t i = 0; i < top; ++i) blocks_[i].forward(device, state(i), sequences_, state(i + 1));

    if (early_regions() && region_features.given())
      region_norm_.forward(device, state(region_layer()), flatten_rows(region_features));
    if (top < blocks_.size()) return;
    auto scope = device.scratch().scope();
    const auto last = early_regions() || !region_features.given()
                          ? scope.template take_view<Scalar>(images.extent(0), regions(), width())
                          : region_features;
    norm_.forward(device, state(blocks_.size()), flatten_rows(last));
    if (global.given()) mean_of_rows<Scalar>(device, last, global);
  }

  /// From the gradients by the results (either may be left out) to those of the parameters and, if given, by
  /// the images.
  void backward(Device& device, ImageView<const Scalar> images, BatchView<const Scalar> d_region_features,
                MatrixView<const Scalar> d_global, ImageView<Scalar> d_images = {}) {
    check_images(images);
    check_regions("gradient by the region features", d_region_features, images.extent(0));
    if (d_global.given())
      nn::detail::check_matrix("ImageEncoder", "d_global", d_global, images.extent(0), width());
    require(images.extent(0) == sequences_.count(), "ImageEncoder: ", images.extent(0),
            " images in backward are not those of forward");
    auto scope = device.scratch().scope();
    const auto gradient = scope.template take_view<Scalar>(images.extent(0), regions(), width());
    const MatrixView<Scalar> d = flatten_rows(gradient);
    if (!d_region_features.given() || early_regions())
      fill(device, d.data(), d.size(), Scalar(0));
    else
      assign_scaled<Scalar>(device, Scalar(1), flatten_rows(d_region_features), d);
    if (d_global.given()) mean_of_rows_gradient<Scalar>(device, d_global, gradient);
    const std::size_t top = blocks_needed(d_global.given());
    if (top == blocks_.size()) norm_.backward(device, state(top), d, d);
    if (top == region_layer()) add_early_regions(device, d_region_features, d);
    for (std::size_t i = top; i-- > 0;) {
      blocks_[i].backward(device, state(i), sequences_, d, d);
      if (i == region_layer()) add_early_regions(device, d_region_features, d);
    }
    add_position_sums<Scalar>(device, d, sequences_.view(), positions_.gradient_matrix());
    stem_.backward(device, images, {d.data(), {images.extent(0), grid(), grid(), width()}}, d_images);
  }

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    stem_.for_each_parameter(join_names(prefix, "stem"), visit);
    visit(join_names(prefix, "positions"), positions_);
    for (std::size_t i = 0; i < blocks_.size(); ++i)
      blocks_[i].for_each_parameter(join_names(prefix, "block" + std::to_string(i)), visit);
    norm_.for_each_parameter(join_names(prefix, "norm"), visit);
    if (early_regions()) region_norm_.for_each_parameter(join_names(prefix, "region_norm"), visit);
  }

 private:
  static const ImageEncoderOptions& checked(const ImageEncoderOptions& options) {
    const Index stride = Index(2) << options.stem_channels.size();
    nn::detail::check_positive("ImageEncoder", "image_size", options.image_size);
    require(options.image_size % stride == 0, "ImageEncoder: the image size ", options.image_size,
            " is not a multiple of the patch stride ", stride);
    require(options.depth >= 0, "ImageEncoder: depth must not be negative, but is ", options.depth);
    require(options.region_depth >= -1 && options.region_depth <= options.depth,
            "ImageEncoder: region_depth must be from -1 to the depth ", options.depth, ", but is ",
            options.region_depth);
    return options;
  }

  /// Tells whether region features are taken before the last block; region_layer() tells after how many.
  [[nodiscard]] bool early_regions() const {
    return options_.region_depth >= 0 && options_.region_depth < options_.depth;
  }
  [[nodiscard]] std::size_t region_layer() const {
    return static_cast<std::size_t>(early_regions() ? options_.region_depth : options_.depth);
  }

  /// Blocks that work is done in: those above early regions serve the global feature alone.
  [[nodiscard]] std::size_t blocks_needed(bool with_global) const {
    return early_regions() && !with_global ? region_layer() : blocks_.size();
  }

  void add_early_regions(Device& device, BatchView<const Scalar> d_region_features, MatrixView<Scalar> d) {
    if (!early_regions() || !d_region_features.given()) return;
    region_norm_.backward(device, state(region_layer()), flatten_rows(d_region_features), d, Into::add);
  }

  void check_images(const ImageView<const Scalar>& images) const {
    require(images.extent(1) == options_.image_size && images.extent(2) == options_.image_size &&
                images.extent(3) == options_.channels,
            "ImageEncoder: images are ", images.extent(1), " x ", images.extent(2), " x ", images.extent(3),
            " but must be ", options_.image_size, " x ", options_.image_size, " x ", options_.channels);
  }

  template <class T>
  void check_regions(std::string_view name, const BatchView<T>& view, Index batch) const {
    require(!view.given() ||
                (view.extent(0) == batch && view.extent(1) == regions() && view.extent(2) == width()),
            "ImageEncoder: ", name, " is ", view.extent(0), " x ", view.extent(1), " x ", view.extent(2),
            " but must be ", batch, " x ", regions(), " x ", width());
  }

  [[nodiscard]] MatrixView<Scalar> state(std::size_t layer) const {
    return {states_[layer].data(), {states_[layer].size() / width(), width()}};
  }

  ImageEncoderOptions options_;
  nn::ConvolutionStem<Scalar, Device> stem_;
  Parameter<Scalar, Device> positions_;
  std::vector<nn::TransformerBlock<Scalar, Device>> blocks_;
  std::vector<typename Device::template Buffer<Scalar>>
      states_;                                        // input of each block, and the last one's output
  nn::LayerNorm<Scalar, Device> norm_, region_norm_;  // region_norm_ where regions are early
  nn::Sequences<Device> sequences_;
};

}  // namespace vlp::models
