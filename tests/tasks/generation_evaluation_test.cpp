#include "support/catch.hpp"
#include "support/messages.hpp"

#include <rapidcheck.h>

#include <vlp/core/random.hpp>
#include <vlp/tasks/generation_evaluation.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

using namespace vlp;
using eval::References;

namespace {

using Texts = std::vector<std::string>;

data::Example example(std::string name, std::string report, std::int64_t image = 0, std::int64_t text = 0) {
  data::Example out;
  out.name = std::move(name);
  out.report = std::move(report);
  out.image_id = image;
  out.text_id = text;
  return out;
}

std::vector<data::Example> examples_of(const Texts& reports) {
  std::vector<data::Example> out;
  for (const std::string& report : reports)
    out.push_back(example("image " + std::to_string(out.size()), report,
                          static_cast<std::int64_t>(out.size()), static_cast<std::int64_t>(out.size())));
  return out;
}

std::vector<References> one_each(const Texts& texts) {
  std::vector<References> out;
  for (const std::string& text : texts) out.push_back({text});
  return out;
}

template <class Action>
std::string refusal(Action&& action) {
  return test::message_of<std::invalid_argument>([&] { static_cast<void>(action()); });
}

const float nan_value = std::numeric_limits<float>::quiet_NaN();

}  // namespace

TEST_CASE("written texts are scored after normalisation, whole, a row for each writer") {
  const std::string tail(200, 'x');  // words that a model would not read count, too
  std::string text = "Large left effusion.";
  for (int i = 0; i < 60; ++i) text += " w" + std::to_string(i);
  const Texts truth{"No acute disease.", text + " " + tail};
  const std::vector<tasks::WrittenTexts> writers{
      {"model", {"no  acute disease", text}},
      {"perfect", truth},
      {"silent", {"", ""}},
  };
  const auto evaluation = tasks::evaluate_texts(writers, one_each(truth));
  CHECK(evaluation.texts == 2);
  REQUIRE(evaluation.rows.size() == 3);
  const auto& model = evaluation.rows[0].scores;
  CHECK(evaluation.rows[0].name == "model");
  CHECK(model.exact_match == 0.5);
  CHECK(model.bleu.candidate_words == 66);
  CHECK(model.bleu.reference_words == 67);
  CHECK(model.bleu.matches[0] == 66);
  CHECK(model.rouge.recall == Approx((1 + 63.0 / 64) / 2));
  const auto& perfect = evaluation.rows[1].scores;
  for (const double score : perfect.bleu.score) CHECK(score == 1);
  CHECK(perfect.rouge.f == 1);
  CHECK(perfect.exact_match == 1);
  CHECK(evaluation.rows[2].scores.rouge.f == 0);
  CHECK(evaluation.rows[2].scores.bleu.score[0] == 0);
}

TEST_CASE("every different report of an image is a reference of it, its own first") {
  const std::vector<data::Example> examples{example("a", "One.", 7, 0), example("b", "Two.", 8, 1),
                                            example("a", "Three.", 7, 2), example("a", "one", 7, 0)};
  const auto references = tasks::references_of(examples);
  REQUIRE(references.size() == 4);
  CHECK(references[0] == References{"One.", "Three."});
  CHECK(references[1] == References{"Two."});
  CHECK(references[2] == References{"Three.", "One."});
  CHECK(references[3] == References{"one", "Three."});
}

TEST_CASE("the most frequent training report is counted after normalisation, the first of several") {
  const auto texts = [](const Texts& reports, std::size_t count) {
    return tasks::most_frequent_report(examples_of(reports), count).texts;
  };
  CHECK(texts({"b", "A.", "c", "a", "B"}, 2) == Texts{"b", "b"});
  CHECK(texts({"b", "A.", "c", "a", "a!"}, 1) == Texts{"A."});
  CHECK(texts({"only"}, 0).empty());
  // A cut text is another one: all words count.
  std::string many;
  for (int i = 0; i < 60; ++i) many += "w ";
  CHECK(texts({many + "x", many + "y", "z", "z"}, 1) == Texts{"z"});
  CHECK(refusal([&] { return texts({}, 1); }) == "most_frequent_report: there are no training examples");
}

TEST_CASE("random training reports are those of the seed, whatever their number, and even") {
  const auto train = examples_of({"a", "b", "c"});
  const auto many = tasks::random_reports(train, 900, 5).texts;
  auto few = tasks::random_reports(train, 10, 5).texts;
  CHECK(std::equal(few.begin(), few.end(), many.begin()));
  CHECK(tasks::random_reports(train, 900, 6).texts != many);
  std::map<std::string, int> counts;
  for (const std::string& text : many) ++counts[text];
  REQUIRE(counts.size() == 3);
  for (const auto& [text, count] : counts) CHECK(count == Approx(300).margin(60));
  CHECK(refusal([] { return tasks::random_reports({}, 1, 5); }) ==
        "random_reports: there are no training examples");
}

