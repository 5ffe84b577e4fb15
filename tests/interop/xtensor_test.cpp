#include "support/catch.hpp"

#include <vlp/core/matmul.hpp>
#include <vlp/interop/xtensor.hpp>

#if __has_include(<xtensor/views/xview.hpp>)
#include <xtensor/views/xview.hpp>
#else
#include <xtensor/xview.hpp>
#endif

#include <stdexcept>
#include <type_traits>
#include <vector>

using vlp::BatchView;
using vlp::MatrixView;
using vlp::VectorView;

namespace {
template <class View, class X>
constexpr bool gives = std::is_same_v<View, decltype(vlp::view(std::declval<X>()))>;
}  // namespace

TEST_CASE("an xtensor container is a view of its own memory") {
  xt::xtensor<float, 3> batch = xt::arange<float>(24).reshape({2, 3, 4});
  const auto seen = vlp::view(batch);
  STATIC_REQUIRE(std::is_same_v<decltype(seen), const BatchView<float>>);
  CHECK(seen.data() == batch.data());
  CHECK(seen.contiguous());
  CHECK(seen(1, 2, 3) == 23.0f);
  seen(1, 2, 3) = -1.0f;
  CHECK(batch(1, 2, 3) == -1.0f);
}

TEST_CASE("constness of an xtensor expression is kept") {
  STATIC_REQUIRE(gives<VectorView<double>, xt::xtensor<double, 1>&>);
  STATIC_REQUIRE(gives<MatrixView<const double>, const xt::xtensor<double, 2>&>);
  const float memory[6] = {0, 1, 2, 3, 4, 5};
  const auto adaptor = xt::adapt(memory, std::array<std::size_t, 2>{2, 3});
  const auto seen = vlp::view(adaptor);
  STATIC_REQUIRE(std::is_same_v<decltype(seen), const MatrixView<const float>>);
  CHECK(seen.data() == memory);
}

TEST_CASE("the rank of an xarray is named and checked") {
  xt::xarray<float> array = xt::zeros<float>({3, 4});
  CHECK(vlp::view<2>(array).data() == array.data());
  CHECK_THROWS_AS(vlp::view<3>(array), std::invalid_argument);
}

TEST_CASE("adaptors of vectors and pointers are views") {
  std::vector<double> memory(12, 1.0);
  auto adaptor = xt::adapt(memory, std::vector<std::size_t>{4, 3});
  CHECK(vlp::view<2>(adaptor).data() == memory.data());
  CHECK(vlp::view(xt::adapt(memory.data(), std::array<std::size_t, 1>{12})).data() == memory.data());
}

TEST_CASE("a range view of xtensor is a strided view") {
  xt::xtensor<float, 3> batch = xt::arange<float>(24).reshape({2, 3, 4});
  const auto first = vlp::view(xt::view(batch, xt::all(), 1, xt::all()));
  STATIC_REQUIRE(std::is_same_v<decltype(first), const MatrixView<float>>);
  CHECK(first.data() == &batch(0, 1, 0));
  CHECK(first.stride(0) == 12);
  CHECK(first(1, 3) == 19.0f);
}

TEST_CASE("a dimension of extent 1 has the stride of a contiguous array") {
  xt::xtensor<float, 3> batch = xt::zeros<float>({4, 1, 5});
  CHECK(flatten_rows(vlp::view(batch)).stride(0) == 5);
  xt::xtensor<float, 3> column = xt::zeros<float>({4, 5, 1});
  CHECK(vlp::view(column).contiguous());
}

TEST_CASE("elements that are not adjacent are refused") {
  xt::xarray<float, xt::layout_type::dynamic> columns(std::vector<std::size_t>{3, 4},
                                                      xt::layout_type::column_major);
  CHECK_THROWS_AS(vlp::view<2>(columns), std::invalid_argument);
}

TEST_CASE("a view is an xtensor adaptor of the same memory") {
  std::vector<double> memory(24);
  for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<double>(i);
  auto adaptor = vlp::as_xtensor(BatchView<double>(memory.data(), {2, 3, 4}));
  CHECK(adaptor.data() == memory.data());
  CHECK(adaptor(1, 0, 2) == 14.0);
  adaptor(1, 0, 2) = -1.0;
  CHECK(memory[14] == -1.0);
  CHECK(vlp::view(adaptor).data() == memory.data());

  const BatchView<const double> one(memory.data(), {1, 2, 3});
  CHECK(xt::sum(vlp::as_xtensor(one))() == 15.0);
  CHECK_THROWS_AS(vlp::as_xtensor(MatrixView<double>(memory.data(), {2, 3}, {12, 1})), std::invalid_argument);
}

TEST_CASE("a result is written straight into an xtensor array") {
  const xt::xtensor<double, 2> a = xt::ones<double>({4, 5}), b = xt::ones<double>({5, 3});
  xt::xtensor<double, 2> c = xt::zeros<double>({4, 3});
  vlp::Cpu device(1);
  vlp::matmul(device, vlp::view(a), vlp::Op::none, vlp::view(b), vlp::Op::none, vlp::view(c));
  CHECK(xt::all(xt::equal(c, 5.0)));
}
