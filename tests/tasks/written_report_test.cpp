// Reports written by a decoder: against the uncached decoder, one by one, with their attention.
#include "support/catch.hpp"
#include "support/layer_gradient.hpp"
#include "support/messages.hpp"

#include <vlp/core/cpu.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/models/report_decoder.hpp>
#include <vlp/nn/sequences.hpp>
#include <vlp/nn/tokens.hpp>
#include <vlp/tasks/written_report.hpp>
#include <vlp/text/vocabulary.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

using namespace vlp;
using namespace vlp::test;
using tasks::WritingOptions, tasks::WrittenReport;

namespace {

const std::vector<std::string> pieces{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "no",  "##dule",
                                      ",",     "-",     "acute", "heart", "##s",    "old", "lung"};

/// A decoder with two branches and weights that prefer some tokens clearly, and contexts of three lengths.
template <class Device>
struct Writer {
  explicit Writer(Device& device, std::uint32_t seed = 1)
      : vocabulary(pieces),
        decoder({.vocabulary = static_cast<Index>(pieces.size()),
                 .positions = 12,
                 .width = 8,
                 .depth = 2,
                 .heads = 2,
                 .branches = {"summary", "caption"}},
                Random(seed)),
        parameters(device, decoder) {
    for (const auto& [name, parameter] : parameters.list())
      upload_value(device, *parameter, normal_values(parameter->size(), seed += 17));
    const std::vector<double> features = normal_values(9 * 8, seed + 1);
    upload(device, std::span<const double>(features), memory.resize(9 * 8));
    sequences.assign(device, std::vector<Index>{0, 4, 5, 9});
  }
  [[nodiscard]] tasks::WritingContext<double, Device> about(Index branch = 0) {
    return {decoder, MatrixView<const double>(memory.data(), {9, 8}), sequences, branch};
  }

  text::Vocabulary vocabulary;
  models::ReportDecoder<double, Device> decoder;
  Parameters<double, Device> parameters;
  typename Device::template Buffer<double> memory;
  nn::Sequences<Device> sequences;
};

/// The most probable piece each time, by whole passes of the decoder.
std::vector<text::PieceId> greedy(Cpu& device, Writer<Cpu>& writer, Index context, Index branch,
                                  std::size_t longest) {
  const auto offsets = writer.sequences.host_offsets();
  const Index first = offsets[static_cast<std::size_t>(context)],
              count = offsets[static_cast<std::size_t>(context) + 1] - first;
  nn::Sequences<Cpu> own;
  own.assign(device, std::vector<Index>{0, count});
  std::vector<text::PieceId> ids{2};
  for (;;) {
    nn::Tokens<Cpu> tokens;
    tokens.assign(device, ids, std::vector<Index>{0, static_cast<Index>(ids.size())});
    std::vector<double> hidden(8 * ids.size()), logits(pieces.size());
    const MatrixView<double> hidden_view(hidden.data(), {tokens.count(), 8});
    writer.decoder.forward(device,
                           {.tokens = tokens,
                            .context = MatrixView<const double>(writer.memory.data() + 8 * first, {count, 8}),
                            .contexts = own,
                            .branch = branch},
                           hidden_view);
    writer.decoder.logits(device, hidden_view.slice(tokens.count() - 1, 1),
                          {logits.data(), {1, static_cast<Index>(logits.size())}});
    for (const std::size_t special : {0U, 1U, 2U, 4U}) logits[special] = -1e9;
    const auto best = static_cast<text::PieceId>(std::ranges::max_element(logits) - logits.begin());
    if (best == 3 || ids.size() > longest) return {ids.begin() + 1, ids.end()};
    ids.push_back(best);
  }
}

WritingOptions with_beam(Index beam) {
  return {.beam = beam};
}

}  // namespace