TEST_CASE("the nearest training image is that of the largest product, the first of equal ones") {
  Cpu device(1);
  const float train[] = {1, 0, 0, 1, 1, 0};
  const float images[] = {0.8F, 0.6F, 0.6F, 0.8F, 0, -1};
  const auto texts = tasks::nearest_reports(device, MatrixView<const float>(images, {3, 2}),
                                            MatrixView<const float>(train, {3, 2}),
                                            examples_of({"right", "up", "right again"}));
  CHECK(texts.name == "nearest training image's");
  CHECK(texts.texts == Texts{"right", "up", "right"});
}

TEST_CASE("a feature that is not a number is near to nothing") {
  Cpu device(1);
  const float rows[] = {nan_value, 0, 1, 0, nan_value, nan_value, 0.5F, 0};
  const float queries[] = {1, 0, -1, 0, nan_value, 0};
  const auto nearest = tasks::nearest_rows(device, MatrixView<const float>(queries, {3, 2}),
                                           MatrixView<const float>(rows, {4, 2}));
  CHECK(nearest == std::vector<Index>{1, 3, 0});
}

TEST_CASE("nearest rows are those of a literal loop, over several blocks and threads") {
  Cpu device(2);
  const Index queries = 530, rows = 70, width = 3;
  Random random(9);
  std::vector<double> a(static_cast<std::size_t>(queries * width)), b(static_cast<std::size_t>(rows * width));
  for (auto* values : {&a, &b})
    for (double& value : *values) value = static_cast<double>(random.below(5)) - 2;  // many ties
  const MatrixView<const double> query(a.data(), {queries, width}), row(b.data(), {rows, width});
  const auto nearest = tasks::nearest_rows(device, query, row);
  REQUIRE(nearest.size() == static_cast<std::size_t>(queries));
  for (Index i = 0; i < queries; ++i) {
    Index best = 0;
    double most = -1e9;
    for (Index j = 0; j < rows; ++j) {
      double product = 0;
      for (Index d = 0; d < width; ++d) product += query(i, d) * row(j, d);
      if (product > most) {
        most = product;
        best = j;
      }
    }
    CHECK(nearest[static_cast<std::size_t>(i)] == best);
  }
  CHECK(tasks::nearest_rows(device, MatrixView<const double>(a.data(), {0, width}), row).empty());
  std::atomic<bool> flag{true};
  CHECK_THROWS_AS(tasks::nearest_rows(device, query, row, StopToken(flag)), Stopped);
}

TEST_CASE("a table of scores has a row for each writer, and the caller's columns behind") {
  const Texts truth{"a b c d", "e f g h"};
  const std::vector<tasks::WrittenTexts> writers{
      {"model | x", {"a b c d", "e f g h"}}, {"half", {"a b c d", "x x x x"}}, {"short", {"a b", "e f g h"}}};
  const auto evaluation = tasks::evaluate_texts(writers, one_each(truth));
  const std::vector<tasks::ScoreColumn> further{{"findings F1", {0.75, std::nan(""), 0}}};
  CHECK(tasks::table(evaluation, further) ==
        "| | BLEU-1 | BLEU-2 | BLEU-3 | BLEU-4 | ROUGE-L | exact | findings F1 |\n"
        "|---|---:|---:|---:|---:|---:|---:|---:|\n"
        "| model \\| x | 100.0 % | 100.0 % | 100.0 % | 100.0 % | 100.0 % | 100.0 % | 75.0 % |\n"
        "| half | 50.0 % | 50.0 % | 50.0 % | 50.0 % | 50.0 % | 50.0 % | - |\n"
        "| short | 71.7 % | 71.7 % | 71.7 % | 71.7 % | 83.3 % | 50.0 % | 0.0 % |\n");
  CHECK(tasks::table(tasks::evaluate_texts({}, {})) ==
        "| | BLEU-1 | BLEU-2 | BLEU-3 | BLEU-4 | ROUGE-L | exact |\n|---|---:|---:|---:|---:|---:|---:|\n");
}

