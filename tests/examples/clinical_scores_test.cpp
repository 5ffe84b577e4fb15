#include "builtin/clinical_scores.hpp"

#include "builtin/study.hpp"
#include "support/catch.hpp"
#include "support/messages.hpp"

#include <rapidcheck.h>

#include <vlp/data/dataset.hpp>
#include <vlp/tasks/generation_evaluation.hpp>

#include <cmath>
#include <cstdint>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace vlp::builtin;
using vlp::Index;

namespace vlp::builtin {

/// Shows counts where a check fails.
std::ostream& operator<<(std::ostream& out, const Agreement& agreement) {
  return out << agreement.right << " right, " << agreement.told << " told, " << agreement.expected << " true";
}

}  // namespace vlp::builtin

namespace {

using Texts = std::vector<std::string>;

const Agreement& of_kind(const ClinicalScores& scores, FindingKind kind) {
  return scores.kinds[static_cast<std::size_t>(kind)];
}

ClinicalScores score(const std::string& text, const std::string& true_text) {
  return clinical_scores(Texts{text}, Texts{true_text});
}

/// Impressions of studies whose images are not drawn.
Texts impressions(std::uint32_t count, std::uint64_t seed) {
  Texts out;
  for (std::uint32_t i = 0; i < count; ++i) {
    vlp::Random for_truth(seed, i, 1), for_report(seed, i, 2);
    auto truth = detail::draw_findings(for_truth);
    out.push_back(detail::write_report(truth, for_report).impression);
  }
  return out;
}

std::vector<Agreement> all_of(const ClinicalScores& scores) {
  std::vector<Agreement> out(scores.kinds.begin(), scores.kinds.end());
  for (const Agreement& agreement :
       {scores.side, scores.zone, scores.size, scores.severity, scores.whole, scores.negatives})
    out.push_back(agreement);
  return out;
}

}  // namespace

TEST_CASE("a copy of the true impression scores 1 in every respect") {
  const Texts truth = impressions(3000, 21);
  const ClinicalScores scores = clinical_scores(truth, truth);
  CHECK(scores.texts == 3000);
  for (const Agreement& agreement : all_of(scores)) {
    CHECK(agreement.expected > 300);
    CHECK(agreement.f1() == 1);
    CHECK(agreement.precision() == 1);
    CHECK(agreement.recall() == 1);
  }
}

TEST_CASE("a finding that is named, added or left out counts once, by its kind") {
  const auto scores =
      clinical_scores(Texts{"Small left nodule and severe cardiomegaly.", "No acute disease."},
                      Texts{"Small left nodule and large right effusion.", "Left chest tube."});
  CHECK(of_kind(scores, FindingKind::nodule) == Agreement{1, 1, 1});
  CHECK(of_kind(scores, FindingKind::enlarged_heart) == Agreement{0, 1, 0});
  CHECK(of_kind(scores, FindingKind::effusion) == Agreement{0, 0, 1});
  CHECK(of_kind(scores, FindingKind::tube) == Agreement{0, 0, 1});
  CHECK(scores.findings() == Agreement{1, 2, 3});
  CHECK(scores.negatives == Agreement{0, 1, 0});
  // Attributes of findings that are not named rightly do not count.
  CHECK(scores.side == Agreement{1, 1, 1});
  CHECK(scores.size == Agreement{1, 1, 1});
  CHECK(scores.severity == Agreement{0, 0, 0});
  CHECK(scores.whole == Agreement{1, 2, 3});
}

TEST_CASE("an attribute that is added costs precision, one left out recall, a wrong one both") {
  const std::string truth = "Dense right lower lung opacity.";  // no size
  const auto exact = score(truth, truth);
  CHECK(exact.whole == Agreement{1, 1, 1});
  CHECK(exact.size == Agreement{0, 0, 0});
  const auto added = score("Small dense right lower lung opacity.", truth);
  CHECK(added.size == Agreement{0, 1, 0});
  CHECK(added.whole == Agreement{0, 1, 1});
  CHECK(added.findings() == Agreement{1, 1, 1});
  const auto left_out = score("Right lower lung pneumonia.", truth);
  CHECK(left_out.severity == Agreement{0, 0, 1});
  CHECK(left_out.side == Agreement{1, 1, 1});
  CHECK(left_out.whole == Agreement{0, 1, 1});
  const auto wrong = score("Dense left upper lung opacity.", truth);
  CHECK(wrong.side == Agreement{0, 1, 1});
  CHECK(wrong.zone == Agreement{0, 1, 1});
  CHECK(wrong.severity == Agreement{1, 1, 1});
  CHECK(wrong.whole == Agreement{0, 1, 1});
}

