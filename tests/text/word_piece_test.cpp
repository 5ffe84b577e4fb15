#include "support/messages.hpp"
#include "text/reports.hpp"

#include <vlp/text/build_vocabulary.hpp>
#include <vlp/text/word_piece.hpp>
#include <vlp/text/words.hpp>

#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

using namespace vlp;
using text::PieceId;
using text::Vocabulary;
using text::WordPiece;

namespace {

using Ids = std::vector<std::int32_t>;

Vocabulary hard_vocabulary() {
  std::istringstream pieces(
      "[PAD] [UNK] [CLS] [SEP] [MASK] the lung ##s are clear , . - ' t s don un ##aff ##able naive ##ly cafe "
      "a ##b ##c "
      "b pleur ##al ##eff effusion ##a ##1 1 2 3 [ ] cls \xe4\xb8\xad \xe5\x9b\xbd ## # % \xc3\x9f ss "
      "\xd0\xbe \xcf\x83 "
      "##\xcf\x83 ##\xce\xb9 \xe1\x84\x92 ##\xe1\x85\xa1 ##\xe1\x86\xab ; k i ##n ##x \xc3\xbc u");
  std::vector<std::string> list;
  for (std::string piece; pieces >> piece;) list.push_back(piece);
  return Vocabulary(std::move(list));
}

Ids encode(const WordPiece& tokeniser, std::string_view report, std::size_t max_pieces = 1000,
           Ids* words = nullptr) {
  Ids ids, scratch;
  tokeniser.encode(report, max_pieces, ids, words != nullptr ? *words : scratch);
  return ids;
}

}  // namespace

TEST_CASE("ids equal those of the reference tokeniser for hard strings") {
  const WordPiece tokeniser(hard_vocabulary());
  struct Case {
    std::string report;
    Ids ids;
  };
  // Computed once by Hugging Face tokenizers' BertWordPieceTokenizer with this vocabulary.
  const std::vector<Case> cases{
      {"The lungs are clear.", {2, 5, 6, 7, 8, 9, 11, 3}},
      {"", {2, 3}},
      {"   ", {2, 3}},
      {"don't", {2, 16, 13, 14, 3}},
      {"unaffable", {2, 17, 18, 19, 3}},
      {"NA\xc3\x8fVELY, CAF\xc3\x89", {2, 20, 21, 10, 22, 3}},
      {"Cafe\xcc\x81", {2, 22, 3}},
      {"abc abcb ab1", {2, 23, 24, 25, 23, 24, 25, 24, 23, 24, 32, 3}},
      {std::string("a\0b", 3), {2, 23, 24, 3}},
      {"a\xc2\xad"
       "b\xe2\x80\x8b"
       "b",
       {2, 23, 24, 24, 3}},
      {"lungs\xc2\xa0"
       "are\xe2\x80\x83"
       "clear\xe2\x80\xa8the\xe3\x80\x80lung",
       {2, 6, 7, 8, 9, 5, 6, 3}},
      {"\xe4\xb8\xad\xe5\x9b\xbdlungs\xe4\xb8\xad", {2, 39, 40, 6, 7, 39, 3}},
      {"#%## ##b", {2, 42, 43, 42, 42, 42, 42, 26, 3}},
      {"a-b,c", {2, 23, 12, 26, 10, 1, 3}},
      {"pleural-effusion", {2, 27, 28, 12, 30, 3}},
      {"\xce\xa3\xcf\x83\xcf\x82", {2, 1, 3}},
      {"\xc3\x9f SS \xe1\xba\x9e", {2, 44, 45, 44, 3}},
      {"\xed\x95\x9c", {2, 50, 51, 52, 3}},
      {"\xcd\xbe;", {2, 53, 53, 3}},
      {"\xe2\x84\xaa K", {2, 54, 54, 3}},
      {"\xc4\xb0 \xc4\xb0n", {2, 55, 55, 56, 3}},
      {"1\xe2\x83\xa3"
       "2",
       {2, 1, 3}},
      {"xxx", {2, 1, 3}},
      {"a" + std::string(100, 'b'), {2, 1, 3}},
      {"the\ttab\nline\r\nend\x0bsame", {2, 5, 14, 31, 24, 1, 1, 3}},
      {"\xef\xbf\xbd"
       "a",
       {2, 23, 3}},
      {"e\xcc\xa7\xcc\x81"
       "a",
       {2, 1, 3}},
      {"the\xf0\x9f\x98\x80the", {2, 1, 3}},
      {"U\xcc\x88 \xc3\xbc", {2, 59, 59, 3}},
  };
  for (const auto& [report, ids] : cases) {
    INFO(report);
    CHECK(encode(tokeniser, report) == ids);
  }
  const Ids longest = encode(tokeniser, "a" + std::string(99, 'b'));
  CHECK(longest.size() == 102);
  CHECK(std::count(longest.begin(), longest.end(), 24) == 99);
}

