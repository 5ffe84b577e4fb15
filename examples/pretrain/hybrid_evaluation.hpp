/// \file
/// Evaluation of a stage of hybrid pretraining on held-out pairs: how well image and impression are aligned,
/// and how good the impressions are that the run's models write.
#pragma once

#include "builtin/clinical_scores.hpp"
#include "pretrain/run.hpp"
#include "pretrain/stages.hpp"

#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/data/example.hpp>
#include <vlp/data/images.hpp>
#include <vlp/data/pair_batch.hpp>
#include <vlp/eval/text_scores.hpp>
#include <vlp/io/image.hpp>
#include <vlp/tasks/generation_evaluation.hpp>
#include <vlp/tasks/pair_evaluation.hpp>
#include <vlp/tasks/report_writer.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace vlp::pretrain {

/// An impression that was written for an image, and where its writer looked.
struct WrittenAttention {
  std::size_t example = 0;  ///< among HybridEvaluation::examples
  std::string text;
  Index grid = 0;                          ///< regions along an edge of the image
  std::vector<tasks::AttendedWord> words;  ///< of the text, each with its attention over the grid
};

/// Results of evaluate_hybrid.
struct HybridEvaluation {
  std::optional<tasks::PairEvaluation> alignment;  ///< none where the stage sees no images
  std::vector<tasks::AttendedPair> attended;       ///< words of findings over their images
  std::vector<data::Example> examples;             ///< [N], those held out whose images can be read
  std::vector<eval::References> references;        ///< [N]
  std::vector<tasks::WrittenTexts> writers;        ///< the run's own first; none where it has no decoder
  tasks::GenerationEvaluation written;             ///< of the writers
  std::vector<builtin::ClinicalScores> clinical;   ///< of the writers, on the built-in data alone
  std::vector<WrittenAttention> drawn;
};

namespace detail {

inline constexpr std::size_t examples_at_a_time = 64;  // whose images are in memory together

/// The writers of a run: whatever its checkpoints hold by now.
template <class Task>
[[nodiscard]] tasks::ReportWriterFiles writer_files(const Session& session, Task& task) {
  const bool has_summariser = session.options.stage != Stage::second || !session.options.summariser.empty();
  tasks::ReportWriterFiles files;
  if constexpr (requires { task.writes(); })
    if (task.writes()) files.captioner = session.folder.file("best.safetensors");
  if (has_summariser) files.summariser = session.folder.file(summariser_file);
  return files;
}

/// Calls visit(examples, images) for some of the held-out examples at a time: those whose images can be read,
/// with these images, or all without them.
template <class Visit>
void for_some_held_out(const Session& session, bool with_images, Visit&& visit) {
  const std::vector<data::Example>& all = session.dataset.held_out;
  for (std::size_t first = 0; first < all.size(); first += examples_at_a_time) {
    session.stop.check();
    const auto some = std::span(all).subspan(first, std::min(examples_at_a_time, all.size() - first));
    std::vector<data::Example> examples;
    std::vector<io::GrayImage> images;
    std::vector<std::int64_t> ids;
    for (const data::Example& example : some) ids.push_back(example.image_id);
    auto request = session.dataset.images->request(with_images ? ids : std::vector<std::int64_t>());
    request.wait();
    for (std::size_t i = 0; i < some.size(); ++i) {
      if (with_images && request.pixels(i).empty()) continue;
      if (with_images)
        images.push_back(data::detail::gray_image(request.pixels(i), session.options.pairs.image_size));
      examples.push_back(some[i]);
    }
    visit(examples, images);
  }
}

/// Appends the texts of reports to those of a writer, which begins with the first.
inline void append(std::vector<tasks::WrittenTexts>& writers, const char* name,
                   const std::vector<tasks::WrittenReport>& reports) {
  auto writer = std::ranges::find(writers, name, &tasks::WrittenTexts::name);
  if (writer == writers.end()) writer = writers.insert(writers.end(), {name, {}});
  for (const tasks::WrittenReport& report : reports) writer->texts.push_back(report.text);
}

/// Lets the models of the run write for all held-out examples. The attention of the first `overlays` is kept.
inline void write_impressions(const Session& session, const tasks::ReportWriterFiles& files,
                              std::size_t overlays, HybridEvaluation& out) {
  tasks::ReportWriter writer(session.device, session.options.hybrid_task(), session.vocabulary, files);
  const bool sees = !files.captioner.empty(), reads = !files.summariser.empty();
  const tasks::WritingOptions options;
  for_some_held_out(
      session, sees,
      [&](const std::vector<data::Example>& examples, const std::vector<io::GrayImage>& images) {
        std::vector<std::string> findings;
        for (const data::Example& example : examples) findings.push_back(example.findings);
        if (sees) {
          std::vector<std::vector<tasks::AttendedWord>> words;
          const bool is_drawn = out.drawn.size() < overlays;
          const auto reports =
              writer.from_images(session.device, images, options, is_drawn ? &words : nullptr, session.stop);
          for (std::size_t i = 0; i < words.size() && out.drawn.size() < overlays; ++i)
            out.drawn.push_back(
                {out.examples.size() + i, reports[i].text, writer.grid(), std::move(words[i])});
          append(out.writers, "image", reports);
        }
        if (reads)
          append(out.writers, "findings",
                 writer.from_findings(session.device, findings, options, session.stop));
        if (sees && reads)
          append(out.writers, "image and findings",
                 writer.from_both(session.device, images, findings, options, nullptr, session.stop));
        out.examples.insert(out.examples.end(), examples.begin(), examples.end());
      });
  if (!sees) return;
  const Index size = session.options.pairs.image_size;
  const std::vector<io::GrayImage> blank{io::make_gray_image(size, size)};
  const std::string text =
      writer.from_images(session.device, blank, options, nullptr, session.stop).front().text;
  out.writers.push_back({"blank image", std::vector<std::string>(out.examples.size(), text)});
}

/// Features of images at unit length, and the examples that they belong to: those whose images can be read.
struct ImageFeatures {
  std::vector<float> values;
  std::vector<data::Example> examples;
};
template <class Task>
[[nodiscard]] ImageFeatures image_features(const Session& session, Task& task,
                                           std::span<const data::Example> examples) {
  ImageFeatures out;
  data::PairBatchMaker maker(task.batch_options(), task.word_piece(), {});
  task.for_each_batch(maker, examples, [&](const data::PairBatch& batch) {
    session.stop.check();
    tasks::detail::append_unit_rows(session.device, task.embed(session.device, batch).image, out.values);
    for (const Index i : batch.examples) out.examples.push_back(examples[static_cast<std::size_t>(i)]);
  });
  return out;
}

/// Adds texts that cost nothing to find: who writes no better has learned nothing.
template <class Task>
void add_controls(const Session& session, Task& task, HybridEvaluation& out) {
  const std::vector<data::Example>& train = session.dataset.train;
  if constexpr (tasks::EmbedsPairs<Task>) {
    const ImageFeatures of_train = image_features(session, task, train),
                        held_out = image_features(session, task, out.examples);
    const Index width = session.options.pairs.model.embedding;
    const auto matrix = [&](const ImageFeatures& features) {
      return MatrixView<const float>(features.values.data(),
                                     {static_cast<Index>(features.examples.size()), width});
    };
    out.writers.push_back(tasks::nearest_reports(session.device, matrix(held_out), matrix(of_train),
                                                 of_train.examples, session.stop));
  }
  out.writers.push_back(tasks::most_frequent_report(train, out.examples.size()));
  out.writers.push_back(tasks::random_reports(train, out.examples.size(), session.options.pairs.seed));
}

}  // namespace detail