TEST_CASE("a tube is told apart by its device") {
  const std::string truth = "Endotracheal tube in good position.";
  CHECK(score("Endotracheal tube.", truth).whole == Agreement{1, 1, 1});
  const auto catheter = score("Central venous catheter.", truth);
  CHECK(catheter.findings() == Agreement{1, 1, 1});
  CHECK(catheter.zone == Agreement{1, 1, 1});
  CHECK(catheter.side == Agreement{0, 0, 1});
  CHECK(score("Right chest tube in place.", truth).zone == Agreement{0, 1, 1});
  CHECK(score("Right chest tube in place.", truth).side == Agreement{0, 1, 1});
}

TEST_CASE("of several findings of a kind, those that agree most are matched, each once") {
  const std::string truth = "Small left effusion and large right effusion.";
  const auto turned = score("Large right effusion and small left effusion.", truth);
  CHECK(turned.whole == Agreement{2, 2, 2});
  // Each attribute alone decides.
  for (const auto& [a, b] : {std::pair{"left nodule", "right nodule"},
                             {"upper nodule", "lower nodule"},
                             {"small nodule", "large nodule"},
                             {"faint nodule", "dense nodule"}}) {
    const std::string one = a, other = b;
    CHECK(score(one + " and " + other, other + " and " + one).whole == Agreement{2, 2, 2});
  }
  const auto partly = score("Right effusion, large left effusion, and large right effusion.", truth);
  // "Right effusion" tells only what the last one tells.
  CHECK(partly.findings() == Agreement{2, 2, 2});
  CHECK(partly.whole == Agreement{1, 2, 2});
  CHECK(partly.side == Agreement{2, 2, 2});
  CHECK(partly.size == Agreement{1, 2, 2});
  const auto one = score("Large right effusion.", truth);
  CHECK(one.findings() == Agreement{1, 1, 2});
  CHECK(one.whole == Agreement{1, 1, 2});
}

TEST_CASE("what is said to be normal or absent is scored, each once a text") {
  const auto scores = clinical_scores(
      Texts{"Normal chest radiograph.", "No effusion or nodule. No effusion.", "No acute disease."},
      Texts{"No acute disease.", "No effusion. No pneumothorax.", "Left nodule."});
  CHECK(scores.negatives == Agreement{2, 4, 3});
  CHECK(scores.negatives.precision() == 0.5);
  CHECK(scores.negatives.recall() == Approx(2.0 / 3));
  CHECK(scores.negatives.f1() == Approx(4.0 / 7));
}

TEST_CASE(
    "clinical scores of any texts are from 0 to 1, sums over texts, and turn round with the two sides") {
  const Texts pool = impressions(40, 3);
  CHECK(rc::check([&] {
    const auto count = *rc::gen::inRange<std::size_t>(0, 8);
    const auto pick = [&] {
      Texts out;
      for (std::size_t i = 0; i < count; ++i)
        out.push_back(*rc::gen::elementOf(pool) + " " + *rc::gen::elementOf(pool));
      return out;
    };
    const Texts texts = pick(), truth = pick();
    const ClinicalScores all = clinical_scores(texts, truth), turned = clinical_scores(truth, texts);
    ClinicalScores sum;
    for (std::size_t i = 0; i < count; ++i) {
      const ClinicalScores one = score(texts[i], truth[i]);
      for (std::size_t k = 0; k < finding_kind_count; ++k) sum.kinds[k] += one.kinds[k];
      sum.side += one.side;
      sum.whole += one.whole;
    }
    RC_ASSERT(all.kinds == sum.kinds);
    RC_ASSERT(all.side == sum.side);
    RC_ASSERT(all.whole == sum.whole);
    const auto ours = all_of(all), theirs = all_of(turned);
    for (std::size_t i = 0; i < ours.size(); ++i) {
      RC_ASSERT(ours[i].right >= 0 && ours[i].right <= std::min(ours[i].told, ours[i].expected));
      RC_ASSERT(ours[i].told >= 0);
    }
    RC_ASSERT(all.findings().told == turned.findings().expected);
    RC_ASSERT(all.findings().right == turned.findings().right);
    RC_ASSERT(all.whole.right <= all.findings().right);
  }));
}