TEST_CASE("a report that is written greedily is that of the uncached decoder") {
  Cpu device(1);
  int different = 0;
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    Writer<Cpu> writer(device, seed);
    for (const Index branch : {0, 1}) {
      const auto reports = write_reports(device, writer.about(branch), writer.vocabulary, with_beam(1));
      REQUIRE(reports.size() == 3);
      for (Index c = 0; c < 3; ++c)
        CHECK(reports[static_cast<std::size_t>(c)].pieces == greedy(device, writer, c, branch, 10));
      different += reports[0].pieces != reports[1].pieces;
    }
  }
  CHECK(different > 10);
}

TEST_CASE("written reports have a text, no special pieces, and a score that a beam only raises") {
  Cpu device(1);
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    Writer<Cpu> writer(device, seed);
    const auto one = write_reports(device, writer.about(), writer.vocabulary, with_beam(1));
    const auto five = write_reports(device, writer.about(), writer.vocabulary, with_beam(5));
    for (std::size_t c = 0; c < 3; ++c) {
      CHECK(five[c].score >= one[c].score - 1e-12);
      for (const text::PieceId id : five[c].pieces) CHECK(id > 4);
      CHECK(five[c].text == text::detokenise(five[c].pieces, writer.vocabulary));
      CHECK(five[c].words.size() == five[c].pieces.size());
      CHECK(five[c].pieces.size() <= 10);
    }
  }
}

TEST_CASE("reports about several contexts are those about each alone, on every device") {
  on_every_device([](auto& device) {
    using Device = DeviceOf<decltype(device)>;
    Writer<Device> writer(device);
    const auto together = write_reports(device, writer.about(), writer.vocabulary, with_beam(3));
    const std::vector<Index> offsets{0, 4, 5, 9};
    std::vector<double> scores;
    for (std::size_t c = 0; c < 3; ++c) {
      nn::Sequences<Device> own;
      own.assign(device, std::vector<Index>{0, offsets[c + 1] - offsets[c]});
      const tasks::WritingContext<double, Device> alone{
          writer.decoder, writer.about().features.slice(offsets[c], offsets[c + 1] - offsets[c]), own};
      const auto report = write_reports(device, alone, writer.vocabulary, with_beam(3)).at(0);
      CHECK(report.pieces == together[c].pieces);
      CHECK(std::abs(report.score - together[c].score) < 1e-9);
      scores.push_back(together[c].score);
    }
    return scores;
  });
}

TEST_CASE("two decoders write as one, and a decoder with itself as it does alone") {
  Cpu device(1);
  Writer<Cpu> writer(device), other(device, 5);
  const auto alone = write_reports(device, writer.about(), writer.vocabulary, with_beam(3));
  const auto twice = write_reports(device, writer.about(), writer.about(), writer.vocabulary, with_beam(3));
  for (std::size_t c = 0; c < 3; ++c) CHECK(twice[c].pieces == alone[c].pieces);
  const auto both = write_reports(device, writer.about(1), other.about(0), writer.vocabulary, with_beam(3));
  const auto swapped =
      write_reports(device, other.about(0), writer.about(1), writer.vocabulary, with_beam(3));
  CHECK(both == swapped);
  CHECK(both.at(0).pieces != alone.at(0).pieces);

  nn::Sequences<Cpu> one;
  one.assign(device, std::vector<Index>{0, 9});
  const tasks::WritingContext<double, Cpu> fewer{writer.decoder, writer.about().features, one};
  CHECK_THROWS_WITH(write_reports(device, fewer, other.about(), writer.vocabulary, with_beam(1)),
                    "write_reports: there are 1 contexts of one kind and 3 of the other");
}

