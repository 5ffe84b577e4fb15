/// \file
/// The account of the files of a collection that is read from several of them, such as one for each split.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/data/collection.hpp>

#include <string>
#include <vector>

namespace vlp::data {

/// The entries that one file lists, and those of them that cannot be used.
struct FileAccount {
  std::string path;           ///< the file, for messages
  Index rows = 0;             ///< entries that the file lists, good and bad
  std::vector<BadRow> bad{};  ///< entries left out because they are faulty, in file order
  bool has_lines = true;      ///< BadRow::line counts lines; where false, entries of a JSON array
};

/// The bad rows of all files, for a message: "a.jsonl:4: no pairID; line 7: ...; b.json: entry 3: ...". Names
/// the first rows of each file, 20 at most, and of the first files, as much as a message may hold.
[[nodiscard]] inline std::string describe(const std::vector<FileAccount>& files) {
  constexpr std::size_t longest = 3000;
  std::string text;
  for (const FileAccount& file : files) {
    if (file.bad.empty()) continue;
    if (text.size() > longest) return text + "; and rows of other files";
    text += (text.empty() ? "" : "; ") + describe(file.path, file.bad, file.has_lines ? "line" : "entry");
  }
  return text;
}

/// The number of bad rows of all files.
[[nodiscard]] inline Index count_bad(const std::vector<FileAccount>& files) {
  Index count = 0;
  for (const FileAccount& file : files) count += static_cast<Index>(file.bad.size());
  return count;
}

}  // namespace vlp::data
