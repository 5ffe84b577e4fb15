/// \file
/// Reports that a decoder writes, as text, from features of images or findings.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/core/view.hpp>
#include <vlp/models/report_decoder.hpp>
#include <vlp/models/report_decoding.hpp>
#include <vlp/models/search.hpp>
#include <vlp/models/token_ensemble.hpp>
#include <vlp/nn/sequences.hpp>
#include <vlp/nn/tokens.hpp>
#include <vlp/text/detokenise.hpp>
#include <vlp/text/vocabulary.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace vlp::tasks {

/// How reports are written. The defaults are those of Vaswani et al., "Attention is all you need", 2017,
/// section 6.1.
struct WritingOptions {
  Index beam = 4;  ///< texts that are followed at a time; 1 takes the most probable piece each time
  double length_penalty = 0.6;  ///< exponent a of models::SearchOptions
  Index no_repeat = 0;          ///< no so many word pieces in a row are written twice; 0 allows it
  Index longest = 0;            ///< word pieces of the longest text; 0: as many as training texts may have
};

/// Calls `visit(name, field, help)` for each option.
template <class Options, class Visit>
requires std::is_same_v<std::remove_const_t<Options>, WritingOptions>
void for_each_setting(Options& o, Visit&& visit) {
  visit("beam", o.beam,
        "texts that are followed at a time in the search for the most probable one; 1 takes the most "
        "probable word piece each time");
  visit("length-penalty", o.length_penalty,
        "texts compete by log-probability / ((5 + word pieces) / 6)^A; the larger A, the longer they become");
  visit("no-repeat", o.no_repeat, "write no N word pieces in a row twice; 0 allows it");
  visit("longest", o.longest,
        "word pieces of the longest text; 0 takes as many as the texts of training may have");
}

/// Options of a search with the special pieces of a vocabulary, for a decoder with so many positions: a text
/// begins with [CLS], ends with [SEP] and has no special piece within. Throws std::invalid_argument, naming
/// the option and its value, for one that is out of range.
[[nodiscard]] inline models::SearchOptions search_options(const WritingOptions& options,
                                                          const text::Vocabulary& vocabulary,
                                                          Index positions) {
  // The last position belongs to [SEP], which is never read.
  require(positions >= 3, "search_options: ", positions, " positions are too few for a text");
  require_range<Index>("longest", options.longest, 0, positions - 2);
  models::SearchOptions out{.beam = options.beam,
                            .longest = options.longest == 0 ? positions - 2 : options.longest,
                            .length_penalty = options.length_penalty,
                            .no_repeat = options.no_repeat,
                            .begin = vocabulary.begin_of_text(),
                            .end = vocabulary.end_of_text()};
  for (const std::string_view piece : text::special_pieces)
    if (const text::PieceId id = vocabulary.find(piece); id >= 0 && id != out.end) out.never.push_back(id);
  for (std::size_t id = 0; id < vocabulary.size(); ++id)  // lines that are no pieces
    if (vocabulary[static_cast<text::PieceId>(id)].empty())
      out.never.push_back(static_cast<text::PieceId>(id));
  validate(out);
  return out;
}

/// A report that was written.
struct WrittenReport {
  std::string text;                   ///< as detokenise makes it of the pieces
  std::vector<text::PieceId> pieces;  ///< without [CLS] and [SEP]
  std::vector<std::int32_t> words;    ///< the word of the text that each piece is a part of
  double log_probability = 0;         ///< of the pieces and [SEP]
  double score = 0;                   ///< see models::FoundText
  bool is_cut = false;                ///< see models::FoundText
  bool operator==(const WrittenReport&) const = default;
};

/// S contexts in device memory that a decoder writes about, and the decoder and its branch that read them.
template <class Scalar, class Device = Cpu>
struct WritingContext {
  models::ReportDecoder<Scalar, Device>& decoder;
  MatrixView<const Scalar> features;       ///< [Tc, context width], such as regions or word pieces
  const nn::Sequences<Device>& sequences;  ///< of the features, S
  Index branch = 0;                        ///< of the decoder
};

namespace detail {

/// The texts that a search found, as reports.
[[nodiscard]] inline std::vector<WrittenReport> as_reports(std::vector<models::FoundText> found,
                                                           const text::Vocabulary& vocabulary) {
  std::vector<WrittenReport> reports;
  for (models::FoundText& text : found) {
    WrittenReport report{.text = {},
                         .pieces = std::move(text.tokens),
                         .words = {},
                         .log_probability = text.log_probability,
                         .score = text.score,
                         .is_cut = text.is_cut};
    report.text = text::detokenise(report.pieces, vocabulary, report.words);
    reports.push_back(std::move(report));
  }
  return reports;
}

template <class Scalar, class Device>
void begin(Device& device, models::ReportDecoding<Scalar, Device>& decoding,
           const WritingContext<Scalar, Device>& about, const text::Vocabulary& vocabulary) {
  require(decoding.vocabulary() == static_cast<Index>(vocabulary.size()),
          "write_reports: the decoder has a vocabulary of ", decoding.vocabulary(), " pieces, not of ",
          vocabulary.size());
  decoding.begin(device, about.features, about.sequences, about.branch);
}

}  // namespace detail