/// Evaluates a task on its held-out pairs, and what the run's models write for them, by the checkpoints in
/// its folder. Attention of the first `overlays` pairs is kept. Throws Stopped where it was asked to stop.
template <class Task>
[[nodiscard]] HybridEvaluation evaluate_hybrid(const Session& session, Task& task, std::size_t overlays) {
  HybridEvaluation out;
  if constexpr (tasks::EmbedsPairs<Task>)
    out.alignment =
        tasks::evaluate(task, session.device, session.device, overlays, out.attended, session.stop);
  const tasks::ReportWriterFiles files = detail::writer_files(session, task);
  if (files.captioner.empty() && files.summariser.empty()) return out;
  detail::write_impressions(session, files, overlays, out);
  detail::add_controls(session, task, out);
  out.references = tasks::references_of(out.examples);
  out.written = tasks::evaluate_texts(out.writers, out.references, session.stop);
  if (session.options.data != "builtin") return out;
  std::vector<std::string> truth;
  for (const data::Example& example : out.examples) truth.push_back(example.report);
  for (const tasks::WrittenTexts& writer : out.writers)
    out.clinical.push_back(builtin::clinical_scores(writer.texts, truth));
  return out;
}

/// The tables of an evaluation in Markdown.
[[nodiscard]] inline std::string tables(const HybridEvaluation& evaluation) {
  std::string text = evaluation.alignment ? tables(*evaluation.alignment) : std::string();
  if (evaluation.writers.empty()) return text;
  const tasks::WrittenTexts& own = evaluation.writers.front();
  text +=
      concat("\n### Impressions written for ", evaluation.written.texts,
             " pairs\n\nFrom the image, from the findings, or from both, beside texts that cost nothing "
             "to find. BLEU, ROUGE-L and the share of exact copies are those of words after "
             "normalisation",
             evaluation.clinical.empty() ? ".\n\n"
                                         : "; the other columns are F1 of what is stated: findings, their "
                                           "attributes, and what is normal.\n\n",
             table(evaluation.written, builtin::clinical_columns(evaluation.clinical)));
  if (!evaluation.clinical.empty())
    text += concat("\n### What impressions written from the ", own.name, " state\n\n",
                   builtin::table(evaluation.clinical.front()));
  return text + concat("\n### Some impressions written from the ", own.name, "\n\n",
                       tasks::table_of_texts(evaluation.examples, own.texts, evaluation.references, 12));
}

}  // namespace vlp::pretrain
