#include "support/catch.hpp"

#include <vlp/core/text_encoding.hpp>
#include <vlp/io/entities.hpp>

#include <cstdint>
#include <string>
#include <string_view>

using namespace vlp;
using io::decode_entities;

TEST_CASE("character references become characters") {
  CHECK(decode_entities("effusion &lt; 1 cm &amp; nodule &gt; 3 mm") == "effusion < 1 cm & nodule > 3 mm");
  CHECK(decode_entities("&quot;stable&quot; patient&apos;s&nbsp;heart") ==
        "\"stable\" patient's\xc2\xa0heart");
  CHECK(decode_entities("&#39;&#x27;&#X2019;&#233;&#x1F600;&#x0010FFFF;") ==
        "''\xe2\x80\x99\xc3\xa9\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf");
  CHECK(decode_entities("&amp;lt;") == "&lt;");  // once, not twice
  CHECK(decode_entities("").empty());
}

TEST_CASE("what is no character reference stays") {
  for (const std::string_view text :
       {"AP & lateral", "R&D;", "&", "&;", "&#;", "&#x;", "&lt", "& lt;", "&LT;", "&#0;", "&#xD800;",
        "&#xdfff;", "&#x110000;", "&#99999999999;", "&#-5;", "&#12a;", "&&&&", "&eacute;", "&lt\xc3\xa9;"})
    CHECK(decode_entities(text) == text);
  CHECK(decode_entities("&&lt;;&") == "&<;&");
  CHECK(decode_entities("&#xD7FF;&#xE000;").size() == 6);
}

TEST_CASE("every character by number is UTF-8") {
  for (std::uint32_t value = 1; value < 0x110000; value += value < 0x900 ? 1 : 251) {
    const std::string reference = "&#" + std::to_string(value) + ";";
    const bool is_surrogate = value >= 0xd800 && value < 0xe000;
    const std::string decoded = decode_entities(reference);
    INFO(reference);
    REQUIRE((decoded == reference) == is_surrogate);
    REQUIRE(utf8_text(decoded, "decoded", 2) == decoded);
  }
}
