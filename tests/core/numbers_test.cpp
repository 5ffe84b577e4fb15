#include "support/catch.hpp"

#include <vlp/core/numbers.hpp>

#include <cstdio>
#include <cstdlib>
#include <limits>
#include <optional>
#include <string>

using vlp::fixed_text;
using vlp::number_text;
using vlp::parse_number;

TEST_CASE("numbers are written as short as they read back") {
  for (const double value : {0.0, -0.0, 0.1, 1.0 / 3, 1e-300, 5e-324, 1.7976931348623157e308, 123456789.0})
    CHECK(std::strtod(number_text(value).c_str(), nullptr) == value);
  CHECK(number_text(0.1) == "0.1");
  CHECK(number_text(1e-300) == "1e-300");
  CHECK(number_text(std::numeric_limits<double>::infinity()) == "inf");
}

TEST_CASE("a number is read from the whole of a text") {
  CHECK(parse_number("-1.50") == -1.5);
  CHECK(parse_number("1e3") == 1000);
  for (const char* text : {"", " 1", "1 ", "1,5", "1x", "+1", "nan", "inf", "-inf", "1e999", "0x10"})
    CHECK(parse_number(text) == std::nullopt);
}

TEST_CASE("numbers of fixed decimals are those of printf") {
  for (const double value : {0.0, 0.0005, 2.5, -3.14159, 999.9995, 1e300, 5e-324, 1.7976931348623157e308})
    for (const int digits : {0, 1, 3, 20}) {
      char expected[400];
      std::snprintf(expected, sizeof expected, "%.*f", digits, value);
      CHECK(fixed_text(value, digits) == expected);
    }
  CHECK(fixed_text(std::numeric_limits<double>::quiet_NaN(), 3) == "nan");
}
