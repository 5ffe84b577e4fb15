#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/sparse_memory.hpp"
#include "text/reports.hpp"

#include <vlp/core/text_encoding.hpp>
#include <vlp/text/normalise.hpp>
#include <vlp/text/report.hpp>

#include <algorithm>
#include <cstddef>
#include <stdexcept>
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
using Pairs = std::vector<std::pair<std::string, std::string>>;

Pairs sections_of(std::string_view report) {
  Pairs result;
  for (const text::Section& section : text::sections(report))
    result.emplace_back(section.name, std::string(section.body));
  return result;
}
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
  CHECK(sections_of(report) ==
        Pairs{{"final report", ""},
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
  CHECK(text::sections("Lungs: clear.\nHeart: normal.").size() == 1);  // not in capitals, not known
  CHECK(text::sections("LUNGS: clear.\r\n\tHEART: normal.").size() == 2);
}

TEST_CASE("headers as MIMIC-CXR writes them: commas, digits, apostrophes, hashes, any length") {
  const std::string report =
      "                                 FINAL REPORT\n INDICATION:  Rule out pneumonia.\n\n COMPARISON:  "
      "___.\n\n"
      " CHEST, PA AND LATERAL:  The lungs are hyperinflated.  There is no consolidation.\n\n"
      " IMPRESSION:  No pneumonia.\n";
  CHECK(sections_of(report) ==
        Pairs{{"final report", ""},
              {"indication", "Rule out pneumonia."},
              {"comparison", "___."},
              {"chest, pa and lateral", "The lungs are hyperinflated.  There is no consolidation."},
              {"impression", "No pneumonia."}});
  const std::string long_header =
      "SINGLE FRONTAL VIEW OF THE CHEST, AP UPRIGHT AND LEFT LATERAL DECUBITUS, 2 VIEWS (STUDY #3)";
  for (const std::string& header :
       {long_header, std::string("2 VIEWS OF THE CHEST"), std::string("PATIENT'S HISTORY"),
        std::string("WET READ #2"), std::string("AP CHEST, 6:14 AM"), std::string("CHEST, ___"),
        std::string("CLINICAL   HISTORY")}) {
    INFO(header);
    const auto found = sections_of("FINDINGS: Clear.\n " + header + ": Stable: 1:2. NO: 3.\n");
    REQUIRE(found.size() == 2);
    CHECK(found[0].second == "Clear.");
    CHECK(found[1].first == text::detail::header_name(header));
    CHECK(found[1].second == "Stable: 1:2. NO: 3.");
  }
  CHECK(sections_of("CLINICAL   HISTORY: x")[0].first == "clinical history");
  // No header: within a line, in lower case, without a letter, with a full stop, only a time of the day.
  for (const char* text :
       {"Clear. HEART, SIZE: x", "Heart, size: x", "12, 5: x", "CLEAR. NO: x", "AT 9:30", "CHEST\nX: x"})
    CHECK(sections_of(text).size() == 1);
}

TEST_CASE("a rule or a line such as FINAL REPORT ends a section") {
  const std::string report =
      " WET READ: ___ 9:12 PM\n  IMPRESSION:  No pneumothorax.\n"
      " ______________________________________________________________________________\n"
      "                                 FINAL REPORT\n INDICATION:  Line placement.\n\n"
      " IMPRESSION:  Small right apical pneumothorax.\n";
  CHECK(sections_of(report) == Pairs{{"wet read", "___ 9:12 PM"},
                                     {"impression", "No pneumothorax."},
                                     {"final report", ""},
                                     {"indication", "Line placement."},
                                     {"impression", "Small right apical pneumothorax."}});
  CHECK(text::section(report, "impression") == "Small right apical pneumothorax.");
  for (const char* rule : {"____", "------", "====\xc2\xa0", "********** "})
    CHECK(sections_of(std::string("FINDINGS: Clear.\n ") + rule + "\nSigned. TODAY\n\nMore.") ==
          Pairs{{"findings", "Clear."}, {"", "Signed. TODAY\n\nMore."}});
  for (const char* mark :
       {"FINAL REPORT", "WET READ", "Final report", "FINAL ADDENDUM  ", "Preliminary Report\r"}) {
    const auto found = sections_of(std::string("FINDINGS: Clear.\n\t") + mark + "\n Heart normal.");
    REQUIRE(found.size() == 2);
    CHECK(found[0].second == "Clear.");
    CHECK(found[1].first == text::detail::header_name(trimmed(mark)));
    CHECK(found[1].second == "Heart normal.");
  }
  CHECK(sections_of("WET READ VERSION #1 ___ 9:12 PM\n No effusion.") ==
        Pairs{{"wet read", "VERSION #1 ___ 9:12 PM\n No effusion."}});
  // Not these: what was removed from a report, a hyphen, a rule within a line, a mark within a sentence.
  for (const char* inside :
       {"Seen by\n ___\n at noon", "A\n --- b", "A ________ b", "A\n____ b", "A\n_-_-_-\nb",
        "See the\nfinal report\nof May", "A\nFINAL REPORTS\nb", "A\nFINAL REPORT of May"})
    CHECK(sections_of(inside) == Pairs{{"", inside}});
  CHECK(sections_of("A. ____\nb") == Pairs{{"", "A. ____\nb"}});
  CHECK(sections_of("FINDINGS: Clear\n____\nMore") == Pairs{{"findings", "Clear"}, {"", "More"}});
  CHECK(sections_of("FINDINGS: a\n123 A: x") == Pairs{{"findings", "a\n123 A: x"}});
  // Nor does a rule alone make a section.
  CHECK(sections_of("____\n____\n").empty());
}

TEST_CASE("the last section of a name that is not empty counts") {
  CHECK(text::section("FINDINGS: one\nFINDINGS: two", "findings") == "two");
  CHECK(text::section("FINDINGS: one\nFINDINGS:\nFINDINGS: \xc2\xa0\nIMPRESSION: Same.", "findings") ==
        "one");
  CHECK(text::section("FINDINGS:\nFINDINGS: two", "findings") == "two");
  CHECK(text::section("FINDINGS:\n____\nFINDINGS:\n", "findings").empty());
}

TEST_CASE("misspelt headers are read as the names they stand for, where that is asked for") {
  const std::string report =
      "                                 FINAL REPORT\n INDICATION:  Chest pain.\n\n FINDNGS:  Lungs are "
      "clear.\n\n"
      " IMPRESSON:  No acute process.\n";
  const auto canonical = text::SectionNames::canonical;
  CHECK(text::section(report, "findings", canonical) == "Lungs are clear.");
  CHECK(text::section(report, "impression", canonical) == "No acute process.");
  CHECK(text::section(report, "findings").empty());
  CHECK(text::section(report, "findngs") == "Lungs are clear.");
  const std::vector<std::pair<std::string, std::string>> names{
      {"impresion", "impression"},
      {"imrpession", "impression"},
      {"impressions", "impression"},
      {"mpression", "impression"},
      {"finding", "findings"},
      {"fidnings", "findings"},
      {"indciation", "indication"},
      {"comparision", "comparison"},
      {"comparisons", "comparison"},
      {"tehcnique", "technique"},
      {"exam", "examination"},
      {"findings/impression", "findings and impression"},
      {"recommendation(s)", "recommendation"},
      {"wet raed", "wet read"},
      // Words of their own.
      {"medication", "medication"},
      {"compression", "compression"},
      {"heart", "heart"},
      {"exams", "exams"},
      {"view", "view"},
      {"lungs", "lungs"},
      {"histology", "histology"},
      {"", ""}};
  for (const auto& [written, meant] : names) {
    INFO(written);
    CHECK(text::detail::canonical_name(written) == meant);
  }
  CHECK(text::detail::edit_distance("", "abc") == 3);
  CHECK(text::detail::edit_distance("ca", "abc") == 3);
  CHECK(text::detail::edit_distance("kitten", "sitting") == 3);
  CHECK(text::detail::edit_distance("ab", "ba") == 1);
}

TEST_CASE("sections in any line ends, after a byte order mark and among no-break spaces") {
  CHECK(text::section("\xef\xbb\xbf"
                      "FINDINGS: The lungs are clear.\nIMPRESSION: Normal.\n",
                      "findings") == "The lungs are clear.");
  for (const std::string line_end : {"\n", "\r\n", "\r"}) {
    const std::string report = "FINDINGS:" + line_end + "Clear" + line_end + "lungs." + line_end + line_end +
                               "\xc2\xa0HEART, SIZE\xc2\xa0:\xc2\xa0Normal.\xc2\xa0" + line_end +
                               "Impression: No" + line_end + "change" + line_end;
    CHECK(sections_of(report) == Pairs{{"findings", "Clear" + line_end + "lungs."},
                                       {"heart, size", "Normal."},
                                       {"impression", "No" + line_end + "change"}});
    CHECK(sentences_of("no stop" + line_end + "same" + line_end + line_end + "another") ==
          Strings{"no stop" + line_end + "same", "another"});
  }
  CHECK(sentences_of("Clear.\xc2\xa0Normal.\xe2\x80\xafStable.") == Strings{"Clear.", "Normal.", "Stable."});
}

TEST_CASE("a report of more than 2 GiB is refused, and nothing of it read") {
  const test::SparseMemory<char> memory((Index{1} << 31) + 1);
  const std::string_view report(memory.data(), (std::size_t{1} << 31) + 1);
  const auto message = [](auto action) { return test::message_of<std::invalid_argument>(action); };
  const auto refused = ContainsSubstring("2147483649 bytes is longer than 2 GiB");
  CHECK_THAT(message([&] { static_cast<void>(text::sentences(report)); }), refused);
  CHECK_THAT(message([&] { static_cast<void>(text::sections(report)); }), refused);
  CHECK_THAT(message([&] { static_cast<void>(text::section(report, "findings")); }), refused);
  CHECK_THAT(message([&] { static_cast<void>(text::normalise(report)); }), refused);
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
      return trimmed(std::string_view(report).substr(begin, end - begin)).empty();
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
