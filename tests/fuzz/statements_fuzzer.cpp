// libFuzzer target: the statements that any text makes of a chest, its scores against another text, and both
// in a table.
#include "builtin/clinical_scores.hpp"
#include "builtin/read_statements.hpp"
#include "fuzzer.hpp"

#include <vlp/eval/text_scores.hpp>
#include <vlp/tasks/generation_evaluation.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

using vlp::fuzz::promise;
namespace builtin = vlp::builtin;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = vlp::fuzz::text_of(data, size);
  // Two texts, divided at the first NUL or in the middle.
  const std::size_t cut = std::min(bytes.find('\0'), bytes.size() / 2);
  const std::vector<std::string> text{std::string(bytes.substr(0, cut))},
      truth{std::string(bytes.substr(cut))};
  const builtin::Reading reading = builtin::read_statements(text[0]);
  for (const builtin::Statement& statement : reading.findings)
    promise(std::ranges::count_if(reading.findings,
                                  [&](const builtin::Statement& other) {
                                    return builtin::detail::covers(other, statement);
                                  }) == 1,
            "a finding tells what no other tells");
  const builtin::ClinicalScores scores = builtin::clinical_scores(text, truth);
  promise(scores.whole.right <= scores.findings().right, "a whole finding is a finding");
  promise(scores.findings().told == static_cast<vlp::Index>(reading.findings.size()),
          "every finding that is told counts");
  const builtin::ClinicalScores copy = builtin::clinical_scores(text, text);
  promise(copy.whole.right == copy.whole.expected && copy.negatives.right == copy.negatives.told,
          "a copy is right");

  const std::vector<vlp::eval::References> references{{truth[0], text[0]}};
  const vlp::tasks::TextScores words = vlp::tasks::score_texts(text, references);
  promise(words.exact_match == 1, "a text equals itself");
  for (const double score : words.bleu.score) promise(score >= 0 && score <= 1, "BLEU is a share");
  std::vector<vlp::data::Example> examples(1);
  examples[0].name = truth[0];
  const std::string table = vlp::tasks::table_of_texts(examples, text, references, 1);
  promise(std::ranges::count(table, '\n') == 3, "a row is a line");
  return 0;
}
