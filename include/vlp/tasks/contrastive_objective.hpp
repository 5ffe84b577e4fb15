/// \file
/// The objective of contrastive pretraining: its terms, their options, and what they learn themselves. A new
/// term is written here and nowhere else: logs, progress, checks, plots, configuration and command line
/// derive from for_each_setting and terms().
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/local_alignment.hpp>
#include <vlp/losses/loss.hpp>
#include <vlp/losses/multi_scale.hpp>
#include <vlp/models/pair_features.hpp>
#include <vlp/tasks/detail/learned_scale.hpp>
#include <vlp/tasks/pair_targets.hpp>
#include <vlp/train/terms.hpp>

#include <array>
#include <cmath>
#include <cstddef>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

namespace vlp::tasks {

/// Options of ContrastiveObjective.
struct ContrastiveObjectiveOptions {
  double alpha = 1;  ///< weight of local alignment; 0 skips its work
  double beta = 1;   ///< weight of perturbation sensitivity; 0 skips its work
  /// Makes perturbed reports negatives of every image in the global term (MultiScaleOptions); with alpha and
  /// beta of 0 that is NegCLIP.
  bool perturbed_as_negatives = false;
};

/// Calls `visit(name, field, help)` for each option.
template <class Options, class Visit>
requires std::is_same_v<std::remove_const_t<Options>, ContrastiveObjectiveOptions>
void for_each_setting(Options& o, Visit&& visit) {
  visit("alpha", o.alpha, "weight of the local alignment loss; 0 skips it");
  visit("beta", o.beta, "weight of the perturbation loss; 0 skips it");
  visit("perturbed-as-negatives", o.perturbed_as_negatives,
        "make perturbed reports negatives of every image of the batch in the global loss; with --alpha 0 "
        "--beta 0 that is NegCLIP");
}

/// Throws std::invalid_argument, naming the setting and its value, for one that is out of range.
inline void validate(const ContrastiveObjectiveOptions& o) {
  for (const auto& [name, value] : {std::pair{"alpha", o.alpha}, {"beta", o.beta}})
    require(std::isfinite(value) && value >= 0, name, " must be 0 or a positive number, but is ", value);
}

/// L = L_global + alpha L_local + beta L_perturbation (see MultiScale) with two learned scales, which start
/// at 1 / 0.07 and are kept at or below 100, as in CLIP.
template <class Scalar, class Device = Cpu>
class ContrastiveObjective {
 public:
  using Features = models::PairFeatures<const Scalar>;
  using FeatureGradients = models::PairFeatures<Scalar>;

  /// `duplicates`: see PairOptions.
  explicit ContrastiveObjective(const ContrastiveObjectiveOptions& options,
                                DuplicatePolicy duplicates = DuplicatePolicy::ignore)
      : options_(options),
        duplicates_(duplicates),
        log_scale_(initial_temperature),
        perturbation_log_scale_(initial_temperature),
        loss_(loss_options()) {}

  [[nodiscard]] bool needs_regions() const { return options_.alpha > 0; }
  [[nodiscard]] bool needs_perturbations() const {
    return has_perturbation_term() || options_.perturbed_as_negatives;
  }

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    log_scale_.for_each_parameter(join_names(prefix, "log_scale"), visit);
    if (has_perturbation_term())
      perturbation_log_scale_.for_each_parameter(join_names(prefix, "perturbation_log_scale"), visit);
  }

  /// Names and weights of the terms, with values of 0. Local alignment has a chance level where it is at
  /// work.
  [[nodiscard]] train::Terms terms() const {
    train::Terms terms{0, {{"global", 1}, {"local", options_.alpha}, {"perturbation", options_.beta}}};
    if (needs_regions()) terms.terms[local].chance = 0;
    return terms;
  }

  [[nodiscard]] std::vector<train::Reading> readings(Device& device) const {
    return {{"log_scale", log_scale_.read(device)}};
  }

  /// Keeps the scales in their bounds; to be called after each update of the parameters.
  void constrain(Device& device) {
    log_scale_.constrain(device);
    if (has_perturbation_term()) perturbation_log_scale_.constrain(device);
  }

  /// The terms for the features of a batch. `attention` [B, W, R] in device memory, if given, receives that
  /// of each report's words over its own image's regions.
  train::Terms forward(Device& device, const Features& features, const PairTargets& targets,
                       BatchView<Scalar> attention = {}) {
    Accumulator* values = values_.resize(4);
    loss_.forward(device, inputs(features, targets),
                  {.loss = values,
                   .global = values + 1,
                   .local = values + 2,
                   .perturbation = values + 3,
                   .attention = attention});
    std::array<Accumulator, 4> host{};
    download(device, static_cast<const Accumulator*>(values), std::span(host));
    train::Terms terms = this->terms();
    terms.total = static_cast<double>(host[0]);
    for (std::size_t i = 0; i < terms.terms.size(); ++i)
      terms.terms[i].value = static_cast<double>(host[i + 1]);
    if (needs_regions())
      terms.terms[local].chance =
          LocalAlignmentInterface<Scalar>::chance_level(loss_options().local, features.image.rows());
    return terms;
  }

  /// Writes the gradients by the features of the last forward, and adds those by the scales to their
  /// parameters.
  void backward(Device& device, const Features& features, const PairTargets& targets,
                const FeatureGradients& d_features) {
    Accumulator* d_scales = d_scales_.resize(2);
    loss_.backward(device, inputs(features, targets), 1,
                   {.image = d_features.image,
                    .text = d_features.text,
                    .log_scale = d_scales,
                    .perturbation_log_scale = d_scales + 1,
                    .regions = d_features.regions,
                    .words = d_features.words});
    log_scale_.add_gradient(device, d_scales);
    if (has_perturbation_term()) perturbation_log_scale_.add_gradient(device, d_scales + 1);
  }

 private:
  using Loss = MultiScale<Scalar, Device>;
  using Accumulator = typename Loss::Accumulator;
  static_assert(std::is_same_v<Accumulator, Scalar>, "scales are learned in the type of the losses' values");

  static constexpr double initial_temperature = 0.07;
  static constexpr std::size_t local = 1;  // among the terms

  [[nodiscard]] MultiScaleOptions loss_options() const {
    MultiScaleOptions out;
    out.alpha = options_.alpha;
    out.beta = options_.beta;
    out.perturbed_as_negatives = options_.perturbed_as_negatives;
    out.global.duplicate_policy = out.local.duplicate_policy = duplicates_;
    return out;
  }

  /// The term that has a scale of its own; perturbed reports may serve the global term alone.
  [[nodiscard]] bool has_perturbation_term() const { return options_.beta > 0; }

  [[nodiscard]] typename Loss::Inputs inputs(const Features& features, const PairTargets& targets) const {
    typename Loss::Inputs in;
    in.image = features.image;
    in.text = features.text;
    in.valid = targets.valid;
    in.group = targets.group;
    in.log_scale = log_scale_.log();
    if (has_perturbation_term()) in.perturbation_log_scale = perturbation_log_scale_.log();
    if (!needs_regions()) return in;
    in.regions = features.regions;
    in.words = features.words;
    in.word_count = targets.word_count;
    in.word_capacity = targets.word_capacity;
    return in;
  }

  ContrastiveObjectiveOptions options_;
  DuplicatePolicy duplicates_;
  detail::LearnedScale<Scalar, Device> log_scale_, perturbation_log_scale_;
  Loss loss_;
  typename Device::template Buffer<Accumulator> values_, d_scales_;
};

}  // namespace vlp::tasks
