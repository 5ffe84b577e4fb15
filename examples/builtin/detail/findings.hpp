/// \file
/// The findings that a built-in radiograph may show, and their draw.
#pragma once

#include <vlp/core/random.hpp>
#include <vlp/eval/pointing_game.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::builtin {

enum class FindingKind { opacity, nodule, effusion, pneumothorax, enlarged_heart, tube };
inline constexpr std::size_t finding_kind_count = 6;
inline constexpr std::array<std::string_view, finding_kind_count> finding_kind_names{
    "opacity", "nodule", "effusion", "pneumothorax", "enlarged heart", "tube"};

/// A side of the patient, whose right is on the left of the picture, as radiographs are hung.
enum class Side { right, left, middle };
enum class Zone { upper, middle, lower, none };
enum class Size { small, large, none };
enum class Severity { mild, severe, none };

/// One finding, as drawn and as told. What a kind does not have is `middle` or `none`:
///
/// | kind | side | zone | size | severity |
/// |---|---|---|---|---|
/// | opacity, nodule | right, left | upper, middle, lower | small, large | mild, severe (how dense) |
/// | effusion | right, left | lower | small, large | none |
/// | pneumothorax | right, left | upper | small, large | none |
/// | enlarged heart | middle | none | none | mild, severe |
/// | tube: endotracheal | middle | upper | none | none |
/// | tube: central venous catheter | right, left (where it enters) | upper | none | none |
/// | tube: chest tube | right, left | lower (where it enters) | none | none |
struct Finding {
  FindingKind kind = FindingKind::opacity;
  Side side = Side::middle;
  Zone zone = Zone::none;
  Size size = Size::none;
  Severity severity = Severity::none;
  eval::Box box;     ///< the smallest box around what is visible of it, in pixels of the image
  std::string word;  ///< the noun that names it: a normalised word of the findings section
};

namespace detail {

/// Which lung zones are taken, so that no finding hides another.
class TakenZones {
 public:
  bool& at(Side side, Zone zone) {
    return taken_[static_cast<std::size_t>(side)][static_cast<std::size_t>(zone)];
  }

 private:
  std::array<std::array<bool, 3>, 2> taken_{};
};

inline Side either_side(Random& random) {
  return random.below(2) == 0 ? Side::right : Side::left;
}
inline Size either_size(Random& random) {
  return random.below(2) == 0 ? Size::small : Size::large;
}
inline Severity either_severity(Random& random) {
  return random.below(2) == 0 ? Severity::mild : Severity::severe;
}

/// A finding of this kind in zones that are still free; it takes them.
inline Finding draw_finding(FindingKind kind, TakenZones& taken, Random& random) {
  Finding out;
  out.kind = kind;
  switch (kind) {
    case FindingKind::opacity:
    case FindingKind::nodule:
      do {
        out.side = either_side(random);
        out.zone = static_cast<Zone>(random.below(3));
      } while (taken.at(out.side, out.zone));
      out.size = either_size(random);
      out.severity = either_severity(random);
      taken.at(out.side, out.zone) = true;
      break;
    case FindingKind::effusion:
      out.side = either_side(random);
      out.zone = Zone::lower;
      out.size = either_size(random);
      taken.at(out.side, Zone::lower) = true;
      if (out.size == Size::large) taken.at(out.side, Zone::middle) = true;
      break;
    case FindingKind::pneumothorax:
      out.side = either_side(random);
      out.zone = Zone::upper;
      out.size = either_size(random);
      taken.at(out.side, Zone::upper) = true;
      if (out.size == Size::large)  // the lung that is left has no room
        taken.at(out.side, Zone::middle) = taken.at(out.side, Zone::lower) = true;
      break;
    case FindingKind::enlarged_heart:
      out.severity = either_severity(random);
      taken.at(Side::left, Zone::lower) = true;  // the heart reaches far into it
      break;
    case FindingKind::tube:
      out.side = static_cast<Side>(random.below(3));
      out.zone = out.side == Side::middle || random.below(2) == 0 ? Zone::upper : Zone::lower;
      break;
  }
  return out;
}

/// 0 to 3 findings of different kinds, in an order of their own.
inline std::vector<Finding> draw_findings(Random& random) {
  // In 20 studies, 3 show nothing, 7 one finding, 6 two and 4 three.
  const std::uint32_t share = random.below(20);
  const std::size_t count = share < 3 ? 0 : share < 10 ? 1 : share < 16 ? 2 : 3;
  std::array<FindingKind, finding_kind_count> kinds{};
  for (std::size_t k = 0; k < kinds.size(); ++k) kinds[k] = static_cast<FindingKind>(k);
  random.shuffle(kinds.begin(), kinds.end());

  TakenZones taken;
  std::vector<Finding> out;
  // Findings that are tied to a place go first, those that fit anywhere into the places left.
  for (const bool anywhere : {false, true})
    for (std::size_t k = 0; k < count; ++k)
      if ((kinds[k] == FindingKind::opacity || kinds[k] == FindingKind::nodule) == anywhere)
        out.push_back(draw_finding(kinds[k], taken, random));
  random.shuffle(out.begin(), out.end());
  return out;
}

}  // namespace detail
}  // namespace vlp::builtin
