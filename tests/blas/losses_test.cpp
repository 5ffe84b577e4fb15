#include "support/golden.hpp"
#include "support/gradients.hpp"

#include <vlp/core/matmul.hpp>
#include <vlp/core/random.hpp>
#include <vlp/losses/info_nce.hpp>
#include <vlp/losses/local_alignment.hpp>
#include <vlp/losses/token_alignment.hpp>
#include <vlp/losses/token_cross_entropy.hpp>

using namespace vlp;

TEMPLATE_TEST_CASE("losses whose products a BLAS computes agree with the golden vectors", "", float, double) {
  test::check_golden<InfoNce<TestType>>();
  test::check_golden<LocalAlignment<TestType>>();
  test::check_golden<TokenAlignment<TestType>>();
  test::check_golden<TokenCrossEntropy<TestType>>();
}

TEST_CASE("a loss whose products a BLAS computes has the same bits on any number of threads") {
  Random random(1);
  const test::Arrays arrays{{"regions", test::normal(random, {9, 70, 33})},
                            {"words", test::normal(random, {9, 21, 33})}};
  test::LossCase<LocalAlignment<float>> one(arrays), several(arrays);
  CHECK(one.run({}, 1) == several.run({}, 3));
  CHECK(test::same_bits(several.gradient_values(), one.gradient_values()));
}
