#include "support/messages.hpp"
#include "support/temporary_folder.hpp"

#include <rapidcheck.h>

#include <vlp/io/json_lines.hpp>

#include <atomic>
#include <chrono>
#include <string>
#include <vector>

namespace {

using namespace vlp;
using vlp::io::JsonLine;
using vlp::io::JsonLines;
using vlp::test::TemporaryFolder;

/// All lines of a file with that text.
std::vector<JsonLine> lines_of(const std::string& text, const io::JsonLimits& limits = {}) {
  const TemporaryFolder folder;
  JsonLines lines(folder.write("x.jsonl", text), {}, limits);
  std::vector<JsonLine> out;
  while (auto line = lines.next()) out.push_back(std::move(*line));
  return out;
}

/// The fault of the only line.
std::string fault_of(const std::string& text, const io::JsonLimits& limits = {}) {
  const std::vector<JsonLine> lines = lines_of(text, limits);
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].object.empty() == !lines[0].fault.empty());
  return lines[0].fault;
}

TEST_CASE("each line of a JSON Lines file is an object, whatever the line ends, and blank lines count") {
  for (const std::string end : {"\n", "\r\n", "\r"}) {
    const auto lines = lines_of("\xEF\xBB\xBF{\"a\": 1}" + end + end + "  \t" + end +
                                " {\"b\": \"\\r\\n\"} " + end + "{\"c\": [{}]}");
    REQUIRE(lines.size() == 3);
    CHECK(lines[0].object == nlohmann::json{{"a", 1}});
    CHECK(lines[1].object == nlohmann::json{{"b", "\r\n"}});
    CHECK(lines[2].object["c"].size() == 1);
    CHECK(lines[0].number == 1);
    CHECK(lines[1].number == 4);
    CHECK(lines[2].number == 5);
    for (const JsonLine& line : lines) CHECK(line.fault.empty());
  }
  CHECK(lines_of("").empty());
  CHECK(lines_of("\n\r\n \n").empty());
}

TEST_CASE("a line that is no JSON object has a fault, and the next line is read") {
  const auto lines = lines_of("{\"a\": 1}\n{\"a\": }\n[1]\n\n{\"a\": 2}\n{} {}\n");
  REQUIRE(lines.size() == 5);
  CHECK(lines[0].fault.empty());
  CHECK(lines[1].fault == "not JSON (column 7)");
  CHECK(lines[2].fault == "an array, not an object");
  CHECK(lines[3].object["a"] == 2);
  CHECK(lines[4].number == 6);
  CHECK(lines[4].fault == "not JSON (column 4)");
  for (const char* text :
       {"{\"a\": NaN}\n", "{\"a\": Infinity}\n", "{\"a\": -Infinity}\n", "{\"a\": 1e999}\n", "{\"a\": 01}\n",
        "{'a': 1}\n", "{\"a\": 1,}\n", "{\"a\": \"\\ud800\"}\n", "{\n"})
    CHECK(fault_of(text).starts_with("not JSON (column "));
  for (const char* text : {"null\n", "true\n", "1\n", "\"x\"\n"})
    CHECK(fault_of(text).find(", not an object") != std::string::npos);
  CHECK(fault_of("{\"a\": 1, \"a\": 1}\n") == "the name 'a' occurs twice");
  CHECK(fault_of("{\"" + std::string(5000, 'k') + "\": 1, \"" + std::string(5000, 'k') + "\": 1}\n").size() <
        200);
}

TEST_CASE("a last line that has been cut is said to be") {
  const std::string whole = "{\"id\": \"x\", \"n\": [1, 2]}";
  CHECK(fault_of(whole).empty());
  for (std::size_t size = 1; size < whole.size(); ++size) {
    const std::string cut = whole.substr(0, size);
    CHECK(fault_of(cut).ends_with("; it is the last line and has no end: is the file cut?"));
    CHECK(fault_of(cut + "\n") == "not JSON (column " + std::to_string(size + 1) + ")");
  }
}

TEST_CASE("limits hold for each line") {
  const std::string deep = "{\"a\": [[[1]]]}";
  CHECK(fault_of(deep + "\n", {.max_depth = 4}).empty());
  CHECK(fault_of(deep + "\n", {.max_depth = 3}) == "nested deeper than 3");
  CHECK(lines_of(deep + "\n" + deep + "\n", {.max_bytes = 14})[1].fault.empty());
  CHECK(fault_of(deep + "\n", {.max_bytes = 13}) == "14 bytes of JSON, more than the 13 that are read");
  CHECK(fault_of("{\"a\":" + std::string(200'000, '[') + "\n") == "nested deeper than 64");
}

TEST_CASE("a JSON Lines file that cannot be read or is not UTF-8 is refused by name") {
  const TemporaryFolder folder;
  CHECK_MESSAGE_HAS(JsonLines(folder / "none.jsonl"), "none.jsonl: cannot open: No such file");
  CHECK_MESSAGE_HAS(JsonLines(folder.path()), folder.path().string() + ": cannot read");
  CHECK_MESSAGE_HAS(JsonLines(folder.write("l.jsonl", "{}\n{\"a\": \"caf\xE9\"}\n")),
                    "l.jsonl:2: the byte E9");
  CHECK_MESSAGE_HAS(JsonLines(folder.write("u.jsonl", std::string("{\0}\0\n\0", 6))),
                    "u.jsonl: this is UTF-16");
  CHECK_MESSAGE_HAS(JsonLines(folder.write("z.jsonl", std::string("{}\n{\"a\":\0}\n", 11))),
                    "z.jsonl:2: a zero byte");
}

TEST_CASE("reading JSON Lines ends when it is asked to") {
  const TemporaryFolder folder;
  const io::Path path = folder.write("x.jsonl", "{}\n{}\n");
  std::atomic<bool> stop{false};
  JsonLines lines(path, StopToken(stop));
  CHECK(lines.next().has_value());
  stop = true;
  CHECK_THROWS_AS(lines.next(), Stopped);
  CHECK_THROWS_AS(JsonLines(path, StopToken(stop)), Stopped);
}

TEST_CASE("any objects, one to a line, come back as they were written") {
  CHECK(rc::check([] {
    std::string text;
    std::vector<nlohmann::json> written;
    for (int i = *rc::gen::inRange(0, 8); i > 0; --i) {
      written.push_back(
          {{"id", i}, {"text", *rc::gen::container<std::string>(rc::gen::inRange<char>(1, 127))}});
      text += written.back().dump() + *rc::gen::element<std::string>("\n", "\r\n", "\n\n");
    }
    const auto lines = lines_of(text);
    RC_ASSERT(lines.size() == written.size());
    for (std::size_t i = 0; i < lines.size(); ++i) RC_ASSERT(lines[i].object == written[i]);
  }));
}

TEST_CASE("time to read JSON Lines grows with their bytes, not with their square") {
  const auto seconds = [](const std::string& text) {
    const auto start = std::chrono::steady_clock::now();
    static_cast<void>(lines_of(text));
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  std::string lines, one = "{\"a\": [";
  for (int i = 0; i < 100'000; ++i) {
    lines += "x\n";
    one += "1,";
  }
  CHECK(seconds(lines) < 5);  // seconds; by the square it would be minutes
  CHECK(seconds(one + "1]}") < 5);
}

}  // namespace
