/// \file
/// Reports to test with: real ones where they are, and random ones that are hard on purpose.
#pragma once

#include "support/temporary_folder.hpp"

#include <rapidcheck.h>

#include <vlp/io/csv.hpp>
#include <vlp/text/detail/arrangements.hpp>
#include <vlp/text/words.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::test {

/// The findings and impressions of all Open-I reports; none (and a message) where the data is not there.
inline std::vector<std::string> open_i_reports() {
  std::vector<std::string> reports;
  const auto folder = real_data();
  if (!folder) return reports;
  const io::CsvTable table = io::read_csv(*folder / "open_i" / "indiana_reports.csv");
  const auto findings = static_cast<std::size_t>(table.column("findings"));
  const auto impression = static_cast<std::size_t>(table.column("impression"));
  for (const auto& row : table.rows) reports.push_back(row[findings] + ' ' + row[impression]);
  return reports;
}

struct WordCount {
  std::string word;
  int count;
};

/// The words of the Open-I findings that are tagged as adjectives, without punctuation; none where the
/// data is not there.
inline std::vector<WordCount> open_i_adjectives() {
  std::map<std::string, int> counts;
  if (const auto folder = real_data()) {
    const io::CsvTable table = io::read_csv(*folder / "open_i" / "indiana_reports.csv");
    const auto findings = static_cast<std::size_t>(table.column("findings"));
    text::WordReader reader(text::all_words);
    text::Words words;
    for (const auto& row : table.rows) {
      reader.read(row[findings], words);
      for (std::size_t i = 0; i < words.size(); ++i)
        if (words.classes[i] == text::WordClass::adjective)
          ++counts[std::string(slice(words[i], text::detail::without_punctuation(words[i])))];
    }
  }
  std::vector<WordCount> result;
  for (const auto& [word, count] : counts) result.push_back({word, count});
  return result;
}

/// Pieces of random reports: words, punctuation, white space of all kinds, scripts, and bytes that are not
/// UTF-8.
inline rc::Gen<std::string> report_pieces() {
  return rc::gen::element<std::string>(
      "No", "acute", "effusion", "Left", "lung", "is", "clear", "3.2", "cm", "patient's", "don't", "normal",
      "FINDINGS:", "right-sided", "and/or", ".", "!", "\"", "(", ")", "*", "#", ":", ";", "~", ",", "?", " ",
      "  ", "\n", "\n\n", "\t", "\r\n", "\x1c", "\xc2\xa0", "\xef\xbb\xbf", "\xe2\x80\xa8", "\xe3\x80\x80",
      "\xc3\x89", "\xc4\xb0", "\xce\xa3", "\xe4\xb8\xad", "\xf0\x9f\x98\x80", "e\xcc\x81", "\xff", "\xc3",
      "\xe2\x82", "\xed\xa0\x80", "\xf8", std::string(1, '\0'), "x-ray", "1.");
}

/// A random report, of pieces or of any bytes.
inline rc::Gen<std::string> random_report() {
  const auto of_pieces = rc::gen::map(rc::gen::container<std::vector<std::string>>(report_pieces()),
                                      [](const std::vector<std::string>& pieces) {
                                        std::string report;
                                        for (const std::string& piece : pieces) report += piece;
                                        return report;
                                      });
  const auto spaced = rc::gen::map(rc::gen::container<std::vector<std::string>>(report_pieces()),
                                   [](const std::vector<std::string>& pieces) {
                                     std::string report;
                                     for (const std::string& piece : pieces) report += piece + ' ';
                                     return report;
                                   });
  return rc::gen::oneOf(of_pieces, spaced, rc::gen::container<std::string>(rc::gen::arbitrary<char>()));
}

/// Words with given classes, in one sentence, without a tagger.
inline text::Words make_words(const std::vector<std::string>& words,
                              const std::vector<text::WordClass>& classes) {
  text::Words result;
  for (const std::string& word : words) {
    if (!result.text.empty()) result.text += ' ';
    const auto begin = static_cast<std::uint32_t>(result.text.size());
    result.text += word;
    result.spans.push_back({begin, static_cast<std::uint32_t>(result.text.size())});
  }
  result.sources = result.spans;
  result.classes = classes;
  if (!words.empty()) result.sentences = {{0, static_cast<std::uint32_t>(words.size())}};
  return result;
}

}  // namespace vlp::test
