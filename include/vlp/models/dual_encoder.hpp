/// \file
/// An image encoder and a text encoder with heads into one space.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/detail/extents.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/view.hpp>
#include <vlp/models/image_encoder.hpp>
#include <vlp/models/pair_features.hpp>
#include <vlp/models/text_encoder.hpp>
#include <vlp/nn/aggregate_to_words.hpp>
#include <vlp/nn/checks.hpp>
#include <vlp/nn/projection_head.hpp>
#include <vlp/nn/tokens.hpp>
#include <vlp/nn/types.hpp>
#include <vlp/nn/unit_norm.hpp>
#include <vlp/nn/word_slots.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>

namespace vlp::models {

/// Options of DualEncoder.
struct DualEncoderOptions {
  Index width = 96;         ///< features inside the encoders, a multiple of 4 and of the heads
  Index heads = 4;          ///< attention heads
  Index image_blocks = 1;   ///< transformer blocks of the image encoder
  Index text_blocks = 2;    ///< transformer blocks of the text encoder
  Index region_blocks = 0;  ///< image blocks before the regions are taken (ImageEncoderOptions::region_depth)
  Index word_layers = 3;    ///< last layers that a word's feature is the sum of, the embedding among them
  Index embedding = 64;     ///< features of the shared space, E
};

/// Calls `visit(name, field, help)` for each option.
template <class Options, class Visit>
requires std::is_same_v<std::remove_const_t<Options>, DualEncoderOptions>
void for_each_setting(Options& o, Visit&& visit) {
  visit("width", o.width, "features inside the encoders");
  visit("heads", o.heads, "attention heads");
  visit("image-blocks", o.image_blocks, "transformer blocks of the image encoder");
  visit("text-blocks", o.text_blocks, "transformer blocks of the text encoder");
  visit("region-blocks", o.region_blocks,
        "of these, how many come before the regions are taken; with 0 a region knows its surroundings alone");
  visit("word-layers", o.word_layers,
        "last layers of the text encoder that a word's feature is the sum of, the embedding among them");
  visit("embedding", o.embedding, "features of the shared image-text space");
}

/// Throws std::invalid_argument, naming the setting and its value, for one that is out of range.
inline void validate(const DualEncoderOptions& o) {
  require_range<Index>("width", o.width, 4, 65536);
  require_range<Index>("heads", o.heads, 1, o.width);
  require(o.width % o.heads == 0, "width must be a multiple of heads, but is ", o.width, " for ", o.heads,
          " heads");
  require_range<Index>("image-blocks", o.image_blocks, 0, 100);
  require_range<Index>("text-blocks", o.text_blocks, 1, 100);
  require_range<Index>("region-blocks", o.region_blocks, 0, o.image_blocks);
  require_range<Index>("word-layers", o.word_layers, 1, 101);
  require_range<Index>("embedding", o.embedding, 1, 65536);
}

/// Sizes of a DualEncoder that the data decide.
struct DualEncoderShape {
  Index image_size = 0;      ///< pixels along an edge, a multiple of 8
  Index vocabulary = 0;      ///< word pieces
  Index longest_text = 0;    ///< word pieces of the longest text, [CLS] and [SEP] included
  bool with_regions = true;  ///< whether there are heads for regions and words
  /// Whether features of the encoders themselves are kept for a decoder, regions and pieces; see
  /// DualEncoder::encoder_features.
  bool with_encoder_features = false;
};

/// The text encoder of a DualEncoder of these options.
[[nodiscard]] inline TextEncoderOptions text_encoder_options(const DualEncoderOptions& options,
                                                             Index vocabulary, Index longest_text) {
  return {.vocabulary = vocabulary,
          .positions = longest_text,
          .width = options.width,
          .depth = options.text_blocks,
          .heads = options.heads,
          .last_layers = std::min(options.word_layers, options.text_blocks + 1)};
}

/// The image encoder of a DualEncoder of these options, for images of so many pixels a side. `keeps_regions`
/// says whether its regions are used: then they are taken after region_blocks blocks.
[[nodiscard]] inline ImageEncoderOptions image_encoder_options(const DualEncoderOptions& options,
                                                               Index image_size, bool keeps_regions) {
  return {.image_size = image_size,
          .stem_channels = {options.width / 4, options.width / 2},
          .width = options.width,
          .depth = options.image_blocks,
          .heads = options.heads,
          .region_depth = keeps_regions ? options.region_blocks : -1};
}

/// A batch of B images and their texts, N for each image, in device memory.
template <class Scalar, class Device>
struct PairInputs {
  ImageView<const Scalar> images;           ///< [B, S, S, 1]
  const nn::Tokens<Device>& texts;          ///< B N sequences: those of image b begin at b N
  const nn::WordSlots<Device>& word_slots;  ///< [T] row of [B W] for a piece of a word of a pair, or -1
  Index texts_per_pair = 1;                 ///< N
  Index words_per_text = 0;                 ///< W
};

/// images -> image encoder -> global feature, regions -> heads -> image [B, E], regions [B, R, E]
/// pieces -> text encoder -> [CLS], pieces -> words -> heads -> text [B, N, E], words [B, W, E]
///
/// Each head is one linear layer. Words have unit length: the local loss takes a softmax of word-region
/// products over a report's words, and words of different lengths would leave the whole of it to the longest.
template <class Scalar, class Device = Cpu>
class DualEncoder {
 public:
  using Inputs = PairInputs<Scalar, Device>;

