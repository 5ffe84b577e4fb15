/// \file
/// The examples of a dataset as batches of pairs, as all tasks on pairs are fed.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/data/dataset.hpp>
#include <vlp/data/example.hpp>
#include <vlp/data/pair_batch.hpp>
#include <vlp/data/prefetcher.hpp>
#include <vlp/tasks/pair_options.hpp>
#include <vlp/text/perturbation.hpp>
#include <vlp/text/vocabulary.hpp>
#include <vlp/text/word_piece.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::tasks::detail {

/// The contents of a task's batches.
struct PairFeedOptions {
  std::string_view task;           ///< the task's name, with which errors begin
  bool with_images = true;         ///< images beside the texts
  bool with_findings = false;      ///< see PairBatchOptions::with_findings
  bool with_perturbations = true;  ///< perturbed reports while training and in held-out losses
};

/// Batches of the training pairs in an order drawn anew for each epoch, where a last batch that would be
/// incomplete is left out, and batches over all pairs of a side. It stays where it is: what it makes batches
/// with points into it.
class PairFeed {
 public:
  /// `pairs` are valid; `dataset` must outlive this. Throws std::invalid_argument for a dataset with an empty
  /// side, without the findings that are wanted, or with images of another size.
  PairFeed(const PairFeedOptions& options, const PairOptions& pairs, const data::Dataset& dataset,
           text::Vocabulary vocabulary)
      : options_(options),
        pairs_(pairs),
        dataset_(checked(options, pairs, dataset)),
        word_piece_(std::move(vocabulary)),
        training_maker_(batch_options(), word_piece_, training_perturbations(), pairs.perturbations_per_step),
        held_out_maker_(batch_options(), word_piece_, training_perturbations(), pairs.perturbations_per_step),
        batch_size_(std::min(pairs.batch_size, static_cast<Index>(dataset.train.size()))) {}
  PairFeed(const PairFeed&) = delete;
  PairFeed& operator=(const PairFeed&) = delete;

  [[nodiscard]] const data::Dataset& dataset() const { return dataset_; }
  [[nodiscard]] const text::WordPiece& word_piece() const { return word_piece_; }
  /// Word pieces of the vocabulary.
  [[nodiscard]] Index vocabulary_size() const { return static_cast<Index>(word_piece_.vocabulary().size()); }
  /// How batches are made of examples.
  [[nodiscard]] data::PairBatchOptions batch_options() const {
    return {.image_size = pairs_.image_size,
            .max_words = pairs_.max_words,
            .scope = pairs_.scope,
            .local_words = pairs_.local_words,
            .seed = pairs_.seed,
            .with_findings = options_.with_findings};
  }

  /// Pairs of a training batch.
  [[nodiscard]] Index batch_size() const { return batch_size_; }
  [[nodiscard]] Index steps_per_epoch() const {
    return static_cast<Index>(dataset_.train.size()) / batch_size_;
  }

  /// The batch of a training step, by the seed and the step alone; see train::Task. Throws std::runtime_error
  /// where none of its images can be read.
  [[nodiscard]] data::PairBatch make_batch(Index step) {
    const Index epoch = step / steps_per_epoch();
    if (epoch != order_epoch_) {
      order_.resize(dataset_.train.size());
      std::iota(order_.begin(), order_.end(), Index{0});
      constexpr std::uint32_t order_stream = 0x0D3A;
      Random(pairs_.seed, order_stream, static_cast<std::uint32_t>(epoch))
          .shuffle(order_.begin(), order_.end());
      order_epoch_ = epoch;
    }
    const Index begin = step % steps_per_epoch() * batch_size_;
    data::PairBatch batch =
        make(training_maker_, dataset_.train, {order_.data() + begin, static_cast<std::size_t>(batch_size_)},
             static_cast<std::uint32_t>(epoch));
    ensure(batch.pairs > 0, "step ", step + 1, ": none of the ", batch_size_,
           " images of its batch can be read", unreadable_images());
    return batch;
  }