TEST_CASE("each piece names its word") {
  const WordPiece tokeniser(hard_vocabulary());
  Ids words;
  encode(tokeniser, "the lungs, unaffable", 100, &words);
  CHECK(words == Ids{-1, 0, 1, 1, 1, 2, 2, 2, -1});
  words.clear();
  encode(tokeniser, " the \xc2\xad lungs", 100, &words);  // a word of nothing still counts
  CHECK(words == Ids{-1, 0, 2, 2, -1});
}

TEST_CASE("what does not fit is left out at the end") {
  const WordPiece tokeniser(hard_vocabulary());
  CHECK(encode(tokeniser, "unaffable lungs", 5) == Ids{2, 17, 18, 19, 3});
  CHECK(encode(tokeniser, "unaffable lungs", 4) == Ids{2, 17, 18, 3});
  CHECK(encode(tokeniser, "unaffable", 2) == Ids{2, 3});
  CHECK_THROWS_AS(encode(tokeniser, "a", 1), std::invalid_argument);
  Ids ids, words;
  CHECK(tokeniser.encode("lungs", 4, ids, words) == 4);
  CHECK(tokeniser.encode_padded("the", 5, ids, words) == 3);
  CHECK(ids == Ids{2, 6, 7, 3, 2, 5, 3, 0, 0});
  CHECK(words == Ids{-1, 0, 0, -1, -1, 0, -1, -1, -1});
}

TEST_CASE("a pair of texts is two segments after one [CLS]") {
  const WordPiece tokeniser(hard_vocabulary());
  struct Case {
    std::string a, b;
    std::size_t max_pieces;
    Ids ids, words, types;
  };
  // By hand: the -> 5; lungs -> 6 7; unaffable -> 17 18 19; [CLS] 2, [SEP] 3, [UNK] 1.
  const std::vector<Case> cases{
      {"the lungs",
       "unaffable the",
       100,
       {2, 5, 6, 7, 3, 17, 18, 19, 5, 3},
       {-1, 0, 1, 1, -1, 0, 0, 0, 1, -1},
       {0, 0, 0, 0, 0, 1, 1, 1, 1, 1}},
      {"the", "", 100, {2, 5, 3, 3}, {-1, 0, -1, -1}, {0, 0, 0, 1}},
      {"", "the", 100, {2, 3, 5, 3}, {-1, -1, 0, -1}, {0, 0, 1, 1}},
      {"", "", 3, {2, 3, 3}, {-1, -1, -1}, {0, 0, 1}},
      {"the", "lungs", 3, {2, 3, 3}, {-1, -1, -1}, {0, 0, 1}},
      // Exactly what fits, then one less: the longer text loses its last piece.
      {"the", "unaffable", 7, {2, 5, 3, 17, 18, 19, 3}, {-1, 0, -1, 0, 0, 0, -1}, {0, 0, 0, 1, 1, 1, 1}},
      {"the", "unaffable", 6, {2, 5, 3, 17, 18, 3}, {-1, 0, -1, 0, 0, -1}, {0, 0, 0, 1, 1, 1}},
      {"unaffable", "the", 6, {2, 17, 18, 3, 5, 3}, {-1, 0, 0, -1, 0, -1}, {0, 0, 0, 0, 1, 1}},
      // A tie takes from the second text.
      {"unaffable",
       "unaffable",
       8,
       {2, 17, 18, 19, 3, 17, 18, 3},
       {-1, 0, 0, 0, -1, 0, 0, -1},
       {0, 0, 0, 0, 0, 1, 1, 1}},
      {"unaffable",
       "unaffable",
       7,
       {2, 17, 18, 3, 17, 18, 3},
       {-1, 0, 0, -1, 0, 0, -1},
       {0, 0, 0, 0, 1, 1, 1}},
      {"the", "unaffable", 4, {2, 5, 3, 3}, {-1, 0, -1, -1}, {0, 0, 0, 1}},
      // An empty second text leaves all the room to the first.
      {"unaffable", "", 5, {2, 17, 18, 3, 3}, {-1, 0, 0, -1, -1}, {0, 0, 0, 0, 1}},
      {"", "unaffable", 5, {2, 3, 17, 18, 3}, {-1, -1, 0, 0, -1}, {0, 0, 1, 1, 1}},
  };
  for (const auto& [a, b, max_pieces, wanted_ids, wanted_words, wanted_types] : cases) {
    INFO(a << " | " << b << " in " << max_pieces);
    Ids ids{77}, words{88, 88}, types;  // results are appended, to lists of any lengths
    CHECK(tokeniser.encode_pair(a, b, max_pieces, ids, words, types) == wanted_ids.size());
    CHECK(Ids(ids.begin() + 1, ids.end()) == wanted_ids);
    CHECK(Ids(words.begin() + 2, words.end()) == wanted_words);
    CHECK(types == wanted_types);
  }
  Ids ids{77}, words, types;
  CHECK(test::message_of<std::invalid_argument>([&] {
          tokeniser.encode_pair("a", "b", 2, ids, words, types);
        }) == "encode_pair: max_pieces is 2, but [CLS] and two times [SEP] alone are 3");
  CHECK(ids == Ids{77});
  CHECK(words.empty());
  CHECK(types.empty());
}

