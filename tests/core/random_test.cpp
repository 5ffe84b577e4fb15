#include "support/catch.hpp"

#include <vlp/core/random.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

using vlp::Random;

TEST_CASE("the generator is Philox4x32-10") {
  // Known answer published with Random123 (kat_vectors): counter and key all zero.
  Random random(0);
  CHECK(random() == 0x6627e8d5u);
  CHECK(random() == 0xe169c58du);
  CHECK(random() == 0xbc57ac4cu);
  CHECK(random() == 0x9b00dbd8u);
}

TEST_CASE("an address names a sequence and another address another") {
  Random a(5, 1, 2, 3), b(5, 1, 2, 3), c(5, 1, 2, 4), d(6, 1, 2, 3);
  int equal_c = 0, equal_d = 0;
  for (int i = 0; i < 100; ++i) {
    const auto x = a();
    CHECK(x == b());
    equal_c += x == c();
    equal_d += x == d();
  }
  CHECK(equal_c < 3);
  CHECK(equal_d < 3);
}

TEST_CASE("below is uniform and in range") {
  Random random(1);
  std::array<int, 7> counts{};
  for (int i = 0; i < 70000; ++i) ++counts[random.below(7)];
  for (int c : counts) CHECK(std::abs(c - 10000) < 500);  // five standard deviations
  CHECK(random.below(1) == 0);
}

TEST_CASE("normal has mean 0 and variance 1") {
  Random random(2);
  double sum = 0, squares = 0;
  const int n = 100000;
  for (int i = 0; i < n; ++i) {
    const double x = random.normal();
    sum += x;
    squares += x * x;
  }
  CHECK(std::abs(sum / n) < 0.02);
  CHECK(std::abs(squares / n - 1) < 0.03);
}

TEST_CASE("shuffle permutes, and reaches every arrangement") {
  std::array<int, 6> seen{};
  for (std::uint32_t i = 0; i < 6000; ++i) {
    std::array<int, 3> v{0, 1, 2};
    Random(3, i).shuffle(v.begin(), v.end());
    const int index = v[0] * 2 + (v[1] > v[2]);
    ++seen[static_cast<std::size_t>(index)];
    std::sort(v.begin(), v.end());
    REQUIRE(v == std::array<int, 3>{0, 1, 2});
  }
  for (int s : seen) CHECK(std::abs(s - 1000) < 160);
}
