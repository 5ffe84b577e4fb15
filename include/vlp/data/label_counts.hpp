/// \file
/// Numbers of images by their labels.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/printable.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/labels.hpp>

#include <array>
#include <cstddef>
#include <string>
#include <vector>

namespace vlp::data {

/// Numbers of a collection's entries by what they say of one label.
struct LabelCounts {
  std::string name;
  Index positive = 0, negative = 0, uncertain = 0, unknown = 0;
  friend bool operator==(const LabelCounts&, const LabelCounts&) = default;
};

/// Counts the entries by each label, in the order of Collection::labels.
[[nodiscard]] inline std::vector<LabelCounts> label_counts(const Collection& collection) {
  std::vector<std::array<Index, 4>> counts(collection.labels.size());
  for (const Entry& entry : collection.entries)
    for (std::size_t i = 0; i < entry.labels.size(); ++i)
      ++counts[i][static_cast<std::size_t>(entry.labels[i])];
  std::vector<LabelCounts> out;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const auto of = [&](Label label) { return counts[i][static_cast<std::size_t>(label)]; };
    out.push_back({collection.labels[i], of(Label::positive), of(Label::negative), of(Label::uncertain),
                   of(Label::unknown)});
  }
  return out;
}

/// The counts as a table in Markdown, a row for each label; empty where there are no labels.
[[nodiscard]] inline std::string describe_labels(const Collection& collection) {
  if (collection.labels.empty()) return {};
  std::string text = "| label | positive | negative | uncertain | unknown |\n|---|---:|---:|---:|---:|\n";
  for (const LabelCounts& counts : label_counts(collection)) {
    std::string name;
    for (const char c : printable(counts.name)) (name += c == '|' || c == '\\' ? "\\" : "") += c;
    text += concat("| ", name, " | ", counts.positive, " | ", counts.negative, " | ", counts.uncertain, " | ",
                   counts.unknown, " |\n");
  }
  return text;
}

}  // namespace vlp::data
