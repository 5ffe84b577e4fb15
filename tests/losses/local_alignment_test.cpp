#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/gradients.hpp"

#include <vlp/losses/local_alignment.hpp>

using namespace vlp;

TEMPLATE_TEST_CASE("local alignment agrees with its golden vectors", "", double, float) {
  test::check_golden<LocalAlignment<TestType>>();
}