  /// The stream of Random, beside the seed, of the weights of a DualEncoder and of what belongs to it.
  static constexpr std::uint32_t weights_stream = 0x3E16;

  /// All weights are drawn from the seed.
  DualEncoder(const DualEncoderOptions& options, const DualEncoderShape& shape, std::uint64_t seed)
      : options_(options),
        keeps_encoder_features_(shape.with_encoder_features || shape.with_regions),
        image_encoder_(image_encoder_options(options, shape.image_size, keeps_encoder_features_),
                       Random(seed, weights_stream, 0)),
        text_encoder_(text_encoder_options(options, shape.vocabulary, shape.longest_text),
                      Random(seed, weights_stream, 1)),
        image_head_(head_options(), Random(seed, weights_stream, 2)),
        text_head_(head_options(), Random(seed, weights_stream, 3)) {
    if (shape.with_regions)
      local_.emplace(Local{{head_options(), Random(seed, weights_stream, 4)},
                           {head_options(), Random(seed, weights_stream, 5)},
                           {}});
  }

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    image_encoder_.for_each_parameter(join_names(prefix, "image_encoder"), visit);
    text_encoder_.for_each_parameter(join_names(prefix, "text_encoder"), visit);
    image_head_.for_each_parameter(join_names(prefix, "image_head"), visit);
    text_head_.for_each_parameter(join_names(prefix, "text_head"), visit);
    if (!local_) return;
    local_->region_head.for_each_parameter(join_names(prefix, "region_head"), visit);
    local_->word_head.for_each_parameter(join_names(prefix, "word_head"), visit);
  }

  [[nodiscard]] const DualEncoderOptions& options() const { return options_; }
  /// The regions form a square grid of this many a side.
  [[nodiscard]] Index grid() const { return image_encoder_.grid(); }

  /// Extents of the features of so many pairs, each with N texts and at most W words.
  [[nodiscard]] PairFeatureExtents feature_extents(Index pairs, Index texts_per_pair,
                                                   Index words_per_text) const {
    return {.pairs = pairs,
            .texts_per_pair = texts_per_pair,
            .words_per_text = words_per_text,
            .regions = local_ ? image_encoder_.regions() : 0,
            .embedding = options_.embedding};
  }

