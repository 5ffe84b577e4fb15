/// \file
/// Contrastive pretraining on pairs of a radiograph and its report.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/core/view.hpp>
#include <vlp/data/dataset.hpp>
#include <vlp/data/pair_batch.hpp>
#include <vlp/data/prefetcher.hpp>
#include <vlp/models/dual_encoder.hpp>
#include <vlp/tasks/contrastive_objective.hpp>
#include <vlp/tasks/detail/batch_embedding.hpp>
#include <vlp/tasks/pair_options.hpp>
#include <vlp/text/perturbation.hpp>
#include <vlp/text/word_piece.hpp>
#include <vlp/train/task.hpp>
#include <vlp/train/terms.hpp>
#include <vlp/train/times.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
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
      : options_(checked(options, dataset)),
        dataset_(dataset),
        word_piece_(std::move(vocabulary)),
        objective_(options.objective, options.pairs.duplicates),
        model_(options.pairs.model,
               {.image_size = options.pairs.image_size,
                .vocabulary = static_cast<Index>(word_piece_.vocabulary().size()),
                .longest_text = batch_options().max_pieces(),
                .with_regions = objective_.needs_regions()},
               options.pairs.seed),
        parameters_(device, *this),
        training_maker_(batch_options(), word_piece_, training_perturbations(),
                        options.pairs.perturbations_per_step),
        held_out_maker_(batch_options(), word_piece_, training_perturbations(),
                        options.pairs.perturbations_per_step),
        embedding_(options.pairs.image_size, options.pairs.micro_batch),
        batch_size_(std::min(options.pairs.batch_size, static_cast<Index>(dataset.train.size()))) {}
  Contrastive(const Contrastive&) = delete;  // parameters_ points into it
  Contrastive& operator=(const Contrastive&) = delete;

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    model_.for_each_parameter(prefix, visit);
    objective_.for_each_parameter(prefix, visit);
  }

  [[nodiscard]] const ContrastiveOptions& options() const { return options_; }
  [[nodiscard]] const data::Dataset& dataset() const { return dataset_; }
  [[nodiscard]] const text::WordPiece& word_piece() const { return word_piece_; }
  [[nodiscard]] const Model& model() const { return model_; }
  /// Learned numbers in all.
  [[nodiscard]] Index size() const { return parameters_.size(); }
  /// How batches of this task are made of examples.
  [[nodiscard]] data::PairBatchOptions batch_options() const {
    return {.image_size = options_.pairs.image_size,
            .max_words = options_.pairs.max_words,
            .scope = options_.pairs.scope,
            .local_words = options_.pairs.local_words,
            .seed = options_.pairs.seed};
  }

  // Members that a train::Task owes.
  [[nodiscard]] Index examples_per_step() const { return batch_size_; }
  [[nodiscard]] Index steps_per_epoch() const {
    return static_cast<Index>(dataset_.train.size()) / batch_size_;
  }
  [[nodiscard]] train::Terms terms() const { return objective_.terms(); }
  [[nodiscard]] std::vector<train::Reading> readings(Device& device) const {
    return objective_.readings(device);
  }
  [[nodiscard]] const ParameterList<Scalar, Device>& parameters() const { return parameters_.list(); }
  [[nodiscard]] const ParameterList<Scalar, Device>& trained() const { return parameters_.list(); }
  [[nodiscard]] VectorView<Scalar> gradients() const { return parameters_.gradients(); }
  [[nodiscard]] train::Times& times() { return times_; }
  void constrain(Device& device) { objective_.constrain(device); }

  [[nodiscard]] Batch make_batch(Index step) {
    const Index epoch = step / steps_per_epoch();
    if (epoch != order_epoch_) {
      order_.resize(dataset_.train.size());
      std::iota(order_.begin(), order_.end(), Index{0});
      constexpr std::uint32_t order_stream = 0x0D3A;
      Random(options_.pairs.seed, order_stream, static_cast<std::uint32_t>(epoch))
          .shuffle(order_.begin(), order_.end());
      order_epoch_ = epoch;
    }
    const Index begin = step % steps_per_epoch() * batch_size_;
    Batch batch = training_maker_.make(*dataset_.images, dataset_.train,
                                       {order_.data() + begin, static_cast<std::size_t>(batch_size_)},
                                       static_cast<std::uint32_t>(epoch));
    ensure(batch.pairs > 0, "step ", step + 1, ": none of the ", batch_size_,
           " images of its batch can be read", unreadable_images());
    return batch;
  }

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
    const auto all = static_cast<double>(dataset_.held_out.size());
    Index pairs = 0;
    for_each_batch(held_out_maker_, dataset_.held_out, [&](const Batch& batch) {
      embed(device, batch);
      add_weighted(sum, evaluate_objective(device), static_cast<double>(batch.pairs) / all);
      pairs += batch.pairs;
    });
    if (pairs == static_cast<Index>(dataset_.held_out.size())) return sum;
    train::Terms mean = terms();  // over the pairs whose images could be read
    add_weighted(mean, sum, all / static_cast<double>(pairs));
    return mean;
  }

  /// The rows of the batch of the last step whose embeddings are not finite: "0 (image of a.png), ...".
  [[nodiscard]] std::string describe(Device& device, const Batch& batch) {
    const auto not_finite = [&](const auto& features) {
      std::vector<Scalar> host(static_cast<std::size_t>(features.size()));
      download(device, features.data(), std::span(host));
      const auto row = host.size() / static_cast<std::size_t>(batch.pairs);
      std::vector<char> bad;
      for (auto begin = host.begin(); begin != host.end(); begin += static_cast<std::ptrdiff_t>(row))
        bad.push_back(std::any_of(begin, begin + static_cast<std::ptrdiff_t>(row),
                                  [](Scalar x) { return !std::isfinite(x); }));
      return bad;
    };
    const Features features = embedding_.features();
    const std::vector<char> image = not_finite(features.image), text = not_finite(features.text);
    std::string rows;
    for (std::size_t b = 0; b < image.size() && rows.size() < 400; ++b)
      if (image[b] || text[b])
        rows += concat(rows.empty() ? "" : ", ", b, " (",
                       !image[b]  ? "text"
                       : !text[b] ? "image"
                                  : "image and text",
                       " of ", dataset_.train[static_cast<std::size_t>(batch.examples[b])].name, ")");
    return rows.empty() ? "none" : rows;
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

  /// Calls `visit(batch)` for batches over all `examples` of the dataset, perturbed as in every evaluation
  /// and made ahead on a thread of their own, which `maker` serves meanwhile. A batch without a pair, none of
  /// whose images can be read, is passed over. Throws std::runtime_error where that is true of all.
  template <class Visit>
  void for_each_batch(data::PairBatchMaker& maker, std::span<const data::Example> examples, Visit&& visit) {
    const auto count = static_cast<Index>(examples.size());
    const Index batches = (count + batch_size_ - 1) / batch_size_;
    data::Prefetcher<Batch> ahead(0, batches, [&](Index b) {
      std::vector<Index> indices(static_cast<std::size_t>(std::min(batch_size_, count - b * batch_size_)));
      std::iota(indices.begin(), indices.end(), b * batch_size_);
      return maker.make(*dataset_.images, examples, indices, data::evaluation_epoch);
    });
    Index pairs = 0;
    for (Index b = 0; b < batches; ++b) {
      const Batch batch = ahead.next();
      pairs += batch.pairs;
      if (batch.pairs > 0) visit(batch);
    }
    ensure(pairs > 0 || count == 0, "no image of ", count, count == 1 ? " pair" : " pairs", " can be read",
           unreadable_images());
  }

 private:
  static constexpr std::string_view encoders = "encoders, forward and backward";
  static constexpr std::string_view losses = "losses, forward and backward";

  static const ContrastiveOptions& checked(const ContrastiveOptions& options, const data::Dataset& dataset) {
    validate(options);
    require(!dataset.train.empty() && !dataset.held_out.empty(), "Contrastive: ", dataset.train.size(),
            " examples to train on and ", dataset.held_out.size(), " held out; both need at least one");
    require(dataset.images != nullptr, "Contrastive: the dataset has no images");
    require(dataset.images->image_size() == options.pairs.image_size,
            "Contrastive: the images of the dataset are ", dataset.images->image_size(),
            " pixels a side, but image-size is ", options.pairs.image_size);
    return options;
  }

  /// ": table.csv:3: ...", the images that could not be read.
  [[nodiscard]] std::string unreadable_images() const {
    const std::vector<std::string> notes = dataset_.images->notes();
    return notes.empty() ? "" : ": " + notes.front();
  }

  /// A weight of 0 skips the work of the perturbed texts altogether.
  [[nodiscard]] std::vector<text::Perturbation> training_perturbations() const {
    return objective_.needs_perturbations() ? options_.pairs.perturbations
                                            : std::vector<text::Perturbation>{};
  }

  ContrastiveOptions options_;
  const data::Dataset& dataset_;
  text::WordPiece word_piece_;
  Objective objective_;
  Model model_;
  Parameters<Scalar, Device> parameters_;
  data::PairBatchMaker training_maker_, held_out_maker_;  // each of a thread that makes batches
  detail::BatchEmbedding<Scalar, Device> embedding_;
  Index batch_size_;
  train::Times times_;
  std::vector<Index> order_;  // of the epoch below; the input thread's
  Index order_epoch_ = -1;
};

}  // namespace vlp::tasks
