#include "support/catch.hpp"
#include "support/grouping_locale.hpp"
#include "support/messages.hpp"

#include <vlp/core/errors.hpp>

#include <sstream>
#include <stdexcept>
#include <string>

using vlp::printable;

TEST_CASE("require and ensure join their message and throw different types") {
  CHECK_NOTHROW(vlp::require(true, "never"));
  CHECK_THROWS_WITH(vlp::require(false, "image has ", 3, " rows but text has ", 4),
                    "image has 3 rows but text has 4");
  CHECK_THROWS_AS(vlp::require(false, "x"), std::invalid_argument);
  CHECK_THROWS_AS(vlp::ensure(false, "x"), std::runtime_error);
}

TEST_CASE("numbers are joined alike whatever the global locale") {
  const vlp::test::GroupingLocale locale;
  std::ostringstream other;
  other << 1234567 << ' ' << 0.5;
  REQUIRE(other.str() == "1.234.567 0,5");
  CHECK(vlp::concat(1234567, ' ', 0.5) == "1234567 0.5");
  CHECK_THROWS_WITH(vlp::ensure(false, 1234567, " rows"), "1234567 rows");
}

TEST_CASE("text is printed as it is, except for what a terminal obeys") {
  CHECK(printable("plain, na\xC3\xAFve, \xE2\x82\xAC, \xF0\x9F\xA9\xBB \\ ' \"") ==
        "plain, na\xC3\xAFve, \xE2\x82\xAC, \xF0\x9F\xA9\xBB \\ ' \"");
  CHECK(printable("\x1B[31mred\x7F\n\r\t") == "\\x1b[31mred\\x7f\\n\\r\\t");
  CHECK(printable(std::string("a\0b", 3)) == "a\\x00b");
  CHECK(printable("\xC2\x9B"
                  "31m") == "\\x9b31m");                        // a control of eight bits
  CHECK(printable("\xE2\x80\xAEgnp.exe") == "\\u202egnp.exe");  // from right to left
  CHECK(printable("\xE2\x80\xA8") == "\\u2028");
  CHECK(printable("\xE2\x81\xA6") == "\\u2066");
  // No UTF-8: a stray byte, a cut sequence, an overlong one, a surrogate, beyond the last character.
  CHECK(printable("caf\xE9 x") == "caf\\xe9 x");
  CHECK(printable("\xE2\x82") == "\\xe2\\x82");
  CHECK(printable("\xC0\xAF") == "\\xc0\\xaf");
  CHECK(printable("\xE0\x80\xAF") == "\\xe0\\x80\\xaf");
  CHECK(printable("\xED\xA0\x80") == "\\xed\\xa0\\x80");
  CHECK(printable("\xF4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");
}

TEST_CASE("every message is printable") {
  CHECK_THROWS_WITH(vlp::ensure(false, "no tensor '", "\x1B]0;x\a", "'"), "no tensor '\\x1b]0;x\\x07'");
  CHECK_THROWS_WITH(vlp::require(false, "\x1B"), "\\x1b");
}

TEST_CASE("a long message loses its middle and keeps both ends") {
  const std::string longest(4000, 'x');
  CHECK(printable(longest) == longest);
  const std::string message = vlp::test::message_of(
      [] { vlp::ensure(false, "a.st: tensor '", std::string(1'000'000, 'n'), "' is cut"); });
  CHECK(message.size() <= 4000);
  CHECK(message.find("a.st: tensor 'nnn") == 0);
  CHECK(message.find(" bytes ...] nnn") != std::string::npos);
  CHECK(message.find("nnn' is cut") == message.size() - 11);
  // Characters stay whole.
  for (std::size_t shift = 0; shift < 3; ++shift) {
    std::string text(shift, 'x');
    for (int i = 0; i < 2000; ++i) text += "\xE2\x82\xAC";
    CHECK(printable(printable(text)) == printable(text));
    CHECK(printable(text).find("\\x") == std::string::npos);
  }
}
