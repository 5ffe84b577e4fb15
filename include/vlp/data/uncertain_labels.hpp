/// \file
/// Policies for labels that a table calls uncertain.
#pragma once

#include <vlp/core/enum_names.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/labels.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::data {

/// A policy for uncertain labels. `zeros`, `ones` and `ignore` are the U-Zeros, U-Ones and U-Ignore of Irvin
/// et al. ("CheXpert", AAAI 2019). `gloria` and `prd` decide the five classes of chexpert_five alone; labels
/// beyond them stay uncertain.
enum class UncertainLabels {
  keep,    ///< uncertain labels stay uncertain
  ignore,  ///< they become unknown
  zeros,   ///< they become negative
  ones,    ///< they become positive
  gloria,  ///< Atelectasis, Edema, Pleural Effusion positive; Cardiomegaly, Consolidation negative
  prd      ///< Atelectasis, Edema positive; Cardiomegaly, Consolidation, Pleural Effusion negative
};

namespace detail {

struct Decision {
  std::string_view name;
  Label label;
};

/// The labels that a policy decides by name.
inline std::span<const Decision> decisions_of(UncertainLabels policy) {
  static constexpr std::array<Decision, 5> gloria{{{"Atelectasis", Label::positive},
                                                   {"Cardiomegaly", Label::negative},
                                                   {"Consolidation", Label::negative},
                                                   {"Edema", Label::positive},
                                                   {"Pleural Effusion", Label::positive}}};
  static constexpr std::array<Decision, 5> prd{{{"Atelectasis", Label::positive},
                                                {"Cardiomegaly", Label::negative},
                                                {"Consolidation", Label::negative},
                                                {"Edema", Label::positive},
                                                {"Pleural Effusion", Label::negative}}};
  if (policy == UncertainLabels::gloria) return gloria;
  if (policy == UncertainLabels::prd) return prd;
  return {};
}

/// The label that a policy puts in the place of an uncertain one of that name; nothing where it leaves it.
inline std::optional<Label> decide(UncertainLabels policy, std::string_view name) {
  switch (policy) {
    case UncertainLabels::keep:
      return std::nullopt;
    case UncertainLabels::ignore:
      return Label::unknown;
    case UncertainLabels::zeros:
      return Label::negative;
    case UncertainLabels::ones:
      return Label::positive;
    case UncertainLabels::gloria:
    case UncertainLabels::prd:
      break;
  }
  for (const Decision& decision : decisions_of(policy))
    if (decision.name == name) return decision.label;
  return std::nullopt;
}

}  // namespace detail

}  // namespace vlp::data

namespace vlp {
template <>
inline constexpr std::array<std::string_view, 6> enum_names<data::UncertainLabels>{"keep", "ignore", "zeros",
                                                                                   "ones", "gloria", "prd"};
}  // namespace vlp

namespace vlp::data {

/// Replaces the uncertain labels of all entries by the policy. Adds a note with their numbers, and one that
/// names labels of which the policy speaks but which the collection does not have; none for `keep`.
inline void resolve_uncertain(Collection& collection, UncertainLabels policy) {
  if (policy == UncertainLabels::keep) return;
  std::vector<std::optional<Label>> decisions;
  for (const std::string& name : collection.labels) decisions.push_back(detail::decide(policy, name));
  std::array<Index, 4> made{};  // of each Label
  for (Entry& entry : collection.entries)
    for (std::size_t i = 0; i < entry.labels.size(); ++i) {
      if (entry.labels[i] != Label::uncertain) continue;
      entry.labels[i] = decisions[i].value_or(Label::uncertain);
      ++made[static_cast<std::size_t>(entry.labels[i])];
    }
  const auto count = [&](Label label) { return made[static_cast<std::size_t>(label)]; };
  collection.notes.push_back(concat(collection.path, ": uncertain labels by the policy ", to_text(policy),
                                    ": ", count(Label::positive), " become positive, ",
                                    count(Label::negative), " negative and ", count(Label::unknown),
                                    " unknown; ", count(Label::uncertain), " stay uncertain"));
  std::string absent;
  for (const detail::Decision& decision : detail::decisions_of(policy))
    if (std::find(collection.labels.begin(), collection.labels.end(), decision.name) ==
        collection.labels.end())
      absent.append(absent.empty() ? "" : ", ").append(decision.name);
  if (!absent.empty())
    collection.notes.push_back(concat(collection.path, ": the policy ", to_text(policy), " speaks of ",
                                      absent, ", which the collection does not label"));
}

}  // namespace vlp::data
