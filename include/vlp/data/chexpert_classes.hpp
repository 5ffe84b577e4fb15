/// \file
/// The findings that CheXpert and MIMIC-CXR label, and the sets of them that studies are compared on.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/labels.hpp>
#include <vlp/data/split.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::data {

/// The labels of CheXpert in the order of its tables (Irvin et al., "CheXpert: a large chest radiograph
/// dataset with uncertainty labels and expert comparison", AAAI 2019).
inline constexpr std::array<std::string_view, 14> chexpert_labels{
    "No Finding",       "Enlarged Cardiomediastinum",
    "Cardiomegaly",     "Lung Opacity",
    "Lung Lesion",      "Edema",
    "Consolidation",    "Pneumonia",
    "Atelectasis",      "Pneumothorax",
    "Pleural Effusion", "Pleural Other",
    "Fracture",         "Support Devices"};

/// The five classes of CheXpert's competition, in the alphabet's order.
inline constexpr std::array<std::string_view, 5> chexpert_five{"Atelectasis", "Cardiomegaly", "Consolidation",
                                                               "Edema", "Pleural Effusion"};

namespace detail {

/// The places of `names` in Collection::labels. Throws std::runtime_error that names all that are not there.
inline std::vector<std::size_t> places_of_labels(const Collection& collection,
                                                 std::span<const std::string_view> names) {
  std::vector<std::size_t> places;
  std::string missing;
  for (const std::string_view name : names) {
    const auto found = std::find(collection.labels.begin(), collection.labels.end(), name);
    places.push_back(static_cast<std::size_t>(found - collection.labels.begin()));
    if (found == collection.labels.end()) missing.append(missing.empty() ? "" : ", ").append(name);
  }
  ensure(missing.empty(), collection.path, ": the collection has no label ", missing);
  return places;
}

}  // namespace detail

/// The entries of each of chexpert_five, ascending.
using FiveClasses = std::array<std::vector<std::size_t>, chexpert_five.size()>;

/// Draws the 5x200 of GLoRIA (Huang et al., "GLoRIA: a multimodal global-local representation learning
/// framework for label-efficient medical image recognition", ICCV 2021): for each of chexpert_five,
/// `per_class` entries of the train split in which that class alone is positive and each of the other twelve
/// findings is negative or unknown; "No Finding" does not count. GLoRIA draws from frontal images, as a
/// collection read with Projection::frontal has them alone, and before uncertain labels are resolved. The
/// same `seed` draws the same entries of a collection. GLoRIA's own draw has not been published; figures on
/// another draw are not figures on this one. Throws std::invalid_argument for a `per_class` below 1, and
/// std::runtime_error, with the counts of all classes, where a class has fewer entries, or that names labels
/// which the collection lacks.
[[nodiscard]] inline FiveClasses draw_chexpert_five(const Collection& collection, std::uint64_t seed,
                                                    Index per_class = 200) {
  require(per_class >= 1, "draw_chexpert_five: per_class must be 1 or more, but is ", per_class);
  const auto five = detail::places_of_labels(collection, chexpert_five);
  const auto findings = detail::places_of_labels(collection, std::span(chexpert_labels).subspan(1));
  FiveClasses classes;
  for (std::size_t i = 0; i < collection.entries.size(); ++i) {
    const Entry& entry = collection.entries[i];
    if (!detail::is_train(entry.split)) continue;
    const auto says_no_more_than = [&](std::size_t positive) {
      return std::all_of(findings.begin(), findings.end(), [&](std::size_t place) {
        const Label label = entry.labels[place];
        return place == positive ? label == Label::positive
                                 : label == Label::negative || label == Label::unknown;
      });
    };
    for (std::size_t k = 0; k < five.size(); ++k)
      if (says_no_more_than(five[k])) classes[k].push_back(i);
  }
  std::string counts;
  bool enough = true;
  for (std::size_t k = 0; k < classes.size(); ++k) {
    counts += concat(k == 0 ? "" : ", ", chexpert_five[k], " ", classes[k].size());
    enough &= static_cast<Index>(classes[k].size()) >= per_class;
  }
  ensure(enough, collection.path, ": cannot draw ", per_class,
         " images of each class from those of the train split with that finding alone: ", counts);
  constexpr std::uint32_t purpose = 0x5200;
  for (std::size_t k = 0; k < classes.size(); ++k) {
    std::vector<std::size_t>& entries = classes[k];
    Random(seed, purpose, static_cast<std::uint32_t>(k)).shuffle(entries.begin(), entries.end());
    entries.resize(static_cast<std::size_t>(per_class));
    std::sort(entries.begin(), entries.end());
  }
  return classes;
}

}  // namespace vlp::data
