#include "support/catch.hpp"

#include <vlp/eval/structure_discrimination.hpp>

#include <cmath>
#include <limits>

using vlp::Index;
using vlp::MatrixView;
using vlp::eval::structure_discrimination;

namespace {
const double nan_score = std::numeric_limits<double>::quiet_NaN();

template <class T, std::size_t Size>
MatrixView<const T> matrix(const T (&values)[Size], Index cols) {
  return {values, {static_cast<Index>(Size) / cols, cols}};
}
}  // namespace

TEST_CASE("structure discrimination counts strict wins, per report and per perturbation") {
  const float scores[] = {0.9f, 0.1f, 0.2f,   // beats both
                          0.5f, 0.4f, 0.6f,   // beats the first only
                          -1.f, -2.f, -1.f};  // a tie with the second is wrong
  const std::vector<std::string> names{"reverse_sentence", "shuffle_all_words"};
  const auto result = structure_discrimination(matrix(scores, 3), {}, names);
  CHECK(result.overall.correct == 1);
  CHECK(result.overall.count == 3);
  CHECK(result.overall.value() == Approx(1.0 / 3));
  CHECK(result.overall.chance == Approx(1.0 / 3));
  REQUIRE(result.perturbations.size() == 2);
  CHECK(result.perturbations[0].name == "reverse_sentence");
  CHECK(result.perturbations[0].accuracy.correct == 3);
  CHECK(result.perturbations[1].accuracy.correct == 1);
  CHECK(result.perturbations[1].accuracy.count == 3);
  CHECK(result.perturbations[1].accuracy.chance == 0.5);
}

TEST_CASE("structure discrimination leaves out what is not valid") {
  const double scores[] = {0.5, 0.9, 0.1,   // the better perturbation is not valid: right
                           0.5, 0.1, 0.1,   // no valid perturbation: not counted
                           0.5, 0.1, 0.1,   // no valid original: not counted
                           0.5, 0.9, 0.1};  // wrong
  const std::uint8_t valid[] = {1, 0, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1};
  const auto result = structure_discrimination(matrix(scores, 3), matrix(valid, 3));
  CHECK(result.overall.correct == 1);
  CHECK(result.overall.count == 2);
  CHECK(result.overall.chance == Approx((1.0 / 2 + 1.0 / 3) / 2));
  CHECK(result.perturbations[0].name == "1");
  CHECK(result.perturbations[0].accuracy.count == 1);
  CHECK(result.perturbations[0].accuracy.correct == 0);
  CHECK(result.perturbations[1].accuracy.count == 2);
  CHECK(result.perturbations[1].accuracy.correct == 2);
}

TEST_CASE("structure discrimination takes a NaN for wrong, on either side") {
  const double scores[] = {nan_score, 0.1, 0.9, nan_score, 0.9, 0.1};
  const auto result = structure_discrimination(matrix(scores, 2));
  CHECK(result.overall.correct == 1);
  CHECK(result.overall.count == 3);
  const std::uint8_t valid[] = {1, 1, 1, 0, 1, 1};  // a NaN that is not valid harms nobody
  CHECK(structure_discrimination(matrix(scores, 2), matrix(valid, 2)).overall.count == 2);
}

TEST_CASE("structure discrimination without reports or perturbations has no accuracy") {
  const double one_column[] = {0.5, 0.5};
  for (const auto& result : {structure_discrimination(matrix(one_column, 1)),
                             structure_discrimination(MatrixView<const double>(one_column, {0, 2}))}) {
    CHECK(result.overall.count == 0);
    CHECK(std::isnan(result.overall.value()));
    CHECK(std::isnan(result.overall.chance));
  }
}

TEST_CASE("structure discrimination refuses extents that do not agree") {
  const double scores[] = {0.5, 0.1, 0.2, 0.3};
  const std::uint8_t valid[] = {1, 1};
  const std::vector<std::string> names{"a", "b"};
  CHECK_THROWS_AS(structure_discrimination(MatrixView<const double>(scores, {4, 0})), std::invalid_argument);
  CHECK_THROWS_WITH(structure_discrimination(matrix(scores, 2), matrix(valid, 2)),
                    "structure_discrimination: scores is 2 x 2 but valid is 1 x 2");
  CHECK_THROWS_AS(structure_discrimination(matrix(scores, 2), {}, names), std::invalid_argument);
}
