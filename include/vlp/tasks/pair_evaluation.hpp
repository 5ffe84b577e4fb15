/// \file
/// Evaluation of pretraining on held-out pairs: does the model prefer a report to its perturbations, find it
/// among the others, and look where its words are?
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/detail/unit_length.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/core/view.hpp>
#include <vlp/data/dataset.hpp>
#include <vlp/data/example.hpp>
#include <vlp/data/pair_batch.hpp>
#include <vlp/eval/pointing_game.hpp>
#include <vlp/eval/retrieval.hpp>
#include <vlp/eval/structure_discrimination.hpp>
#include <vlp/models/pair_features.hpp>
#include <vlp/tasks/detail/markdown.hpp>
#include <vlp/tasks/pair_options.hpp>
#include <vlp/text/perturbation.hpp>
#include <vlp/text/word_piece.hpp>
#include <vlp/text/words.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::tasks {

/// Tasks whose pairs are embedded in one space, such as Contrastive and Hybrid:
///
/// - `embed(device, batch)` returns the features of a batch; `evaluate_objective(device, attention)` computes
///   the objective for them and writes the attention [B, W, R] of each pair's local words over its own
///   image's regions;
/// - `aligns_words()` tells whether that attention is trained;
/// - `for_each_batch(maker, examples, visit)` visits batches made by a data::PairBatchMaker of
///   `batch_options()`.
template <class T>
concept EmbedsPairs = requires(T task, typename T::Device& device, const data::PairBatch& batch,
                               data::PairBatchMaker& maker, std::span<const data::Example> examples,
                               void (*visit)(const data::PairBatch&),
                               BatchView<typename T::Scalar> attention) {
  { task.embed(device, batch) } -> std::convertible_to<models::PairFeatures<const typename T::Scalar>>;
  task.evaluate_objective(device, attention);
  { task.aligns_words() } -> std::same_as<bool>;
  task.for_each_batch(maker, examples, visit);
  { task.batch_options() } -> std::same_as<data::PairBatchOptions>;
  { task.word_piece() } -> std::convertible_to<const text::WordPiece&>;
  { task.dataset() } -> std::convertible_to<const data::Dataset&>;
  { task.options().pairs } -> std::convertible_to<const PairOptions&>;
  { task.model().grid() } -> std::convertible_to<Index>;
};

/// Results of an evaluation on held-out pairs.
struct PairEvaluation {
  Index pairs = 0;
  eval::StructureDiscrimination structure;
  eval::Retrieval retrieval;
  eval::PointingGame pointing;  ///< empty where the data have no marks
};

/// Attention of some words of a report over its image.
struct AttendedPair {
  struct Word {
    std::string word;
    std::vector<float> attention;  ///< [grid, grid], the mean over the word's occurrences in the report
    std::optional<eval::Box> box;  ///< the true place of what the word names, where it is known
    std::string kind;              ///< of that place
  };
  const data::Example* example = nullptr;
  Index grid = 0;
  std::vector<Word> words;
};

