#include "support/catch.hpp"
#include "text/reports.hpp"

#include <vlp/core/stop.hpp>
#include <vlp/text/build_vocabulary.hpp>
#include <vlp/text/vocabulary.hpp>
#include <vlp/text/word_piece.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <ranges>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace vlp;
using text::build_vocabulary;
using text::Vocabulary;
using Strings = std::vector<std::string>;

namespace {
Strings pieces_of(const Vocabulary& vocabulary) {
  return {vocabulary.pieces().begin(), vocabulary.pieces().end()};
}
}  // namespace

TEST_CASE("a vocabulary finds its pieces") {
  const Vocabulary vocabulary(
      Strings{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "lung", "lun", "##g", "##", "#", "g"});
  CHECK(vocabulary.size() == 10);
  CHECK(vocabulary.find("lung") == 4);
  CHECK(vocabulary.find("lun") == 5);
  CHECK(vocabulary.find("##g") == 6);
  CHECK(vocabulary.find("g") == 9);
  CHECK(vocabulary.find("##") == 7);
  CHECK(vocabulary.find("lu") == -1);
  CHECK(vocabulary.find("lungs") == -1);
  CHECK(vocabulary.find("") == -1);
  CHECK(vocabulary[4] == "lung");
  CHECK(vocabulary.pad() == 0);
  CHECK(vocabulary.end_of_text() == 3);
}

TEST_CASE("what is no vocabulary is refused") {
  const auto with = [](const std::string& piece) {
    return Strings{"[PAD]", "[UNK]", "[CLS]", "[SEP]", piece};
  };
  CHECK_MESSAGE_HAS(Vocabulary(Strings{"[PAD]", "[UNK]", "[CLS]"}), "[SEP]", "3 pieces");
  CHECK_MESSAGE_HAS(Vocabulary(with("[SEP]")), "piece 4", "twice");
  CHECK_MESSAGE_HAS(Vocabulary(with("")), "piece 4", "empty");
  for (const char* piece : {"a\nb", "a\rb", " a", "a\t",
                            "\xef\xbb\xbf"
                            "a",
                            "\xc2\xa0"})
    CHECK_MESSAGE_HAS(Vocabulary(with(piece)), "piece 4", "white space");
  CHECK_MESSAGE_HAS(Vocabulary(with("caf\xe9")), "piece 4", "UTF-8");
  const test::TemporaryFolder folder;
  CHECK_MESSAGE_HAS(Vocabulary::load(folder / "none.txt"), "none.txt", "opened");
  CHECK_MESSAGE_HAS(Vocabulary::load(folder.write("bad.txt", "[PAD]\n\n")), "bad.txt", "1 pieces");
  CHECK_MESSAGE_HAS(Vocabulary::load(folder.write("empty.txt", "")), "empty.txt", "0 pieces");
  CHECK_MESSAGE_HAS(Vocabulary::load(folder.path()), folder.path().string(), "cannot be read");
  CHECK_MESSAGE_HAS(text::detail::whole_file("/dev/zero", "vocabulary /dev/zero", 100000), "/dev/zero",
                    "larger than 100000 bytes");
  CHECK(text::detail::whole_file(folder.write("five", "lungs"), "five", 5) == "lungs");
}

TEST_CASE("a vocabulary in another encoding is refused with the file's name and line") {
  const test::TemporaryFolder folder;
  CHECK_MESSAGE_HAS(Vocabulary::load(folder.write("latin1.txt", "[PAD]\n[UNK]\ncaf\xe9\n")), "latin1.txt:3",
                    "E9");
  CHECK_MESSAGE_HAS(Vocabulary::load(folder.write("utf16.txt", std::string("\xff\xfe[\0P\0", 6))),
                    "utf16.txt", "UTF-16");
  CHECK_MESSAGE_HAS(Vocabulary::load(folder.write("zero.txt", std::string("[PAD]\na\0b\n", 10))),
                    "zero.txt:2", "zero byte");
}

TEST_CASE("more prefixes than a vocabulary can index are refused with the file's name") {
  std::string bytes = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n" + std::string(std::size_t{1} << 24, 'x');
  CHECK_MESSAGE_HAS(Vocabulary::parse(bytes, "long.txt"), "long.txt", "prefixes");
}

