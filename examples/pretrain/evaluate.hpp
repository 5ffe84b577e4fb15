/// \file
/// Runs a model over held-out pairs, and puts what it finds in tables.
#pragma once

#include "pretrain/batch.hpp"
#include "pretrain/model.hpp"

#include <vlp/core/cpu.hpp>
#include <vlp/core/detail/unit_length.hpp>
#include <vlp/eval/pointing_game.hpp>
#include <vlp/eval/retrieval.hpp>
#include <vlp/eval/structure_discrimination.hpp>
#include <vlp/text/perturbation.hpp>
#include <vlp/text/words.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::pretrain {

/// What is measured on held-out pairs.
struct Evaluation {
  Index pairs = 0;
  eval::StructureDiscrimination structure;
  eval::Retrieval retrieval;
  eval::PointingGame pointing;  ///< empty where the data has no true boxes
};

/// Attention of some words of a report over its image.
struct AttendedPair {
  struct Word {
    std::string word;
    std::vector<float> attention;  ///< [grid, grid], the mean over the word's occurrences in the report
    std::optional<eval::Box> box;  ///< of the finding that the word names, where it is known
  };
  const Example* example = nullptr;
  Index grid = 0;
  std::vector<Word> words;
};

namespace detail {

/// Calls `visit(batch)` for batches of `batch_size` over all examples, perturbed as in every evaluation.
template <class Visit>
void for_each_batch(BatchMaker& maker, std::span<const Example> examples, Index batch_size, Visit&& visit) {
  std::vector<Index> indices;
  for (Index begin = 0; begin < static_cast<Index>(examples.size()); begin += batch_size) {
    indices.resize(
        static_cast<std::size_t>(std::min(batch_size, static_cast<Index>(examples.size()) - begin)));
    std::iota(indices.begin(), indices.end(), begin);
    visit(maker.make(examples, indices, evaluation_epoch));
  }
}

/// Rows at unit length, appended.
inline void append_unit_rows(MatrixView<const float> rows, std::vector<float>& out) {
  for (Index i = 0; i < rows.rows(); ++i) {
    const float inverse = vlp::detail::inverse_norm(rows[i].data(), rows.cols());
    for (Index d = 0; d < rows.cols(); ++d) out.push_back(rows(i, d) * inverse);
  }
}

/// The letters of a word: "effusion," is "effusion".
inline std::string_view bare(std::string_view word) {
  return text::slice(word, text::detail::without_punctuation(word));
}

/// The words of an example to look at: those that name its findings, or, without truth, its nouns.
struct WordToSee {
  std::string word;
  std::vector<Index> occurrences;  ///< which of the local words it is
  const Finding* finding;
};

/// `slots`: the number of each word among the local words (see number_local_words), of which `slot_count`
/// were kept.
inline std::vector<WordToSee> words_to_see(const Example& example, const text::Words& words,
                                           std::span<const std::int32_t> slots, Index slot_count) {
  std::vector<WordToSee> out;
  for (const Finding& finding : example.truth) out.push_back({finding.word, {}, &finding});
  if (out.empty())
    for (std::size_t w = 0; w < words.size(); ++w)
      if (words.classes[w] == text::WordClass::noun &&
          std::ranges::find(out, bare(words[w]), &WordToSee::word) == out.end())
        out.push_back({std::string(bare(words[w])), {}, nullptr});
  for (WordToSee& see : out)
    for (std::size_t w = 0; w < words.size(); ++w)
      if (slots[w] >= 0 && slots[w] < slot_count && bare(words[w]) == see.word)
        see.occurrences.push_back(slots[w]);
  std::erase_if(out, [](const WordToSee& see) { return see.occurrences.empty(); });
  return out;
}

/// The attention [R] of a word, the mean over its occurrences, from that of all words of its report [W, R].
inline std::vector<float> mean_attention(MatrixView<const float> attention, std::span<const Index> words) {
  std::vector<float> mean(static_cast<std::size_t>(attention.cols()));
  for (const Index w : words)
    for (std::size_t r = 0; r < mean.size(); ++r)
      mean[r] += attention(w, static_cast<Index>(r)) / static_cast<float>(words.size());
  return mean;
}

}  // namespace detail

/// The mean losses over held-out pairs, in batches as in training.
inline LossTerms held_out_losses(Model<>& model, Cpu& device, BatchMaker& maker,
                                 std::span<const Example> examples, Index batch_size) {
  double total = 0, global = 0, local = 0, perturbation = 0;
  detail::for_each_batch(maker, examples, batch_size, [&](const Batch& batch) {
    model.embed(device, batch);
    const LossTerms terms = model.losses(device, batch);
    const auto weight = static_cast<double>(batch.pairs) / static_cast<double>(examples.size());
    total += weight * terms.total;
    global += weight * terms.global;
    local += weight * terms.local;
    perturbation += weight * terms.perturbation;
  });
  return {total, global, local, perturbation};
}

