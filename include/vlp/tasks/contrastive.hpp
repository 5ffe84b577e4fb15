/// \file
/// Contrastive pretraining on pairs of a radiograph and its report.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/view.hpp>
#include <vlp/data/dataset.hpp>
#include <vlp/data/pair_batch.hpp>
#include <vlp/models/dual_encoder.hpp>
#include <vlp/tasks/contrastive_objective.hpp>
#include <vlp/tasks/detail/batch_embedding.hpp>
#include <vlp/tasks/detail/not_finite.hpp>
#include <vlp/tasks/detail/pair_feed.hpp>
#include <vlp/tasks/pair_options.hpp>
#include <vlp/text/vocabulary.hpp>
#include <vlp/text/word_piece.hpp>
#include <vlp/train/task.hpp>
#include <vlp/train/terms.hpp>
#include <vlp/train/times.hpp>

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace vlp::tasks {

/// Options of Contrastive.
struct ContrastiveOptions {
  PairOptions pairs;
  ContrastiveObjectiveOptions objective;
};

/// Calls `visit(name, field, help)` for each option.
template <class Options, class Visit>
requires std::is_same_v<std::remove_const_t<Options>, ContrastiveOptions>
void for_each_setting(Options& o, Visit&& visit) {
  for_each_setting(o.pairs, visit);
  for_each_setting(o.objective, visit);
}

/// Throws std::invalid_argument, naming the setting and its value, for one that is out of range.
inline void validate(const ContrastiveOptions& o) {
  validate(o.pairs);
  validate(o.objective);
}

/// Contrastive pretraining of a DualEncoder by a ContrastiveObjective, as a train::Task. Batches are pairs of
/// the dataset in an order drawn anew for each epoch; a last batch that would be incomplete is left out.
template <class ScalarType = float, class DeviceType = Cpu>
class Contrastive {
 public:
  using Scalar = ScalarType;
  using Device = DeviceType;
  using Batch = data::PairBatch;
  using Model = models::DualEncoder<Scalar, Device>;
  using Objective = ContrastiveObjective<Scalar, Device>;
  using Features = models::PairFeatures<const Scalar>;

  /// `dataset` must outlive this. Throws std::invalid_argument for an option out of range, or a dataset with
  /// images of another size.
  Contrastive(Device& device, const ContrastiveOptions& options, const data::Dataset& dataset,
              text::Vocabulary vocabulary)
      : options_(checked(options)),
        objective_(options.objective, options.pairs.duplicates),
        // A weight of 0 skips the work of the perturbed texts altogether.
        feed_({.task = "Contrastive", .with_perturbations = objective_.needs_perturbations()}, options.pairs,
              dataset, std::move(vocabulary)),
        model_(options.pairs.model,
               {.image_size = options.pairs.image_size,
                .vocabulary = feed_.vocabulary_size(),
                .longest_text = batch_options().max_pieces(),
                .with_regions = objective_.needs_regions()},
               options.pairs.seed),
        parameters_(device, *this),
        embedding_(options.pairs.image_size, options.pairs.micro_batch) {}
  Contrastive(const Contrastive&) = delete;  // parameters_ points into it
  Contrastive& operator=(const Contrastive&) = delete;

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    model_.for_each_parameter(prefix, visit);
    objective_.for_each_parameter(prefix, visit);
  }

  [[nodiscard]] const ContrastiveOptions& options() const { return options_; }
  [[nodiscard]] const data::Dataset& dataset() const { return feed_.dataset(); }
  [[nodiscard]] const text::WordPiece& word_piece() const { return feed_.word_piece(); }
  [[nodiscard]] const Model& model() const { return model_; }
  /// Learned numbers in all.
  [[nodiscard]] Index size() const { return parameters_.size(); }
  /// How batches of this task are made of examples.
  [[nodiscard]] data::PairBatchOptions batch_options() const { return feed_.batch_options(); }

  // Members that a train::Task owes.
  [[nodiscard]] Index examples_per_step() const { return feed_.batch_size(); }
  [[nodiscard]] Index steps_per_epoch() const { return feed_.steps_per_epoch(); }
  [[nodiscard]] train::Terms terms() const { return objective_.terms(); }
  [[nodiscard]] std::vector<train::Reading> readings(Device& device) const {
    return objective_.readings(device);
  }
  [[nodiscard]] const ParameterList<Scalar, Device>& parameters() const { return parameters_.list(); }
  [[nodiscard]] const ParameterList<Scalar, Device>& trained() const { return parameters_.list(); }
  [[nodiscard]] VectorView<Scalar> gradients() const { return parameters_.gradients(); }
  [[nodiscard]] train::Times& times() { return times_; }
  void constrain(Device& device) { objective_.constrain(device); }

  [[nodiscard]] Batch make_batch(Index step) { return feed_.make_batch(step); }

  train::Terms step(Device& device, const Batch& batch) {
    {
      const auto stopwatch = times_.measure(encoders);
      embed(device, batch);
    }
    train::Terms terms;
    {
      const auto stopwatch = times_.measure(losses);
      terms = evaluate_objective(device);
      objective_.backward(device, embedding_.features(), embedding_.targets(),
                          embedding_.feature_gradients());
    }
    const auto stopwatch = times_.measure(encoders);
    embedding_.backward(device, model_, batch);
    return terms;
  }

  train::Terms held_out(Device& device) {
    train::Terms sum = terms();
    const auto all = static_cast<double>(dataset().held_out.size());
    Index pairs = 0;
    feed_.for_each_held_out_batch([&](const Batch& batch) {
      embed(device, batch);
      add_weighted(sum, evaluate_objective(device), static_cast<double>(batch.pairs) / all);
      pairs += batch.pairs;
    });
    if (pairs == static_cast<Index>(dataset().held_out.size())) return sum;
    train::Terms mean = terms();  // over the pairs whose images could be read
    add_weighted(mean, sum, all / static_cast<double>(pairs));
    return mean;
  }

  /// The rows of the batch of the last step whose embeddings are not finite: "0 (image of a.png), ...".
  [[nodiscard]] std::string describe(Device& device, const Batch& batch) {
    const Features features = embedding_.features();
    const std::array parts{detail::not_finite(device, "image", features.image, batch.pairs),
                           detail::not_finite(device, "text", features.text, batch.pairs)};
    return detail::describe_rows(batch, dataset().train, parts);
  }

  // Members that evaluation uses.

  /// The features of a batch, in device memory until the next call that embeds.
  Features embed(Device& device, const Batch& batch) {
    embedding_.forward(device, model_, batch);
    return embedding_.features();
  }

  /// The terms for the last embed(); `attention` [B, W, R] in device memory, if given, receives that of each
  /// report's words over its own image's regions.
  train::Terms evaluate_objective(Device& device, BatchView<Scalar> attention = {}) {
    return objective_.forward(device, embedding_.features(), embedding_.targets(), attention);
  }

  /// Tells whether words of the reports are aligned with regions.
  [[nodiscard]] bool aligns_words() const { return objective_.needs_regions(); }

  /// Calls `visit(batch)` for batches over all `examples` of the dataset; see PairFeed.
  template <class Visit>
  void for_each_batch(data::PairBatchMaker& maker, std::span<const data::Example> examples, Visit&& visit) {
    feed_.for_each_batch(maker, examples, visit);
  }

 private:
  static constexpr std::string_view encoders = "encoders, forward and backward";
  static constexpr std::string_view losses = "losses, forward and backward";

  static const ContrastiveOptions& checked(const ContrastiveOptions& options) {
    validate(options);
    return options;
  }

  ContrastiveOptions options_;
  Objective objective_;
  detail::PairFeed feed_;
  Model model_;
  Parameters<Scalar, Device> parameters_;
  detail::BatchEmbedding<Scalar, Device> embedding_;
  train::Times times_;
};

}  // namespace vlp::tasks
