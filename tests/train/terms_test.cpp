#include "support/catch.hpp"

#include <vlp/train/log.hpp>
#include <vlp/train/terms.hpp>
#include <vlp/train/times.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

using namespace vlp;
using train::Terms;

TEST_CASE("terms are written with their names") {
  CHECK(train::text_of(Terms{3.14159, {{"global", 1, 2.5}, {"local", 0.1, 6.4159}}}) ==
        "loss 3.142 (global 2.500, local 6.416)");
  CHECK(train::text_of(Terms{1, {}}) == "loss 1.000");
  CHECK(train::text_of(Terms{9, {{"global", 1, 2.5}, {"local", 1, 3.4, 3.4657}, {"other", 1, 3.1}}}) ==
        "loss 9.000 (global 2.500, local 3.400 [chance 3.466], other 3.100)");
}

TEST_CASE("the first term that is not finite is found, and the whole last") {
  const double inf = std::numeric_limits<double>::infinity();
  CHECK(train::first_not_finite({1, {{"a", 1, 1}, {"b", 1, 2}}}).name.empty());
  CHECK(train::first_not_finite({1, {{"a", 1, 1}, {"b", 1, -inf}, {"c", 1, inf}}}).name == "b");
  CHECK(train::first_not_finite({std::nan(""), {{"a", 1, 1}}}).name == "whole");
  CHECK(std::isnan(train::first_not_finite({std::nan(""), {}}).value));
}

TEST_CASE("means over parts are weighted sums and keep names and weights") {
  Terms mean;
  add_weighted(mean, Terms{4, {{"a", 0.5, 8}}}, 0.25);
  add_weighted(mean, Terms{8, {{"a", 0.5, 16}}}, 0.75);
  CHECK(mean.total == 7);
  REQUIRE(mean.terms.size() == 1);
  CHECK(mean.terms[0].name == "a");
  CHECK(mean.terms[0].weight == 0.5);
  CHECK(mean.terms[0].value == 14);
}

TEST_CASE("chance levels have columns of their own and are averaged as values are") {
  const Terms terms{1, {{"a", 1, 2}, {"b", 1, 3, 4.0}, {"c", 1, 5}}};
  CHECK(columns_of(terms) == std::vector<std::string>{"a", "b", "b_chance", "c"});
  CHECK(values_of(terms) == std::vector<double>{2, 3, 4, 5});
  Terms mean;
  add_weighted(mean, terms, 0.25);
  add_weighted(mean, Terms{1, {{"a", 1, 2}, {"b", 1, 3, 8.0}, {"c", 1, 5}}}, 0.75);
  CHECK(mean.terms[1].chance == 7.0);
  CHECK_FALSE(mean.terms[0].chance.has_value());
  CHECK_FALSE(mean.terms[2].chance.has_value());
}

TEST_CASE("times add up by kind of work, in the order of their first") {
  train::Times times;
  times.add("losses", 1);
  times.add("encoders", 2);
  times.add("losses", 0.5);
  { const auto stopwatch = times.measure("input"); }
  REQUIRE(times.entries().size() == 3);
  CHECK(times.entries()[0].work == "losses");
  CHECK(times.entries()[0].seconds == 1.5);
  CHECK(times.entries()[2].seconds >= 0);
}