/// Evaluates a model on held-out pairs. `perturbations` are those that `maker` makes. Attention of the first
/// `attended_pairs` pairs with words to see is added to `attended`.
inline Evaluation evaluate(Model<>& model, Cpu& device, BatchMaker& maker, const Options& options,
                           std::span<const text::Perturbation> perturbations,
                           std::span<const Example> examples, std::size_t attended_pairs,
                           std::vector<AttendedPair>& attended) {
  const auto count = static_cast<Index>(examples.size());
  const Index slots = 1 + static_cast<Index>(perturbations.size()), grid = model.grid(),
              regions = grid * grid;
  std::vector<float> image, report, scores, attention;
  std::vector<std::uint8_t> valid;
  std::vector<std::int64_t> group;
  Evaluation out;
  out.pairs = count;
  text::WordReader<> reader(static_cast<std::size_t>(options.max_words));
  text::Words words;
  std::vector<std::int32_t> word_slots;

  detail::for_each_batch(maker, examples, options.batch_size, [&](const Batch& batch) {
    model.embed(device, batch);
    const std::size_t first = image.size();
    const auto text = model.text_embedding();
    detail::append_unit_rows(model.image_embedding(), image);
    std::vector<float> candidates;
    detail::append_unit_rows(flatten_rows(text), candidates);
    const auto features = static_cast<std::size_t>(options.embedding);
    for (std::size_t b = 0; b < static_cast<std::size_t>(batch.pairs); ++b)
      for (std::size_t k = 0; k < static_cast<std::size_t>(slots); ++k) {
        const float* candidate = &candidates[(b * static_cast<std::size_t>(slots) + k) * features];
        scores.push_back(
            std::inner_product(candidate, candidate + features, &image[first + b * features], 0.0f));
        if (k == 0) report.insert(report.end(), candidate, candidate + features);
      }
    valid.insert(valid.end(), batch.valid.begin(), batch.valid.end());
    group.insert(group.end(), batch.group.begin(), batch.group.end());

    if (options.alpha == 0) return;  // no attention was trained
    attention.resize(static_cast<std::size_t>(batch.pairs * batch.max_words * regions));
    const BatchView<float> maps(attention.data(), {batch.pairs, batch.max_words, regions});
    model.losses(device, batch, maps);
    for (Index b = 0; b < batch.pairs; ++b) {
      const Example& example =
          examples[static_cast<std::size_t>(batch.examples[static_cast<std::size_t>(b)])];
      reader.read(example.report, words);
      number_local_words(words, options.local_words == "nouns", word_slots);
      AttendedPair seen{&example, grid, {}};
      for (const auto& see :
           detail::words_to_see(example, words, word_slots, batch.word_count[static_cast<std::size_t>(b)])) {
        AttendedPair::Word word{see.word, detail::mean_attention(maps[b], see.occurrences), {}};
        if (see.finding != nullptr) {
          word.box = see.finding->box;
          out.pointing.add(finding_kind_names[static_cast<std::size_t>(see.finding->kind)],
                           eval::point(MatrixView<const float>(word.attention.data(), {grid, grid}),
                                       *word.box, options.image_size, options.image_size));
        }
        seen.words.push_back(std::move(word));
      }
      if (!seen.words.empty() && attended.size() < attended_pairs) attended.push_back(std::move(seen));
    }
  });

  std::vector<std::string> names;
  for (const auto perturbation : perturbations) names.emplace_back(text::name(perturbation));
  out.structure =
      eval::structure_discrimination(MatrixView<const float>(scores.data(), {count, slots}),
                                     MatrixView<const std::uint8_t>(valid.data(), {count, slots}), names);
  out.retrieval = eval::retrieval(device, MatrixView<const float>(image.data(), {count, options.embedding}),
                                  MatrixView<const float>(report.data(), {count, options.embedding}), group);
  return out;
}

namespace detail {
inline std::string percent(double share) {
  if (share != share) return "-";
  char text[16];
  std::snprintf(text, sizeof text, "%.1f %%", 100 * share);
  return text;
}

inline std::string table_row(const std::string& what, const eval::Accuracy& accuracy,
                             const std::string& unit) {
  return "| " + what + " | " + percent(accuracy.value()) + " | " + percent(accuracy.chance) + " | " +
         std::to_string(accuracy.count) + " " + unit + " |\n";
}
}  // namespace detail

/// The tables of an evaluation in Markdown, chance levels beside the figures.
inline std::string tables(const Evaluation& evaluation) {
  using detail::percent;
  using detail::table_row;
  const std::string header = "| accuracy | chance | of |\n|---|---:|---:|---:|\n";
  std::string text =
      "### Structure discrimination\n\nIs the report preferred to its perturbations? A tie counts as "
      "wrong.\n\n";
  text += "| against " + header + table_row("**all at once**", evaluation.structure.overall, "reports");
  for (const auto& perturbation : evaluation.structure.perturbations)
    text += table_row(perturbation.name, perturbation.accuracy, "reports");

  text += "\n### Retrieval among " + std::to_string(evaluation.pairs) +
          " pairs\n\nEqual reports answer each other's query.\n\n| | image to report | report to image | "
          "chance |\n"
          "|---|---:|---:|---:|\n";
  for (std::size_t i = 0; i < evaluation.retrieval.image_to_text.size(); ++i) {
    const auto& of_image = evaluation.retrieval.image_to_text[i];
    text += "| R@" + std::to_string(of_image.k) + " | " + percent(of_image.recall) + " | " +
            percent(evaluation.retrieval.text_to_image[i].recall) + " | " + percent(of_image.chance) + " |\n";
  }

  if (evaluation.pointing.overall().count > 0) {
    text +=
        "\n### Pointing game\n\nDoes the attention of a finding's word peak inside the finding's box?\n\n| "
        "finding " +
        header;
    text += table_row("**all**", evaluation.pointing.overall(), "findings");
    for (const auto& row : evaluation.pointing.kinds()) text += table_row(row.kind, row.accuracy, "findings");
  }
  return text;
}

}  // namespace vlp::pretrain
