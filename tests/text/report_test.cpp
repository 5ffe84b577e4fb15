#include "support/catch.hpp"
#include "text/reports.hpp"

#include <vlp/text/report.hpp>

#include <string>
#include <string_view>
#include <vector>

using namespace vlp;

namespace {
std::vector<std::string> sentences_of(std::string_view report) {
  std::vector<std::string> result;
  for (const text::Span span : text::sentences(report)) result.emplace_back(slice(report, span));
  return result;
}
using Strings = std::vector<std::string>;
}  // namespace

TEST_CASE("sentences end at stops but not at numbers or abbreviations or decimals") {
  CHECK(sentences_of("Heart size normal. Lungs clear.") == Strings{"Heart size normal.", "Lungs clear."});
  CHECK(sentences_of("A 3.2 cm mass. Dr. Smith was told! Why?") ==
        Strings{"A 3.2 cm mass.", "Dr. Smith was told!", "Why?"});
  CHECK(sentences_of("1. No effusion. 2. Stable nodule.") == Strings{"1. No effusion.", "2. Stable nodule."});
  CHECK(sentences_of("Lungs clear.Heart normal.") == Strings{"Lungs clear.", "Heart normal."});
  CHECK(sentences_of("no stop\nsame sentence\n\nanother") == Strings{"no stop\nsame sentence", "another"});
  CHECK(sentences_of("(Stable.) New.") == Strings{"(Stable.)", "New."});
  CHECK(sentences_of("").empty());
  CHECK(sentences_of(" \n ").empty());
}

TEST_CASE("sections are found by their headers") {
  const std::string report =
      "CHEST RADIOGRAPH\nINDICATION: Cough.\n\nFINDINGS:\nLungs clear. Heart normal.\nImpression: No acute "
      "disease.\n"
      "WET READ: done";
  const auto found = text::sections(report);
  REQUIRE(found.size() == 5);
  CHECK(found[0].name.empty());
  CHECK(found[0].body == "CHEST RADIOGRAPH");
  CHECK(found[1].name == "indication");
  CHECK(found[1].body == "Cough.");
  CHECK(found[2].name == "findings");
  CHECK(found[2].body == "Lungs clear. Heart normal.");
  CHECK(found[3].name == "impression");
  CHECK(found[3].body == "No acute disease.");
  CHECK(found[4].name == "wet read");
  CHECK(found[4].body == "done");
  CHECK(text::section(report, "findings") == "Lungs clear. Heart normal.");
  CHECK(text::section(report, "technique").empty());
  CHECK(text::section("Findings: clear. Impression: normal.", "findings") == "clear.");
  CHECK(text::sections("No header: here.").size() == 1);
  CHECK(text::sections("").empty());
  CHECK(text::section("FINDINGS:", "findings").empty());
}

TEST_CASE("sentences cover in order all that is not white space") {
  CHECK(rc::check("sentences", [] {
    const std::string report = *test::random_report();
    std::size_t at = 0;
    const auto only_space = [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i)
        if (!text::detail::is_ascii_space(report[i])) return false;
      return true;
    };
    for (const text::Span sentence : text::sentences(report)) {
      RC_ASSERT(sentence.begin < sentence.end);
      RC_ASSERT(sentence.begin >= at);
      RC_ASSERT(only_space(at, sentence.begin));
      at = sentence.end;
    }
    RC_ASSERT(only_space(at, report.size()));
  }));
}
