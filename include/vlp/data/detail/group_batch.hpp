/// \file
/// Pairs of a batch that are not negatives of each other.
#pragma once

#include <vlp/core/scalar.hpp>
#include <vlp/data/detail/disjoint_sets.hpp>
#include <vlp/data/example.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace vlp::data::detail {

/// The group [B] of each pair `indices` of `examples`: pair i and pair j have the same if the report of j is
/// one of the reports of image i anywhere in the data, the pair (image i, report j) itself being in the batch
/// or not. Equal reports and equal images are cases of it. A loss takes one number for each pair, so pairs
/// that are linked through others of the batch have the same too: better a negative less than a false one.
/// A group is called by the text_id of its first pair.
inline std::vector<std::int64_t> group_batch(std::span<const Example> examples,
                                             std::span<const Index> indices) {
  const auto example = [&](std::size_t b) -> const Example& {
    return examples[static_cast<std::size_t>(indices[b])];
  };
  DisjointSets sets(indices.size());
  std::unordered_map<std::int64_t, std::size_t> first_with;  // of each report in the batch
  for (std::size_t b = 0; b < indices.size(); ++b)
    sets.unite(first_with.emplace(example(b).text_id, b).first->second, b);
  for (std::size_t b = 0; b < indices.size(); ++b) {
    if (!example(b).image_texts) continue;
    // An image may have more reports than the batch, or the other way round.
    const std::vector<std::int64_t>& texts = *example(b).image_texts;
    if (texts.size() < first_with.size()) {
      for (const std::int64_t text : texts)
        if (const auto found = first_with.find(text); found != first_with.end()) sets.unite(found->second, b);
    } else {
      for (const auto& [text, first] : first_with)
        if (std::binary_search(texts.begin(), texts.end(), text)) sets.unite(first, b);
    }
  }
  std::vector<std::int64_t> groups;
  for (std::size_t b = 0; b < indices.size(); ++b) groups.push_back(example(sets.find(b)).text_id);
  return groups;
}

}  // namespace vlp::data::detail
