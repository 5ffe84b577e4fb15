#include "support/catch.hpp"
#include "text/reports.hpp"

#include <vlp/text/report.hpp>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
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

TEST_CASE("reports in the form of MIMIC-CXR") {
  const std::string report =
      "                                 FINAL REPORT\n"
      " EXAMINATION:  CHEST (PA AND LAT)\n"
      " \n"
      " INDICATION:  ___F with new onset ascites  // eval for infection\n"
      " \n"
      " TECHNIQUE:  Chest PA and lateral\n"
      " \n"
      " COMPARISON:  None.\n"
      " \n"
      " FINDINGS: \n"
      " \n"
      " There is no focal consolidation, pleural effusion or pneumothorax.  Bilateral\n"
      " nodular opacities that most likely represent nipple shadows.\n"
      " \n"
      " IMPRESSION: \n"
      " \n"
      " No acute cardiopulmonary process.\n"
      " \n"
      " RECOMMENDATION(S):  Follow-up in 6 weeks.\n"
      " NOTIFICATION:  Dr. ___ by phone at 9:30: done.\n"
      " PA/LATERAL CHEST X-RAY:  As above.\n";
  std::vector<std::pair<std::string, std::string>> found;
  for (const text::Section& section : text::sections(report))
    found.emplace_back(section.name, std::string(section.body));
  CHECK(found == std::vector<std::pair<std::string, std::string>>{
                     {"", "FINAL REPORT"},
                     {"examination", "CHEST (PA AND LAT)"},
                     {"indication", "___F with new onset ascites  // eval for infection"},
                     {"technique", "Chest PA and lateral"},
                     {"comparison", "None."},
                     {"findings",
                      "There is no focal consolidation, pleural effusion or pneumothorax.  Bilateral\n"
                      " nodular opacities that most likely represent nipple shadows."},
                     {"impression", "No acute cardiopulmonary process."},
                     {"recommendation(s)", "Follow-up in 6 weeks."},
                     {"notification", "Dr. ___ by phone at 9:30: done."},
                     {"pa/lateral chest x-ray", "As above."}});
  CHECK(text::section("Clear. Findings and Impression: No change.", "findings and impression") ==
        "No change.");
  CHECK(text::section("FINDINGS/IMPRESSION: No change.", "findings/impression") == "No change.");
  CHECK(text::section("FINDINGS: one\nFINDINGS: two", "findings") == "one");
  CHECK(text::sections("Lungs: clear.\nHeart: normal.").size() == 1);  // not in capitals, not known
  CHECK(text::sections("LUNGS: clear.\r\n\tHEART: normal.").size() == 2);
}

TEST_CASE("the columns of Open-I come back from one free text") {
  const auto folder = test::real_data();
  if (!folder) return;
  const io::CsvTable table = io::read_csv(*folder / "open_i" / "indiana_reports.csv");
  int compared = 0, with_headers_inside = 0;
  for (const auto& row : table.rows) {
    std::string report;
    bool plain = true;
    for (const char* name : {"indication", "comparison", "findings", "impression"}) {
      const std::string& body = row[static_cast<std::size_t>(table.column(name))];
      plain = plain &&
              (text::sections(body).size() <= 1 && (body.empty() || text::sections(body)[0].name.empty()));
      std::string header = name;
      std::transform(header.begin(), header.end(), header.begin(),
                     [](char c) { return static_cast<char>(c - 32); });
      report += header + ": " + body + "\n\n";
    }
    if (!plain) {
      ++with_headers_inside;
      continue;
    }
    for (const char* name : {"indication", "comparison", "findings", "impression"}) {
      std::string_view body = row[static_cast<std::size_t>(table.column(name))];
      while (!body.empty() && text::detail::is_ascii_space(body.front())) body.remove_prefix(1);
      while (!body.empty() && text::detail::is_ascii_space(body.back())) body.remove_suffix(1);
      INFO(report);
      REQUIRE(text::section(report, name) == body);
      ++compared;
    }
  }
  CHECK(compared > 15000);
  CHECK(with_headers_inside < 60);
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
