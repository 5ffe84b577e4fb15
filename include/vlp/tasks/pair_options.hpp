/// \file
/// Options that tasks on pairs of a radiograph and its report share: the data as batches, and the encoders.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/dataset.hpp>
#include <vlp/data/pair_batch.hpp>
#include <vlp/losses/loss.hpp>
#include <vlp/models/dual_encoder.hpp>
#include <vlp/text/build_vocabulary.hpp>
#include <vlp/text/normalise.hpp>
#include <vlp/text/perturbation.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

namespace vlp::tasks {

/// How pairs become batches, and the encoders that read them.
struct PairOptions {
  Index image_size = 64;         ///< pixels along an edge of the images, a multiple of 8
  Index max_words = 50;          ///< words of a report that are kept
  Index vocabulary_size = 4096;  ///< most word pieces of a vocabulary that is built
  std::vector<text::Perturbation> perturbations{text::all_perturbations.begin(),
                                                text::all_perturbations.end()};
  Index perturbations_per_step = 3;  ///< of those, how many a report meets in one step; 0: all
  text::PerturbationScope scope = text::PerturbationScope::report;
  data::LocalWords local_words = data::LocalWords::nouns;
  models::DualEncoderOptions model;
  DuplicatePolicy duplicates = DuplicatePolicy::ignore;
  Index batch_size = 32;  ///< pairs per step
  /// Pairs of a batch that are embedded at a time, in a first pass for the features and in a second one for
  /// the gradients: the memory of activations is theirs, and the result that of the whole batch up to
  /// rounding. 0: all at once, in one pass.
  Index micro_batch = 0;
  std::uint64_t seed = 1;  ///< of weights, of the order of examples and of perturbations
};

/// Calls `visit(name, field, help)` for each option.
template <class Options, class Visit>
requires std::is_same_v<std::remove_const_t<Options>, PairOptions>
void for_each_setting(Options& o, Visit&& visit) {
  visit("vocabulary-size", o.vocabulary_size, "most word pieces of a vocabulary that is built");
  visit("image-size", o.image_size, "pixels a side that images are brought to, a multiple of 8");
  visit("max-words", o.max_words, "words of a report that are kept");
  visit("perturbations", o.perturbations, "all, or a comma-separated list of names or numbers 1-9");
  visit("perturbations-per-step", o.perturbations_per_step,
        "how many of them a report meets in one step, drawn anew each epoch; 0 takes all. Evaluation takes "
        "all");
  visit("scope", o.scope, "perturb the whole report or each sentence: report | sentence");
  visit("local-words", o.local_words,
        "words of a report that the local loss aligns with regions: nouns | all");
  for_each_setting(o.model, visit);
  visit("duplicates", o.duplicates,
        "reports that are right for another image of the batch too, equal ones and all those of one image, "
        "are: negatives | positives | ignore");
  visit("batch-size", o.batch_size, "pairs per step");
  visit("micro-batch", o.micro_batch,
        "pairs of a batch that are embedded at a time, which takes less memory and a second pass of the "
        "encoders; the losses see the whole batch. 0 embeds it at once");
  visit("seed", o.seed, "seed of everything random");
}

/// Throws std::invalid_argument, naming the setting and its value, for one that is out of range.
inline void validate(const PairOptions& o) {
  constexpr Index many = 1'000'000'000;
  require_range<Index>("vocabulary-size", o.vocabulary_size, 64, many);
  require_range<Index>("image-size", o.image_size, 16, 4096);
  require(o.image_size % 8 == 0, "image-size must be a multiple of 8, but is ", o.image_size);
  require_range<Index>("max-words", o.max_words, 2, 510);
  require_range<Index>("perturbations-per-step", o.perturbations_per_step, 0, 9);
  validate(o.model);
  require_range<Index>("batch-size", o.batch_size, 1, many);
  require_range<Index>("micro-batch", o.micro_batch, 0, many);
}

/// A vocabulary of word pieces built from the training reports, and from their findings where
/// `with_findings`, as far as `options` keeps them. Throws Stopped where it was asked to stop.
[[nodiscard]] inline text::Vocabulary build_vocabulary(const data::Dataset& dataset,
                                                       const PairOptions& options, StopToken stop = {},
                                                       bool with_findings = false) {
  std::vector<std::string> reports;
  reports.reserve(dataset.train.size());
  const auto add = [&](const std::string& report) {
    reports.push_back(text::normalise(report, static_cast<std::size_t>(options.max_words)));
  };
  for (const data::Example& example : dataset.train) {
    stop.check();
    add(example.report);
    if (with_findings) add(example.findings);
  }
  return text::build_vocabulary(reports, {.size = static_cast<std::size_t>(options.vocabulary_size)}, stop);
}

}  // namespace vlp::tasks