  /// Writes the features of a batch, and keeps what backward needs until the next forward. Throws
  /// std::invalid_argument unless `features` has the batch's feature_extents().
  void forward(Device& device, const Inputs& in, const PairFeatures<Scalar>& features) {
    const Extents e(*this, in);
    check("features", features, e);
    const auto region_features =
        keeps_encoder_features_ ? region_features_.reshape(e.pairs, e.regions, e.width) : BatchView<Scalar>();
    const auto global = global_.reshape(e.pairs, e.width);
    image_encoder_.forward(device, in.images, region_features, global);
    image_head_.forward(device, global, features.image);

    const auto cls = cls_.reshape(e.texts, e.width);
    const auto pieces = keeps_encoder_features_ ? pieces_.reshape(e.pieces, e.width) : MatrixView<Scalar>();
    text_encoder_.forward(device, in.texts, cls, pieces);
    text_head_.forward(device, cls, flatten_rows(features.text));

    if (local_) {
      local_->region_head.forward(device, flatten_rows(region_features), flatten_rows(features.regions));
      const auto words = words_.reshape(e.words, e.width);
      nn::aggregate_to_words<Scalar>(device, pieces, in.word_slots, nn::Pooling::sum, words);
      const auto projected = projected_words_.reshape(e.words, e.embedding);
      local_->word_head.forward(device, words, projected);
      local_->unit_words.forward(device, projected, flatten_rows(features.words));
    }
  }

  /// The encoders' own features of the batch `in` of the last forward, until the next: regions before their
  /// head, and the features of all pieces before they are pooled to words. Needs
  /// DualEncoderShape::with_encoder_features or with_regions.
  [[nodiscard]] EncoderFeatures<const Scalar> encoder_features(const Inputs& in) const {
    require(keeps_encoder_features_, "DualEncoder: made without encoder features");
    const Extents e(*this, in);
    return {{region_features_.data(), {e.pairs, e.regions, e.width}}, rows(pieces_, e.pieces)};
  }

  /// Adds to the gradients of the parameters, from those by the features and, where they are given, those by
  /// the encoder_features(); that by the words serves as scratch memory and is changed. `in` are the inputs
  /// of the last forward. Throws std::invalid_argument unless `d_features` has the batch's feature_extents()
  /// and `d_encoder` the extents of encoder_features().
  void backward(Device& device, const Inputs& in, const PairFeatures<Scalar>& d_features,
                const EncoderFeatures<const Scalar>& d_encoder = {}) {
    const Extents e(*this, in);
    check("d_features", d_features, e);
    check(d_encoder, e);
    auto scope = device.scratch().scope();
    const auto d_global = scope.template take_view<Scalar>(e.pairs, e.width);
    image_head_.backward(device, rows(global_, e.pairs), d_features.image, d_global);
    const auto d_cls = scope.template take_view<Scalar>(e.texts, e.width);
    text_head_.backward(device, rows(cls_, e.texts), flatten_rows(d_features.text), d_cls);

    BatchView<const Scalar> d_regions = d_encoder.regions;
    MatrixView<const Scalar> d_pieces = d_encoder.pieces;
    if (local_) {
      const auto d_local_regions = scope.template take_view<Scalar>(e.pairs, e.regions, e.width);
      local_->region_head.backward(device, rows(region_features_, e.pairs * e.regions),
                                   flatten_rows(d_features.regions), flatten_rows(d_local_regions));
      const auto d_projected = flatten_rows(d_features.words);
      local_->unit_words.backward(device, rows(projected_words_, e.words), d_projected, d_projected);
      const auto d_words = scope.template take_view<Scalar>(e.words, e.width);
      local_->word_head.backward(device, rows(words_, e.words), d_projected, d_words);
      const auto d_local_pieces = scope.template take_view<Scalar>(e.pieces, e.width);
      nn::aggregate_to_words_gradient<Scalar>(device, d_words, in.word_slots, nn::Pooling::sum,
                                              d_local_pieces);
      if (d_regions.given())
        add_scaled<Scalar>(device, 1, flatten_rows(d_regions), flatten_rows(d_local_regions));
      if (d_pieces.given()) add_scaled<Scalar>(device, 1, d_pieces, d_local_pieces);
      d_regions = d_local_regions;
      d_pieces = d_local_pieces;
    }
    image_encoder_.backward(device, in.images, d_regions, d_global);
    text_encoder_.backward(device, in.texts, d_cls, d_pieces);
  }

