/// \file
/// Statements of a built-in report: findings as a text tells them, and what it says is normal or absent.
#pragma once

#include "builtin/detail/findings.hpp"

#include <array>
#include <cstddef>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

namespace vlp::builtin {

/// A finding as a text tells it: an attribute that the text does not tell is empty, and none has the value
/// `none`. `Side::middle` is that of an endotracheal tube, which has no side. The device tells the zone of a
/// tube: upper for an endotracheal tube and a catheter, lower for a chest tube.
struct Statement {
  FindingKind kind = FindingKind::opacity;
  std::optional<Side> side = {};
  std::optional<Zone> zone = {};
  std::optional<Size> size = {};
  std::optional<Severity> severity = {};
  friend bool operator==(const Statement&, const Statement&) = default;
};

/// Something that a text says is normal or absent.
enum class Negative {
  normal,            ///< the radiograph as a whole
  right_lung_clear,  ///< and the next one
  left_lung_clear,
  no_opacity,  ///< this and the following in the order of FindingKind
  no_nodule,
  no_effusion,
  no_pneumothorax,
  no_enlarged_heart,
  no_tube
};

[[nodiscard]] inline Negative absence_of(FindingKind kind) {
  return static_cast<Negative>(static_cast<std::size_t>(Negative::no_opacity) +
                               static_cast<std::size_t>(kind));
}

/// All that a text states.
struct Reading {
  std::vector<Statement> findings = {};  ///< in the order of the text; none tells only what another tells
  std::set<Negative> negatives = {};
  friend bool operator==(const Reading&, const Reading&) = default;
};

namespace detail {

/// Whether `a` tells all that `b` does.
inline bool covers(const Statement& a, const Statement& b) {
  const auto agrees = [](const auto& of_a, const auto& of_b) { return !of_b || of_a == of_b; };
  return a.kind == b.kind && agrees(a.side, b.side) && agrees(a.zone, b.zone) && agrees(a.size, b.size) &&
         agrees(a.severity, b.severity);
}

}  // namespace detail

/// Adds a finding to those of a text, unless another tells as much; those that tell only what it does go.
inline void add_finding(Reading& reading, const Statement& finding) {
  for (const Statement& other : reading.findings)
    if (detail::covers(other, finding)) return;
  std::erase_if(reading.findings, [&](const Statement& other) { return detail::covers(finding, other); });
  reading.findings.push_back(finding);
}

}  // namespace vlp::builtin