TEST_CASE("words of a report have the attention by which their pieces were chosen") {
  on_every_device([](auto& device) {
    Writer<DeviceOf<decltype(device)>> writer(device);
    // A word of three pieces with a comma, one of one, an empty report, and words that are joined by a mark.
    std::vector<WrittenReport> reports(3);
    reports[0].pieces = {5, 6, 7, 9};
    reports[2].pieces = {12, 8, 13};
    for (WrittenReport& report : reports)
      report.text = text::detokenise(report.pieces, writer.vocabulary, report.words);
    const auto words = attended_words(device, writer.about(1), reports, writer.vocabulary);
    REQUIRE(words.size() == 3);
    REQUIRE(words[0].size() == 2);
    CHECK(words[0][0].word == "nodule,");
    CHECK(words[0][1].word == "acute");
    CHECK(words[1].empty());
    REQUIRE(words[2].size() == 1);
    CHECK(words[2][0].word == "old-lung");
    // The decoder's own weights of [CLS] no ##dule and of ##dule ,
    nn::Tokens<DeviceOf<decltype(device)>> tokens;
    tokens.assign(device, std::vector<std::int32_t>{2, 5, 6, 7, 2, 2, 12, 8}, std::vector<Index>{0, 4, 5, 8});
    auto scope = device.scratch().scope();
    const auto hidden = scope.template take_view<double>(8, 8),
               weights = scope.template take_view<double>(8, 4);
    writer.decoder.forward(
        device,
        {.tokens = tokens, .context = writer.about().features, .contexts = writer.sequences, .branch = 1},
        hidden, {.weights = weights});
    std::vector<double> host(32);
    download(device, static_cast<const double*>(weights.data()), std::span(host));
    std::vector<double> all;
    for (std::size_t region = 0; region < 4; ++region) {
      const auto mean = [&](std::size_t first, std::size_t count) {
        double sum = 0;
        for (std::size_t t = first; t < first + count; ++t) sum += host[4 * t + region];
        return sum / static_cast<double>(count);
      };
      CHECK(std::abs(words[0][0].attention.at(region) - mean(0, 3)) < 1e-6);
      CHECK(std::abs(words[0][1].attention.at(region) - mean(3, 1)) < 1e-6);
      CHECK(std::abs(words[2][0].attention.at(region) - mean(5, 3)) < 1e-6);
    }
    for (const auto& report : words)
      for (const auto& word : report) {
        CHECK(word.attention.size() == 4);
        all.insert(all.end(), word.attention.begin(), word.attention.end());
      }
    CHECK(std::abs(std::accumulate(all.begin(), all.end(), 0.0) - 3) < 1e-5);
    return all;
  });
}

TEST_CASE("options of writing that are out of range, and contexts that do not fit, are refused") {
  Cpu device(1);
  Writer<Cpu> writer(device);
  const auto refused = [&](const WritingOptions& options) {
    return message_of<std::invalid_argument>(
        [&] { static_cast<void>(write_reports(device, writer.about(), writer.vocabulary, options)); });
  };
  CHECK(refused({.beam = 0}) == "beam must be from 1 to 1000000, but is 0");
  CHECK(refused({.length_penalty = -1}) == "length-penalty must be 0 or a positive number, but is -1");
  CHECK(refused({.no_repeat = -2}) == "no-repeat must be from 0 to 1000000, but is -2");
  CHECK(refused({.longest = 11}) == "longest must be from 0 to 10, but is 11");
  CHECK(refused({.longest = -1}) == "longest must be from 0 to 10, but is -1");
  CHECK(write_reports(device, writer.about(), writer.vocabulary, {.longest = 2}).at(0).pieces.size() <= 2);
  auto fewer = pieces;
  fewer.pop_back();
  CHECK_THROWS_WITH(write_reports(device, writer.about(), text::Vocabulary(fewer), {}),
                    "write_reports: the decoder has a vocabulary of 14 pieces, not of 13");
  CHECK_THROWS_WITH(attended_words(device, writer.about(), std::vector<WrittenReport>(2), writer.vocabulary),
                    "attended_words: 2 reports for 3 contexts");
}

TEST_CASE("a vocabulary's special pieces and blank lines are never written") {
  const auto vocabulary = text::Vocabulary::parse("[PAD]\n[UNK]\n[CLS]\n[SEP]\n\nno\n", "v");
  const auto options = tasks::search_options({}, vocabulary, 12);
  CHECK(options.begin == 2);
  CHECK(options.end == 3);
  CHECK(options.longest == 10);
  CHECK(options.never == std::vector<std::int32_t>{0, 1, 2, 4});
}
