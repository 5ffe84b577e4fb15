// libFuzzer target: any bytes as a report that is cut into sections and sentences.
#include "fuzzer.hpp"

#include <vlp/core/text_encoding.hpp>
#include <vlp/text/report.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace text = vlp::text;
using vlp::fuzz::promise;

void check_sentences(std::string_view report) {
  std::size_t at = 0;
  for (const text::Span sentence : text::sentences(report)) {
    promise(sentence.begin >= at && sentence.end > sentence.begin, "sentences are in order, none empty");
    promise(vlp::trimmed(report.substr(at, sentence.begin - at)).empty(), "only white space is left out");
    at = sentence.end;
  }
  promise(vlp::trimmed(report.substr(at)).empty(), "only white space is left out");
}

void check_sections(std::string_view report) {
  std::size_t at = 0;
  for (const text::Section& section : text::sections(report)) {
    promise(!section.name.empty() || !section.body.empty(), "no section is nothing");
    promise(vlp::trimmed(section.body) == section.body, "no white space at the ends of a body");
    if (section.body.empty()) continue;
    const auto begin = static_cast<std::size_t>(section.body.data() - report.data());
    promise(begin >= at && begin + section.body.size() <= report.size(),
            "bodies lie in the report, in order");
    at = begin + section.body.size();
  }
}

void check_names(std::string_view report) {
  const auto written = text::sections(report);
  const auto canonical = text::sections(report, text::SectionNames::canonical);
  promise(written.size() == canonical.size(), "as many sections by either names");
  for (std::size_t i = 0; i < written.size(); ++i) {
    promise(written[i].body == canonical[i].body, "the same sections by either names");
    promise(text::detail::canonical_name(canonical[i].name) == canonical[i].name, "a canonical name stays");
    if (i >= 4) continue;  // what follows takes all sections anew
    std::string_view last;
    for (const text::Section& section : written)
      if (section.name == written[i].name && !section.body.empty()) last = section.body;
    promise(text::section(report, written[i].name) == last, "the last that is not empty counts");
  }
}

/// `report`, which has no CR, with other line ends.
std::string with_line_ends(std::string_view report, std::string_view line_end) {
  std::string result;
  for (const char c : report) c == '\n' ? result.append(line_end) : result.append(1, c);
  return result;
}

void check_line_ends(std::string_view report) {
  const auto expected = text::sections(report);
  for (const std::string_view line_end : {"\r\n", "\r"}) {
    const std::string changed = with_line_ends(report, line_end);
    const auto found = text::sections(changed);
    promise(found.size() == expected.size(), "as many sections with other line ends");
    for (std::size_t i = 0; i < found.size(); ++i)
      promise(
          found[i].name == expected[i].name && found[i].body == with_line_ends(expected[i].body, line_end),
          "the same sections with other line ends");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string report(vlp::fuzz::text_of(data, size));
  check_sentences(report);
  check_sections(report);
  check_names(report);
  if (report.find('\r') == report.npos) check_line_ends(report);
  return 0;
}
