/// \file
/// The terms of hybrid pretraining that align images with texts.
#pragma once

#include <vlp/core/device.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/info_nce.hpp>
#include <vlp/losses/local_alignment.hpp>
#include <vlp/losses/loss.hpp>
#include <vlp/losses/perturbation_sensitivity.hpp>
#include <vlp/losses/token_alignment.hpp>
#include <vlp/models/pair_features.hpp>
#include <vlp/tasks/detail/learned_scale.hpp>
#include <vlp/tasks/hybrid_options.hpp>
#include <vlp/tasks/pair_targets.hpp>
#include <vlp/train/terms.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

namespace vlp::tasks::detail {

/// lambda_global L_CG + lambda_token L_CL + lambda_perturbation L_pert over the features of a batch of pairs:
/// InfoNce of images and impressions, each pair's first text; TokenAlignment or LocalAlignment of regions and
/// the words of the findings; PerturbationSensitivity of images, impressions and their perturbations. The
/// first and the last have a learned scale each. A term of weight 0 has no work and no scale.
template <class Scalar, class Device>
class AlignmentObjective {
 public:
  using Features = models::PairFeatures<const Scalar>;
  using FeatureGradients = models::PairFeatures<Scalar>;
  /// Values of the terms before their weights; 0 where the weight is.
  struct Values {
    double global = 0, token = 0, perturbation = 0;
  };

  AlignmentObjective(const HybridObjectiveOptions& options, DuplicatePolicy duplicates)
      : options_(options),
        log_scale_(options.temperature),
        perturbation_log_scale_(options.temperature),
        global_(InfoNceOptions{.duplicate_policy = duplicates}),
        tokens_({.attention_temperature = options.token_temperature,
                 .contrast_temperature = options.token_temperature}),
        local_(LocalAlignmentOptions{.duplicate_policy = duplicates}) {}

  [[nodiscard]] bool has_global() const { return options_.lambda_global > 0; }
  [[nodiscard]] bool has_token() const { return options_.lambda_token > 0; }
  [[nodiscard]] bool has_perturbation() const { return options_.lambda_perturbation > 0; }

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    if (has_global()) log_scale_.for_each_parameter(join_names(prefix, "log_scale"), visit);
    if (has_perturbation())
      perturbation_log_scale_.for_each_parameter(join_names(prefix, "perturbation_log_scale"), visit);
  }

  [[nodiscard]] std::vector<train::Reading> readings(Device& device) const {
    std::vector<train::Reading> out;
    if (has_global()) out.push_back({"log_scale", log_scale_.read(device)});
    if (has_perturbation()) out.push_back({"perturbation_log_scale", perturbation_log_scale_.read(device)});
    return out;
  }

  /// Keeps the scales in their bounds; to be called after each update of the parameters.
  void constrain(Device& device) {
    if (has_global()) log_scale_.constrain(device);
    if (has_perturbation()) perturbation_log_scale_.constrain(device);
  }

  /// The value of the token term for a model that tells no words or no pairs apart, for reports with so many
  /// words, on the host.
  [[nodiscard]] double token_chance(std::span<const std::int64_t> word_count) const {
    const auto pairs = static_cast<Index>(word_count.size());
    if (aligns_locally()) return LocalAlignmentInterface<Scalar>::chance_level(local_.options(), pairs);
    double sum = 0;
    for (const std::int64_t words : word_count) sum += std::log(static_cast<double>(words));
    return sum / static_cast<double>(pairs);
  }

  /// The values for the features of a batch. `attention` [B, W, R] in device memory, if given, receives that
  /// of each findings' words over its own image's regions where there is a token term.
  Values forward(Device& device, const Features& features, const PairTargets& targets,
                 BatchView<Scalar> attention = {}) {
    Accumulator* const values = values_.resize(3);
    fill(device, values, 3, Accumulator(0));
    if (has_global()) global_.forward(device, global_inputs(features, targets), {values});
    if (has_token() && aligns_locally())
      local_.forward(device, local_inputs(features, targets), {.loss = values + 1, .attention = attention});
    else if (has_token())
      tokens_.forward(device, token_inputs(features, targets), {.loss = values + 1, .attention = attention});
    if (has_perturbation())
      perturbation_.forward(device, perturbation_inputs(features, targets), {values + 2});
    std::array<Accumulator, 3> host{};
    download(device, static_cast<const Accumulator*>(values), std::span(host));
    return {static_cast<double>(host[0]), static_cast<double>(host[1]), static_cast<double>(host[2])};
  }

