#include "support/catch.hpp"

#include <vlp/core/matmul.hpp>
#include <vlp/interop/eigen.hpp>

#include <stdexcept>
#include <type_traits>

using vlp::MatrixView;
using vlp::VectorView;
using vlp::view;

namespace {
template <class View, class X>
constexpr bool gives = std::is_same_v<View, decltype(view(std::declval<X>()))>;
}  // namespace

TEST_CASE("an Eigen matrix is a view of its own memory") {
  vlp::MatrixXf matrix(3, 4);
  const auto seen = view(matrix);
  STATIC_REQUIRE(std::is_same_v<decltype(seen), const MatrixView<float>>);
  CHECK(seen.data() == matrix.data());
  CHECK(seen.rows() == 3);
  CHECK(seen.cols() == 4);
  CHECK(seen.contiguous());
  seen(2, 1) = 7.0f;
  CHECK(matrix(2, 1) == 7.0f);
}

TEST_CASE("constness of an Eigen expression is kept") {
  using Map = Eigen::Map<vlp::MatrixXf>;
  using ConstMap = Eigen::Map<const vlp::MatrixXf>;
  STATIC_REQUIRE(gives<MatrixView<float>, vlp::MatrixXf&>);
  STATIC_REQUIRE(gives<MatrixView<const float>, const vlp::MatrixXf&>);
  STATIC_REQUIRE(gives<MatrixView<float>, Map>);
  STATIC_REQUIRE(gives<MatrixView<const float>, ConstMap&>);
  STATIC_REQUIRE(gives<MatrixView<double>, Eigen::Ref<vlp::MatrixXd>&>);
  STATIC_REQUIRE(gives<MatrixView<const double>, Eigen::Ref<const vlp::MatrixXd>&>);
  STATIC_REQUIRE(gives<VectorView<float>, Eigen::VectorXf&>);
  STATIC_REQUIRE(gives<VectorView<const float>, const Eigen::RowVectorXf&>);
}

TEST_CASE("blocks, rows, arrays and maps of Eigen are strided views") {
  vlp::MatrixXd matrix = vlp::MatrixXd::Random(5, 6);
  const auto block = view(matrix.block(1, 2, 3, 2));
  CHECK(block.data() == &matrix(1, 2));
  CHECK(block.stride(0) == 6);
  CHECK(block(2, 1) == matrix(3, 3));

  const auto row = view(matrix.row(4));
  CHECK(row.data() == &matrix(4, 0));
  CHECK(row.extent(0) == 6);

  Eigen::Array<double, 2, 3, Eigen::RowMajor> array;
  CHECK(view(array).data() == array.data());

  double memory[12] = {};
  const Eigen::Map<vlp::MatrixXd, 0, Eigen::OuterStride<>> every_other(memory, 2, 3, Eigen::OuterStride<>(6));
  CHECK(view(every_other).stride(0) == 6);
  CHECK(&view(every_other)(1, 0) == memory + 6);
}

TEST_CASE("a column of a row-major matrix is refused") {
  vlp::MatrixXf matrix(3, 4);
  CHECK_THROWS_AS(view(matrix.col(1)), std::invalid_argument);
}

TEST_CASE("a view is an Eigen map of the same memory") {
  float memory[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  const MatrixView<float> strided(memory, {2, 3}, {6, 1});
  auto map = vlp::as_eigen(strided);
  CHECK(map.data() == memory);
  CHECK(map(1, 2) == 8.0f);
  map(1, 2) = -1.0f;
  CHECK(memory[8] == -1.0f);

  const VectorView<const float> vector(memory, {4});
  CHECK(vlp::as_eigen(vector).data() == memory);
  CHECK(vlp::as_eigen(vector).sum() == 6.0f);
}

TEST_CASE("a result is written straight into an Eigen matrix") {
  const vlp::MatrixXd a = vlp::MatrixXd::Random(4, 5), b = vlp::MatrixXd::Random(5, 3);
  vlp::MatrixXd wide = vlp::MatrixXd::Zero(4, 8);
  vlp::Cpu device(1);
  vlp::matmul(device, view(a), vlp::Op::none, view(b), vlp::Op::none, view(wide.middleCols(2, 3)));
  CHECK((wide.middleCols(2, 3) - a * b).norm() < 1e-12);
  CHECK(wide.leftCols(2).isZero(0));
  CHECK(wide.rightCols(3).isZero(0));
}
