/// \file
/// Evaluation of written impressions: scores against the true ones, beside those of texts that cost nothing
/// to find.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/core/op.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/core/view.hpp>
#include <vlp/data/example.hpp>
#include <vlp/eval/text_scores.hpp>
#include <vlp/tasks/detail/markdown.hpp>
#include <vlp/text/normalise.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace vlp::tasks {

/// Texts of one writer, a model or a control, for the same examples as those of every other.
struct WrittenTexts {
  std::string name;                ///< under which its scores stand in a table
  std::vector<std::string> texts;  ///< [N]
};

/// Scores of one writer's texts, all in [0, 1]; see eval/text_scores.hpp.
struct TextScores {
  eval::Bleu bleu;
  eval::RougeL rouge;  ///< with beta = 1
  double exact_match = 0;
};

/// The scores of several writers on the same N examples.
struct GenerationEvaluation {
  struct Row {
    std::string name;
    TextScores scores;
  };
  Index texts = 0;  ///< N
  std::vector<Row> rows;
};

/// A further column of a table of scores, whatever the caller measures.
struct ScoreColumn {
  std::string name;
  std::vector<double> values;  ///< [rows] each in [0, 1], or NaN for none
};

namespace detail {

/// Whole texts, normalised: words that a model would not have read count, too.
inline std::vector<std::string> normalised(std::span<const std::string> texts) {
  std::vector<std::string> out;
  out.reserve(texts.size());
  for (const std::string& text : texts) out.push_back(text::normalise(text, text::all_words));
  return out;
}

/// The last three parts of a path, "p10/s50/1.png", which tell images apart in all public collections.
inline std::string_view end_of_path(std::string_view path) {
  std::size_t begin = path.size();
  for (int part = 0; part < 3 && begin != path.npos && begin > 0; ++part) begin = path.rfind('/', begin - 1);
  return begin == path.npos || begin == 0 ? path : path.substr(begin + 1);
}

inline void require_training_reports(const char* function, std::span<const data::Example> train) {
  require(!train.empty(), function, ": there are no training examples");
}

}  // namespace detail

/// The texts that are right for each example: its own report first, then the other different ones of its
/// image among `examples`, in their order.
[[nodiscard]] inline std::vector<eval::References> references_of(std::span<const data::Example> examples) {
  std::unordered_map<std::int64_t, std::vector<std::size_t>> of_image;
  for (std::size_t i = 0; i < examples.size(); ++i) of_image[examples[i].image_id].push_back(i);
  std::vector<eval::References> out(examples.size());
  for (std::size_t i = 0; i < examples.size(); ++i) {
    std::vector<std::int64_t> taken{examples[i].text_id};
    out[i].push_back(examples[i].report);
    for (const std::size_t other : of_image[examples[i].image_id]) {
      if (std::ranges::find(taken, examples[other].text_id) != taken.end()) continue;
      taken.push_back(examples[other].text_id);
      out[i].push_back(examples[other].report);
    }
  }
  return out;
}

/// Scores texts [N] against their references [N], both normalised (text::normalise) and whole. Throws
/// std::invalid_argument for sizes that differ and for a text without reference.
[[nodiscard]] inline TextScores score_texts(std::span<const std::string> texts,
                                            std::span<const eval::References> references) {
  const std::vector<std::string> candidates = detail::normalised(texts);
  std::vector<eval::References> right;
  right.reserve(references.size());
  for (const eval::References& of_one : references) right.push_back(detail::normalised(of_one));
  return {eval::bleu(candidates, right), eval::rouge_l(candidates, right),
          eval::exact_match(candidates, right)};
}

