/// \file
/// The model that `pretrain` trains: two encoders, four projection heads, two scales and the multi-scale
/// objective.
#pragma once

#include "pretrain/batch.hpp"
#include "pretrain/options.hpp"

#include <vlp/core/cpu.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/losses/multi_scale.hpp>
#include <vlp/models/image_encoder.hpp>
#include <vlp/models/text_encoder.hpp>
#include <vlp/nn/aggregate_to_words.hpp>
#include <vlp/nn/projection_head.hpp>
#include <vlp/nn/tokens.hpp>
#include <vlp/nn/unit_norm.hpp>
#include <vlp/nn/word_slots.hpp>
#include <vlp/optim/clamp_above.hpp>

#include <algorithm>
#include <cmath>
#include <string_view>

namespace vlp::pretrain {

/// The largest factor that a learnable scale may reach: exp(s) <= 100, as in CLIP.
inline constexpr double largest_scale = 100;

/// Losses of one batch; a term of weight 0 is 0.
struct LossTerms {
  double total = 0, global = 0, local = 0, perturbation = 0;
};

/// images -> image encoder -> global feature, regions -> heads -> embedding [B, E], regions [B, R, E]
/// pieces -> text encoder -> [CLS], pieces -> words -> heads -> embeddings [B, 1 + K, E], words [B, W, E]
///
/// Words have unit length: the local loss takes a softmax of word-region products over a report's words, and
/// words of different lengths would leave the whole of it to the longest.
template <class Scalar = float, class Device = Cpu>
class Model {
 public:
  /// All weights are drawn from options.seed.
  Model(const Options& options, Index vocabulary)
      : options_(options),
        image_encoder_({.image_size = options.image_size,
                        .stem_channels = {options.width / 4, options.width / 2},
                        .width = options.width,
                        .depth = options.image_blocks,
                        .heads = options.heads,
                        .region_depth = options.region_blocks},
                       Random(options.seed, weights_stream, 0)),
        text_encoder_({.vocabulary = vocabulary,
                       .positions = BatchMaker::max_pieces(options),
                       .width = options.width,
                       .depth = options.text_blocks,
                       .heads = options.heads,
                       .last_layers = std::min(options.word_layers, options.text_blocks + 1)},
                      Random(options.seed, weights_stream, 1)),
        image_head_({.inputs = options.width, .outputs = options.embedding},
                    Random(options.seed, weights_stream, 2)),
        text_head_({.inputs = options.width, .outputs = options.embedding},
                   Random(options.seed, weights_stream, 3)),
        region_head_({.inputs = options.width, .outputs = options.embedding},
                     Random(options.seed, weights_stream, 4)),
        word_head_({.inputs = options.width, .outputs = options.embedding},
                   Random(options.seed, weights_stream, 5)),
        log_scale_({1}, WeightDecay::no, std::log(Scalar(1) / Scalar(0.07))),
        perturbation_log_scale_({1}, WeightDecay::no, std::log(Scalar(1) / Scalar(0.07))),
        objective_(objective_options(options)) {}

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    image_encoder_.for_each_parameter(join_names(prefix, "image_encoder"), visit);
    text_encoder_.for_each_parameter(join_names(prefix, "text_encoder"), visit);
    image_head_.for_each_parameter(join_names(prefix, "image_head"), visit);
    text_head_.for_each_parameter(join_names(prefix, "text_head"), visit);
    if (has_local()) {
      region_head_.for_each_parameter(join_names(prefix, "region_head"), visit);
      word_head_.for_each_parameter(join_names(prefix, "word_head"), visit);
    }
    visit(join_names(prefix, "log_scale"), log_scale_);
    if (options_.beta > 0) visit(join_names(prefix, "perturbation_log_scale"), perturbation_log_scale_);
  }

  /// The regions form a square grid of this many a side.
  [[nodiscard]] Index grid() const { return image_encoder_.grid(); }
  [[nodiscard]] Scalar log_scale() const { return log_scale_.value()[0]; }

  /// Keeps the scales within exp(s) <= largest_scale; to be called after each step of the optimiser.
  void clamp_scales(Device& device) {
    const Scalar bound = std::log(static_cast<Scalar>(largest_scale));
    optim::clamp_above(device, log_scale_, bound);
    if (options_.beta > 0) optim::clamp_above(device, perturbation_log_scale_, bound);
  }

