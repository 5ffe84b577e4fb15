#include "support/catch.hpp"
#include "support/messages.hpp"

#include <vlp/core/view.hpp>

#include <array>
#include <limits>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>

using namespace vlp;
using vlp::test::message_of;

TEST_CASE("a view is row-major and indexes in every rank") {
  std::array<float, 24> memory{};
  std::iota(memory.begin(), memory.end(), 0.0f);
  const BatchView<float> batch(memory.data(), {2, 3, 4});
  CHECK(batch(1, 2, 3) == 23.0f);
  CHECK(batch[1](0, 1) == 13.0f);
  CHECK(batch[1][2][3] == 23.0f);
  CHECK(batch.size() == 24);
  CHECK(batch.contiguous());
  CHECK(flatten_rows(batch)(5, 3) == 23.0f);
  CHECK(batch.slice(1, 1)(0, 0, 0) == 12.0f);
  batch(0, 0, 0) = 7.0f;
  CHECK(memory[0] == 7.0f);
}

TEST_CASE("a strided view is a block of a larger array") {
  std::array<int, 12> memory{};
  std::iota(memory.begin(), memory.end(), 0);
  const MatrixView<int> every_other_row(memory.data(), {2, 3}, {6, 1});
  CHECK(every_other_row(1, 2) == 8);
  CHECK_FALSE(every_other_row.contiguous());
  const MatrixView<int> last_columns = column_range(every_other_row, 1, 2);
  CHECK(last_columns.rows() == 2);
  CHECK(last_columns.cols() == 2);
  CHECK(last_columns(1, 0) == 7);
  const MatrixView<const int> read_only = every_other_row;
  CHECK(read_only.stride(0) == 6);
}

TEST_CASE("a default view is one that was not given") {
  CHECK_FALSE(MatrixView<float>().given());
  CHECK_FALSE(flatten_rows(BatchView<float>()).given());
  CHECK_FALSE(column_range(MatrixView<float>(nullptr, {0, 5}), 2, 3).given());
  float x = 0;
  CHECK(MatrixView<float>(&x, {0, 5}).given());
}

TEST_CASE("a last dimension that is not adjacent is refused") {
  std::array<float, 4> memory{};
  CHECK_THROWS_AS(MatrixView<float>(memory.data(), {2, 2}, {1, 2}), std::invalid_argument);
  CHECK_NOTHROW(MatrixView<float>(memory.data(), {2, 1}, {1, 2}));
  const BatchView<float> gapped(memory.data(), {2, 1, 1}, {3, 1, 1});
  CHECK_THROWS_AS(flatten_rows(gapped), std::invalid_argument);
  CHECK_THROWS_AS(reshape<1>(MatrixView<float>(memory.data(), {2, 2}), {3}), std::invalid_argument);
}

TEST_CASE("offsets are computed in 64 bits") {
  const MatrixView<char> huge(nullptr, {Index{1} << 20, Index{1} << 20});
  CHECK(huge.size() == Index{1} << 40);
  CHECK(huge.stride(0) * (huge.rows() - 1) == ((Index{1} << 40) - (Index{1} << 20)));
}

TEST_CASE("extents whose product no Index holds, and negative ones, are refused by name") {
  constexpr Index large = Index{1} << 32;
  char c = 0;
  const auto refusal = [&](auto make) { return message_of<std::invalid_argument>(make); };
  const std::string rest = ", but each must be at least 0 and their product below 2^63";
  CHECK(refusal([&] {
          MatrixView<char>(&c, {large, large});
        }) == "view: the extents are 4294967296 x 4294967296" + rest);
  CHECK(refusal([&] {
          MatrixView<char>(&c, {large, large}, {0, 1});
        }) == "view: the extents are 4294967296 x 4294967296" + rest);
  CHECK(refusal([&] {
          BatchView<char>(&c, {0, large, large});
        }) == "view: the extents are 0 x 4294967296 x 4294967296" + rest);
  CHECK(refusal([&] { VectorView<char>(&c, {-4}); }) == "view: the extents are -4" + rest);
  CHECK(refusal([&] { MatrixView<char>(&c, {-2, -3}); }) == "view: the extents are -2 x -3" + rest);
  CHECK(refusal([&] { MatrixView<char>(&c, {0, std::numeric_limits<Index>::min()}); }) != "no error");
  CHECK(refusal([&] {
          static_cast<void>(reshape<2>(VectorView<char>(&c, {1}), {large, large}));
        }) != "no error");
  CHECK(MatrixView<char>(&c, {large, large / 2 - 1}).size() == large * (large / 2 - 1));
  CHECK(BatchView<char>(&c, {0, large, 5}).size() == 0);
}

TEST_CASE("a view overlaps itself where two of its elements are one") {
  float x = 0;
  const auto rows = [&](Index stride, Index count = 3) {
    return overlaps_itself(MatrixView<float>(&x, {count, 4}, {stride, 1}));
  };
  CHECK(rows(0));
  CHECK(rows(3));
  CHECK(rows(-3));
  CHECK_FALSE(rows(4));
  CHECK_FALSE(rows(-4));
  CHECK_FALSE(rows(0, 1));
  CHECK_FALSE(rows(0, 0));
  CHECK_FALSE(overlaps_itself(VectorView<float>(&x, {5})));
  // Three dimensions, against counting.
  for (Index matrices : {1, 2, 3})
    for (Index count : {0, 1, 2, 3})
      for (Index columns : {0, 1, 2})
        for (Index far = -9; far <= 9; ++far)
          for (Index near = -9; near <= 9; ++near) {
            std::set<Index> places;
            for (Index i = 0; i < matrices; ++i)
              for (Index j = 0; j < count; ++j)
                for (Index c = 0; c < columns; ++c) places.insert(i * far + j * near + c);
            CAPTURE(matrices, count, columns, far, near);
            const BatchView<float> view(&x, {matrices, count, columns}, {far, near, 1});
            CHECK(overlaps_itself(view) == (static_cast<Index>(places.size()) < view.size()));
          }
}
