#include "support/catch.hpp"
#include "support/messages.hpp"

#include <rapidcheck.h>

#include <vlp/io/json.hpp>

#include <chrono>
#include <string>

namespace {

using namespace vlp::io;
using Ordered = nlohmann::ordered_json;

std::string repeated(std::size_t count, const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += text;
  return out;
}

TEST_CASE("JSON is read as nlohmann's own parser reads it") {
  for (const char* text : {"null", "true", "-1", "18446744073709551615", "0.5", "1e300", "\"a\\u00e9\\n\"",
                           "[]", "{}", " [1, [2, {}], []] ",
                           R"({"z": 1, "a": [1, {"b": null}], "m": {"x": {"y": [false, "t"]}}, "e": {}})"}) {
    CHECK(parse_json(text, "x") == nlohmann::json::parse(text));
    CHECK(parse_json<Ordered>(text, "x").dump() == Ordered::parse(text).dump());
  }
}

TEST_CASE("what is not JSON is named with its source, line and column") {
  CHECK_MESSAGE_HAS(parse_json("", "config.json"), "config.json: not JSON (column 1)");
  CHECK_MESSAGE_HAS(parse_json("{\n  \"a\": 1,\n  oops", "config.json"),
                    "config.json: not JSON (line 3, column 3)");
  CHECK_MESSAGE_HAS(parse_json("{} {}", "x"), "x: not JSON (column 4)");
  CHECK_MESSAGE_HAS(parse_json("[1e999]", "x"), "x: not JSON (column ");
  CHECK_MESSAGE_HAS(parse_json("\"\xFF\"", "x"), "x: not JSON");
  CHECK_MESSAGE_HAS(parse_json("[NaN]", "x"), "x: not JSON");
  // The message does not hold the file.
  CHECK(vlp::test::message_of([] {
          static_cast<void>(parse_json("[" + repeated(100'000, "x"), "x"));
        }).size() < 60);
}

TEST_CASE("a name twice in one object is refused, and in two objects is not") {
  CHECK_MESSAGE_HAS(parse_json(R"({"a": 1, "a": 1})", "x"), "x: the name 'a' occurs twice");
  CHECK_MESSAGE_HAS(parse_json<Ordered>(R"([{"b": {"a": 1, "c": {}, "a": 2}}])", "x"), "'a' occurs twice");
  CHECK_NOTHROW(parse_json(R"({"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]})", "x"));
}

TEST_CASE("JSON beyond a limit is refused") {
  const auto nested = [](std::size_t depth) { return repeated(depth, "[") + repeated(depth, "]"); };
  CHECK_NOTHROW(parse_json(nested(64), "x"));
  CHECK_MESSAGE_HAS(parse_json(nested(65), "x"), "x: nested deeper than 64");
  CHECK_MESSAGE_HAS(parse_json<Ordered>(repeated(100'000, "{\"data\":["), "x"), "x: nested deeper than 64");
  CHECK_NOTHROW(parse_json("[" + repeated(1000, "[],") + "0]", "x"));
  CHECK_NOTHROW(parse_json("[[]]", "x", {.max_depth = 2}));
  CHECK_MESSAGE_HAS(parse_json("[[[]]]", "x", {.max_depth = 2}), "deeper than 2");
  CHECK_NOTHROW(parse_json("[1]", "x", {.max_bytes = 3}));
  CHECK_MESSAGE_HAS(parse_json("[12]", "x", {.max_bytes = 3}), "x: 4 bytes of JSON, more than the 3");
}

TEST_CASE("an object of many names is read in proportion") {
  std::string text = "{";
  constexpr int count = 200'000;  // of which a quadratic parser makes minutes
  for (int i = 0; i < count; ++i) text += "\"key" + std::to_string(i) + "\":" + std::to_string(i) + ",";
  text += "\"last\":{\"within\":1}}";
  const auto start = std::chrono::steady_clock::now();
  const Ordered ordered = parse_json<Ordered>(text, "x");
  CHECK(parse_json(text, "x").size() == count + 1);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(10));
  CHECK(ordered.size() == count + 1);
  CHECK(ordered.begin().key() == "key0");
  CHECK(ordered["last"]["within"] == 1);
}

TEST_CASE("any text is read as nlohmann's parser reads it, or refused") {
  CHECK(rc::check([](const std::vector<std::uint8_t>& choices) {
    constexpr std::string_view parts = "{}[]:,\"a 1-.e\\ntfu";
    std::string text;
    for (const std::uint8_t choice : choices) text += parts[choice % parts.size()];
    const nlohmann::json expected = nlohmann::json::parse(text, nullptr, false);
    const std::string message = vlp::test::message_of([&] {
      const nlohmann::json parsed = parse_json(text, "x");
      RC_ASSERT(parsed == expected);
    });
    if (message != "no error")
      RC_ASSERT(expected.is_discarded() || message.find("twice") != std::string::npos);
  }));
}

TEST_CASE("the kind of a value stands for it in messages") {
  CHECK(json_kind(nlohmann::json::parse("[[[]]]").type()) == "an array");
  CHECK(json_kind(nlohmann::json(1.5).type()) == "a number");
  CHECK(json_kind(nlohmann::json(-1).type()) == "a number");
  CHECK(json_kind(nlohmann::json(1U).type()) == "a number");
  CHECK(json_kind(nlohmann::json("x").type()) == "a string");
  CHECK(json_kind(nlohmann::json::object().type()) == "an object");
  CHECK(json_kind(nlohmann::json(true).type()) == "true or false");
  CHECK(json_kind(nlohmann::json().type()) == "null");
}

}  // namespace
