// libFuzzer target: any bytes as a vocabulary's file, and the tokeniser that it makes.
#include "fuzzer.hpp"

#include <vlp/text/vocabulary.hpp>
#include <vlp/text/word_piece.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace text = vlp::text;
using vlp::fuzz::promise;

void check_pieces(const text::Vocabulary& vocabulary) {
  std::map<std::string_view, text::PieceId> last;
  for (std::size_t id = 0; id < vocabulary.size(); ++id)
    last[vocabulary.pieces()[id]] = static_cast<text::PieceId>(id);
  bool blank = false;
  for (const auto& [piece, id] : last) {
    blank = blank || piece.empty();
    promise(vocabulary.find(piece) == (piece.empty() ? -1 : id), "the last of equal lines has the number");
    promise(vlp::trimmed(piece) == piece, "pieces have no white space at their ends");
  }
  const bool differ = last.size() == vocabulary.size() && !blank;
  promise(differ == vocabulary.notes().empty(), "notes tell of blank and repeated lines");
}

void check_encoding(const text::WordPiece& tokeniser, std::string_view report) {
  std::vector<text::PieceId> ids;
  std::vector<std::int32_t> words;
  const std::size_t count = tokeniser.encode(report, 64, ids, words);
  promise(count <= 64 && ids.size() == count && words.size() == count, "at most as many pieces as asked for");
  for (const text::PieceId id : ids)
    promise(id >= 0 && static_cast<std::size_t>(id) < tokeniser.vocabulary().size(), "ids of the vocabulary");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string bytes(vlp::fuzz::text_of(data, size));
  // Half of the inputs get the special pieces, which are hard to guess.
  if (size > 0 && data[0] % 2 != 0) bytes.insert(0, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n");
  vlp::fuzz::reads([&] {
    const auto vocabulary = text::Vocabulary::parse(bytes, "vocab.txt");
    check_pieces(vocabulary);
    const auto again = text::Vocabulary::parse(vocabulary.text(), "again");
    promise(again.text() == vocabulary.text() && again.size() == vocabulary.size(), "it is read as written");
    const text::WordPiece tokeniser(vocabulary);
    check_encoding(tokeniser, bytes);
    check_encoding(tokeniser,
                   "The left lung is clear; no \xc3\xa9"
                   "ffusion \xff 3.2cm");
  });
  return 0;
}