  /// Writes the gradients by the features of the last forward, and adds those by the scales to their
  /// parameters.
  void backward(Device& device, const Features& features, const PairTargets& targets,
                const FeatureGradients& d_features) {
    if (has_token() && aligns_locally())
      local_.backward(device, local_inputs(features, targets), upstream(options_.lambda_token),
                      {d_features.regions, d_features.words});
    else if (has_token())
      tokens_.backward(device, token_inputs(features, targets), upstream(options_.lambda_token),
                       {d_features.regions, d_features.words});
    // Both others are added to zeros: each reads some of the texts, and none may read all.
    fill(device, d_features.image.data(), d_features.image.size(), Scalar(0));
    fill(device, d_features.text.data(), d_features.text.size(), Scalar(0));
    if (has_global())
      global_.backward(device, global_inputs(features, targets), upstream(options_.lambda_global),
                       {d_features.image, impressions(d_features.text), log_scale_.gradient(), Into::add});
    if (has_perturbation())
      perturbation_.backward(device, perturbation_inputs(features, targets),
                             upstream(options_.lambda_perturbation),
                             {d_features.image, candidates(d_features.text, targets),
                              perturbation_log_scale_.gradient(), Into::add});
  }

 private:
  using Accumulator = typename InfoNce<Scalar, Device>::Accumulator;
  static_assert(std::is_same_v<Accumulator, Scalar>, "scales are learned in the type of the losses' values");

  [[nodiscard]] bool aligns_locally() const { return options_.token_loss == TokenLoss::local_alignment; }

  static Accumulator upstream(double weight) { return static_cast<Accumulator>(weight); }

  /// The first text of each pair.
  template <class T>
  static MatrixView<T> impressions(const BatchView<T>& text) {
    return {text.data(), {text.extent(0), text.extent(2)}, {text.stride(0), 1}};
  }
  /// The first text of each pair and its perturbations, without the findings.
  template <class T>
  static BatchView<T> candidates(const BatchView<T>& text, const PairTargets& targets) {
    return {text.data(), {text.extent(0), targets.valid.cols(), text.extent(2)}, text.strides()};
  }

  [[nodiscard]] auto global_inputs(const Features& features, const PairTargets& targets) const {
    typename InfoNce<Scalar, Device>::Inputs in;
    in.image = features.image;
    in.text = impressions(features.text);
    in.log_scale = log_scale_.log();
    in.group = targets.group;
    return in;
  }
  [[nodiscard]] auto perturbation_inputs(const Features& features, const PairTargets& targets) const {
    return typename PerturbationSensitivity<Scalar, Device>::Inputs{
        features.image, candidates(features.text, targets), perturbation_log_scale_.log(), targets.valid};
  }
  [[nodiscard]] auto token_inputs(const Features& features, const PairTargets& targets) const {
    return
        typename TokenAlignment<Scalar, Device>::Inputs{features.regions, features.words, targets.word_count};
  }
  [[nodiscard]] auto local_inputs(const Features& features, const PairTargets& targets) const {
    typename LocalAlignment<Scalar, Device>::Inputs in;
    in.regions = features.regions;
    in.words = features.words;
    in.word_count = targets.word_count;
    in.group = targets.group;
    in.word_capacity = targets.word_capacity;
    return in;
  }

  HybridObjectiveOptions options_;
  LearnedScale<Scalar, Device> log_scale_, perturbation_log_scale_;
  InfoNce<Scalar, Device> global_;
  TokenAlignment<Scalar, Device> tokens_;
  LocalAlignment<Scalar, Device> local_;
  PerturbationSensitivity<Scalar, Device> perturbation_;
  typename Device::template Buffer<Accumulator> values_;
};

}  // namespace vlp::tasks::detail
