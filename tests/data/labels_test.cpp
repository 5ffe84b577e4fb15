#include "support/catch.hpp"
#include "support/messages.hpp"

#include <vlp/core/enum_names.hpp>
#include <vlp/data/chexpert_classes.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/label_counts.hpp>
#include <vlp/data/labels.hpp>
#include <vlp/data/uncertain_labels.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace vlp;
using namespace vlp::data;

TEST_CASE("a field is a label in any spelling of 1, 0 and -1, or none") {
  for (const char* text : {"1", "1.0", " 1.000 ", "true", "True", "TRUE"})
    CHECK(parse_label(text) == Label::positive);
  for (const char* text : {"0", "0.0", "-0.0", "false", "False"}) CHECK(parse_label(text) == Label::negative);
  for (const char* text : {"-1", "-1.0"}) CHECK(parse_label(text) == Label::uncertain);
  for (const char* text : {"", " ", "\t"}) CHECK(parse_label(text) == Label::unknown);
  for (const char* text : {"2", "2.0", "0.5", "+1", "1,0", "1.0x", "x", "yes", "nan", "inf", "1e400", "- 1",
                           "--1", "1 0", "truely", "tru"})
    CHECK(parse_label(text) == std::nullopt);
}

/// A collection of one entry for each row of labels: + positive, - negative, u uncertain, blank unknown.
Collection with_labels(std::vector<std::string> names, const std::vector<std::string>& rows) {
  Collection collection;
  collection.path = "t.csv";
  collection.labels = std::move(names);
  for (const std::string& row : rows) {
    Entry entry{.split = "train"};
    for (const char c : row)
      entry.labels.push_back(c == '+'   ? Label::positive
                             : c == '-' ? Label::negative
                             : c == 'u' ? Label::uncertain
                                        : Label::unknown);
    collection.entries.push_back(std::move(entry));
  }
  return collection;
}

std::string shown(const Collection& collection) {
  std::string text;
  for (const Entry& entry : collection.entries) {
    for (const Label label : entry.labels) text += " -u+"[static_cast<std::size_t>(label)];
    text += '/';
  }
  return text;
}

const std::vector<std::string> six{"Cardiomegaly",     "Edema",    "Consolidation", "Atelectasis",
                                   "Pleural Effusion", "Pneumonia"};

TEST_CASE("uncertain labels become what the policy says, and no other label changes") {
  const std::vector<std::pair<UncertainLabels, std::string>> policies{
      {UncertainLabels::keep, "uuuuuu/+- u+-/"},   {UncertainLabels::ignore, "      /+-  +-/"},
      {UncertainLabels::zeros, "------/+- -+-/"},  {UncertainLabels::ones, "++++++/+- ++-/"},
      {UncertainLabels::gloria, "-+-++u/+- ++-/"}, {UncertainLabels::prd, "-+-+-u/+- ++-/"}};
  for (const auto& [policy, expected] : policies) {
    INFO(to_text(policy));
    Collection collection = with_labels(six, {"uuuuuu", "+- u+-"});
    resolve_uncertain(collection, policy);
    CHECK(shown(collection) == expected);
    CHECK(collection.notes.size() == (policy == UncertainLabels::keep ? 0 : 1));
  }
  Collection collection = with_labels(six, {"uuuuuu", "+- u+-"});
  resolve_uncertain(collection, UncertainLabels::gloria);
  CHECK(collection.notes.front() ==
        "t.csv: uncertain labels by the policy gloria: 4 become positive, 2 negative and 0 unknown; 1 stay "
        "uncertain");
  UncertainLabels policy{};
  from_text("prd", policy);
  CHECK(policy == UncertainLabels::prd);
}

TEST_CASE("labels of which a policy speaks but which a collection lacks are named") {
  Collection collection = with_labels({"Edema", "Effusion"}, {"uu"});
  resolve_uncertain(collection, UncertainLabels::prd);
  CHECK(shown(collection) == "+u/");
  REQUIRE(collection.notes.size() == 2);
  CHECK(collection.notes.back() ==
        "t.csv: the policy prd speaks of Atelectasis, Cardiomegaly, Consolidation, Pleural Effusion, which "
        "the collection does not label");
  Collection none = with_labels({"Edema", "Effusion"}, {"uu"});
  resolve_uncertain(none, UncertainLabels::ones);
  CHECK(none.notes.size() == 1);
}

