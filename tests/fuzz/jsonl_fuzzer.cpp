// libFuzzer target: any bytes as a JSON Lines file, and as the files of MedNLI or RadNLI. The first byte
// chooses.
#include "fuzzer.hpp"

#include <vlp/data/sentence_pairs.hpp>
#include <vlp/io/json_lines.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace {

namespace data = vlp::data;
namespace io = vlp::io;
using vlp::fuzz::file_with;
using vlp::fuzz::folder;
using vlp::fuzz::promise;

/// Returns how many lines are not blank.
vlp::Index check_lines(const std::filesystem::path& path, std::string_view text) {
  io::JsonLines lines(path);
  vlp::Index count = 0, number = 0;
  while (const std::optional<io::JsonLine> line = lines.next()) {
    ++count;
    promise(line->number > number, "lines are counted");
    number = line->number;
    promise(line->object.is_object(), "a line is an object");
    promise(line->fault.empty() || line->object.empty(), "a faulty line has no object");
    promise(line->fault.size() < 1000, "a fault is a sentence");
    if (line->fault.empty())
      promise(io::parse_json(line->object.dump(), "x") == line->object, "an object is sound");
  }
  const auto breaks = std::count_if(text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; });
  promise(number <= breaks + 1, "no more lines than there are");
  return count;
}

void check_pairs(const data::SentencePairs& read, vlp::Index lines) {
  promise(!read.pairs.empty(), "a collection has pairs");
  promise(read.files.size() == 1 && read.files[0].rows == lines, "every line that is not blank is a row");
  promise(read.files[0].rows ==
              static_cast<vlp::Index>(read.pairs.size()) + data::count_bad(read.files) + read.unlabelled,
          "every row is accounted for");
  vlp::Index line = 0;
  for (const data::SentencePair& pair : read.pairs) {
    promise(pair.line > line, "pairs are in file order");
    line = pair.line;
    promise(!pair.id.empty() && !pair.premise.empty() && !pair.hypothesis.empty(),
            "no part of a pair is empty");
    promise(static_cast<std::size_t>(pair.relation) < 3, "there are three relations");
  }
  for (const data::BadRow& row : read.files[0].bad)
    promise(row.line > 0 && !row.what.empty() && row.what.size() < 1000, "a bad row has a line and a reason");
  promise(data::describe(read.files).size() < 4096, "bad rows make no endless message");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size < 1) return 0;
  const std::string_view text = vlp::fuzz::text_of(bytes + 1, size - 1);
  const bool is_mednli = bytes[0] % 2 == 0;
  const auto path = file_with(text, is_mednli ? "mli_dev_v1.jsonl" : "radnli_dev_v1.jsonl");
  vlp::Index lines = 0;
  if (!vlp::fuzz::reads([&] { lines = check_lines(path, text); })) return 0;
  vlp::fuzz::reads(
      [&] { check_pairs(is_mednli ? data::read_mednli(folder()) : data::read_radnli(folder()), lines); });
  return 0;
}