TEST_CASE("an impression of another study scores near chance, and a silent text has no precision") {
  const Texts truth = impressions(2000, 1), other = impressions(2000, 2);
  const ClinicalScores chance = clinical_scores(other, truth);
  CHECK(chance.side.f1() == Approx(0.5).margin(0.1));
  CHECK(chance.findings().f1() < 0.35);
  CHECK(chance.whole.f1() < 0.1);
  const ClinicalScores silent = clinical_scores(Texts(2000), truth);
  CHECK(std::isnan(silent.findings().precision()));
  CHECK(silent.findings().recall() == 0);
  CHECK(silent.findings().f1() == 0);
  CHECK(std::isnan(silent.side.f1()));
}

TEST_CASE("clinical scores stand in a table, and as columns beside those of words") {
  const Texts truth{"Small left effusion.", "Normal chest radiograph."};
  const Texts texts{"Large left effusion.", "Normal chest radiograph."};
  const ClinicalScores scores = clinical_scores(texts, truth);
  CHECK(table(scores) ==
        "| | precision | recall | F1 | told | true |\n"
        "|---|---:|---:|---:|---:|---:|\n"
        "| **finding named** | 100.0 % | 100.0 % | 100.0 % | 1 | 1 |\n"
        "| opacity | - | - | - | 0 | 0 |\n"
        "| nodule | - | - | - | 0 | 0 |\n"
        "| effusion | 100.0 % | 100.0 % | 100.0 % | 1 | 1 |\n"
        "| pneumothorax | - | - | - | 0 | 0 |\n"
        "| enlarged heart | - | - | - | 0 | 0 |\n"
        "| tube | - | - | - | 0 | 0 |\n"
        "| **side of findings named** | 100.0 % | 100.0 % | 100.0 % | 1 | 1 |\n"
        "| **zone** | - | - | - | 0 | 0 |\n"
        "| **size** | 0.0 % | 0.0 % | 0.0 % | 1 | 1 |\n"
        "| **severity** | - | - | - | 0 | 0 |\n"
        "| **finding with all of these** | 0.0 % | 0.0 % | 0.0 % | 1 | 1 |\n"
        "| **normal or absent** | 100.0 % | 100.0 % | 100.0 % | 1 | 1 |\n");
  const std::vector<ClinicalScores> writers{scores, clinical_scores(truth, truth)};
  const auto columns = clinical_columns(writers);
  REQUIRE(columns.size() == 7);
  const std::vector<std::string> names{"finding F1",       "side",     "zone", "size", "severity",
                                       "whole finding F1", "normal F1"};
  for (std::size_t i = 0; i < names.size(); ++i) {
    CHECK(columns[i].name == names[i]);
    CHECK(columns[i].values.size() == 2);
  }
  CHECK(columns[0].values == std::vector<double>{1, 1});
  CHECK(columns[1].values == std::vector<double>{1, 1});
  CHECK(std::isnan(columns[2].values[0]));
  CHECK(columns[3].values == std::vector<double>{0, 1});
  CHECK(std::isnan(columns[4].values[1]));
  CHECK(columns[5].values == std::vector<double>{0, 1});
  CHECK(columns[6].values == std::vector<double>{1, 1});
  CHECK(clinical_columns({}).empty());
  const std::vector<vlp::tasks::WrittenTexts> rows{{"model", texts}, {"copy", truth}};
  const std::vector<vlp::eval::References> references{{truth[0]}, {truth[1]}};
  CHECK(vlp::tasks::table(vlp::tasks::evaluate_texts(rows, references), columns).find("| normal F1 |") !=
        std::string::npos);
}

TEST_CASE("clinical scores refuse numbers of texts that differ") {
  CHECK(vlp::test::message_of<std::invalid_argument>([] {
          static_cast<void>(clinical_scores(Texts{"a"}, Texts{}));
        }) == "clinical_scores: there are 1 texts but 0 true ones");
}

TEST_CASE(
    "built-in data have both sections of every report, and each impression states what it was written from") {
  vlp::Cpu device(2);
  for (const auto policy : {vlp::data::MissingSection::leave_out, vlp::data::MissingSection::other_section}) {
    const auto dataset =
        draw_dataset(device, 4, 12, {.image_size = 32, .held_out = 0.25, .missing_section = policy});
    CHECK(dataset.sections);
    CHECK(dataset.train.size() == 9);
    CHECK(dataset.held_out.size() == 3);
    CHECK(dataset.notes.size() == 1);
    for (std::uint32_t i = 0; i < 9; ++i) {
      const Study study = draw_study(4, i, 32);
      CHECK(dataset.train[i].report == study.impression);
      CHECK(dataset.train[i].findings == study.findings);
      CHECK(read_statements(dataset.train[i].report) == study.told);
    }
  }
}
