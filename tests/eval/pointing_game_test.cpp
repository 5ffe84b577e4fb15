#include "support/catch.hpp"

#include <vlp/eval/pointing_game.hpp>

#include <cmath>
#include <limits>

using vlp::Index;
using vlp::MatrixView;
using vlp::eval::Box;
using vlp::eval::point;
using vlp::eval::PointingGame;

namespace {
/// A 4 x 4 grid over 64 x 64 pixels: cells of 16 pixels with centres at 8, 24, 40, 56.
struct Grid {
  float values[16] = {};
  [[nodiscard]] MatrixView<const float> view() const { return {values, {4, 4}}; }
  float& at(Index row, Index col) { return values[row * 4 + col]; }
};
}  // namespace

TEST_CASE("the pointing game hits when the centre of the strongest cell is in the box") {
  Grid grid;
  grid.at(1, 2) = 1;  // centre at x 40, y 24
  CHECK(point(grid.view(), {36, 20, 44, 28}, 64, 64).hit);
  CHECK(point(grid.view(), {40, 24, 64, 64}, 64, 64).hit);        // the near edge belongs to the box
  CHECK_FALSE(point(grid.view(), {0, 0, 40, 24}, 64, 64).hit);    // the far edge does not
  CHECK_FALSE(point(grid.view(), {41, 17, 64, 47}, 64, 64).hit);  // a cell that straddles, centre outside
  CHECK(point(grid.view(), {41, 17, 64, 47}, 64, 64, 1.5).hit);   // unless within the tolerance
}

TEST_CASE("chance in the pointing game is the share of cells that hit") {
  Grid grid;
  CHECK(point(grid.view(), {0, 0, 64, 64}, 64, 64).chance == 1);
  CHECK(point(grid.view(), {0, 0, 32, 64}, 64, 64).chance == 0.5);
  CHECK(point(grid.view(), {16, 16, 32, 32}, 64, 64).chance == Approx(1.0 / 16));
  CHECK(point(grid.view(), {33, 33, 35, 35}, 64, 64).chance == Approx(1.0 / 16));  // smaller than a cell
  CHECK(point(grid.view(), {33, 33, 35, 35}, 64, 64, 1000).chance == 1);
}

TEST_CASE("a box smaller than a cell is hit by the cell that holds it") {
  Grid grid;
  grid.at(2, 2) = 1;
  CHECK(point(grid.view(), {33, 33, 35, 35}, 64, 64).hit);
  CHECK_FALSE(point(grid.view(), {49, 33, 51, 35}, 64, 64).hit);
}

TEST_CASE("a box may reach as far beyond the image as a float does") {
  Grid grid;
  grid.at(3, 3) = 1;
  constexpr float most = std::numeric_limits<float>::max();
  CHECK(point(grid.view(), {63, 63, most, most}, 64, 64).hit);
  CHECK_FALSE(point(grid.view(), {-most, -most, 1, 1}, 64, 64).hit);
  CHECK(point(grid.view(), {-most, -most, most, most}, 64, 64).chance == 1);
}

TEST_CASE("ties and NaN count against the attention") {
  Grid grid;
  CHECK_FALSE(point(grid.view(), {0, 0, 32, 64}, 64, 64).hit);  // all alike
  CHECK(point(grid.view(), {0, 0, 64, 64}, 64, 64).hit);
  grid.at(0, 0) = grid.at(3, 0) = 2;
  CHECK(point(grid.view(), {0, 0, 32, 64}, 64, 64).hit);  // both maxima inside
  CHECK_FALSE(point(grid.view(), {0, 0, 32, 32}, 64, 64).hit);
  grid.at(2, 2) = std::numeric_limits<float>::quiet_NaN();
  CHECK_FALSE(point(grid.view(), {0, 0, 64, 64}, 64, 64).hit);
  Grid starts_with_nan;
  starts_with_nan.at(0, 0) = std::numeric_limits<float>::quiet_NaN();
  CHECK_FALSE(point(starts_with_nan.view(), {0, 0, 64, 64}, 64, 64).hit);
}

TEST_CASE("the pointing game on grids and images that are not square") {
  const double attention[] = {0, 0, 3};
  CHECK(point(MatrixView<const double>(attention, {1, 3}), {20, 0, 30, 10}, 10, 30).hit);
  CHECK(point(MatrixView<const double>(attention, {3, 1}), {0, 20, 10, 30}, 30, 10).hit);
  CHECK(point(MatrixView<const double>(attention, {1, 1}), {0, 0, 1, 1}, 30, 10).chance == 1);
  CHECK(point(MatrixView<const double>(attention, {1, 3}), {25, -5, 40, 5}, 10, 30).hit);  // partly outside
}

TEST_CASE("the pointing game adds up by kind of finding") {
  PointingGame game;
  CHECK(std::isnan(game.overall().value()));
  CHECK(game.kinds().empty());
  game.add("nodule", {true, 0.125});
  game.add("effusion", {false, 0.5});
  game.add("nodule", {false, 0.25});
  REQUIRE(game.kinds().size() == 2);
  CHECK(game.kinds()[0].kind == "nodule");
  CHECK(game.kinds()[0].accuracy.value() == 0.5);
  CHECK(game.kinds()[0].accuracy.chance == Approx(0.1875));
  CHECK(game.kinds()[1].accuracy.correct == 0);
  CHECK(game.overall().count == 3);
  CHECK(game.overall().correct == 1);
  CHECK(game.overall().chance == Approx(0.875 / 3));
}

TEST_CASE("the pointing game refuses bad input") {
  const Grid grid;
  const float infinite = std::numeric_limits<float>::infinity();
  CHECK_THROWS_AS(point(MatrixView<const float>(grid.values, {0, 4}), {0, 0, 9, 9}, 64, 64),
                  std::invalid_argument);
  CHECK_THROWS_AS(point(grid.view(), {0, 0, 9, 9}, 0, 64), std::invalid_argument);
  CHECK_THROWS_AS(point(grid.view(), {9, 0, 9, 9}, 64, 64), std::invalid_argument);
  CHECK_THROWS_AS(point(grid.view(), {0, 0, infinite, 9}, 64, 64), std::invalid_argument);
  CHECK_THROWS_AS(point(grid.view(), {64, 0, 70, 9}, 64, 64), std::invalid_argument);
  CHECK_THROWS_WITH(point(grid.view(), {0, 0, 9, 9}, 64, 64, -1),
                    "point: tolerance must be 0 or more, but is -1");
}