  /// Everything up to the inputs of the losses.
  void embed(Device& device, const Batch& batch) {
    const Index regions = image_encoder_.regions(), width = options_.width, embedding = options_.embedding;
    const Index texts = batch.pairs * batch.texts_per_pair;
    std::copy(batch.images.begin(), batch.images.end(),
              images_.resize(static_cast<Index>(batch.images.size())));
    const auto region_features = region_features_.reshape(batch.pairs, regions, width);
    const auto global_feature = global_feature_.reshape(batch.pairs, width);
    image_encoder_.forward(device, images(batch), region_features, global_feature);
    image_head_.forward(device, global_feature, image_.reshape(batch.pairs, embedding));

    const auto cls = cls_.reshape(texts, width);
    const auto pieces = pieces_.reshape(has_local() ? static_cast<Index>(batch.pieces.size()) : 0, width);
    tokens_.assign(device, batch.pieces, batch.offsets);
    text_encoder_.forward(device, tokens_, cls, has_local() ? pieces : MatrixView<Scalar>());
    text_head_.forward(device, cls, text_.reshape(texts, embedding));
    text_view_ = {text_.data(), {batch.pairs, batch.texts_per_pair, embedding}};

    if (!has_local()) return;
    region_head_.forward(device, flatten_rows(region_features),
                         regions_.reshape(batch.pairs * regions, embedding));
    const auto words = word_features_.reshape(batch.pairs * batch.max_words, width);
    word_slots_.assign(device, batch.word_slot);
    nn::aggregate_to_words<Scalar>(device, pieces, word_slots_, nn::Pooling::sum, words);
    const auto projected = projected_words_.reshape(words.rows(), embedding);
    word_head_.forward(device, words, projected);
    unit_words_.forward(device, projected, words_.reshape(words.rows(), embedding));
  }

  /// Of the last embed(): the images [B, E] and the texts [B, 1 + K, E].
  [[nodiscard]] MatrixView<const Scalar> image_embedding() const {
    return {image_.data(), {text_view_.extent(0), options_.embedding}};
  }
  [[nodiscard]] BatchView<const Scalar> text_embedding() const { return text_view_; }

  /// The losses of the batch after embed(). `attention` [B, W, R], if given, receives that of each report's
  /// words over its own image's regions.
  LossTerms losses(Device& device, const Batch& batch, BatchView<Scalar> attention = {}) {
    typename MultiScale<Scalar, Device>::Accumulator total = 0, global = 0, local = 0, perturbation = 0;
    objective_.forward(device, inputs(batch),
                       {.loss = &total,
                        .global = &global,
                        .local = &local,
                        .perturbation = &perturbation,
                        .attention = attention});
    return {static_cast<double>(total), static_cast<double>(global), static_cast<double>(local),
            static_cast<double>(perturbation)};
  }

  /// The gradients of the last losses() by what the heads made; backward() goes on from there.
  void differentiate_losses(Device& device, const Batch& batch) {
    const Index embedding = options_.embedding;
    d_image_.reshape(batch.pairs, embedding);
    d_text_.reshape(batch.pairs * batch.texts_per_pair, embedding);
    typename MultiScale<Scalar, Device>::Gradients gradients;
    Scalar d_log_scale = 0, d_perturbation_log_scale = 0;
    gradients.image = {d_image_.data(), {batch.pairs, embedding}};
    gradients.text = {d_text_.data(), {batch.pairs, batch.texts_per_pair, embedding}};
    gradients.log_scale = &d_log_scale;
    gradients.perturbation_log_scale = &d_perturbation_log_scale;
    if (has_local()) {
      gradients.regions = d_regions_.reshape(batch.pairs, image_encoder_.regions(), embedding);
      gradients.words = d_words_.reshape(batch.pairs, batch.max_words, embedding);
    }
    objective_.backward(device, inputs(batch), 1, gradients);
    log_scale_.gradient()[0] += d_log_scale;
    if (options_.beta > 0) perturbation_log_scale_.gradient()[0] += d_perturbation_log_scale;
  }