  /// Calls `visit(batch)` for batches over all held-out pairs, as held-out losses read them.
  template <class Visit>
  void for_each_held_out_batch(Visit&& visit) {
    for_each_batch(held_out_maker_, dataset_.held_out, visit);
  }

  /// Calls `visit(batch)` for batches over all `examples` of the dataset, perturbed as in every evaluation
  /// and made ahead on a thread of their own, which `maker` serves meanwhile. A batch without a pair, none of
  /// whose images can be read, is passed over. Throws std::runtime_error where that is true of all.
  template <class Visit>
  void for_each_batch(data::PairBatchMaker& maker, std::span<const data::Example> examples, Visit&& visit) {
    const auto count = static_cast<Index>(examples.size());
    const Index batches = (count + batch_size_ - 1) / batch_size_;
    data::Prefetcher<data::PairBatch> ahead(0, batches, [&](Index b) {
      std::vector<Index> indices(static_cast<std::size_t>(std::min(batch_size_, count - b * batch_size_)));
      std::iota(indices.begin(), indices.end(), b * batch_size_);
      return make(maker, examples, indices, data::evaluation_epoch);
    });
    Index pairs = 0;
    for (Index b = 0; b < batches; ++b) {
      const data::PairBatch batch = ahead.next();
      pairs += batch.pairs;
      if (batch.pairs > 0) visit(batch);
    }
    ensure(pairs > 0 || count == 0, "no image of ", count, count == 1 ? " pair" : " pairs", " can be read",
           unreadable_images());
  }

 private:
  static const data::Dataset& checked(const PairFeedOptions& options, const PairOptions& pairs,
                                      const data::Dataset& dataset) {
    require(!dataset.train.empty() && !dataset.held_out.empty(), options.task, ": ", dataset.train.size(),
            " examples to train on and ", dataset.held_out.size(), " held out; both need at least one");
    if (options.with_findings) check_findings(options.task, dataset);
    if (!options.with_images) return dataset;
    require(dataset.images != nullptr, options.task, ": the dataset has no images");
    require(dataset.images->image_size() == pairs.image_size, options.task,
            ": the images of the dataset are ", dataset.images->image_size(),
            " pixels a side, but image-size is ", pairs.image_size);
    return dataset;
  }

  static void check_findings(std::string_view task, const data::Dataset& dataset) {
    const data::Example* first = nullptr;
    std::size_t without = 0;
    for (const auto* side : {&dataset.train, &dataset.held_out})
      for (const data::Example& example : *side) {
        if (!example.findings.empty()) continue;
        if (without++ == 0) first = &example;
      }
    require(without == 0, task, ": ", without, " of ", dataset.train.size() + dataset.held_out.size(),
            " examples have no findings; the first is ", first == nullptr ? "" : first->name);
  }

  [[nodiscard]] data::PairBatch make(data::PairBatchMaker& maker, std::span<const data::Example> examples,
                                     std::span<const Index> indices, std::uint32_t epoch) const {
    return options_.with_images ? maker.make(*dataset_.images, examples, indices, epoch)
                                : maker.make_texts(examples, indices, epoch);
  }

  /// ": table.csv:3: ...", the images that could not be read.
  [[nodiscard]] std::string unreadable_images() const {
    if (!options_.with_images) return "";
    const std::vector<std::string> notes = dataset_.images->notes();
    return notes.empty() ? "" : ": " + notes.front();
  }

  [[nodiscard]] std::vector<text::Perturbation> training_perturbations() const {
    return options_.with_perturbations ? pairs_.perturbations : std::vector<text::Perturbation>{};
  }

  PairFeedOptions options_;
  PairOptions pairs_;
  const data::Dataset& dataset_;
  text::WordPiece word_piece_;
  data::PairBatchMaker training_maker_, held_out_maker_;  // each of a thread that makes batches
  Index batch_size_;
  std::vector<Index> order_;  // of the epoch below; the input thread's
  Index order_epoch_ = -1;
};

}  // namespace vlp::tasks::detail
