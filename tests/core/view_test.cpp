#include "support/catch.hpp"

#include <vlp/core/view.hpp>

#include <array>
#include <numeric>
#include <stdexcept>

using namespace vlp;

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
