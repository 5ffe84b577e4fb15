#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/sparse_memory.hpp"

#include <vlp/core/matmul.hpp>
#include <vlp/core/random.hpp>

#include <cmath>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using namespace vlp;

namespace {
std::vector<double> random_values(Index n, std::uint32_t stream) {
  Random random(7, stream);
  std::vector<double> out(static_cast<std::size_t>(n));
  for (double& x : out) x = random.normal();
  return out;
}
}  // namespace

TEST_CASE("products agree with the definition for every pair of operations, strides and threads") {
  struct Shape {
    Index m, k, n;
  };
  // More than one tile each way; K long enough to be cut into runs; K one short of that.
  const auto [m, k, n] = GENERATE(Shape{300, 17, 530}, Shape{37, 1500, 21}, Shape{70, 1023, 5});
  for (Op op_a : {Op::none, Op::transpose})
    for (Op op_b : {Op::none, Op::transpose}) {
      const Index a_rows = op_a == Op::none ? m : k, a_cols = op_a == Op::none ? k : m;
      const Index b_rows = op_b == Op::none ? k : n, b_cols = op_b == Op::none ? n : k;
      auto a = random_values(a_rows * (a_cols + 3), 0), b = random_values(b_rows * b_cols, 1);
      const MatrixView<double> av(a.data(), {a_rows, a_cols}, {a_cols + 3, 1}),
          bv(b.data(), {b_rows, b_cols});
      std::vector<double> c = random_values(m * n, 2), once;
      const std::vector<double> c0 = c;
      for (int threads : {1, 2, 3}) {
        Cpu device(threads);
        c = c0;
        matmul(device, av, op_a, bv, op_b, MatrixView<double>(c.data(), {m, n}), 2.0, 0.5);
        if (once.empty()) once = c;
        CHECK(c == once);
      }
      double worst = 0;
      for (Index i = 0; i < m; ++i)
        for (Index j = 0; j < n; ++j) {
          double sum = 0;
          for (Index l = 0; l < k; ++l)
            sum += (op_a == Op::none ? av(i, l) : av(l, i)) * (op_b == Op::none ? bv(l, j) : bv(j, l));
          const auto at = static_cast<std::size_t>(i * n + j);
          worst = std::max(worst, std::abs(once[at] - (2 * sum + 0.5 * c0[at])));
        }
      CHECK(worst < 1e-11);
    }
}

TEST_CASE("beta 0 overwrites what was there, NaN included") {
  Cpu device(1);
  const std::vector<float> a{1, 2}, b{3, 4};
  std::vector<float> c{std::numeric_limits<float>::quiet_NaN()};
  matmul(device, MatrixView<const float>(a.data(), {1, 2}), Op::none,
         MatrixView<const float>(b.data(), {2, 1}), Op::none, MatrixView<float>(c.data(), {1, 1}));
  CHECK(c[0] == 11.0f);
}

TEST_CASE("shapes that do not fit are named") {
  Cpu device(1);
  std::vector<float> x(12);
  const MatrixView<float> a(x.data(), {2, 3}), c(x.data(), {2, 2});
  CHECK(test::message_of<std::invalid_argument>([&] { matmul(device, a, Op::none, a, Op::none, c); }) ==
        "matmul: op(a) has 3 columns but op(b) has 2 rows");
  CHECK_THROWS_AS(matmul(device, a, Op::none, a, Op::transpose, a), std::invalid_argument);
}

TEST_CASE("products of rows farther apart than 32 bits count agree with those of near ones") {
  constexpr Index stride = Index{3} << 30;
  const test::SparseMemory<float> memory(2 * stride);
  const MatrixView<float> far(memory.data(), {2, 2}, {stride, 1});
  std::vector<float> near{1, 2, 3, 4}, want(4), got(4);
  for (Index i = 0; i < 2; ++i)
    for (Index j = 0; j < 2; ++j) far(i, j) = near[static_cast<std::size_t>(2 * i + j)];
  Cpu device(1);
  const MatrixView<float> b(near.data(), {2, 2});
  matmul(device, b, Op::none, b, Op::none, MatrixView<float>(want.data(), {2, 2}));
  matmul(device, far, Op::none, b, Op::none, MatrixView<float>(got.data(), {2, 2}));
  CHECK(got == want);
}

TEST_CASE("products of rows in descending order, and of one row for all, agree with those of copies") {
  constexpr Index m = 5, k = 3, n = 4;
  const std::vector<float> a{1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 3, 5, 7, 9, 2},
      b{2, 7, 1, 8, 2, 8, 1, 8, 2, 8, 4, 5};
  const auto product = [&](MatrixView<const float> left, Op op, MatrixView<const float> right,
                           bool descends) {
    std::vector<float> out(static_cast<std::size_t>((op == Op::none ? m : k) * n));
    const Index rows = static_cast<Index>(out.size()) / n;
    Cpu device(1);
    matmul(device, left, op, right, Op::none,
           descends ? MatrixView<float>(out.data() + (rows - 1) * n, {rows, n}, {-n, 1})
                    : MatrixView<float>(out.data(), {rows, n}));
    return out;
  };
  std::vector<float> turned, same;
  for (Index i = 0; i < m; ++i) {
    turned.insert(turned.end(), a.end() - (i + 1) * k, a.end() - i * k);
    same.insert(same.end(), a.begin(), a.begin() + k);
  }
  const MatrixView<const float> right(b.data(), {k, n});
  const MatrixView<const float> descending(a.data() + (m - 1) * k, {m, k}, {-k, 1});
  const MatrixView<const float> repeated(a.data(), {m, k}, {0, 1});
  CHECK(product(descending, Op::none, right, false) ==
        product({turned.data(), {m, k}}, Op::none, right, false));
  CHECK(product(repeated, Op::none, right, false) == product({same.data(), {m, k}}, Op::none, right, false));
  const std::vector<float> up = product({a.data(), {m, k}}, Op::none, right, false);
  const std::vector<float> down = product({a.data(), {m, k}}, Op::none, right, true);
  for (Index i = 0; i < m; ++i)
    for (Index j = 0; j < n; ++j)
      CHECK(up[static_cast<std::size_t>(i * n + j)] == down[static_cast<std::size_t>((m - 1 - i) * n + j)]);
  std::vector<float> tall(b);
  tall.insert(tall.end(), b.begin(), b.begin() + 2 * n);
  const MatrixView<const float> tall_right(tall.data(), {m, n});
  CHECK(product(descending, Op::transpose, tall_right, false) ==
        product({turned.data(), {m, k}}, Op::transpose, tall_right, false));
  CHECK(product(repeated, Op::transpose, tall_right, false) ==
        product({same.data(), {m, k}}, Op::transpose, tall_right, false));
}

TEST_CASE("the backend of products has a name and a version") {
  CHECK(matmul_backend().find_first_of("0123456789") != std::string::npos);
  CHECK(matmul_backend().find(' ') != std::string::npos);
  CHECK(matmul_backend().front() != ' ');
  CHECK(matmul_backend().back() != ' ');
}

TEST_CASE("Eigen stays serial as long as anyone needs it to") {
  const int usual = Eigen::nbThreads();
  Eigen::setNbThreads(3);
  const int before = Eigen::nbThreads();  // 1 where Eigen has no threads
  auto first = std::make_unique<detail::SerialProducts>(),
       second = std::make_unique<detail::SerialProducts>();
  first.reset();
  CHECK(Eigen::nbThreads() == 1);
  second.reset();
  CHECK(Eigen::nbThreads() == before);
  Eigen::setNbThreads(usual);
}