 private:
  template <class T>
  using Buffer = typename Device::template Buffer<T>;

  struct Local {
    nn::ProjectionHead<Scalar, Device> region_head, word_head;
    nn::UnitNorm<Scalar, Device> unit_words;
  };

  /// The extents of a batch.
  struct Extents {
    Index pairs, texts_per_pair, texts, pieces, words_per_text, words, regions, width, embedding;
    bool with_regions;
    Extents(const DualEncoder& model, const Inputs& in)
        : pairs(in.images.extent(0)),
          texts_per_pair(in.texts_per_pair),
          texts(pairs * in.texts_per_pair),
          pieces(in.texts.count()),
          words_per_text(in.words_per_text),
          words(pairs * in.words_per_text),
          regions(model.image_encoder_.regions()),
          width(model.options_.width),
          embedding(model.options_.embedding),
          with_regions(model.local_.has_value()) {
      require(in.texts.sequences().count() == texts, "DualEncoder: ", in.texts.sequences().count(),
              " texts for ", pairs, " images with ", texts_per_pair, " each");
    }
  };

  static void check(std::string_view name, const PairFeatures<Scalar>& features, const Extents& e) {
    const auto check_one = [&](std::string_view part, const auto& view, const auto& extents) {
      if (view.extents() == extents && (view.given() || view.size() == 0)) return;
      require(false, "DualEncoder: ", name, ".", part, " is ", vlp::detail::extents_text(view.extents()),
              " but must be ", vlp::detail::extents_text(extents));
    };
    using Batch = std::array<Index, 3>;
    check_one("image", features.image, std::array<Index, 2>{e.pairs, e.embedding});
    check_one("text", features.text, Batch{e.pairs, e.texts_per_pair, e.embedding});
    if (!e.with_regions) return;
    check_one("regions", features.regions, Batch{e.pairs, e.regions, e.embedding});
    check_one("words", features.words, Batch{e.pairs, e.words_per_text, e.embedding});
  }

  void check(const EncoderFeatures<const Scalar>& d_encoder, const Extents& e) const {
    const auto& regions = d_encoder.regions;
    const auto& pieces = d_encoder.pieces;
    require(keeps_encoder_features_ || !(regions.given() || pieces.given()),
            "DualEncoder: made without encoder features");
    const std::array<Index, 3> wanted{e.pairs, e.regions, e.width};
    require(!regions.given() || regions.extents() == wanted, "DualEncoder: d_encoder.regions is ",
            vlp::detail::extents_text(regions.extents()), " but must be ", vlp::detail::extents_text(wanted));
    if (pieces.given())
      nn::detail::check_matrix("DualEncoder", "d_encoder.pieces", pieces, e.pieces, e.width);
  }

  [[nodiscard]] nn::ProjectionHeadOptions head_options() const {
    return {.inputs = options_.width, .outputs = options_.embedding};
  }

  /// A buffer that was filled row by row, as a matrix of so many rows.
  [[nodiscard]] static MatrixView<Scalar> rows(const Buffer<Scalar>& buffer, Index count) {
    return {buffer.data(), {count, buffer.size() / count}};
  }

  DualEncoderOptions options_;
  bool keeps_encoder_features_;
  ImageEncoder<Scalar, Device> image_encoder_;
  TextEncoder<Scalar, Device> text_encoder_;
  nn::ProjectionHead<Scalar, Device> image_head_, text_head_;
  std::optional<Local> local_;
  // Inputs of the heads.
  Buffer<Scalar> region_features_, global_, cls_, pieces_, words_, projected_words_;
};

}  // namespace vlp::models