namespace detail {

/// Appends the rows of a matrix in device memory to `out`, at unit length.
template <class Device, class Scalar>
void append_unit_rows(Device& device, MatrixView<const Scalar> rows, std::vector<Scalar>& out) {
  std::vector<Scalar> host(static_cast<std::size_t>(rows.size()));
  download(device, rows.data(), std::span(host));
  const auto cols = static_cast<std::size_t>(rows.cols());
  for (auto row = host.begin(); row != host.end(); row += static_cast<std::ptrdiff_t>(cols)) {
    const Scalar inverse = vlp::detail::inverse_norm(&*row, rows.cols());
    for (std::size_t d = 0; d < cols; ++d) out.push_back(row[static_cast<std::ptrdiff_t>(d)] * inverse);
  }
}

/// A word without punctuation at its ends: "effusion," is "effusion".
inline std::string_view bare(std::string_view word) {
  return text::slice(word, text::detail::without_punctuation(word));
}

/// A word of a report whose attention is evaluated.
struct WordToSee {
  std::string word;
  std::vector<Index> occurrences;  ///< which of the local words it is
  const data::Mark* mark;          ///< null where its true place is not known
};

/// The words of an example to evaluate: those that name its marks, or, without marks, its nouns.
/// `slots`: the number of each word among the local words (see number_local_words), of which `slot_count`
/// were kept.
inline std::vector<WordToSee> words_to_see(const data::Example& example, const text::Words& words,
                                           std::span<const std::int32_t> slots, Index slot_count) {
  std::vector<WordToSee> out;
  for (const data::Mark& mark : example.marks) out.push_back({mark.word, {}, &mark});
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
template <class Scalar>
std::vector<float> mean_attention(MatrixView<const Scalar> attention, std::span<const Index> words) {
  std::vector<float> mean(static_cast<std::size_t>(attention.cols()));
  for (const Index w : words)
    for (std::size_t r = 0; r < mean.size(); ++r)
      mean[r] += static_cast<float>(attention(w, static_cast<Index>(r))) / static_cast<float>(words.size());
  return mean;
}

/// Reads the attention of the pairs of a batch that was embedded last.
template <EmbedsPairs Task>
class AttentionReader {
  using Scalar = typename Task::Scalar;
  using Device = typename Task::Device;

 public:
  explicit AttentionReader(Task& task)
      : task_(task), reader_(static_cast<std::size_t>(task.options().pairs.max_words)) {}

  /// For each pair of the batch, the words to look at that are among its local words, with their attention.
  std::vector<AttendedPair> read(Device& device, const data::PairBatch& batch) {
    const Index grid = task_.model().grid(), regions = grid * grid;
    const Index size = batch.pairs * batch.max_words * regions;
    const std::array<Index, 3> extents{batch.pairs, batch.max_words, regions};
    task_.evaluate_objective(device, BatchView<Scalar>(memory_.resize(size), extents));
    host_.resize(static_cast<std::size_t>(size));
    download(device, static_cast<const Scalar*>(memory_.data()), std::span(host_));
    const BatchView<const Scalar> maps(host_.data(), extents);

    std::vector<AttendedPair> pairs;
    for (Index b = 0; b < batch.pairs; ++b) {
      const auto pair = static_cast<std::size_t>(b);
      const data::Example& example = task_.dataset().held_out[static_cast<std::size_t>(batch.examples[pair])];
      reader_.read(task_.batch_options().with_findings ? example.findings : example.report, words_);
      data::number_local_words(words_, task_.options().pairs.local_words, slots_);
      AttendedPair& out = pairs.emplace_back(AttendedPair{&example, grid, {}});
      for (const WordToSee& see : words_to_see(example, words_, slots_, batch.word_count[pair])) {
        AttendedPair::Word word{see.word, mean_attention(maps[b], see.occurrences), {}, {}};
        if (see.mark != nullptr) {
          word.box = see.mark->box;
          word.kind = see.mark->kind;
        }
        out.words.push_back(std::move(word));
      }
    }
    return pairs;
  }

 private:
  Task& task_;
  text::WordReader<> reader_;
  text::Words words_;
  std::vector<std::int32_t> slots_;
  typename Device::template Buffer<Scalar> memory_;
  std::vector<Scalar> host_;
};

}  // namespace detail

/// Evaluates a task on its held-out pairs with all its perturbations, in batches as in training. The findings
/// are no candidates where batches have them beside the reports; their words are the ones that are looked at.
/// Attention of the first `attended_pairs` pairs with words to look at is added to `attended`. `host` does
/// the work that the device has no operations for. Throws Stopped where it was asked to stop, between
/// batches.
template <EmbedsPairs Task>
[[nodiscard]] PairEvaluation evaluate(Task& task, typename Task::Device& device, Cpu& host,
                                      std::size_t attended_pairs, std::vector<AttendedPair>& attended,
                                      StopToken stop = {}) {
  using Scalar = typename Task::Scalar;
  const PairOptions& options = task.options().pairs;
  const std::vector<data::Example>& examples = task.dataset().held_out;
  const Index slots = 1 + static_cast<Index>(options.perturbations.size()), grid = task.model().grid(),
              embedding = options.model.embedding;
  data::PairBatchMaker maker(task.batch_options(), task.word_piece(), options.perturbations);
  detail::AttentionReader<Task> attention(task);
  std::vector<Scalar> image, report, scores;
  std::vector<std::uint8_t> valid;
  std::vector<std::int64_t> image_ids, text_ids;
  PairEvaluation out;

  task.for_each_batch(maker, examples, [&](const data::PairBatch& batch) {
    stop.check();
    const auto features = task.embed(device, batch);
    const std::size_t first = image.size();
    detail::append_unit_rows(device, features.image, image);
    std::vector<Scalar> texts;
    detail::append_unit_rows(device, flatten_rows(features.text), texts);
    const auto width = static_cast<std::size_t>(embedding);
    for (std::size_t b = 0; b < static_cast<std::size_t>(batch.pairs); ++b)
      for (std::size_t k = 0; k < static_cast<std::size_t>(slots); ++k) {
        const Scalar* candidate = &texts[(b * static_cast<std::size_t>(batch.texts_per_pair) + k) * width];
        scores.push_back(
            std::inner_product(candidate, candidate + width, &image[first + b * width], Scalar(0)));
        if (k == 0) report.insert(report.end(), candidate, candidate + width);
      }
    valid.insert(valid.end(), batch.valid.begin(), batch.valid.end());
    for (const Index index : batch.examples) {
      image_ids.push_back(examples[static_cast<std::size_t>(index)].image_id);
      text_ids.push_back(examples[static_cast<std::size_t>(index)].text_id);
    }

    if (!task.aligns_words()) return;
    for (AttendedPair& pair : attention.read(device, batch)) {
      for (const AttendedPair::Word& word : pair.words)
        if (word.box)
          out.pointing.add(
              word.kind, eval::point(MatrixView<const float>(word.attention.data(), {grid, grid}), *word.box,
                                     options.image_size, options.image_size));
      if (!pair.words.empty() && attended.size() < attended_pairs) attended.push_back(std::move(pair));
    }
  });

  stop.check();
  const auto count = out.pairs = static_cast<Index>(image_ids.size());
  std::vector<std::string> names;
  for (const auto perturbation : options.perturbations) names.emplace_back(text::name(perturbation));
  out.structure =
      eval::structure_discrimination(MatrixView<const Scalar>(scores.data(), {count, slots}),
                                     MatrixView<const std::uint8_t>(valid.data(), {count, slots}), names);
  out.retrieval = eval::retrieval(host, MatrixView<const Scalar>(image.data(), {count, embedding}),
                                  MatrixView<const Scalar>(report.data(), {count, embedding}),
                                  {image_ids, text_ids}, eval::usual_recall_cutoffs, stop);
  return out;
}

namespace detail {
inline std::string table_row(const std::string& what, const eval::Accuracy& accuracy,
                             const std::string& unit) {
  return "| " + what + " | " + percent(accuracy.value()) + " | " + percent(accuracy.chance) + " | " +
         std::to_string(accuracy.count) + " " + unit + " |\n";
}
}  // namespace detail

/// The tables of an evaluation in Markdown, chance levels beside the figures.
inline std::string tables(const PairEvaluation& evaluation) {
  using detail::percent;
  using detail::table_row;
  const std::string header = "| accuracy | chance | of |\n|---|---:|---:|---:|\n";
  std::string text =
      "### Structure discrimination\n\nIs the report preferred to its perturbations? A tie counts as "
      "wrong.\n\n";
  text += "| against " + header + table_row("**all at once**", evaluation.structure.overall, "reports");
  for (const auto& perturbation : evaluation.structure.perturbations)
    text += table_row(perturbation.name, perturbation.accuracy, "reports");

  text +=
      "\n### Retrieval among " + std::to_string(evaluation.pairs) +
      " pairs\n\nEach report of an image answers its query, and each image of a report answers its; equal "
      "reports count as one.\n\n| | image to report | chance | report to image | chance |\n"
      "|---|---:|---:|---:|---:|\n";
  for (std::size_t i = 0; i < evaluation.retrieval.image_to_text.size(); ++i) {
    const eval::RecallAt& of_image = evaluation.retrieval.image_to_text[i];
    const eval::RecallAt& of_text = evaluation.retrieval.text_to_image[i];
    text += "| R@" + std::to_string(of_image.k) + " | " + percent(of_image.recall) + " | " +
            percent(of_image.chance) + " | " + percent(of_text.recall) + " | " + percent(of_text.chance) +
            " |\n";
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

}  // namespace vlp::tasks
