#include "support/golden.hpp"
#include "support/gradients.hpp"

#include <vlp/losses/info_nce.hpp>

using vlp::DuplicatePolicy;
using vlp::InfoNce;
using vlp::InfoNceOptions;

TEMPLATE_TEST_CASE("InfoNCE agrees with the golden vectors", "", float, double) {
  vlp::test::check_golden<InfoNce<TestType>>();
}