TEST_CASE("written and true texts stand side by side, with a mark where they agree") {
  const std::vector<data::Example> examples{example("a.png", "No disease."),
                                            example("b|c.png", "Left\neffusion."), example("d.png", "x")};
  const std::vector<References> references{{"No disease."}, {"Left\neffusion.", "Effusion!"}, {"x"}};
  CHECK(tasks::table_of_texts(examples, Texts{"nodule", "effusion", ""}, references, 10) ==
        "| image | written | true | same |\n|---|---|---|:---:|\n"
        "| a.png | nodule | No disease. |  |\n"
        "| b\\|c.png | effusion | Effusion! | yes |\n"
        "| d.png | *(nothing)* | x |  |\n");
  CHECK(tasks::table_of_texts(examples, Texts{"no  disease", "", "x"}, references, 2) ==
        "| image | written | true | same |\n|---|---|---|:---:|\n"
        "| a.png | no disease | No disease. | yes |\n"
        "| b\\|c.png | *(nothing)* | Left effusion. |  |\n");
}

TEST_CASE("a path is shown by its last three parts") {
  using tasks::detail::end_of_path;
  CHECK(end_of_path("/data/p10/s50/1.png") == "p10/s50/1.png");
  CHECK(end_of_path("a/b/c/d.png") == "b/c/d.png");
  CHECK(end_of_path("/b/c/d.png") == "/b/c/d.png");
  CHECK(end_of_path("b/c/d.png") == "b/c/d.png");
  CHECK(end_of_path("/c/d.png") == "/c/d.png");
  CHECK(end_of_path("built-in study 3") == "built-in study 3");
  CHECK(end_of_path("") == "");
  CHECK(end_of_path("///") == "///");
}

TEST_CASE("no text of a stranger leaves its cell") {
  using tasks::detail::cell;
  CHECK(cell("a | b\r\n\tc  d ") == "a \\| b c d");
  CHECK(cell("<b>&amp; *x* `y` [z](u) \\") == "\\<b\\>\\&amp; \\*x\\* \\`y\\` \\[z\\](u) \\\\");
  CHECK(cell("\x1b[2J") == "\\\\x1b\\[2J");
  CHECK(cell(" \n") == "");
  const std::string longer = cell(std::string(399, 'a') + "\xc3\xa9" + std::string(50, 'b'));
  CHECK(longer == std::string(399, 'a') + " ...");
  CHECK(cell(std::string(400, 'a')) == std::string(400, 'a'));
  CHECK(rc::check([](const std::vector<char>& bytes) {
    const std::string out = cell(std::string(bytes.begin(), bytes.end()));
    for (std::size_t i = 0; i < out.size(); ++i) {
      RC_ASSERT(static_cast<unsigned char>(out[i]) >= 0x20);
      if (out[i] == '\\')
        ++i;
      else
        RC_ASSERT(out[i] != '|' && out[i] != '<');
    }
  }));
}

TEST_CASE("evaluation of written texts refuses sizes that do not fit") {
  Cpu device(1);
  const auto train = examples_of({"a", "b"});
  const float values[6] = {};
  const MatrixView<const float> two(values, {2, 2}), three(values, {2, 3}), none(values, {0, 2});
  const std::vector<tasks::WrittenTexts> writers{{"model", {"a"}}};
  const Texts text{"a"};
  CHECK(refusal([&] {
          return tasks::evaluate_texts(writers, one_each({"a", "b"}));
        }) == "evaluate_texts: there are 2 examples but 1 texts of 'model'");
  CHECK(refusal([&] { return tasks::nearest_rows(device, two, three); }) ==
        "nearest_rows: queries are 2 x 2 but rows 2 x 3");
  CHECK(refusal([&] { return tasks::nearest_rows(device, two, none); }) == "nearest_rows: there are no rows");
  CHECK(refusal([&] { return tasks::nearest_reports(device, two, none, train); }) ==
        "nearest_reports: there are 2 training examples but 0 features");
  CHECK(refusal([&] {
          return tasks::table_of_texts(train, text, one_each({"a", "b"}), 1);
        }) == "table_of_texts: there are 2 examples but 1 texts and 2 references");
  CHECK(refusal([&] {
          return tasks::table_of_texts(train, Texts{"a", "b"}, std::vector<References>(2), 1);
        }) == "table_of_texts: example 0 has no reference");
  const std::vector<tasks::ScoreColumn> column{{"F1", {}}};
  const auto evaluation = tasks::evaluate_texts(writers, one_each({"a"}));
  CHECK(refusal([&] { return tasks::table(evaluation, column); }) ==
        "table: there are 1 rows but 0 values of 'F1'");
  std::atomic<bool> flag{true};
  CHECK_THROWS_AS(tasks::evaluate_texts(writers, one_each({"a"}), StopToken(flag)), Stopped);
}