/// Writes a report about each context. `vocabulary` is the decoder's. Throws std::invalid_argument for
/// options out of range and contexts that do not fit the decoder, std::runtime_error where the decoder's
/// logits are not finite, and Stopped where it was asked to stop.
template <class Scalar, class Device>
[[nodiscard]] std::vector<WrittenReport> write_reports(Device& device,
                                                       const WritingContext<Scalar, Device>& about,
                                                       const text::Vocabulary& vocabulary,
                                                       const WritingOptions& options, StopToken stop = {}) {
  models::ReportDecoding<Scalar, Device> decoding(about.decoder);
  detail::begin(device, decoding, about, vocabulary);
  return detail::as_reports(models::search(device, decoding, about.sequences.count(),
                                           search_options(options, vocabulary, decoding.positions()), stop),
                            vocabulary);
}

/// Writes one report about each two contexts of the same number, by the mean log-probabilities of two
/// decoders of one vocabulary (models::TokenEnsemble): the same decoder may stand in both. Throws as the
/// other does, and std::invalid_argument where there are not as many contexts of each kind.
template <class Scalar, class Device>
[[nodiscard]] std::vector<WrittenReport> write_reports(Device& device,
                                                       const WritingContext<Scalar, Device>& first,
                                                       const WritingContext<Scalar, Device>& second,
                                                       const text::Vocabulary& vocabulary,
                                                       const WritingOptions& options, StopToken stop = {}) {
  require(first.sequences.count() == second.sequences.count(), "write_reports: there are ",
          first.sequences.count(), " contexts of one kind and ", second.sequences.count(), " of the other");
  using Decoding = models::ReportDecoding<Scalar, Device>;
  Decoding one(first.decoder), other(second.decoder);
  detail::begin(device, one, first, vocabulary);
  detail::begin(device, other, second, vocabulary);
  models::TokenEnsemble<Scalar, Device, Decoding, Decoding> both(one, other);
  return detail::as_reports(models::search(device, both, first.sequences.count(),
                                           search_options(options, vocabulary, both.positions()), stop),
                            vocabulary);
}

/// A word of a written report, and where its writer looked.
struct AttendedWord {
  std::string word;              ///< with the punctuation beside it
  std::vector<float> attention;  ///< weight of each feature of the context, 1 in all
};

/// The attention of each word of `reports` to its context, one report for each: the weights of the decoder's
/// last block, mean over its heads and over the word's pieces, each taken where the piece was chosen. Throws
/// std::invalid_argument for another number of reports, and for pieces that the decoder does not have.
template <class Scalar, class Device>
[[nodiscard]] std::vector<std::vector<AttendedWord>> attended_words(
    Device& device, const WritingContext<Scalar, Device>& about, std::span<const WrittenReport> reports,
    const text::Vocabulary& vocabulary) {
  const auto features = about.sequences.host_offsets();
  require(static_cast<Index>(reports.size()) == about.sequences.count(), "attended_words: ", reports.size(),
          " reports for ", about.sequences.count(), " contexts");
  std::vector<std::int32_t> ids;
  std::vector<Index> offsets{0};
  for (const WrittenReport& report : reports) {  // [CLS] and all pieces but the last, which chose the pieces
    ids.push_back(vocabulary.begin_of_text());
    if (!report.pieces.empty()) ids.insert(ids.end(), report.pieces.begin(), report.pieces.end() - 1);
    offsets.push_back(static_cast<Index>(ids.size()));
  }
  nn::Tokens<Device> tokens;
  tokens.assign(device, ids, offsets);
  auto scope = device.scratch().scope();
  const Index columns = about.sequences.longest().value;
  const auto hidden = scope.template take_view<Scalar>(tokens.count(), about.decoder.width());
  const auto weights = scope.template take_view<Scalar>(tokens.count(), columns);
  about.decoder.forward(
      device,
      {.tokens = tokens, .context = about.features, .contexts = about.sequences, .branch = about.branch},
      hidden, {.weights = weights});
  std::vector<Scalar> host(static_cast<std::size_t>(weights.size()));
  download(device, weights.data(), std::span(host));

  std::vector<std::vector<AttendedWord>> out;
  for (std::size_t r = 0; r < reports.size(); ++r) {
    std::vector<AttendedWord> words;
    for (std::size_t begin = 0; begin < reports[r].text.size();) {
      const std::size_t end = std::min(reports[r].text.find(' ', begin), reports[r].text.size());
      words.push_back({reports[r].text.substr(begin, end - begin),
                       std::vector<float>(static_cast<std::size_t>(features[r + 1] - features[r]))});
      begin = end + 1;
    }
    std::vector<float> pieces(words.size());
    for (const std::int32_t word : reports[r].words)
      if (word >= 0) ++pieces.at(static_cast<std::size_t>(word));
    for (std::size_t p = 0; p < reports[r].words.size(); ++p) {
      if (reports[r].words[p] < 0) continue;
      const auto word = static_cast<std::size_t>(reports[r].words[p]);
      const Scalar* row =
          host.data() + (static_cast<std::size_t>(offsets[r]) + p) * static_cast<std::size_t>(columns);
      for (float& weight : words[word].attention) weight += static_cast<float>(*row++) / pieces[word];
    }
    out.push_back(std::move(words));
  }
  return out;
}

}  // namespace vlp::tasks
