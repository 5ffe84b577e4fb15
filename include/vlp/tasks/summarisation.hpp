/// \file
/// The first stage of hybrid pretraining: impressions are written from findings.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/view.hpp>
#include <vlp/data/dataset.hpp>
#include <vlp/data/example.hpp>
#include <vlp/data/pair_batch.hpp>
#include <vlp/models/summariser.hpp>
#include <vlp/tasks/detail/micro_batches.hpp>
#include <vlp/tasks/detail/not_finite.hpp>
#include <vlp/tasks/detail/pair_feed.hpp>
#include <vlp/tasks/detail/token_objective.hpp>
#include <vlp/tasks/detail/writing_on_device.hpp>
#include <vlp/tasks/hybrid_options.hpp>
#include <vlp/text/vocabulary.hpp>
#include <vlp/text/word_piece.hpp>
#include <vlp/train/task.hpp>
#include <vlp/train/terms.hpp>
#include <vlp/train/times.hpp>

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::tasks {

/// Pretraining of a Summariser by the cross-entropy of each impression (Example::report) given its findings
/// (Example::findings), as a train::Task: the first stage of HybridOptions, whose file Hybrid begins with. No
/// image is read and no perturbation made. Batches are those of PairFeed.
template <class ScalarType = float, class DeviceType = Cpu>
class Summarisation {
 public:
  using Scalar = ScalarType;
  using Device = DeviceType;
  using Batch = data::PairBatch;
  using Model = models::Summariser<Scalar, Device>;

  /// `dataset` must outlive this. Throws std::invalid_argument for an option out of range, a lambda_summary
  /// of 0, or a dataset of which an example has no findings.
  Summarisation(Device& device, const HybridOptions& options, const data::Dataset& dataset,
                text::Vocabulary vocabulary)
      : options_(checked(options)),
        feed_({.task = "Summarisation",
               .with_images = false,
               .with_findings = true,
               .with_perturbations = false},
              options.pairs, dataset, std::move(vocabulary)),
        model_(options.pairs.model,
               {.blocks = options.objective.decoder_blocks,
                .tied_output = options.objective.tied_output,
                .vocabulary = feed_.vocabulary_size(),
                .longest_text = batch_options().max_pieces()},
               options.pairs.seed),
        parameters_(device, *this),
        objective_({.cross_entropy = options.objective.lambda_summary}) {}
  Summarisation(const Summarisation&) = delete;  // parameters_ points into it
  Summarisation& operator=(const Summarisation&) = delete;

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    model_.for_each_parameter(prefix, visit);
  }

  [[nodiscard]] const HybridOptions& options() const { return options_; }
  [[nodiscard]] const data::Dataset& dataset() const { return feed_.dataset(); }
  [[nodiscard]] const text::WordPiece& word_piece() const { return feed_.word_piece(); }
  [[nodiscard]] Model& model() { return model_; }
  /// Learned numbers in all.
  [[nodiscard]] Index size() const { return parameters_.size(); }
  /// How batches of this task are made of examples.
  [[nodiscard]] data::PairBatchOptions batch_options() const { return feed_.batch_options(); }
  /// Calls `visit(batch)` for batches over all `examples` of the dataset; see PairFeed.
  template <class Visit>
  void for_each_batch(data::PairBatchMaker& maker, std::span<const data::Example> examples, Visit&& visit) {
    feed_.for_each_batch(maker, examples, visit);
  }

  // Members that a train::Task owes.
  [[nodiscard]] Index examples_per_step() const { return feed_.batch_size(); }
  [[nodiscard]] Index steps_per_epoch() const { return feed_.steps_per_epoch(); }
  [[nodiscard]] train::Terms terms() const { return {0, {{"summary", options_.objective.lambda_summary}}}; }
  [[nodiscard]] std::vector<train::Reading> readings(Device&) const { return {}; }
  [[nodiscard]] const ParameterList<Scalar, Device>& parameters() const { return parameters_.list(); }
  [[nodiscard]] const ParameterList<Scalar, Device>& trained() const { return parameters_.list(); }
  [[nodiscard]] VectorView<Scalar> gradients() const { return parameters_.gradients(); }
  [[nodiscard]] train::Times& times() { return times_; }
  void constrain(Device&) {}

  [[nodiscard]] Batch make_batch(Index step) { return feed_.make_batch(step); }

  train::Terms step(Device& device, const Batch& batch) {
    const auto stopwatch = times_.measure("encoder, decoder and loss");
    objective_.begin(device, detail::written_tokens(batch));
    for_each_micro_batch(device, batch, [&](const Inputs& in, MatrixView<Scalar> hidden) {
      auto scope = device.scratch().scope();
      const auto d_hidden = scope.template take_view<Scalar>(hidden.rows(), hidden.cols());
      objective_.forward_backward(device, {&model_.decoder(), hidden}, writing_.targets(), {}, d_hidden);
      model_.backward(device, in, d_hidden);
    });
    return terms_of(objective_.values(device).cross_entropy);
  }

  /// The terms of a batch, without gradients.
  train::Terms evaluate_objective(Device& device, const Batch& batch) {
    objective_.begin(device, detail::written_tokens(batch));
    for_each_micro_batch(device, batch, [&](const Inputs&, MatrixView<Scalar> hidden) {
      objective_.forward(device, {&model_.decoder(), hidden}, writing_.targets());
    });
    return terms_of(objective_.values(device).cross_entropy);
  }

  /// Means over all tokens of the held-out impressions.
  train::Terms held_out(Device& device) {
    double sum = 0, tokens = 0;
    feed_.for_each_held_out_batch([&](const Batch& batch) {
      const auto of_batch = static_cast<double>(detail::written_tokens(batch));
      sum += of_batch * evaluate_objective(device, batch).terms.front().value;
      tokens += of_batch;
    });
    return terms_of(sum / tokens);
  }

  /// The rows of the batch whose impressions have features that are not finite: "0 (impression of a.png)".
  [[nodiscard]] std::string describe(Device& device, const Batch& batch) {
    detail::NotFinite impression{"impression", {}};
    for_each_micro_batch(device, batch, [&](const Inputs& in, MatrixView<Scalar> hidden) {
      const auto offsets = in.tokens.sequences().host_offsets();
      for (std::size_t s = 0; s + 1 < offsets.size(); ++s)
        impression.bad.push_back(
            detail::not_finite(device, "", hidden.slice(offsets[s], offsets[s + 1] - offsets[s]), 1)
                .bad.front());
    });
    return detail::describe_rows(batch, dataset().train, std::array{impression});
  }

 private:
  using Inputs = typename Model::Inputs;

  static const HybridOptions& checked(const HybridOptions& options) {
    validate(options);
    require(options.objective.lambda_summary > 0,
            "Summarisation: lambda-summary is 0, so that there is nothing to learn");
    return options;
  }

  [[nodiscard]] train::Terms terms_of(double value) const {
    train::Terms terms = this->terms();
    terms.terms.front().value = value;
    terms.total = terms.terms.front().weight * value;
    return terms;
  }

  /// Calls visit(inputs, hidden) after the model's forward pass of each micro-batch.
  template <class Visit>
  void for_each_micro_batch(Device& device, const Batch& batch, Visit&& visit) {
    const detail::MicroBatches parts(batch.pairs, options_.pairs.micro_batch);
    for (Index m = 0; m < parts.count(); ++m) {
      writing_.assign(device, data::part_of(batch, parts.first(m), parts.pairs(m)));
      const Inputs in{.findings = writing_.findings(), .tokens = writing_.tokens()};
      const auto hidden = hidden_.reshape(in.tokens.count(), model_.width());
      model_.forward(device, in, hidden);
      visit(in, hidden);
    }
  }

  HybridOptions options_;
  detail::PairFeed feed_;
  Model model_;
  Parameters<Scalar, Device> parameters_;
  detail::TokenObjective<Scalar, Device> objective_;
  detail::WritingOnDevice<Device> writing_;
  typename Device::template Buffer<Scalar> hidden_;
  train::Times times_;
};

}  // namespace vlp::tasks
