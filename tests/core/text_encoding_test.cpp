#include "support/catch.hpp"
#include "support/messages.hpp"

#include <vlp/core/text_encoding.hpp>

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

using namespace vlp;
using namespace std::string_literals;

namespace {
std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) lines.emplace_back(without_line_end(next_line(text)));
  return lines;
}
using Strings = std::vector<std::string>;
}  // namespace

TEST_CASE("a byte order mark is no part of the text") {
  CHECK(utf8_text("\xef\xbb\xbf"
                  "FINDINGS",
                  "a.txt") == "FINDINGS");
  CHECK(utf8_text("", "a.txt").empty());
  CHECK(utf8_text("\xef\xbb\xbf", "a.txt").empty());
  // Only at the start of a file, not of a later piece of it.
  CHECK(utf8_text("\xef\xbb\xbfx", "a.txt", 2).size() == 4);
}

TEST_CASE("text in UTF-16 and UTF-32 is refused by name") {
  for (const std::string& bytes : {"\xff\xfe\x41\0"s, "\xfe\xff\0\x41"s, "A\0b\0"s, "\0A\0b"s, "\xff\xfe"s})
    CHECK_MESSAGE_HAS(utf8_text(bytes, "a.txt"), "a.txt", "UTF-16");
  for (const std::string& bytes : {"\xff\xfe\0\0A\0\0\0"s, "\0\0\xfe\xff\0\0\0A"s, "A\0\0\0"s, "\0\0\0A"s})
    CHECK_MESSAGE_HAS(utf8_text(bytes, "a.txt"), "a.txt", "UTF-32");
  CHECK_MESSAGE_HAS(utf8_text("A\0b"s, "a.txt"), "a.txt:1", "zero byte");
  CHECK_MESSAGE_HAS(utf8_text("\0\0\0\0"s, "a.txt"), "a.txt:1", "zero byte");
  CHECK_MESSAGE_HAS(utf8_text("A\0\0b"s, "a.txt"), "a.txt:1", "zero byte");
}

TEST_CASE("bytes that are not UTF-8 are refused with their line") {
  CHECK_MESSAGE_HAS(utf8_text("one\r\ntwo\rthree\nca\xf1on", "a.txt"), "a.txt:4", "F1", "Latin-1");
  CHECK_MESSAGE_HAS(utf8_text("one\n\xa0", "a.txt", 7), "a.txt:8", "A0");
  CHECK_MESSAGE_HAS(utf8_text("one line of text\n\n\0"s, "a.txt"), "a.txt:3", "zero byte");
  for (const std::string bad :
       {"\x80", "\xc0\xaf", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xc3", "\xe2\x82", "\xf0\x9f\x98", "\xc3("})
    for (const std::string before : {"", "seven...", "15 plain letters"}) {
      INFO(before.size() << " bytes before " << bad.size());
      CHECK_THROWS_AS(utf8_text(before + bad, "a.txt"), std::runtime_error);
      CHECK_THROWS_AS(utf8_text(before + bad + " and text after it", "a.txt"), std::runtime_error);
    }
  const std::string good =
      "plain \x01\x7f \xc2\x80 \xdf\xbf \xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80 \xef\xbf\xbf \xf0\x90\x80\x80 "
      "\xf4\x8f\xbf\xbf";
  CHECK(utf8_text(good, "a.txt") == good);
}

TEST_CASE("a line ends in LF, CRLF or CR") {
  CHECK(lines_of("a\nb\r\nc\rd") == Strings{"a", "b", "c", "d"});
  CHECK(lines_of("a\r\r\n\n\r") == Strings{"a", "", "", ""});
  CHECK(lines_of("a\n") == Strings{"a"});
  CHECK(lines_of("").empty());
}

TEST_CASE("white space at the ends of a text includes no-break spaces") {
  CHECK(trimmed(" \xc2\xa0\t report\xc2\xa0 text \r\n\xe2\x80\xaf\xef\xbb\xbf") == "report\xc2\xa0 text");
  CHECK(trimmed("\xc2\xa0 \xef\xbb\xbf").empty());
  CHECK(trimmed("").empty());
  CHECK(trimmed("\xa0x\xc2") == "\xa0x\xc2");  // halves of a no-break space
}