TEST_CASE("a pair that is too long loses one piece of the longer text at a time") {
  const WordPiece tokeniser(hard_vocabulary());
  const auto pieces_of = [&](std::size_t count) {  // "a b 1 2 3 a b ...": one piece each
    std::string out;
    for (std::size_t i = 0; i < count; ++i) out += std::string(1, "ab123"[i % 5]) + ' ';
    return out;
  };
  for (std::size_t count_a = 0; count_a < 10; ++count_a)
    for (std::size_t count_b = 0; count_b < 10; ++count_b)
      for (std::size_t max_pieces = 3; max_pieces < 24; ++max_pieces) {
        INFO(count_a << " and " << count_b << " in " << max_pieces);
        Ids a = encode(tokeniser, pieces_of(count_a)), b = encode(tokeniser, pieces_of(count_b));
        a.pop_back();        // [CLS] and the pieces
        b.erase(b.begin());  // the pieces and [SEP]
        b.pop_back();
        while (a.size() + b.size() + 2 > max_pieces) {
          if (a.size() - 1 > b.size())
            a.pop_back();
          else
            b.pop_back();
        }
        Ids wanted = a;
        wanted.push_back(3);
        wanted.insert(wanted.end(), b.begin(), b.end());
        wanted.push_back(3);
        Ids ids, words, types, wanted_types(a.size() + 1, 0);
        wanted_types.resize(wanted.size(), 1);
        tokeniser.encode_pair(pieces_of(count_a), pieces_of(count_b), max_pieces, ids, words, types);
        CHECK(ids == wanted);
        CHECK(types == wanted_types);
        CHECK(words.size() == ids.size());
      }
}

TEST_CASE("pieces of normalised reports join to their words") {
  const std::vector<std::string> corpus{"the left lung is clear", "no acute effusion or pneumothorax"};
  const WordPiece tokeniser(text::build_vocabulary(corpus, {.size = 80}));
  CHECK(rc::check("words of pieces", [&] {
    const text::Words report = text::read_words(*test::random_report());
    const auto max_pieces = *rc::gen::inRange<std::size_t>(2, 120);
    Ids ids, words;
    const std::size_t count = tokeniser.encode(report.text, max_pieces, ids, words);
    RC_ASSERT(count <= max_pieces);
    RC_ASSERT(ids.size() == count);
    RC_ASSERT(words.size() == count);
    std::int32_t last = 0;
    for (std::size_t i = 1; i + 1 < count; ++i) {
      RC_ASSERT(words[i] >= last);
      RC_ASSERT(static_cast<std::size_t>(words[i]) < report.size());
      last = words[i];
    }
    // A word alone has the same pieces as in its report.
    if (report.empty() || count == max_pieces) return;
    Ids joined{tokeniser.vocabulary().begin_of_text()}, alone, scratch;
    for (std::size_t w = 0; w < report.size(); ++w) {
      alone.clear();
      tokeniser.encode(report[w], 100000, alone, scratch);
      joined.insert(joined.end(), alone.begin() + 1, alone.end() - 1);
    }
    joined.push_back(tokeniser.vocabulary().end_of_text());
    RC_ASSERT(joined == ids);
  }));
}

TEST_CASE("the published BERT vocabulary gives the published ids") {
  const auto folder = test::real_data();
  if (!folder) return;
  const WordPiece tokeniser(Vocabulary::load(*folder / "bert_vocab" / "vocab.txt"));
  CHECK(tokeniser.vocabulary().size() == 30522);
  CHECK(encode(tokeniser, "No acute cardiopulmonary abnormality.") ==
        Ids{101, 2053, 11325, 4003, 3695, 14289, 13728, 7856, 2854, 19470, 3012, 1012, 102});
  CHECK(encode(tokeniser, "Mild bibasilar atelectasis; XXXX x-ray 3.2 cm (stable), patient's.") ==
        Ids{101,  10256, 12170, 22083, 11733, 2099, 8823, 2571, 25572, 6190, 1025, 22038, 20348, 1060, 1011,
            4097, 1017,  1012,  1016,  4642,  1006, 6540, 1007, 1010,  5776, 1005, 1055,  1012,  102});
  // FNV-1a over the ids of all reports, computed with Hugging Face tokenizers.
  std::uint64_t hash = 0xcbf29ce484222325u;
  const auto reports = test::open_i_reports();
  for (const std::string& report : reports)
    for (const PieceId id : encode(tokeniser, report, 100000))
      hash = (hash ^ static_cast<std::uint64_t>(id)) * 0x100000001b3u;
  if (!reports.empty()) CHECK(hash == 0xa1ded336e08e42cau);
}
