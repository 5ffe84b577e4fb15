#include "support/catch.hpp"

#include <vlp/core/errors.hpp>

#include <string>

TEST_CASE("require and ensure join their message and throw different types") {
  CHECK_NOTHROW(vlp::require(true, "never"));
  CHECK_THROWS_WITH(vlp::require(false, "image has ", 3, " rows but text has ", 4),
                    "image has 3 rows but text has 4");
  CHECK_THROWS_AS(vlp::require(false, "x"), std::invalid_argument);
  CHECK_THROWS_AS(vlp::ensure(false, "x"), std::runtime_error);
}
