/// \file
/// The second stage of hybrid pretraining: alignment, captioning and distillation.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/view.hpp>
#include <vlp/data/dataset.hpp>
#include <vlp/data/example.hpp>
#include <vlp/data/pair_batch.hpp>
#include <vlp/io/file.hpp>
#include <vlp/models/dual_encoder.hpp>
#include <vlp/models/pair_features.hpp>
#include <vlp/models/report_decoder.hpp>
#include <vlp/models/summariser.hpp>
#include <vlp/tasks/detail/alignment_objective.hpp>
#include <vlp/tasks/detail/batch_embedding.hpp>
#include <vlp/tasks/detail/captioning.hpp>
#include <vlp/tasks/detail/not_finite.hpp>
#include <vlp/tasks/detail/pair_feed.hpp>
#include <vlp/tasks/detail/teacher.hpp>
#include <vlp/tasks/detail/writing_on_device.hpp>
#include <vlp/tasks/hybrid_options.hpp>
#include <vlp/text/vocabulary.hpp>
#include <vlp/text/word_piece.hpp>
#include <vlp/train/task.hpp>
#include <vlp/train/terms.hpp>
#include <vlp/train/times.hpp>

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::tasks {

/// Hybrid pretraining of a DualEncoder and of a decoder that writes impressions from the regions of images,
/// as a train::Task: the second stage of HybridOptions, in which a Summariser of the first is the teacher. In
/// its data Example::report is the impression and Example::findings the findings. Batches are those of
/// PairFeed.
///
/// Parameters are those of the DualEncoder under its usual names, `decoder.*` with the branch "caption", and
/// the scales of the contrasts. The text encoder, and all of the decoder except its attention to the image,
/// start from the teacher's values. The teacher is not among the parameters and is never changed.
///
/// Parameters that no term reaches keep a gradient of 0: the text encoder where neither lambda_global,
/// lambda_token nor lambda_perturbation is above 0, and the heads of the global features where lambda_global
/// and lambda_perturbation are both 0.
template <class ScalarType = float, class DeviceType = Cpu>
class Hybrid {
 public:
  using Scalar = ScalarType;
  using Device = DeviceType;
  using Batch = data::PairBatch;
  using Model = models::DualEncoder<Scalar, Device>;
  using Decoder = models::ReportDecoder<Scalar, Device>;
  using Features = models::PairFeatures<const Scalar>;

  /// `dataset` must outlive this. `summariser` is a file of the first stage, such as its best.safetensors; an
  /// empty path stands for fresh weights and no teacher, with a lambda_distillation of 0. Throws
  /// std::invalid_argument for an option out of range, options that need a summariser without one, or a
  /// dataset with images of another size or of which an example has no findings; std::runtime_error, naming
  /// the file, where the summariser cannot be read or is another model.
  Hybrid(Device& device, const HybridOptions& options, const data::Dataset& dataset,
         text::Vocabulary vocabulary, const io::Path& summariser)
      : options_(checked(options, summariser)),
        objective_(options.objective, options.pairs.duplicates),
        feed_({.task = "Hybrid", .with_findings = true, .with_perturbations = objective_.has_perturbation()},
              options.pairs, dataset, std::move(vocabulary)),
        model_(options.pairs.model,
               {.image_size = options.pairs.image_size,
                .vocabulary = feed_.vocabulary_size(),
                .longest_text = batch_options().max_pieces(),
                .with_regions = objective_.has_token(),
                .with_encoder_features = writes()},
               options.pairs.seed),
        decoder_(make_decoder()),
        parameters_(device, *this),
        trained_(trained_of(options.objective, parameters_.list())),
        embedding_(options.pairs.image_size, options.pairs.micro_batch) {
    if (!summariser.empty()) {
      teacher_.emplace(device, options.pairs.model, decoder_shape(), summariser);
      teacher_->copy_to(device, parameters_.list());
      if (options.objective.lambda_distillation == 0) teacher_.reset();
    }
    if (decoder_) captioning_.emplace(options.objective, *decoder_, teacher_ ? &*teacher_ : nullptr);
  }
  Hybrid(const Hybrid&) = delete;  // parameters_ points into it
  Hybrid& operator=(const Hybrid&) = delete;

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    model_.for_each_parameter(prefix, visit);
    if (decoder_) decoder_->for_each_parameter(join_names(prefix, "decoder"), visit);
    objective_.for_each_parameter(prefix, visit);
  }

  [[nodiscard]] const HybridOptions& options() const { return options_; }
  [[nodiscard]] const data::Dataset& dataset() const { return feed_.dataset(); }
  [[nodiscard]] const text::WordPiece& word_piece() const { return feed_.word_piece(); }
  [[nodiscard]] Model& model() { return model_; }
  /// Tells whether there is a decoder: with lambda_caption and lambda_distillation of 0 there is none.
  [[nodiscard]] bool writes() const {
    return options_.objective.lambda_caption > 0 || options_.objective.lambda_distillation > 0;
  }
  /// The decoder, whose only branch attends to DualEncoder::encoder_features().regions.
  [[nodiscard]] Decoder& decoder() {
    require(decoder_.has_value(),
            "Hybrid: there is no decoder with a lambda-caption and lambda-distillation of 0");
    return *decoder_;
  }
  /// The teacher's parameters, or null without one.
  [[nodiscard]] const Parameters<Scalar, Device>* teacher() const {
    return teacher_ ? &teacher_->parameters() : nullptr;
  }
  /// Learned numbers in all.
  [[nodiscard]] Index size() const { return parameters_.size(); }
  /// How batches of this task are made of examples.
  [[nodiscard]] data::PairBatchOptions batch_options() const { return feed_.batch_options(); }

  // Members that a train::Task owes.
  [[nodiscard]] Index examples_per_step() const { return feed_.batch_size(); }
  [[nodiscard]] Index steps_per_epoch() const { return feed_.steps_per_epoch(); }
  /// Names and weights of the terms, with values of 0. The token term has a chance level where it is at work.
  [[nodiscard]] train::Terms terms() const {
    const HybridObjectiveOptions& o = options_.objective;
    train::Terms terms{0,
                       {{"global", o.lambda_global},
                        {"token", o.lambda_token},
                        {"caption", o.lambda_caption},
                        {"distillation", o.lambda_distillation},
                        {"perturbation", o.lambda_perturbation}}};
    if (objective_.has_token()) terms.terms[token].chance = 0;
    return terms;
  }
  [[nodiscard]] std::vector<train::Reading> readings(Device& device) const {
    return objective_.readings(device);
  }
  [[nodiscard]] const ParameterList<Scalar, Device>& parameters() const { return parameters_.list(); }
  [[nodiscard]] const ParameterList<Scalar, Device>& trained() const { return trained_; }
  [[nodiscard]] VectorView<Scalar> gradients() const { return parameters_.gradients(); }
  [[nodiscard]] train::Times& times() { return times_; }
  void constrain(Device& device) { objective_.constrain(device); }

  [[nodiscard]] Batch make_batch(Index step) { return feed_.make_batch(step); }

  train::Terms step(Device& device, const Batch& batch) {
    {
      const auto stopwatch = times_.measure(networks);
      begin(device, batch);
      embedding_.forward(device, model_, batch);
    }
    typename Alignment::Values alignment;
    {
      const auto stopwatch = times_.measure(losses);
      alignment = objective_.forward(device, embedding_.features(), embedding_.targets());
      objective_.backward(device, embedding_.features(), embedding_.targets(),
                          embedding_.feature_gradients());
    }
    const auto stopwatch = times_.measure(networks);
    embedding_.backward(device, model_, batch, [&](const auto& part, const auto& in) {
      return captioning_ ? captioning_->forward_backward(device, part, model_.encoder_features(in))
                         : models::EncoderFeatures<const Scalar>();
    });
    return terms_of(device, alignment);
  }

  /// Means over the held-out pairs whose images can be read; those of captions over all their tokens.
  train::Terms held_out(Device& device) {
    train::Terms sum = terms();
    double pairs = 0, tokens = 0;
    feed_.for_each_held_out_batch([&](const Batch& batch) {
      embed(device, batch);
      const train::Terms terms = evaluate_objective(device);
      const std::array<double, 2> counts{static_cast<double>(batch.pairs),
                                         static_cast<double>(detail::written_tokens(batch))};
      for (std::size_t i = 0; i < terms.terms.size(); ++i) {
        sum.terms[i].value += counts[is_of_tokens(i)] * terms.terms[i].value;
        if (terms.terms[i].chance) *sum.terms[i].chance += counts[is_of_tokens(i)] * *terms.terms[i].chance;
      }
      pairs += counts[0];
      tokens += counts[1];
    });
    for (std::size_t i = 0; i < sum.terms.size(); ++i) {
      const double count = is_of_tokens(i) ? tokens : pairs;
      sum.terms[i].value /= count;
      if (sum.terms[i].chance) *sum.terms[i].chance /= count;
    }
    return with_total(std::move(sum));
  }

  /// The rows of the batch of the last step whose embeddings are not finite: "0 (image of a.png), ...". A
  /// pair's text is its impression, perturbations and findings.
  [[nodiscard]] std::string describe(Device& device, const Batch& batch) {
    const Features features = embedding_.features();
    const std::array parts{detail::not_finite(device, "image", features.image, batch.pairs),
                           detail::not_finite(device, "text", features.text, batch.pairs)};
    return detail::describe_rows(batch, dataset().train, parts);
  }

  // Members that evaluation uses.

  /// The features of a batch, in device memory until the next call that embeds.
  Features embed(Device& device, const Batch& batch) {
    begin(device, batch);
    embedding_.forward(device, model_, batch, [&](const auto& part, const auto& in) {
      if (captioning_) captioning_->forward(device, part, model_.encoder_features(in));
    });
    return embedding_.features();
  }

  /// The terms for the last embed(); `attention` [B, W, R] in device memory, if given, receives that of the
  /// words of each pair's findings over its own image's regions.
  train::Terms evaluate_objective(Device& device, BatchView<Scalar> attention = {}) {
    return terms_of(device,
                    objective_.forward(device, embedding_.features(), embedding_.targets(), attention));
  }

  /// Tells whether words of the findings are aligned with regions.
  [[nodiscard]] bool aligns_words() const { return objective_.has_token(); }

  /// Calls `visit(batch)` for batches over all `examples` of the dataset; see PairFeed.
  template <class Visit>
  void for_each_batch(data::PairBatchMaker& maker, std::span<const data::Example> examples, Visit&& visit) {
    feed_.for_each_batch(maker, examples, visit);
  }

 private:
  using Alignment = detail::AlignmentObjective<Scalar, Device>;

  static constexpr std::string_view networks = "encoders and decoder, forward and backward";
  static constexpr std::string_view losses = "alignment losses, forward and backward";
  static constexpr std::size_t token = 1, caption = 2, distillation = 3;  // among the terms

  static bool is_of_tokens(std::size_t term) { return term == caption || term == distillation; }

  static const HybridOptions& checked(const HybridOptions& options, const io::Path& summariser) {
    validate(options);
    const HybridObjectiveOptions& o = options.objective;
    require(o.lambda_global > 0 || o.lambda_token > 0 || o.lambda_caption > 0 || o.lambda_distillation > 0 ||
                o.lambda_perturbation > 0,
            "Hybrid: all weights of the second stage are 0, so that there is nothing to learn");
    require(o.lambda_perturbation == 0 || !options.pairs.perturbations.empty(),
            "Hybrid: lambda-perturbation is ", o.lambda_perturbation, ", but there are no perturbations");
    require(o.lambda_distillation == 0 || !summariser.empty(), "Hybrid: lambda-distillation is ",
            o.lambda_distillation, ", but there is no summariser to learn from");
    require(o.shared_weights == SharedWeights::trained || !summariser.empty(),
            "Hybrid: shared-weights is frozen, but there is no summariser whose weights they would keep");
    return options;
  }

  [[nodiscard]] models::DecoderShape decoder_shape() const {
    return {.blocks = options_.objective.decoder_blocks,
            .tied_output = options_.objective.tied_output,
            .vocabulary = feed_.vocabulary_size(),
            .longest_text = batch_options().max_pieces()};
  }

  [[nodiscard]] std::optional<Decoder> make_decoder() const {
    if (!writes()) return {};
    return std::optional<Decoder>(
        std::in_place, models::report_decoder_options(options_.pairs.model, decoder_shape(), "caption"),
        models::decoder_weights(options_.pairs.seed));
  }

  /// All parameters, or those without the decoder's shared weights where these are frozen.
  static ParameterList<Scalar, Device> trained_of(const HybridObjectiveOptions& options,
                                                  const ParameterList<Scalar, Device>& all) {
    ParameterList<Scalar, Device> trained;
    for (const auto& named : all)
      if (options.shared_weights == SharedWeights::trained || !is_shared_by_branches(named.name))
        trained.push_back(named);
    return trained;
  }

  /// Begins a batch, before it is embedded.
  void begin(Device& device, const Batch& batch) {
    if (captioning_) captioning_->begin(device, batch);
    if (objective_.has_token()) token_chance_ = objective_.token_chance(batch.word_count);
  }

  /// The terms of the batch whose captions were written last.
  [[nodiscard]] train::Terms terms_of(Device& device, const typename Alignment::Values& alignment) const {
    const auto written =
        captioning_ ? captioning_->values(device) : typename detail::TokenObjective<Scalar, Device>::Values();
    const std::array values{alignment.global, alignment.token, written.cross_entropy, written.distillation,
                            alignment.perturbation};
    train::Terms terms = this->terms();
    for (std::size_t i = 0; i < values.size(); ++i) terms.terms[i].value = values[i];
    if (objective_.has_token()) terms.terms[token].chance = token_chance_;
    return with_total(std::move(terms));
  }

  static train::Terms with_total(train::Terms terms) {
    terms.total = 0;
    for (const train::Term& term : terms.terms) terms.total += term.weight * term.value;
    return terms;
  }

  HybridOptions options_;
  Alignment objective_;
  detail::PairFeed feed_;
  Model model_;
  std::optional<Decoder> decoder_;
  Parameters<Scalar, Device> parameters_;
  ParameterList<Scalar, Device> trained_;
  detail::BatchEmbedding<Scalar, Device> embedding_;
  std::optional<detail::Teacher<Scalar, Device>> teacher_;
  std::optional<detail::Captioning<Scalar, Device>> captioning_;
  double token_chance_ = 0;  // of the batch that was embedded last
  train::Times times_;
};

}  // namespace vlp::tasks