/// Scores the texts of each writer. Throws std::invalid_argument, naming the writer, for one with another
/// number of texts than there are references [N]. Throws Stopped where it was asked to stop, between writers.
[[nodiscard]] inline GenerationEvaluation evaluate_texts(std::span<const WrittenTexts> writers,
                                                         std::span<const eval::References> references,
                                                         StopToken stop = {}) {
  for (const WrittenTexts& writer : writers)
    require(writer.texts.size() == references.size(), "evaluate_texts: there are ", references.size(),
            " examples but ", writer.texts.size(), " texts of '", writer.name, "'");
  GenerationEvaluation out{static_cast<Index>(references.size()), {}};
  for (const WrittenTexts& writer : writers) {
    stop.check();
    out.rows.push_back({writer.name, score_texts(writer.texts, references)});
  }
  return out;
}

/// Control: the training report that is most frequent (after text::normalise; the first of several) for each
/// of `count` examples. Throws std::invalid_argument without training examples.
[[nodiscard]] inline WrittenTexts most_frequent_report(std::span<const data::Example> train,
                                                       std::size_t count) {
  detail::require_training_reports("most_frequent_report", train);
  std::unordered_map<std::string, std::size_t> counts;
  std::vector<const std::pair<const std::string, std::size_t>*> entry_of;
  for (const data::Example& example : train) {
    const auto entry = counts.try_emplace(text::normalise(example.report, text::all_words)).first;
    ++entry->second;
    entry_of.push_back(&*entry);
  }
  std::size_t best = 0;
  for (std::size_t i = 1; i < train.size(); ++i)
    if (entry_of[i]->second > entry_of[best]->second) best = i;
  return {"most frequent of training", std::vector<std::string>(count, train[best].report)};
}

/// Control: for each of `count` examples a training report that is drawn by the seed, whatever is drawn for
/// the others. Throws std::invalid_argument without training examples.
[[nodiscard]] inline WrittenTexts random_reports(std::span<const data::Example> train, std::size_t count,
                                                 std::uint64_t seed) {
  detail::require_training_reports("random_reports", train);
  constexpr std::uint32_t control_stream = 0xC047;
  WrittenTexts out{"random of training", {}};
  for (std::size_t i = 0; i < count; ++i) {
    Random random(seed, control_stream, static_cast<std::uint32_t>(i));
    out.texts.push_back(train[random.below(static_cast<std::uint32_t>(train.size()))].report);
  }
  return out;
}

/// For each query [Q, D] the row of `rows` [N, D] with the largest dot product (the cosine, where rows have
/// unit length): the first of equal ones, and never one whose product is NaN unless all are. Takes O(N * 256)
/// scratch memory. Throws std::invalid_argument for widths that differ and for no rows, and Stopped.
template <class T>
[[nodiscard]] std::vector<Index> nearest_rows(Cpu& device, MatrixView<T> queries,
                                              std::type_identity_t<MatrixView<const T>> rows,
                                              StopToken stop = {}) {
  using Scalar = std::remove_const_t<T>;
  constexpr Index block_rows = 256;
  require(queries.cols() == rows.cols(), "nearest_rows: queries are ", queries.rows(), " x ", queries.cols(),
          " but rows ", rows.rows(), " x ", rows.cols());
  require(rows.rows() > 0, "nearest_rows: there are no rows");
  std::vector<Index> nearest(static_cast<std::size_t>(queries.rows()));
  auto scope = device.scratch().scope();
  const auto block = scope.template take_view<Scalar>(std::min(block_rows, queries.rows()), rows.rows());
  for (Index begin = 0; begin < queries.rows(); begin += block_rows) {
    stop.check();
    const Index count = std::min(block_rows, queries.rows() - begin);
    const auto similarity = block.slice(0, count);
    matmul<Scalar>(device, MatrixView<const Scalar>(queries).slice(begin, count), Op::none, rows,
                   Op::transpose, similarity);
    device.parallel_for(count, [&](Index row, int) {
      Index best = 0;
      for (Index j = 1; j < rows.rows(); ++j) {
        const Scalar value = similarity(row, j), most = similarity(row, best);
        if (value > most || (most != most && value == value)) best = j;
      }
      nearest[static_cast<std::size_t>(begin + row)] = best;
    });
  }
  return nearest;
}

