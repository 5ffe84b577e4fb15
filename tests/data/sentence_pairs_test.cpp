#include "support/messages.hpp"
#include "support/temporary_folder.hpp"

#include <vlp/data/sentence_pairs.hpp>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <string>
#include <vector>

namespace {

using namespace vlp;
using namespace vlp::data;
using vlp::test::TemporaryFolder;

/// A line of MedNLI with all of its keys, in their order.
std::string mednli_line(const std::string& id, const std::string& label,
                        const std::string& premise = "He has a cold.",
                        const std::string& hypothesis = "He is ill.") {
  return "{\"sentence1\": \"" + premise + "\", \"pairID\": \"" + id +
         "\", \"sentence1_parse\": \"(ROOT (S (NP (PRP He)) (VP (VBZ has) (NP (DT a) (JJ cold)))))\", "
         "\"sentence1_binary_parse\": \"( He ( has ( a cold ) ) )\", \"sentence2\": \"" +
         hypothesis +
         "\", \"sentence2_parse\": \"(ROOT (S (NP (PRP He)) (VP (VBZ is) (ADJP (JJ ill)))))\", "
         "\"sentence2_binary_parse\": \"( He ( is ill ) )\", \"gold_label\": \"" +
         label + "\"}\n";
}

/// A small MedNLI, whole.
struct MedNliFolder : TemporaryFolder {
  MedNliFolder() {
    write("mli_train_v1.jsonl", mednli_line("t1", "entailment") + mednli_line("t2", "contradiction") +
                                    mednli_line("t3", "neutral") + mednli_line("t4", "entailment"));
    write("mli_dev_v1.jsonl", mednli_line("d1", "neutral"));
    write("mli_test_v1.jsonl", mednli_line("e1", "contradiction", " Labs \\u2265 2.\\n", "None."));
  }
};

bool has(const std::vector<std::string>& notes, const std::string& part) {
  return std::any_of(notes.begin(), notes.end(),
                     [&](const auto& note) { return note.find(part) != note.npos; });
}

TEST_CASE("the splits of MedNLI are read with their labels") {
  const MedNliFolder folder;
  const SentencePairs read = read_mednli(folder.path());
  REQUIRE(read.pairs.size() == 6);
  CHECK(read.path == folder.path().string());
  CHECK(read.pairs[0].id == "t1");
  CHECK(read.pairs[0].premise == "He has a cold.");
  CHECK(read.pairs[0].hypothesis == "He is ill.");
  CHECK(read.pairs[0].relation == Relation::entailment);
  CHECK(read.pairs[1].relation == Relation::contradiction);
  CHECK(read.pairs[2].relation == Relation::neutral);
  CHECK(read.pairs[2].line == 3);
  CHECK(read.pairs[3].split == "train");
  CHECK(read.pairs[4].split == "dev");
  CHECK(read.pairs[5].split == "test");
  CHECK(read.pairs[5].line == 1);
  CHECK(read.pairs[5].premise == "Labs \xE2\x89\xA5 2.");
  CHECK(read.pairs[5].hypothesis == "None.");  // a sentence, no absent value
  REQUIRE(read.files.size() == 3);
  CHECK(read.files[0].path == (folder / "mli_train_v1.jsonl").string());
  CHECK(read.files[0].rows == 4);
  CHECK(count_bad(read.files) == 0);
  CHECK(read.unlabelled == 0);
  REQUIRE(read.notes.size() == 3);
  CHECK(read.notes[0] == (folder / "mli_train_v1.jsonl").string() +
                             ": 4 pairs of the split train (2 entailment, 1 neutral, 1 contradiction)");
}

TEST_CASE("RadNLI is read by its own names, and its training set is not missed") {
  const TemporaryFolder folder;
  folder.write("radnli_dev_v1.jsonl",
               "{\"pair_id\": \"a\", \"sentence1\": \"No effusion.\", \"sentence2\": \"Effusion.\", "
               "\"gold_label\": \"contradiction\"}\n");
  folder.write("radnli_test_v1.jsonl",
               "{\"pair_id\": 7, \"sentence1\": \"Clear.\", \"sentence2\": \"No effusion.\", "
               "\"gold_label\": \"entailment\"}\r\n");
  folder.write("mli_train_v1.jsonl", mednli_line("t1", "entailment"));
  const SentencePairs read = read_radnli(folder.path());
  REQUIRE(read.pairs.size() == 2);
  CHECK(read.pairs[0].split == "dev");
  CHECK(read.pairs[0].relation == Relation::contradiction);
  CHECK(read.pairs[1].split == "test");
  CHECK(read.pairs[1].id == "7");
  CHECK(read.notes.size() == 2);
}

TEST_CASE("a split of sentence pairs that is missing is noted, and all of them are refused") {
  const MedNliFolder folder;
  std::filesystem::remove(folder / "mli_dev_v1.jsonl");
  const SentencePairs read = read_mednli(folder.path());
  CHECK(read.pairs.size() == 5);
  CHECK(read.files.size() == 2);
  CHECK(has(read.notes, "mli_dev_v1.jsonl: there is no such file, so the split dev is empty"));
  CHECK_MESSAGE_HAS(read_radnli(folder.path()),
                    folder.path().string() + ": none of the files radnli_dev_v1.jsonl, radnli_test_v1.jsonl");
  CHECK_MESSAGE_HAS(read_mednli(folder / "nowhere"),
                    "none of the files mli_train_v1.jsonl, mli_dev_v1.jsonl");
}

TEST_CASE("every bad pair of sentences is named by file and line") {
  const MedNliFolder folder;
  folder.write(
      "mli_train_v1.jsonl",
      mednli_line("t1", "entailment") + "{\n" + mednli_line("t2", "Entailment") + "\n" +
          R"({"pairID": "t3", "sentence1": "A", "sentence2": "B"})" + "\n" +
          R"({"sentence1": "A", "sentence2": "B", "gold_label": "neutral"})" + "\n" +
          R"({"pairID": "t5", "sentence1": 5, "sentence2": "B", "gold_label": "neutral"})" + "\n" +
          R"({"pairID": "t6", "sentence1": "A", "sentence2": " \u00a0 ", "gold_label": "neutral"})" + "\n" +
          R"({"pairID": null, "sentence1": "A", "sentence2": "B", "gold_label": "neutral"})" + "\n" +
          R"({"pairID": "t8", "sentence1": "A", "sentence2": "B", "gold_label": "neutral", "gold_label": "-"})" +
          "\n[]\n");
  folder.write("mli_dev_v1.jsonl", mednli_line("d1", "neutral") + R"({"pairID": "d2", "sent)");
  const SentencePairs read = read_mednli(folder.path());
  CHECK(read.pairs.size() == 3);
  REQUIRE(read.files.size() == 3);
  CHECK(read.files[0].rows == 10);
  REQUIRE(read.files[0].bad.size() == 9);
  std::vector<std::string> bad;
  for (const BadRow& row : read.files[0].bad) bad.push_back(std::to_string(row.line) + ": " + row.what);
  CHECK(bad ==
        std::vector<std::string>{"2: not JSON (column 2)",
                                 "3: gold_label 'Entailment' is none of entailment, neutral, contradiction",
                                 "5: no gold_label", "6: no pairID", "7: sentence1 is a number, not a string",
                                 "8: empty sentence2", "9: pairID is null, not a string or number",
                                 "10: the name 'gold_label' occurs twice", "11: an array, not an object"});
  CHECK(count_bad(read.files) == 10);
  const std::string message = describe(read.files);
  CHECK(message.find("mli_train_v1.jsonl:2: not JSON (column 2); line 3: gold_label") != std::string::npos);
  CHECK(message.find("mli_dev_v1.jsonl:2: not JSON (column 23); it is the last line") != std::string::npos);
}

TEST_CASE("pairs whose annotators did not agree are left out and counted") {
  const MedNliFolder folder;
  folder.write("mli_train_v1.jsonl",
               mednli_line("t1", "-") + mednli_line("t2", "neutral") + mednli_line("t3", "-"));
  const SentencePairs read = read_mednli(folder.path());
  CHECK(read.unlabelled == 2);
  CHECK(read.pairs.size() == 3);
  CHECK(count_bad(read.files) == 0);
  CHECK(has(read.notes, "2 of 3 pairs are left out, for their gold_label is '-'"));
}

TEST_CASE("pairs of sentences that share an id are kept and noted") {
  const MedNliFolder folder;
  folder.write("mli_train_v1.jsonl",
               mednli_line("t1", "neutral") + mednli_line("t1", "entailment") + mednli_line("t1", "neutral"));
  const SentencePairs read = read_mednli(folder.path());
  CHECK(read.pairs.size() == 5);
  CHECK(has(read.notes, "mli_train_v1.jsonl: 2 pairs have the pairID of an earlier one"));
}

TEST_CASE("files of sentence pairs without a pair are refused with the reason") {
  const TemporaryFolder folder;
  folder.write("radnli_dev_v1.jsonl", "");
  CHECK_MESSAGE_HAS(read_radnli(folder.path()), "no pair of sentences with a label (",
                    "dev_v1.jsonl: 0 pairs");
  folder.write("radnli_dev_v1.jsonl", "1\n2\n");
  CHECK_MESSAGE_HAS(read_radnli(folder.path()),
                    "radnli_dev_v1.jsonl:1: a number, not an object; line 2: a number");
}

TEST_CASE("reading sentence pairs ends when it is asked to") {
  const MedNliFolder folder;
  const std::atomic<bool> stop{true};
  CHECK_THROWS_AS(read_mednli(folder.path(), StopToken(stop)), Stopped);
}

TEST_CASE("real MedNLI has the published counts", "[data]") {
  const auto folder = test::real_collection("mednli");
  if (!folder) return;
  const SentencePairs read = read_mednli(*folder);
  const auto count = [&](const std::string& split) {
    return std::count_if(read.pairs.begin(), read.pairs.end(),
                         [&](const auto& pair) { return pair.split == split; });
  };
  CHECK(count("train") == 11'232);
  CHECK(count("dev") == 1'395);
  CHECK(count("test") == 1'422);
  CHECK(count_bad(read.files) == 0);
  CHECK(read.unlabelled == 0);
}

TEST_CASE("real RadNLI has the published counts", "[data]") {
  const auto folder = test::real_collection("radnli");
  if (!folder) return;
  const SentencePairs read = read_radnli(*folder);
  CHECK(std::count_if(read.pairs.begin(), read.pairs.end(),
                      [](const auto& pair) { return pair.split == "dev"; }) == 480);
  CHECK(read.pairs.size() == 960);
  CHECK(count_bad(read.files) == 0);
}

}  // namespace
