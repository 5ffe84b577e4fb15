// Word pieces back to text: spaces, punctuation, and the round trip.
#include "support/catch.hpp"
#include "text/reports.hpp"

#include <rapidcheck.h>

#include <vlp/text/build_vocabulary.hpp>
#include <vlp/text/detokenise.hpp>
#include <vlp/text/normalise.hpp>
#include <vlp/text/word_piece.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

using namespace vlp;
using namespace vlp::text;

namespace {

/// Every character of these tests alone and as a continuation, and a few words.
Vocabulary small_vocabulary() {
  std::vector<std::string> pieces{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "no", "acute", "disease"};
  for (char c = '!'; c <= '~'; ++c) {
    if (c >= 'A' && c <= 'Z') continue;
    pieces.emplace_back(1, c);
    if (text::detail::is_ascii_digit(c) || text::detail::is_ascii_lower(c))
      pieces.push_back("##" + std::string(1, c));
  }
  return Vocabulary(pieces);
}

/// A text after its pieces.
std::string there_and_back(const WordPiece& word_piece, const std::string& text) {
  std::vector<PieceId> ids;
  std::vector<std::int32_t> words;
  word_piece.encode(text, 100'000, ids, words);
  return detokenise(ids, word_piece.vocabulary());
}

}  // namespace

TEST_CASE("word pieces become the text of a report again") {
  const WordPiece word_piece(small_vocabulary());
  for (const std::string text :
       {"no acute disease.", "no acute disease", "mild, stable effusion", "follow-up in 2-3 weeks?",
        "pa/lateral", "patient's lungs don't show it", "'chf' is seen", "he'll say they're the patients' own",
        "c5-c6: 50% (old)", "<5 mm & >2 mm, 3 + 4 = 7", "[all clear]", "nodule #2; see {a_b}", "", "x", "!"})
    CHECK(there_and_back(word_piece, text) == text);
  CHECK(there_and_back(word_piece, "no , acute / disease .") == "no, acute/disease.");
}

TEST_CASE("special pieces are left out, and pieces that begin nothing are written all the same") {
  const Vocabulary vocabulary = small_vocabulary();
  const auto id = [&](const char* piece) { return vocabulary.find(piece); };
  std::vector<std::int32_t> words{7};
  CHECK(detokenise(std::vector{id("[CLS]"), id("##a"), id("##b"), id("[PAD]"), id("[UNK]"), id("##c"),
                               id(","), id("[MASK]"), id("no"), id("[SEP]")},
                   vocabulary, words) == "ab [UNK]c, no");
  CHECK(words == std::vector<std::int32_t>{7, -1, 0, 0, -1, 1, 1, 1, -1, 2, -1});
  CHECK(detokenise({}, vocabulary).empty());
  const Vocabulary blank = Vocabulary::parse("[PAD]\n[UNK]\n[CLS]\n[SEP]\n\n##\na\n", "blank");
  CHECK(detokenise(std::vector<PieceId>{6, 4, 5, 6}, blank) == "a ## a");
  CHECK_THROWS_WITH(detokenise(std::vector<PieceId>{1, 7}, blank),
                    "detokenise: piece 1 has the id 7, but there are 7 pieces");
  CHECK_THROWS_WITH(detokenise(std::vector<PieceId>{-1}, blank),
                    "detokenise: piece 0 has the id -1, but there are 7 pieces");
}

TEST_CASE("a text made of pieces has these pieces, in the same words") {
  const WordPiece word_piece(small_vocabulary());
  const auto character = rc::gen::inRange<char>(' ', '~');
  CHECK(rc::check([&] {
    const std::string text = *rc::gen::container<std::string>(character);
    std::vector<PieceId> ids, again;
    std::vector<std::int32_t> words, words_again, words_written;
    word_piece.encode(text, 100'000, ids, words);
    const std::string written = detokenise(ids, word_piece.vocabulary(), words_written);
    word_piece.encode(written, 100'000, again, words_again);
    RC_ASSERT(again == ids);
    RC_ASSERT(words_again == words_written);
    RC_ASSERT(normalise(written, all_words).empty() || written.front() != ' ');
  }));
}

TEST_CASE("of random reports, pieces stay the same too") {
  CHECK(rc::check([] {
    const std::string report = *test::random_report();
    const WordPiece word_piece(build_vocabulary(std::vector{normalise(report, all_words)}, {.size = 500}));
    std::vector<PieceId> ids, again;
    std::vector<std::int32_t> words;
    word_piece.encode(normalise(report, all_words), 100'000, ids, words);
    if (std::ranges::find(ids, word_piece.vocabulary().unknown()) != ids.end()) return;
    word_piece.encode(detokenise(ids, word_piece.vocabulary()), 100'000, again, words);
    RC_ASSERT(again == ids);
  }));
}

TEST_CASE("real findings and impressions come back from their pieces") {
  std::vector<std::string> texts;
  for (const std::string& report : test::open_i_reports()) texts.push_back(normalise(report));
  if (texts.empty()) return;
  const WordPiece word_piece(build_vocabulary(texts, {.size = 2000}));
  std::size_t same = 0;
  for (const std::string& text : texts) same += there_and_back(word_piece, text) == text;
  INFO(same << " of " << texts.size());
  CHECK(static_cast<double>(same) > 0.99 * static_cast<double>(texts.size()));
}