/// Control: the report of the training image whose feature is nearest to that of each example's image, from
/// features of unit length, `images` [N, D] of the examples and `train_images` [train, D]. Throws
/// std::invalid_argument where there is not one feature for each training example, and what nearest_rows
/// does.
template <class T>
[[nodiscard]] WrittenTexts nearest_reports(Cpu& device, MatrixView<T> images,
                                           std::type_identity_t<MatrixView<const T>> train_images,
                                           std::span<const data::Example> train, StopToken stop = {}) {
  require(train_images.rows() == static_cast<Index>(train.size()), "nearest_reports: there are ",
          train.size(), " training examples but ", train_images.rows(), " features");
  WrittenTexts out{"nearest training image's", {}};
  for (const Index i : nearest_rows<T>(device, images, train_images, stop))
    out.texts.push_back(train[static_cast<std::size_t>(i)].report);
  return out;
}

/// The scores as a table in Markdown, a row for each writer, and the caller's further columns behind the
/// others. Throws std::invalid_argument for a column of another number of values than there are rows.
[[nodiscard]] inline std::string table(const GenerationEvaluation& evaluation,
                                       std::span<const ScoreColumn> further = {}) {
  using detail::percent;
  std::string text = "| |";
  for (std::size_t n = 1; n <= eval::bleu_order; ++n) text += " BLEU-" + std::to_string(n) + " |";
  text += " ROUGE-L | exact |";
  for (const ScoreColumn& column : further) {
    require(column.values.size() == evaluation.rows.size(), "table: there are ", evaluation.rows.size(),
            " rows but ", column.values.size(), " values of '", column.name, "'");
    text += " " + detail::cell(column.name) + " |";
  }
  text += "\n|---|";
  for (std::size_t i = 0; i < eval::bleu_order + 2 + further.size(); ++i) text += "---:|";
  text += '\n';
  for (std::size_t row = 0; row < evaluation.rows.size(); ++row) {
    const auto& [name, scores] = evaluation.rows[row];
    text += "| " + detail::cell(name) + " |";
    for (const double score : scores.bleu.score) text += " " + percent(score) + " |";
    text += " " + percent(scores.rouge.f) + " | " + percent(scores.exact_match) + " |";
    for (const ScoreColumn& column : further) text += " " + percent(column.values[row]) + " |";
    text += '\n';
  }
  return text;
}

/// The first `count` examples in Markdown: the end of the image's path, the text that was written, and the
/// true one that it equals after text::normalise, or else the first; a mark says where it equals one. Throws
/// std::invalid_argument unless there are as many texts and references as examples [N], each with a
/// reference.
[[nodiscard]] inline std::string table_of_texts(std::span<const data::Example> examples,
                                                std::span<const std::string> texts,
                                                std::span<const eval::References> references,
                                                std::size_t count) {
  require(texts.size() == examples.size() && references.size() == examples.size(),
          "table_of_texts: there are ", examples.size(), " examples but ", texts.size(), " texts and ",
          references.size(), " references");
  std::string table = "| image | written | true | same |\n|---|---|---|:---:|\n";
  for (std::size_t i = 0; i < std::min(count, examples.size()); ++i) {
    require(!references[i].empty(), "table_of_texts: example ", i, " has no reference");
    const std::string written = text::normalise(texts[i], text::all_words);
    const auto same = std::ranges::find_if(references[i], [&](const std::string& reference) {
      return text::normalise(reference, text::all_words) == written;
    });
    const bool is_same = same != references[i].end();
    const auto shown = [](const std::string& text) {
      const std::string cell = detail::cell(text);
      return cell.empty() ? "*(nothing)*" : cell;
    };
    table += "| " + detail::cell(detail::end_of_path(examples[i].name)) + " | " + shown(texts[i]) + " | " +
             shown(is_same ? *same : references[i].front()) + " | " + (is_same ? "yes" : "") + " |\n";
  }
  return table;
}

}  // namespace vlp::tasks
