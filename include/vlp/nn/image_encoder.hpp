/// \file
/// The image encoder: a convolutional stem and transformer blocks.
#pragma once

#include <vlp/core/buffer.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/parameter.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/checks.hpp>
#include <vlp/nn/convolution_stem.hpp>
#include <vlp/nn/initialise.hpp>
#include <vlp/nn/layer_norm.hpp>
#include <vlp/nn/ops/gather.hpp>
#include <vlp/nn/ops/rows.hpp>
#include <vlp/nn/transformer_block.hpp>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::nn {

struct ImageEncoderOptions {
  Index image_size = 64;                     ///< pixels along an edge; a multiple of the patch stride
  Index channels = 1;                        ///< of the images
  std::vector<Index> stem_channels{32, 64};  ///< of the hidden stages; patch stride = 2^(1 + how many)
  Index width = 128;
  Index depth = 2;  ///< transformer blocks
  Index heads = 4;
  Index hidden = 0;  ///< of the feed-forward layers; 0 = 4 width
};

/// Images [B, S, S, C] to region features [B, R, width] and a global feature [B, width], R = (S / patch
/// stride)^2 in row-major order of the patches: ConvolutionStem, learned positions, pre-norm transformer
/// blocks, a final layer normalisation. The global feature is the mean of the region features.
template <class Scalar, class Device = Cpu>
class ImageEncoder {
 public:
  explicit ImageEncoder(const ImageEncoderOptions& options, Random random)
      : options_(checked(options)),
        stem_(options.channels, options.stem_channels, options.width, random),
        positions_({regions(), options.width}),
        states_(static_cast<std::size_t>(options.depth) + 1),
        norm_(options.width) {
    initialise_truncated_normal(positions_, 0.02f, random);
    blocks_.reserve(static_cast<std::size_t>(options.depth));
    for (Index i = 0; i < options.depth; ++i)
      blocks_.emplace_back(
          TransformerBlockOptions{.width = options.width, .heads = options.heads, .hidden = options.hidden},
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

  /// Either result is skipped when its view is empty.
  void forward(Device& device, ImageView<const Scalar> images, BatchView<Scalar> region_features,
               MatrixView<Scalar> global) {
    check_images(images);
    check_regions("region features", region_features, images.extent(0));
    if (!global.empty()) detail::check_matrix("ImageEncoder", "global", global, images.extent(0), width());
    const Index tokens = images.extent(0) * regions();
    set_offsets(images.extent(0));
    for (auto& state : states_) state.resize(tokens * width());
    stem_.forward(device, images, {states_[0].data(), {images.extent(0), grid(), grid(), width()}});
    add_positions<Scalar>(device, positions_.matrix(), offsets_, state(0));
    for (std::size_t i = 0; i < blocks_.size(); ++i)
      blocks_[i].forward(device, state(i), offsets_, state(i + 1));

    auto scope = device.scratch().scope();
    if (region_features.empty())
      region_features = scope.template take_view<Scalar>(images.extent(0), regions(), width());
    norm_.forward(device, state(blocks_.size()), flatten_rows(region_features));
    if (!global.empty()) mean_of_rows<Scalar>(device, region_features, global);
  }

  /// From the gradients by the results (either may be empty) to those of the parameters and, if given, by the
  /// images.
  void backward(Device& device, ImageView<const Scalar> images, BatchView<const Scalar> dregion_features,
                MatrixView<const Scalar> dglobal, ImageView<Scalar> dimages = {}) {
    check_images(images);
    check_regions("gradient by the region features", dregion_features, images.extent(0));
    if (!dglobal.empty()) detail::check_matrix("ImageEncoder", "dglobal", dglobal, images.extent(0), width());
    const Index tokens = images.extent(0) * regions();
    require(!offsets_.empty() && offsets_.back() == tokens, "ImageEncoder: ", images.extent(0),
            " images in backward are not those of forward");
    auto scope = device.scratch().scope();
    const auto gradient = scope.template take_view<Scalar>(images.extent(0), regions(), width());
    const MatrixView<Scalar> d = flatten_rows(gradient);
    if (dregion_features.empty())
      std::fill_n(d.data(), d.size(), Scalar(0));
    else
      assign_scaled<Scalar>(device, 1, flatten_rows(dregion_features), d);
    if (!dglobal.empty()) mean_of_rows_gradient<Scalar>(device, dglobal, gradient);
    norm_.backward(device, state(blocks_.size()), d, d);
    for (std::size_t i = blocks_.size(); i-- > 0;) blocks_[i].backward(device, state(i), offsets_, d, d);
    add_position_sums<Scalar>(device, d, offsets_, positions_.gradient_matrix());
    stem_.backward(device, images, {d.data(), {images.extent(0), grid(), grid(), width()}}, dimages);
  }

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    stem_.for_each_parameter(join_names(prefix, "stem"), visit);
    visit(join_names(prefix, "positions"), positions_);
    for (std::size_t i = 0; i < blocks_.size(); ++i)
      blocks_[i].for_each_parameter(join_names(prefix, "block" + std::to_string(i)), visit);
    norm_.for_each_parameter(join_names(prefix, "norm"), visit);
  }

 private:
  static const ImageEncoderOptions& checked(const ImageEncoderOptions& options) {
    const Index stride = Index(2) << options.stem_channels.size();
    detail::check_positive("ImageEncoder", "image_size", options.image_size);
    require(options.image_size % stride == 0, "ImageEncoder: the image size ", options.image_size,
            " is not a multiple of the patch stride ", stride);
    require(options.depth >= 0, "ImageEncoder: depth must not be negative, but is ", options.depth);
    return options;
  }

  void check_images(const ImageView<const Scalar>& images) const {
    require(images.extent(1) == options_.image_size && images.extent(2) == options_.image_size &&
                images.extent(3) == options_.channels,
            "ImageEncoder: images are ", images.extent(1), " x ", images.extent(2), " x ", images.extent(3),
            " but must be ", options_.image_size, " x ", options_.image_size, " x ", options_.channels);
  }

  template <class T>
  void check_regions(std::string_view name, const BatchView<T>& view, Index batch) const {
    require(
        view.empty() || (view.extent(0) == batch && view.extent(1) == regions() && view.extent(2) == width()),
        "ImageEncoder: ", name, " is ", view.extent(0), " x ", view.extent(1), " x ", view.extent(2),
        " but must be ", batch, " x ", regions(), " x ", width());
  }

  void set_offsets(Index batch) {
    offsets_.resize(static_cast<std::size_t>(batch) + 1);
    for (Index b = 0; b <= batch; ++b) offsets_[static_cast<std::size_t>(b)] = b * regions();
  }

  [[nodiscard]] MatrixView<Scalar> state(std::size_t layer) const {
    return {states_[layer].data(), {states_[layer].size() / width(), width()}};
  }

  ImageEncoderOptions options_;
  ConvolutionStem<Scalar, Device> stem_;
  Parameter<Scalar, Device> positions_;
  std::vector<TransformerBlock<Scalar, Device>> blocks_;
  std::vector<typename Device::template Buffer<Scalar>>
      states_;  // input of each block, and the last one's output
  LayerNorm<Scalar, Device> norm_;
  std::vector<Index> offsets_;
};

}  // namespace vlp::nn