TEST_CASE("a vocabulary is written as it is read") {
  const std::string lines = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n";
  const Vocabulary vocabulary = build_vocabulary(Strings{"Lungs clear, \xc3\xa9 \xe4\xb8\xad", "lungs"});
  const Vocabulary again = Vocabulary::parse(vocabulary.text(), "text");
  CHECK(pieces_of(again) == pieces_of(vocabulary));
  CHECK(again.notes().empty());
  const Strings expected{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"};
  CHECK(pieces_of(Vocabulary::parse(lines + "a", "no line end")) == expected);
  CHECK(pieces_of(Vocabulary::parse("[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\na\r\n", "CRLF")) == expected);
  CHECK(pieces_of(Vocabulary::parse("[PAD]\r[UNK]\r[CLS]\r[SEP]\ra\r", "CR")) == expected);
  CHECK(pieces_of(Vocabulary::parse("\xef\xbb\xbf" + lines + "a", "a byte order mark")) == expected);
  CHECK(pieces_of(Vocabulary::parse(lines + " a\t\xc2\xa0", "white space")) == expected);
}

TEST_CASE("blank and repeated lines of a vocabulary keep their numbers, as in the reference tokeniser") {
  const Vocabulary vocabulary =
      Vocabulary::parse("[PAD]\n\n[UNK]\n[CLS]\n[SEP]\nlung\n \nlung\n##s\nlung\n\n\r\n", "vocab.txt");
  CHECK(vocabulary.size() == 10);
  CHECK(vocabulary.pad() == 0);
  CHECK(vocabulary.unknown() == 2);
  CHECK(vocabulary.find("lung") == 9);
  CHECK(vocabulary.find("##s") == 8);
  CHECK(vocabulary.find("") == -1);
  std::vector<text::PieceId> ids, words;
  text::WordPiece(vocabulary).encode("lungs lung", 10, ids, words);
  CHECK(ids == std::vector<text::PieceId>{3, 9, 8, 9, 4});
  REQUIRE(vocabulary.notes().size() == 2);
  CHECK(vocabulary.notes()[0] ==
        "vocab.txt: 2 blank lines, the first is line 2; each keeps its number but is no piece");
  CHECK(vocabulary.notes()[1] ==
        "vocab.txt: 2 lines repeat a piece, the first is line 8; the last of equal lines counts");
  // So do they when it is written and read again.
  CHECK(Vocabulary::parse(vocabulary.text(), "again").find("lung") == 9);
}

TEST_CASE("the most frequent pairs are merged first") {
  // Pairs: a ##b 5 (3 + 2), ##b ##c 3, x ##y 2.
  const Strings corpus{"abc abc abc", "ab ab", "xy xy", "pq"};
  const Vocabulary vocabulary = build_vocabulary(corpus, {.size = 100, .min_count = 2});
  CHECK(pieces_of(vocabulary) == Strings{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "##a", "a", "##b",
                                         "b",     "##c",   "c",     "##p",   "p",      "##q", "q", "##x",
                                         "x",     "##y",   "y",     "ab",    "abc",    "xy"});
  CHECK(build_vocabulary(corpus, {.size = 20}).size() == 20);
  CHECK(build_vocabulary(corpus, {.size = 100, .min_count = 1}).find("pq") >= 0);
  CHECK_THROWS_AS(build_vocabulary(corpus, {.size = 18}), std::invalid_argument);
  CHECK(build_vocabulary(Strings{}).size() == 5);
}

TEST_CASE("equal pairs overlap from the left and one piece made twice is listed once") {
  const Vocabulary vocabulary = build_vocabulary(Strings{"aaaaa aaaaa", "aaaa"}, {.size = 100});
  const auto pieces = pieces_of(vocabulary);
  CHECK(vocabulary.find("aaaaa") >= 0);
  CHECK(std::set<std::string>(pieces.begin(), pieces.end()).size() == pieces.size());
}

TEST_CASE("the order of the reports does not matter") {
  Strings corpus{"no acute effusion", "left effusions, acute", "no left lung", "lung lungs"};
  const auto pieces = pieces_of(build_vocabulary(corpus));
  std::reverse(corpus.begin(), corpus.end());
  CHECK(pieces_of(build_vocabulary(corpus)) == pieces);
}

TEST_CASE("every word of the corpus has pieces") {
  CHECK(rc::check("coverage", [] {
    const auto corpus = *rc::gen::container<Strings>(test::random_report());
    const text::WordPiece tokeniser(build_vocabulary(corpus, {.size = 2000}));
    const auto& vocabulary = tokeniser.vocabulary();
    std::vector<text::PieceId> ids, words;
    for (const std::string& report : corpus) {
      bool cuttable = true;  // longer tokens are [UNK] whatever the vocabulary
      text::detail::for_each_basic_token(report, [&](std::string_view token, std::int32_t) {
        cuttable = cuttable && token.size() <= text::WordPiece::max_characters;
      });
      if (cuttable) tokeniser.encode(report, 1000000, ids, words);
    }
    for (std::size_t i = 0; i < ids.size(); ++i) {
      RC_ASSERT(ids[i] >= 0);
      RC_ASSERT(static_cast<std::size_t>(ids[i]) < vocabulary.size());
      RC_ASSERT(ids[i] != vocabulary.unknown());
    }
  }));
}

TEST_CASE("words that can only be unknown leave no trace in a vocabulary") {
  const Strings corpus{"no acute effusion", "left lung clear"};
  // Quadratic merging of the first of these takes hours.
  std::string blob;
  for (std::uint32_t i = 0; blob.size() < 1'000'000; ++i) blob += "ab0c1d2e3f"[(i * i + i / 7) % 10];
  std::string cyrillic;
  for (int i = 0; i < 101; ++i) cyrillic += "\xd0\xb6";
  for (const std::string& word : {blob, std::string(101, 'z'), cyrillic}) {
    Strings with_word = corpus;
    with_word.push_back("a " + word + " lung");
    Strings without = corpus;
    without.push_back("a lung");
    const Vocabulary vocabulary = build_vocabulary(with_word, {.size = 300, .min_count = 1});
    CHECK(pieces_of(vocabulary) == pieces_of(build_vocabulary(without, {.size = 300, .min_count = 1})));
  }
  const std::string longest(100, 'z'), longest_cyrillic = cyrillic.substr(0, 200);
  for (const std::string& word : {longest, longest_cyrillic})
    CHECK(build_vocabulary(Strings{word}, {.size = 300, .min_count = 1}).find(word) >= 0);
}

TEST_CASE("building a vocabulary ends soon after it is asked to") {
  const std::atomic<bool> raised = true, lowered = false;
  CHECK_THROWS_AS(build_vocabulary(Strings{"lung"}, {}, StopToken(raised)), Stopped);
  CHECK(build_vocabulary(Strings{"lung"}, {}, StopToken(lowered)).find("l") >= 0);
  // Each of the merger's parts asks, too.
  std::map<std::string, std::int64_t> counts{{"lungs", 2}};
  CHECK_THROWS_AS(text::detail::PieceMerger(counts, StopToken(raised)), Stopped);
  std::atomic<bool> flag = false;
  text::detail::PieceMerger merger(counts, StopToken(flag));
  flag = true;
  CHECK_THROWS_AS(merger.merge_most_frequent(1), Stopped);
  // And so does the counting of an endless corpus.
  flag = false;
  int words = 0;
  const auto endless = std::views::iota(0) | std::views::transform([&](int) {
                         flag = ++words > 3;
                         return std::string_view("lung");
                       });
  CHECK_THROWS_AS(build_vocabulary(endless, {}, StopToken(flag)), Stopped);
}

TEST_CASE("the merging agrees with counting everything anew for each merge") {
  CHECK(rc::check("merging", [] {
    const auto letters = rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::element('a', 'b', 'c')));
    const auto corpus = *rc::gen::container<Strings>(letters);
    std::vector<Strings> words;
    for (const std::string& word : corpus) {
      Strings pieces;
      if (word.size() > 60) continue;
      for (std::size_t i = 0; i < word.size(); ++i) pieces.push_back((i > 0 ? "##" : "") + word.substr(i, 1));
      words.push_back(pieces);
    }
    Strings expected;
    std::set<std::string> known;
    for (const Strings& pieces : words) known.insert(pieces.begin(), pieces.end());
    for (const char* letter : {"a", "b", "c"}) known.insert({letter, std::string("##") + letter});
    while (true) {
      std::map<std::pair<std::string, std::string>, int> counts;
      for (const Strings& pieces : words)
        for (std::size_t i = 0; i + 1 < pieces.size(); ++i) ++counts[{pieces[i], pieces[i + 1]}];
      const auto best = std::max_element(counts.begin(), counts.end(),
                                         [](const auto& a, const auto& b) { return a.second < b.second; });
      if (best == counts.end() || best->second < 2) break;
      const auto [first, second] = best->first;
      for (Strings& pieces : words) {
        Strings merged;
        for (std::size_t i = 0; i < pieces.size(); ++i) {
          if (i + 1 < pieces.size() && pieces[i] == first && pieces[i + 1] == second) {
            merged.push_back(first + second.substr(2));
            ++i;
          } else {
            merged.push_back(pieces[i]);
          }
        }
        pieces = merged;
      }
      if (known.insert(first + second.substr(2)).second) expected.push_back(first + second.substr(2));
    }
    Strings short_corpus;
    for (const std::string& word : corpus)
      if (word.size() <= 60) short_corpus.push_back(word);
    const auto pieces = pieces_of(build_vocabulary(short_corpus, {.size = 100000}));
    RC_ASSERT(pieces.size() >= expected.size());
    RC_ASSERT(Strings(pieces.end() - static_cast<std::ptrdiff_t>(expected.size()), pieces.end()) == expected);
  }));
}

TEST_CASE("a vocabulary of the Open-I reports holds radiology's words") {
  const auto reports = test::open_i_reports();
  if (reports.empty()) return;
  const Vocabulary vocabulary = build_vocabulary(reports, {.size = 2000});
  CHECK(vocabulary.size() == 2000);
  for (const char* word : {"pneumothorax", "effusion", "cardiomegaly", "left", "atelectasis"})
    CHECK(vocabulary.find(word) >= 0);
}

TEST_CASE("a hash of the pieces changes with any piece and with their order") {
  const std::vector<std::string> pieces{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "lung", "heart"};
  const auto hash = [](std::vector<std::string> some) { return hash_of_pieces(Vocabulary(std::move(some))); };
  auto swapped = pieces, other = pieces, fewer = pieces;
  std::swap(swapped[4], swapped[5]);
  other[5] = "hearts";
  fewer.pop_back();
  CHECK(hash(pieces) == hash(pieces));
  for (const auto& some : {swapped, other, fewer}) CHECK(hash(some) != hash(pieces));
}
