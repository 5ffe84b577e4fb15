/// \file
/// A handful of pairs and a task over them, small enough to be differentiated by differences.
#pragma once

#include <vlp/core/random.hpp>
#include <vlp/data/dataset.hpp>
#include <vlp/tasks/contrastive.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace vlp::test {

/// Four pairs to train on, of which two have the same report, and two held out, each with findings beside its
/// report. Images are random.
inline data::Dataset few_pairs(Index image_size) {
  const std::vector<std::string> reports{
      "Small left effusion. The heart is large.", "The lungs are clear today.",
      "Large right nodule near the old tube.",    "The lungs are clear today.",
      "The heart is small. No effusion is seen.", "Large nodule."};
  const std::vector<std::string> findings{
      "There is a small effusion on the left. The heart is enlarged.",
      "Both lungs are clear.",
      "A large nodule is seen in the right lung, near an old tube. No effusion.",
      "No nodule. No effusion. The heart is small.",
      "The heart is small, and there is no effusion.",
      "A nodule."};
  Cpu device(1);
  return data::make_dataset(device, static_cast<Index>(reports.size()),
                            {.image_size = image_size, .held_out = 0.34}, [&](std::size_t i) {
                              data::ComputedPair pair;
                              data::Example& example = pair.example;
                              example.name = "example " + std::to_string(i);
                              example.report = reports[i];
                              example.findings = findings[i];
                              Random random(7, 1, static_cast<std::uint32_t>(i));
                              for (Index p = 0; p < image_size * image_size; ++p)
                                pair.pixels.push_back(static_cast<std::uint16_t>(random.below(65536)));
                              if (i == 4) example.marks.push_back({"heart", "heart", {2, 2, 9, 9}});
                              return pair;
                            });
}

/// A model of some hundred numbers on few_pairs(16).
inline tasks::ContrastiveOptions small_options() {
  tasks::ContrastiveOptions options;
  options.pairs.image_size = 16;
  options.pairs.max_words = 12;
  options.pairs.vocabulary_size = 80;
  options.pairs.perturbations = text::parse_perturbations("1,6,8");
  options.pairs.perturbations_per_step = 0;
  options.pairs.model.width = 8;
  options.pairs.model.heads = 2;
  options.pairs.model.embedding = 6;
  options.objective.alpha = 0.7;
  options.objective.beta = 0.9;
  options.pairs.batch_size = 4;
  return options;
}

}  // namespace vlp::test