TEST_CASE("labels are counted, and shown as a table in Markdown") {
  const Collection collection = with_labels({"Edema", "a|b\n"}, {"+-", "+u", "u ", "--"});
  const auto counts = label_counts(collection);
  REQUIRE(counts.size() == 2);
  CHECK(counts[0] == LabelCounts{"Edema", 2, 1, 1, 0});
  CHECK(counts[1] == LabelCounts{"a|b\n", 0, 2, 1, 1});
  CHECK(describe_labels(collection) ==
        "| label | positive | negative | uncertain | unknown |\n|---|---:|---:|---:|---:|\n"
        "| Edema | 2 | 1 | 1 | 0 |\n| a\\|b\\\\n | 0 | 2 | 1 | 1 |\n");
  CHECK(describe_labels(Collection{}).empty());
}

/// All fourteen labels with `count` rows for each of the five classes alone, and rows that count for none.
Collection with_five(std::size_t count) {
  const std::vector<std::string> names(chexpert_labels.begin(), chexpert_labels.end());
  std::vector<std::string> rows;
  for (std::size_t i = 0; i < count; ++i)
    for (const std::string_view name : chexpert_five) {
      std::string row(14, i % 2 == 0 ? ' ' : '-');
      row[static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin())] = '+';
      rows.push_back(row);
      row[0] = '+';  // No Finding does not count
      rows.push_back(row);
      for (const char other : {'+', 'u'}) {
        row[13] = other;  // Support Devices does
        rows.push_back(row);
      }
    }
  rows.push_back(std::string(14, '-'));
  return with_labels(names, rows);
}

TEST_CASE("the 5x200 has images of one class alone, drawn by seed") {
  Collection collection = with_five(30);
  const std::vector<std::string>& labels = collection.labels;
  const FiveClasses classes = draw_chexpert_five(collection, 1, 20);
  std::set<std::size_t> all;
  for (std::size_t k = 0; k < classes.size(); ++k) {
    CHECK(classes[k].size() == 20);
    CHECK(std::is_sorted(classes[k].begin(), classes[k].end()));
    for (const std::size_t i : classes[k]) {
      all.insert(i);
      for (std::size_t l = 1; l < labels.size(); ++l) {
        const Label label = collection.entries[i].labels[l];
        if (labels[l] == chexpert_five[k])
          CHECK(label == Label::positive);
        else
          CHECK((label == Label::negative || label == Label::unknown));
      }
    }
  }
  CHECK(all.size() == 100);
  CHECK(draw_chexpert_five(collection, 1, 20) == classes);
  CHECK(draw_chexpert_five(collection, 2, 20) != classes);
  // Classes are drawn apart.
  std::vector<std::size_t> first, second;
  for (const std::size_t i : classes[0]) first.push_back(i);
  for (const std::size_t i : classes[1]) second.push_back(i - 4);
  CHECK(first != second);
  CHECK(draw_chexpert_five(collection, 1, 60)[4].size() == 60);
}

TEST_CASE("a 5x200 that cannot be drawn is refused with the counts of its classes") {
  Collection collection = with_five(3);
  for (std::size_t i = 0; i < 8; ++i) collection.entries[i].split = "valid";  // two of each of two classes
  CHECK_MESSAGE_HAS(draw_chexpert_five(collection, 0), "t.csv", "200 images of each class",
                    "Atelectasis 4, Cardiomegaly 4, Consolidation 6, Edema 6, Pleural Effusion 6");
  CHECK(draw_chexpert_five(collection, 0, 4)[0].size() == 4);
  CHECK_THROWS_AS(draw_chexpert_five(collection, 0, 0), std::invalid_argument);
  collection.labels[13] = "Devices";
  CHECK_MESSAGE_HAS(draw_chexpert_five(collection, 0), "t.csv", "no label Support Devices");
  CHECK_MESSAGE_HAS(draw_chexpert_five(with_labels({"Pneumonia"}, {"+"}), 0),
                    "no label Atelectasis, Cardiomegaly, Consolidation, Edema, Pleural Effusion");
}

TEST_CASE("bad rows of several tables are named with theirs") {
  CHECK(describe("DIR", {{7, "c", "b.csv"}, {3, "b", "a.csv"}, {2, "a", "a.csv"}, {9, "d", "b.csv"}}) ==
        "a.csv:2: a; line 3: b; b.csv:7: c; line 9: d");
  CHECK(describe("DIR", {{7, "b", "b.csv"}, {9, "a"}}) == "DIR:9: a; b.csv:7: b");
}

}  // namespace
