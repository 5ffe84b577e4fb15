/// \file
/// Pairs of sentences and how the first bears on the second: the collections of natural language inference
/// MedNLI and RadNLI.
#pragma once

#include <vlp/core/enum_names.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/detail/json_fields.hpp>
#include <vlp/data/file_account.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/json_lines.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_set>
#include <utility>
#include <vector>

namespace vlp::data {

/// The relation of a premise to a hypothesis.
enum class Relation {
  entailment,    ///< the hypothesis follows from the premise
  neutral,       ///< the premise says neither that it holds nor that it does not
  contradiction  ///< the hypothesis cannot hold where the premise does
};

}  // namespace vlp::data

namespace vlp {
template <>
inline constexpr std::array<std::string_view, 3> enum_names<data::Relation>{"entailment", "neutral",
                                                                            "contradiction"};
}  // namespace vlp

namespace vlp::data {

/// A premise and a hypothesis.
struct SentencePair {
  std::string id = {};          ///< as the file gives it
  std::string premise = {};     ///< never empty
  std::string hypothesis = {};  ///< never empty
  Relation relation = Relation::neutral;
  std::string split = {};  ///< "train", "dev" or "test"
  Index line = 0;          ///< of the split's file, counted from 1
};

/// The pairs of a collection, and an account of those that were left out.
struct SentencePairs {
  std::string path;                 ///< the folder, for messages
  std::vector<SentencePair> pairs;  ///< in file order, training first; never empty as a reader returns them
  std::vector<FileAccount> files;   ///< the files that were there, one for each split, with their bad rows
  Index unlabelled = 0;             ///< pairs left out because their annotators did not agree, label "-"
  std::vector<std::string> notes;   ///< sentences for the user about the numbers above
};

namespace detail {

/// A file with the pairs of a split.
struct SplitFile {
  std::string_view split;
  const char* name;
};

/// Reads the pairs of one JSON Lines file whose objects name themselves by `id_key`.
class SentencePairReader {
 public:
  SentencePairReader(SentencePairs& out, const char* id_key) : out_(out), id_key_(id_key) {}

  void read(const io::Path& path, std::string_view split, StopToken stop) {
    io::JsonLines lines(path, stop);
    FileAccount account{.path = lines.path()};
    Counts counts;
    while (std::optional<io::JsonLine> line = lines.next()) {
      ++account.rows;
      if (std::string fault = line->fault.empty() ? read(*line, split, counts) : line->fault; !fault.empty())
        account.bad.push_back({line->number, std::move(fault)});
    }
    add_notes(account, split, counts);
    out_.files.push_back(std::move(account));
  }

 private:
  struct Counts {
    std::array<Index, enum_names<Relation>.size()> of{};  // [Relation]
    Index unlabelled = 0, repeated = 0;
    std::unordered_set<std::string> ids;
  };

  /// Adds a pair. Returns what is wrong with it, or nothing.
  std::string read(const io::JsonLine& line, std::string_view split, Counts& counts) {
    JsonFields fields(line.object);
    SentencePair pair{.id = fields.text_or_number(id_key_),
                      .premise = fields.text("sentence1"),
                      .hypothesis = fields.text("sentence2"),
                      .split = std::string(split),
                      .line = line.number};
    const std::string label = fields.text("gold_label");
    const auto& names = enum_names<Relation>;
    const auto found = std::find(names.begin(), names.end(), label);
    if (found == names.end() && label != "-")
      fields.blame(concat("gold_label ", shown(label), " is none of entailment, neutral, contradiction"));
    if (!fields.fault().empty()) return fields.fault();
    if (label == "-") {
      ++counts.unlabelled;
      return {};
    }
    pair.relation = static_cast<Relation>(found - names.begin());
    ++counts.of[static_cast<std::size_t>(pair.relation)];
    counts.repeated += !counts.ids.insert(pair.id).second;
    out_.pairs.push_back(std::move(pair));
    return {};
  }

  void add_notes(const FileAccount& account, std::string_view split, const Counts& counts) {
    std::string text;
    Index pairs = 0;
    for (std::size_t i = 0; i < counts.of.size(); ++i) {
      text += concat(i == 0 ? "" : ", ", counts.of[i], " ", enum_names<Relation>[i]);
      pairs += counts.of[i];
    }
    out_.notes.push_back(concat(account.path, ": ", pairs, " pairs of the split ", split, " (", text, ")"));
    if (counts.unlabelled > 0)
      out_.notes.push_back(concat(account.path, ": ", counts.unlabelled, " of ", account.rows,
                                  " pairs are left out, for their gold_label is '-'"));
    if (counts.repeated > 0)
      out_.notes.push_back(
          concat(account.path, ": ", counts.repeated, " pairs have the ", id_key_, " of an earlier one"));
    out_.unlabelled += counts.unlabelled;
  }

  SentencePairs& out_;
  const char* id_key_;
};

/// Reads those of a collection's files that are there.
inline SentencePairs read_sentence_pairs(const io::Path& folder, std::initializer_list<SplitFile> files,
                                         const char* id_key, StopToken stop) {
  SentencePairs out;
  out.path = folder.string();
  SentencePairReader reader(out, id_key);
  std::string names;
  for (const SplitFile& file : files) {
    names += concat(names.empty() ? "" : ", ", file.name);
    const io::Path path = folder / file.name;
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored))
      reader.read(path, file.split, stop);
    else
      out.notes.push_back(
          concat(path.string(), ": there is no such file, so the split ", file.split, " is empty"));
  }
  ensure(!out.files.empty(), out.path, ": none of the files ", names);
  ensure(!out.pairs.empty(), out.path, ": no pair of sentences with a label (",
         count_bad(out.files) > 0 ? describe(out.files) : out.notes.front(), ")");
  return out;
}

}  // namespace detail

/// Reads MedNLI (Romanov and Shivade, "Lessons from natural language inference in the clinical domain", EMNLP
/// 2018) from the folder that holds `mli_train_v1.jsonl`, `mli_dev_v1.jsonl` and `mli_test_v1.jsonl`. The
/// keys `pairID`, `sentence1` (the premise), `sentence2` (the hypothesis) and `gold_label` are read; parses
/// are not. A file that is missing is noted. Lines that are not JSON objects, lack a key, have an empty
/// sentence or another label are left out and stand in SentencePairs::files; those with the label "-" are
/// left out and counted. Throws std::runtime_error, naming the file, when all files are missing, no pair is
/// left or a file is not UTF-8. Throws Stopped.
[[nodiscard]] inline SentencePairs read_mednli(const io::Path& folder, StopToken stop = {}) {
  return detail::read_sentence_pairs(
      folder, {{"train", "mli_train_v1.jsonl"}, {"dev", "mli_dev_v1.jsonl"}, {"test", "mli_test_v1.jsonl"}},
      "pairID", stop);
}

/// Reads RadNLI (Miura et al., "Improving factual completeness and consistency of image-to-text radiology
/// report generation", NAACL 2021) from the folder that holds `radnli_dev_v1.jsonl` and
/// `radnli_test_v1.jsonl`, as read_mednli does, with the key `pair_id`. The collection has no training set:
/// models are trained on MedNLI and others. Throws as read_mednli does.
[[nodiscard]] inline SentencePairs read_radnli(const io::Path& folder, StopToken stop = {}) {
  return detail::read_sentence_pairs(
      folder, {{"dev", "radnli_dev_v1.jsonl"}, {"test", "radnli_test_v1.jsonl"}}, "pair_id", stop);
}

}  // namespace vlp::data
