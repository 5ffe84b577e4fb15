#include "support/catch.hpp"
#include "text/reports.hpp"

#include <vlp/text/normalise.hpp>

#include <string>

using namespace vlp;
using text::normalise;

namespace {

/// Normalisation to the letter: code point by code point.
std::string literally_normalised(std::string_view report, std::size_t max_words) {
  std::string text;
  std::size_t words = 0;
  bool in_word = false;
  for (std::size_t at = 0; at < report.size();) {
    const auto [c, length] = text::detail::decode(report, at);
    at += length;
    const bool parts =
        (c < 0x80 && std::string_view(".!\"()*#:;~").find(static_cast<char>(c)) != std::string_view::npos) ||
        text::detail::is_white_space(c);
    if (!parts && !in_word && words++ == max_words) break;
    if (!parts && !in_word && words > 1) text += ' ';
    if (!parts) text::detail::append(text, utf8proc_tolower(c));
    in_word = !parts;
  }
  return text;
}

}  // namespace

TEST_CASE("normalisation lower-cases and drops the published punctuation and squeezes space") {
  CHECK(normalise("The Lungs ARE clear.  No effusion!") == "the lungs are clear no effusion");
  CHECK(normalise("(a) *b* #c: d; ~e \"f\"") == "a b c d e f");
  CHECK(normalise("3.2 cm, x-ray and/or 5% [sic] don't?") == "3 2 cm, x-ray and/or 5% [sic] don't?");
  CHECK(normalise("\xc3\x89"
                  "DEMA\xc2\xa0\xe3\x80\x80 \xce\x94") ==
        "\xc3\xa9"
        "dema \xce\xb4");
  CHECK(normalise("a\xff"
                  "b") ==
        "a\xef\xbf\xbd"
        "b");
  CHECK(normalise("a\x1c"
                  "b\x85") == "a b\xef\xbf\xbd");
  CHECK(normalise("\xef\xbb\xbfLungs clear\r\n\xef\xbb\xbfNo\xc2\xa0"
                  "effusion\xe2\x80\xaf") == "lungs clear no effusion");
  CHECK(normalise("").empty());
  CHECK(normalise(" .\n:;").empty());
}

TEST_CASE("at most max_words words are kept") {
  CHECK(normalise("one two. three four", 3) == "one two three");
  CHECK(normalise("one two", 2) == "one two");
  CHECK(normalise("one two", 0).empty());
  std::string report;
  for (int i = 0; i < 10000; ++i) report += "Word. ";
  CHECK(normalise(report).size() == 50 * 5 - 1);
  CHECK(normalise(report, text::all_words).size() == 10000 * 5 - 1);
}

TEST_CASE("the words of normalised text are counted and cut") {
  CHECK(text::count_words("") == 0);
  CHECK(text::count_words("one") == 1);
  CHECK(text::first_words("one two", 0).empty());
  CHECK(rc::check("first words", [] {
    const std::string report = *test::random_report();
    const std::size_t max_words = *rc::gen::inRange<std::size_t>(0, 60);
    const std::string whole = normalise(report, text::all_words);
    RC_ASSERT(text::first_words(whole, max_words) == normalise(report, max_words));
    RC_ASSERT(text::count_words(whole) ==
              text::WordReader<text::NoTagger>(text::all_words).read(report).size());
    RC_ASSERT((text::count_words(whole) > max_words) == (normalise(report, max_words) != whole));
  }));
}

TEST_CASE("normalised text is plain and normalising it again changes nothing") {
  CHECK(rc::check("normalise", [] {
    const std::string report = *test::random_report();
    const std::size_t max_words = *rc::gen::inRange<std::size_t>(0, 60);
    const std::string once = normalise(report, max_words);
    RC_ASSERT(normalise(once, max_words) == once);
    RC_ASSERT(once.find_first_of(".!\"()*#:;~\t\n\r") == std::string::npos);
    RC_ASSERT(once.find("  ") == std::string::npos);
    RC_ASSERT(once.empty() || (once.front() != ' ' && once.back() != ' '));
    const auto words =
        once.empty() ? 0u : static_cast<std::size_t>(std::count(once.begin(), once.end(), ' ')) + 1;
    RC_ASSERT(words <= max_words);
    for (std::size_t at = 0; at < once.size();) {
      const auto [code_point, length] = text::detail::decode(once, at);
      RC_ASSERT(code_point != text::detail::replacement_character || length == 3u);  // valid UTF-8
      at += length;
    }
  }));
}

TEST_CASE("each word knows where it lies in the text and in the report") {
  CHECK(rc::check("spans", [] {
    const std::string report = *test::random_report();
    std::string plain;
    std::vector<text::Span> spans, sources;
    text::detail::normalise(report, 50, plain, spans, sources);
    RC_ASSERT(spans.size() == sources.size());
    std::string joined;
    for (std::size_t i = 0; i < spans.size(); ++i) {
      RC_ASSERT(normalise(slice(report, sources[i])) == slice(plain, spans[i]));
      joined += (i > 0 ? " " : "") + std::string(slice(plain, spans[i]));
    }
    RC_ASSERT(joined == plain);
  }));
}

TEST_CASE("normalisation is what it says to the letter") {
  std::string every_byte, long_word(100, 'A');
  for (int c = 0; c < 256; ++c)
    every_byte += std::string(static_cast<std::size_t>(c % 70), 'X') + static_cast<char>(c);
  for (const std::string& report : {every_byte, long_word, long_word + "\xc3\x89" + long_word})
    CHECK(normalise(report, text::all_words) == literally_normalised(report, text::all_words));
  for (const std::string& report : test::open_i_reports())
    REQUIRE(normalise(report) == literally_normalised(report, 50));
  CHECK(rc::check("literal", [] {
    const std::string report = *test::random_report();
    const std::size_t max_words = *rc::gen::inRange<std::size_t>(0, 60);
    RC_ASSERT(normalise(report, max_words) == literally_normalised(report, max_words));
  }));
}