  /// Adds the gradients of the losses to those of the parameters, after differentiate_losses().
  void backward(Device& device, const Batch& batch) {
    const Index regions = batch.pairs * image_encoder_.regions(), width = options_.width;
    const Index texts = batch.pairs * batch.texts_per_pair, words = batch.pairs * batch.max_words;
    auto scope = device.scratch().scope();
    const auto d_global = scope.template take_view<Scalar>(batch.pairs, width);
    image_head_.backward(device, rows(global_feature_, batch.pairs), rows(d_image_, batch.pairs), d_global);
    const auto d_cls = scope.template take_view<Scalar>(texts, width);
    text_head_.backward(device, rows(cls_, texts), rows(d_text_, texts), d_cls);

    BatchView<Scalar> d_region_features;
    MatrixView<Scalar> d_pieces;
    if (has_local()) {
      d_region_features = scope.template take_view<Scalar>(batch.pairs, image_encoder_.regions(), width);
      region_head_.backward(device, rows(region_features_, regions), rows(d_regions_, regions),
                            flatten_rows(d_region_features));
      const auto d_word_features = scope.template take_view<Scalar>(words, width);
      unit_words_.backward(device, rows(projected_words_, words), rows(d_words_, words),
                           rows(d_words_, words));
      word_head_.backward(device, rows(word_features_, words), rows(d_words_, words), d_word_features);
      d_pieces = scope.template take_view<Scalar>(static_cast<Index>(batch.pieces.size()), width);
      nn::aggregate_to_words_gradient<Scalar>(device, d_word_features, word_slots_, nn::Pooling::sum,
                                              d_pieces);
    }
    image_encoder_.backward(device, images(batch), d_region_features, d_global);
    text_encoder_.backward(device, tokens_, d_cls, d_pieces);
  }

 private:
  static constexpr std::uint32_t weights_stream = 0x3E16;

  static MultiScaleOptions objective_options(const Options& options) {
    MultiScaleOptions objective;
    objective.alpha = options.alpha;
    objective.beta = options.beta;
    objective.global.duplicate_policy = objective.local.duplicate_policy =
        options.duplicates == "negatives"   ? DuplicatePolicy::negatives
        : options.duplicates == "positives" ? DuplicatePolicy::positives
                                            : DuplicatePolicy::ignore;
    return objective;
  }

  [[nodiscard]] bool has_local() const { return options_.alpha > 0; }

  [[nodiscard]] ImageView<const Scalar> images(const Batch& batch) const {
    return {images_.data(), {batch.pairs, options_.image_size, options_.image_size, 1}};
  }
  [[nodiscard]] typename MultiScale<Scalar, Device>::Inputs inputs(const Batch& batch) const {
    typename MultiScale<Scalar, Device>::Inputs in;
    in.image = image_embedding();
    in.text = text_view_;
    in.valid = {batch.valid.data(), {batch.pairs, batch.texts_per_pair}};
    in.log_scale = log_scale_.value().data();
    if (options_.beta > 0) in.perturbation_log_scale = perturbation_log_scale_.value().data();
    in.group = batch.group;
    if (has_local()) {
      in.regions = {regions_.data(), {batch.pairs, image_encoder_.regions(), options_.embedding}};
      in.words = {words_.data(), {batch.pairs, batch.max_words, options_.embedding}};
      in.word_count = batch.word_count;
    }
    return in;
  }

  template <class T>
  using Buffer = typename Device::template Buffer<T>;

  /// A buffer that was filled row by row, as a matrix of so many rows.
  [[nodiscard]] static MatrixView<Scalar> rows(const Buffer<Scalar>& buffer, Index count) {
    return {buffer.data(), {count, buffer.size() / count}};
  }

  Options options_;
  models::ImageEncoder<Scalar, Device> image_encoder_;
  models::TextEncoder<Scalar, Device> text_encoder_;
  nn::ProjectionHead<Scalar, Device> image_head_, text_head_, region_head_, word_head_;
  nn::UnitNorm<Scalar, Device> unit_words_;
  nn::Tokens<Device> tokens_;
  nn::WordSlots<Device> word_slots_;
  Parameter<Scalar, Device> log_scale_, perturbation_log_scale_;
  MultiScale<Scalar, Device> objective_;
  // What the heads read, and what they make of it
  Buffer<Scalar> images_, region_features_, global_feature_, cls_, pieces_, word_features_, projected_words_;
  Buffer<Scalar> image_, text_, regions_, words_;
  Buffer<Scalar> d_image_, d_text_, d_regions_, d_words_;
  BatchView<const Scalar> text_view_;
};

}  // namespace vlp::pretrain
